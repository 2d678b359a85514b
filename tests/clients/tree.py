#!/usr/bin/env python3
"""A real directory tree goes up through each client, is listed, comes back, and is compared byte for byte.

    tests/clients/tree.py --data DIR --tree /usr/share [--clients aws1,rclone,swift …] [--work DIR]

`--data` is the first data directory of a running `anello serve`; its credentials are used. A client that is
not installed is named and counted as failed, unless `--skip-missing` is given. Symbolic links, empty
directories and special files are left out: object stores keep files. Every client but s3fs and boto3, which is
imported by the Python that runs this, is the command that users have.
"""

import argparse
import concurrent.futures
import filecmp
import importlib.util
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile
import time


def environment(data):
    """The process environment with the variables of the server's credential files."""
    env = dict(os.environ)
    for name in ("s3.env", "openrc"):
        for line in (data / "credentials" / name).read_text().splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0] == "export":
                words = words[1:]
            for word in words:
                key, _, value = word.partition("=")
                env[key] = value
    env["OS_CLIENT_CONFIG_FILE"] = str(data / "credentials" / "clouds.yaml")
    env["AWS_EC2_METADATA_DISABLED"] = "true"
    env.setdefault("AWS_DEFAULT_REGION", env.get("AWS_REGION", "us-east-1"))
    return env


class Client:
    is_module = False

    def __init__(self, program, env, work):
        self.program, self.env, self.work = program, env, work

    @classmethod
    def is_here(cls, program, env):
        return importlib.util.find_spec(program) if cls.is_module else shutil.which(program, path=env.get("PATH"))

    def run(self, *words, cwd=None, **options):
        done = subprocess.run([str(word) for word in words], env=self.env, cwd=cwd, capture_output=True, text=True,
                              **options)
        if done.returncode:
            raise RuntimeError(f"{words[0]} {words[1]}: exit {done.returncode}: {(done.stderr or done.stdout)[-600:]}")
        return done.stdout


class Aws(Client):
    def call(self, *words):
        return self.run(self.program, "--endpoint-url", self.env["AWS_ENDPOINT_URL"], "s3", *words)

    def up(self, tree, bucket):
        self.call("mb", f"s3://{bucket}")
        self.call("sync", "--no-follow-symlinks", "--only-show-errors", f"{tree}/", f"s3://{bucket}/")

    def names(self, bucket):
        lines = self.call("ls", "--recursive", f"s3://{bucket}/").splitlines()
        return [line.split(None, 3)[3] for line in lines]

    def down(self, bucket, target):
        self.call("sync", "--only-show-errors", f"s3://{bucket}/", f"{target}/")

    def remove(self, bucket):
        self.call("rb", "--force", f"s3://{bucket}")


class Boto3(Client):
    is_module = True

    def __init__(self, *arguments):
        super().__init__(*arguments)
        import boto3
        from boto3.s3.transfer import TransferConfig
        from botocore.config import Config
        keys = {f"aws_{key}": self.env[f"AWS_{key}".upper()] for key in ("access_key_id", "secret_access_key")}
        self.s3 = boto3.client("s3", endpoint_url=self.env["AWS_ENDPOINT_URL"], **keys,
                               region_name=self.env["AWS_DEFAULT_REGION"], config=Config(max_pool_connections=16))
        self.transfer = TransferConfig(use_threads=False)

    def names(self, bucket):
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def each(self, action, names):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            for _ in pool.map(action, names):
                pass

    def up(self, tree, bucket):
        self.s3.create_bucket(Bucket=bucket)

        def send(name):
            self.s3.upload_file(str(tree / name), bucket, name, Config=self.transfer)

        self.each(send, files_of(tree))

    def down(self, bucket, target):
        def fetch(name):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(bucket, name, str(target / name), Config=self.transfer)

        self.each(fetch, self.names(bucket))

    def remove(self, bucket):
        names = self.names(bucket)
        for start in range(0, len(names), 1000):
            keys = [{"Key": name} for name in names[start:start + 1000]]
            self.s3.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
        self.s3.delete_bucket(Bucket=bucket)


