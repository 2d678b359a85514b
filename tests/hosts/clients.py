"""Clients that write, delete and read through every host, and know what must be there. Most are threads with boto3; the
commands `aws` and `swift` look at what they wrote and at what each other did."""

import hashlib
import os
import pathlib
import random
import re
import shlex
import subprocess
import sys
import threading
import time

import boto3
import botocore.config
import botocore.exceptions

BUCKET = "five-hosts"
# Inline and streamed, and one of several parts.
SIZES = [100, 4096, 70_000, 400_000, 3_000_000]


def credentials(host):
    """The variables of the administrator's credentials."""
    values = {}
    for file in ["s3.env", "openrc"]:
        for line in (host.disk / "home" / "credentials" / file).read_text().splitlines():
            for word in shlex.split(line, comments=True):
                key, _, value = word.partition("=")
                values[key] = value
    return values


def content(name, version):
    seed = hashlib.sha256(f"{name} {version}".encode()).digest()
    size = SIZES[seed[0] % len(SIZES)]
    return (seed * (size // len(seed) + 1))[:size]


class Clients:
    """Threads that each write their own names through the hosts that should answer."""

    def __init__(self, hosts, keys):
        self.hosts, self.keys = hosts, keys
        self.lock = threading.Lock()
        # name -> version that was acknowledged (0: deleted), and versions that may have happened since
        self.known, self.unsure = {}, {}
        self.operations, self.errors, self.stale = 0, {}, []
        self.usable = set(range(len(hosts)))
        self.stopping, self.threads = threading.Event(), []
        self.local = threading.local()
        self.account, self.commands = None, 0

    def s3(self, number):
        made = self.local.__dict__.setdefault("s3", {})
        if number not in made:
            config = botocore.config.Config(retries={"max_attempts": 0}, connect_timeout=3, read_timeout=40,
                                            s3={"addressing_style": "path"}, max_pool_connections=2)
            made[number] = boto3.session.Session().client(
                "s3", endpoint_url=f"http://{self.hosts[number].address}:9000", region_name=self.keys["AWS_REGION"],
                aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"], config=config)
        return made[number]

    def start(self, count):
        self.stopping.clear()
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(count)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join()

    def work(self, client):
        dice = random.Random(client)
        while not self.stopping.is_set():
            self.step(client, dice)

    def step(self, client, dice):
        name, host = f"c{client}/{dice.randrange(60):02}", dice.choice(sorted(self.usable))
        with self.lock:
            known, unsure = self.known.get(name, 0), set(self.unsure.get(name, ()))
        version = max({known, *unsure}) + 1
        kind = dice.choice(["put", "put", "put", "get", "get", "delete"])
        try:
            if kind == "put":
                self.s3(host).put_object(Bucket=BUCKET, Key=name, Body=content(name, version))
                self.note(name, version)
            elif kind == "delete":
                self.s3(host).delete_object(Bucket=BUCKET, Key=name)
                self.note(name, 0)
            else:
                problem = self.problem(host, name, known, unsure)
                if problem:
                    with self.lock:
                        self.stale.append(problem)
            with self.lock:
                self.operations += 1
        except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError) as error:
            self.failed(host, kind, name, version, error)

    def note(self, name, version):
        with self.lock:
            self.known[name] = version
            self.unsure.pop(name, None)

    def failed(self, host, kind, name, version, error):
        """It may have happened, or may yet."""
        status = getattr(error, "response", {}).get("ResponseMetadata", {}).get("HTTPStatusCode")
        with self.lock:
            what = f"{self.hosts[host].name}: {kind}: {status or type(error).__name__}"
            self.errors[what] = self.errors.get(what, 0) + 1
            if kind != "get":
                self.unsure.setdefault(name, set()).add(version if kind == "put" else 0)
        time.sleep(0.05)

    def problem(self, host, name, known, unsure):
        """What is wrong with a name as a host shows it; `None` where nothing is."""
        possible = {known, *unsure}
        try:
            body = self.s3(host).get_object(Bucket=BUCKET, Key=name)["Body"].read()
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
                raise
            body = None
        shown = [version for version in possible if (content(name, version) if version else None) == body]
        if shown:
            return None
        digest = hashlib.sha256(body).hexdigest()[:12] if body is not None else "not there"
        return f"{self.hosts[host].name}: {name}: {digest}, expected version {sorted(possible)}"

    def verify(self, hosts):
        """Every name through each of these hosts, and the listing. Ends what was unsure. Returns how many were read."""
        count = 0
        for host in hosts:
            listed = set()
            for page in self.s3(host).get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
                listed |= {entry["Key"] for entry in page.get("Contents", [])}
            for name in sorted(set(self.known) | set(self.unsure)):
                known, unsure = self.known.get(name, 0), self.unsure.get(name, set())
                problem = self.problem(host, name, known, unsure)
                if problem:
                    raise AssertionError(problem)
                if not unsure and (known > 0) != (name in listed):
                    raise AssertionError(f"{self.hosts[host].name}: {name}: listed: {name in listed}, version {known}")
                count += 1
        return count


    def run_commands(self, first, second, at):
        """What `aws` writes by way of one host `swift` reads by way of another, and the other way round."""
        file = pathlib.Path(at) / "content"
        file.write_bytes(content("commands", self.commands + 1))
        for write, read in [(self.aws, self.swift), (self.swift, self.aws)]:
            self.commands += 1
            name = f"commands/{self.commands}"
            write(first, name, file, "put")
            if read(second, name, file.with_name("back"), "get") != file.read_bytes():
                raise AssertionError(f"{self.hosts[second].name}: {name} is not what was written")

    def aws(self, host, name, file, what):
        place = f"s3://{BUCKET}/{name}"
        ends = [file, place] if what == "put" else [place, file]
        self.command("aws", "--endpoint-url", f"http://{self.hosts[host].address}:9000", "s3", "cp", *ends)
        return file.read_bytes()

    def swift(self, host, name, file, what):
        if self.account is None:
            stat = self.command("swift", "stat", "-v")
            self.account = re.search(r"StorageURL: \S+(/v1/\S+)", stat).group(1)
        swift = ["swift", "--os-storage-url", f"http://{self.hosts[host].address}:8080{self.account}"]
        if what == "put":
            self.command(*swift, "upload", BUCKET, file, "--object-name", name)
        else:
            self.command(*swift, "download", BUCKET, name, "--output", file)
        return file.read_bytes()

    def command(self, name, *words):
        """A client's command, which must succeed."""
        program = pathlib.Path(sys.executable).with_name(name)
        env = {**os.environ, **self.keys, "AWS_EC2_METADATA_DISABLED": "true"}
        done = subprocess.run([str(word) for word in (program, *words)], env=env, capture_output=True, text=True)
        if done.returncode:
            raise AssertionError(f"{name} {words}: exit {done.returncode}: {(done.stderr or done.stdout)[-800:]}")
        return done.stdout