class Rclone(Client):
    def call(self, *words):
        env = self.env
        config = (f":s3,provider=Other,access_key_id={env['AWS_ACCESS_KEY_ID']},"
                  f"secret_access_key={env['AWS_SECRET_ACCESS_KEY']},endpoint=\"{env['AWS_ENDPOINT_URL']}\":")
        return self.run(self.program, "--config", "/dev/null", "--transfers", "16", "--checkers", "16",
                        *[config + word[2:] if word.startswith("R:") else word for word in words])

    def up(self, tree, bucket):
        self.call("copy", "--skip-links", str(tree), f"R:{bucket}")
        self.call("check", "--skip-links", "--download", str(tree), f"R:{bucket}")

    def names(self, bucket):
        return self.call("lsf", "-R", "--files-only", f"R:{bucket}").splitlines()

    def down(self, bucket, target):
        self.call("copy", f"R:{bucket}", str(target))

    def remove(self, bucket):
        self.call("purge", f"R:{bucket}")


class S3cmd(Client):
    def call(self, *words):
        host = self.env["AWS_ENDPOINT_URL"].split("//", 1)[1]
        secure = "--ssl" if self.env["AWS_ENDPOINT_URL"].startswith("https") else "--no-ssl"
        return self.run(self.program, "--config", "/dev/null", f"--access_key={self.env['AWS_ACCESS_KEY_ID']}",
                        f"--secret_key={self.env['AWS_SECRET_ACCESS_KEY']}", f"--host={host}",
                        f"--host-bucket={host}", secure, "--no-progress", *words)

    def up(self, tree, bucket):
        self.call("mb", f"s3://{bucket}")
        self.call("sync", "--no-preserve", f"{tree}/", f"s3://{bucket}/")

    def names(self, bucket):
        start = f"s3://{bucket}/"
        return [line.split(start, 1)[1] for line in self.call("ls", "--recursive", start).splitlines()]

    def down(self, bucket, target):
        self.call("sync", f"s3://{bucket}/", f"{target}/")

    def remove(self, bucket):
        self.call("rb", "--recursive", "--force", f"s3://{bucket}")


class S3fs(Client):
    """A mount, which neither makes nor removes buckets: the swift command does, for both doors show the same."""

    def mounted(self, bucket, action):
        point, secret = self.work / "mount", self.work / "passwd-s3fs"
        point.mkdir(exist_ok=True)
        secret.touch(0o600)
        secret.write_text(f"{self.env['AWS_ACCESS_KEY_ID']}:{self.env['AWS_SECRET_ACCESS_KEY']}\n")
        options = f"url={self.env['AWS_ENDPOINT_URL']},use_path_request_style,passwd_file={secret}"
        self.run(self.program, bucket, point, "-o", options)
        try:
            return action(point)
        finally:
            # It takes back what it still has to write.
            self.run("fusermount", "-u", point)

    def up(self, tree, bucket):
        self.run("swift", "post", bucket)
        self.mounted(bucket, lambda point: copy(tree, point))

    def names(self, bucket):
        return self.mounted(bucket, lambda point: list(files_of(point)))

    def down(self, bucket, target):
        self.mounted(bucket, lambda point: copy(point, target))

    def remove(self, bucket):
        self.mounted(bucket, lambda point: [shutil.rmtree(path) if path.is_dir() else path.unlink()
                                            for path in point.iterdir()])
        self.run("swift", "delete", bucket)


class Restic(Client):
    """Backups. It has no command that removes a repository: the swift command does."""

    def call(self, bucket, *words, cwd=None):
        repository = f"s3:{self.env['AWS_ENDPOINT_URL']}/{bucket}"
        return self.run(self.program, "--no-cache", "--quiet", "-r", repository, *words, cwd=cwd)

    def up(self, tree, bucket):
        self.env["RESTIC_PASSWORD"] = "tree"
        self.call(bucket, "init")
        self.call(bucket, "backup", ".", cwd=tree)
        self.call(bucket, "check", "--read-data")

    def names(self, bucket):
        nodes = map(json.loads, self.call(bucket, "ls", "--json", "latest").splitlines())
        return [node["path"].lstrip("/") for node in nodes if node.get("type") == "file"]

    def down(self, bucket, target):
        self.call(bucket, "restore", "latest", "--target", target)

    def remove(self, bucket):
        self.run("swift", "delete", bucket)


class Swift(Client):
    def call(self, *words, cwd=None):
        return self.run(self.program, *words, cwd=cwd)

    def up(self, tree, container):
        # One process over all files; names stay relative to the tree. Larger files become large objects.
        self.call("post", f"{container}_segments")
        self.call("upload", "--object-threads", "16", "--segment-size", "8M", container, ".", cwd=tree)

    def names(self, container):
        return self.call("list", container).splitlines()

    def down(self, container, target):
        self.call("download", "--object-threads", "16", "--output-dir", str(target), container)

    def remove(self, container):
        self.call("delete", container)
        self.call("delete", f"{container}_segments")


class Openstack(Client):
    """Several containers: `container save` and `delete --recursive` take one page of a listing and no more."""

    page = 10_000
    # Files of one process, which takes a second to start.
    batch = 2000

    def call(self, *words, cwd=None):
        return self.run(self.program, "--os-cloud", "anello", *words, cwd=cwd)

    def up(self, tree, container):
        names = sorted(files_of(tree))
        self.containers = [f"{container}-{number}" for number in range(-(-len(names) // self.page))]
        for number, container in enumerate(self.containers):
            self.call("container", "create", container)
            page = names[number * self.page:(number + 1) * self.page]
            for start in range(0, len(page), self.batch):
                self.call("object", "create", container, *page[start:start + self.batch], cwd=tree)

    def names(self, _):
        words = ["object", "list", "--all", "-f", "value", "-c", "Name"]
        return [name for container in self.containers for name in self.call(*words, container).splitlines()]

    def down(self, _, target):
        for container in self.containers:
            self.call("container", "save", container, cwd=target)

    def remove(self, _):
        for container in self.containers:
            self.call("container", "delete", "--recursive", container)


CLIENTS = {"aws1": ("aws", Aws), "aws2": ("/usr/bin/aws", Aws), "boto3": ("boto3", Boto3), "rclone": ("rclone", Rclone),
           "s3cmd": ("s3cmd", S3cmd), "s3fs": ("s3fs", S3fs), "restic": ("restic", Restic), "swift": ("swift", Swift),
           "openstack": ("openstack", Openstack)}


def files_of(tree):
    for folder, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.path.isfile(path):
                yield os.path.relpath(path, tree)


def copy(tree, target, files_max=None):
    """Copies regular files; their names."""
    names = sorted(files_of(tree))[:files_max]
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(os.path.join(tree, name), target / name)
    return set(names)


def check(client, tree, wanted, bucket, back):
    times, start = {}, time.monotonic()

    def lap(step):
        nonlocal start
        times[step], start = time.monotonic() - start, time.monotonic()

    client.up(tree, bucket)
    lap("up")
    listed = client.names(bucket)
    lap("list")
    listed = {name for name in listed if not name.endswith("/")} & wanted | {n for n in listed if n not in wanted
                                                                             and not (tree / n).is_dir()}
    if listed != wanted:
        raise RuntimeError(f"listing differs: {len(wanted - listed)} missing, {len(listed - wanted)} too many, "
                           f"such as {sorted(listed ^ wanted)[:3]}")
    client.down(bucket, back)
    lap("down")
    got = set(files_of(back))
    different = [name for name in wanted if name not in got or not filecmp.cmp(tree / name, back / name, shallow=False)]
    if different or got - wanted:
        raise RuntimeError(f"{len(different)} files came back different or not at all, such as {different[:3]}; "
                           f"{len(got - wanted)} too many")
    lap("compare")
    client.remove(bucket)
    lap("remove")
    return times


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--tree", type=pathlib.Path, required=True)
    parser.add_argument("--clients", default=",".join(CLIENTS))
    parser.add_argument("--files", type=int, help="at most this many files of the tree")
    parser.add_argument("--work", help="where copies are kept meanwhile (default: the temporary directory)")
    parser.add_argument("--skip-missing", action="store_true")
    options = parser.parse_args()
    env = environment(options.data)
    passed = failed = skipped = 0
    with tempfile.TemporaryDirectory(dir=options.work) as work:
        work = pathlib.Path(work)
        # As they are now, so that nothing changes during the test.
        wanted = copy(options.tree, work / "tree", options.files)
        size = sum((work / "tree" / name).stat().st_size for name in wanted)
        print(f"{len(wanted)} files, {size / 2**20:,.0f} MiB", flush=True)
        for name in options.clients.split(","):
            program, kind = CLIENTS[name]
            if not kind.is_here(program, env):
                print(f"{name}: not installed", flush=True)
                skipped, failed = skipped + options.skip_missing, failed + (not options.skip_missing)
                continue
            back = work / f"back-{name}"
            back.mkdir()
            try:
                times = check(kind(program, env, work), work / "tree", wanted, f"tree-{name}", back)
                print(f"{name}: same; " + ", ".join(f"{step} {took:.1f} s" for step, took in times.items()), flush=True)
                passed += 1
            except Exception as error:  # each client has errors of its own
                print(f"{name}: FAILED: {error}", flush=True)
                failed += 1
            shutil.rmtree(back, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
