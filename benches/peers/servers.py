"""The servers that are measured: how each is started on this machine, durable where it can be.

Each gives `bench_args` (how `anello bench` reaches it) and `pids` (whose CPU time is its own). All listen
on loopback only, keep their data below the run's directory, and end with the run.
"""

import json
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

START_SECONDS = 60
ACCESS, SECRET = "GK" + "0123456789abcdef01234567", secrets.token_hex(32)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(what, url, accept=lambda status: status < 500):
    end = time.time() + START_SECONDS
    while time.time() < end:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        except OSError:
            status = 599
        if accept(status):
            return
        time.sleep(0.2)
    raise SystemExit(f"{what} did not answer at {url} within {START_SECONDS} s")


class Server:
    """A peer: processes, and how to reach them."""

    name = ""
    durable = True
    # Whether the kernel counts each process as a session of its own when it divides the processors.
    own_session = True

    def __init__(self, home):
        self.home = pathlib.Path(home) / self.name.replace(" ", "-").lower()
        self.home.mkdir(parents=True)
        self.processes = []

    def run(self, *command, env=None, prefix=()):
        log = open(self.home / f"{pathlib.Path(command[0]).name}-{len(self.processes)}.log", "wb")
        environment = {**os.environ, **(env or {})}
        process = subprocess.Popen([*prefix, *map(str, command)], stdout=log, stderr=log, env=environment,
                                   start_new_session=self.own_session, process_group=None if self.own_session else 0)
        self.processes.append(process)
        return process

    @property
    def pids(self):
        """Every process of every group started here: workers are children."""
        groups = {process.pid for process in self.processes}
        found = []
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                except OSError:
                    continue
                if int(fields[2]) in groups:
                    found.append(int(entry.name))
        return found

    def s3(self, port, region="us-east-1"):
        return ["--api", "s3", "--endpoint", f"http://127.0.0.1:{port}", "--access-key", ACCESS,
                "--secret-key", SECRET, "--region", region]

    def stop(self):
        for process in self.processes:
            try:
                os.killpg(process.pid, signal.SIGTERM)
            except ProcessLookupError:
                pass
        for process in self.processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        shutil.rmtree(self.home, ignore_errors=True)

    def stored_bytes(self):
        return int(subprocess.run(["du", "-s", "--block-size=1", str(self.home)], capture_output=True, text=True,
                                  check=True).stdout.split()[0])


class Anello(Server):
    name = "Anello"

    def __init__(self, home, binary, replicas=1):
        super().__init__(home)
        gateway, s3 = free_port(), free_port()
        data = self.home / "d1"
        devices = [word for number in range(1, replicas + 1) for word in ("--data", self.home / f"d{number}")]
        self.run(binary, "serve", *devices, "--listen", f"127.0.0.1:{gateway}", "--s3-listen", f"127.0.0.1:{s3}")
        wait_for(self.name, f"http://127.0.0.1:{gateway}/readyz", lambda status: status == 200)
        keys = dict(line.removeprefix("export ").split("=", 1)
                    for line in (data / "credentials" / "s3.env").read_text().splitlines() if "=" in line)
        keys = {key: value.strip("'\"") for key, value in keys.items()}
        self.bench_args = ["--api", "s3", "--endpoint", f"http://127.0.0.1:{s3}", "--region", keys["AWS_REGION"],
                           "--access-key", keys["AWS_ACCESS_KEY_ID"], "--secret-key", keys["AWS_SECRET_ACCESS_KEY"],
                           "--control", str(data)]


class Swift(Server):
    """OpenStack Swift, its own API with tempauth. It syncs each object's file."""

    name = "Swift"

    def __init__(self, home, bin_dir, replicas=1):
        super().__init__(home)
        conf = self.home / "etc"
        conf.mkdir()
        devices = [f"d{number}" for number in range(1, replicas + 1)]
        for device in devices:
            (self.home / "srv" / device).mkdir(parents=True)
        (conf / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = peer\n[storage-policy:0]\n"
                                         "name = Policy-0\ndefault = yes\n")
        ports = {kind: free_port() for kind in ("account", "container", "object", "proxy", "memcache")}
        for kind in ("account", "container", "object"):
            builder = conf / f"{kind}.builder"
            adds = [["add", f"r1z1-127.0.0.1:{ports[kind]}/{device}", "1"] for device in devices]
            for words in (["create", "10", str(replicas), "0"], *adds, ["rebalance"]):
                subprocess.run([f"{bin_dir}/swift-ring-builder", builder, *words], check=True, capture_output=True)
            (conf / f"{kind}-server.conf").write_text(
                f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {ports[kind]}\nswift_dir = {conf}\n"
                f"devices = {self.home}/srv\nmount_check = false\nuser = root\nworkers = 2\nlog_level = ERROR\n"
                f"[pipeline:main]\npipeline = {kind}-server\n[app:{kind}-server]\nuse = egg:swift#{kind}\n")
        (conf / "proxy-server.conf").write_text(
            f"[DEFAULT]\nbind_ip = 127.0.0.1\nbind_port = {ports['proxy']}\nswift_dir = {conf}\nuser = root\n"
            "workers = 2\nlog_level = ERROR\n[pipeline:main]\n"
            "pipeline = catch_errors healthcheck cache tempauth proxy-server\n"
            "[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n"
            "[filter:catch_errors]\nuse = egg:swift#catch_errors\n[filter:healthcheck]\nuse = egg:swift#healthcheck\n"
            f"[filter:cache]\nuse = egg:swift#memcache\nmemcache_servers = 127.0.0.1:{ports['memcache']}\n"
            "[filter:tempauth]\nuse = egg:swift#tempauth\nuser_test_tester = testing .admin\n")
        self.run("memcached", "-u", "root", "-l", "127.0.0.1", "-p", ports["memcache"])
        # swift.conf is looked for in /etc/swift alone: each server sees ours there and the machine doesn't.
        inside = ["unshare", "--mount", "sh", "-c",
                  f'mkdir -p /etc/swift && mount --bind "{conf}" /etc/swift && exec "$@"', "sh"]
        for kind in ("account", "container", "object", "proxy"):
            self.run(f"{bin_dir}/swift-{kind}-server", conf / f"{kind}-server.conf", prefix=inside)
        wait_for(self.name, f"http://127.0.0.1:{ports['proxy']}/healthcheck", lambda status: status == 200)
        self.bench_args = ["--api", "swift", "--auth-version", "1", "--auth-url",
                           f"http://127.0.0.1:{ports['proxy']}/auth/v1.0", "--user", "test:tester", "--password",
                           "testing"]


class SeaweedFS(Server):
    """SeaweedFS. It doesn't sync before it answers: the mark for speed, not for safety."""

    name = "SeaweedFS"
    durable = False

    def __init__(self, home, binary):
        super().__init__(home)
        ports = {kind: free_port() for kind in ("s3", "master", "volume", "filer", "webdav")}
        identities = {"identities": [{"name": "bench", "credentials": [{"accessKey": ACCESS, "secretKey": SECRET}],
                                      "actions": ["Admin", "Read", "Write", "List", "Tagging"]}]}
        (self.home / "s3.json").write_text(json.dumps(identities))
        (self.home / "data").mkdir()
        grpc = {kind: free_port() for kind in ("s3", "master", "volume", "filer")}
        self.run(binary, "server", f"-dir={self.home}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3",
                 f"-s3.port={ports['s3']}", f"-s3.port.grpc={grpc['s3']}", f"-s3.config={self.home}/s3.json",
                 f"-master.port={ports['master']}", f"-master.port.grpc={grpc['master']}",
                 f"-volume.port={ports['volume']}", f"-volume.port.grpc={grpc['volume']}",
                 f"-filer.port={ports['filer']}", f"-filer.port.grpc={grpc['filer']}",
                 "-master.volumeSizeLimitMB=1024", "-volume.max=1000", env={"HOME": str(self.home)})
        wait_for(self.name, f"http://127.0.0.1:{ports['s3']}/")
        time.sleep(5)  # the volume server joins its master some seconds after the port opens
        self.bench_args = self.s3(ports["s3"])


class Garage(Server):
    """Garage, one node, syncing data and metadata."""

    name = "Garage"

    def __init__(self, home, binary):
        super().__init__(home)
        ports = {kind: free_port() for kind in ("rpc", "s3", "admin")}
        conf = self.home / "garage.toml"
        conf.write_text(
            f'metadata_dir = "{self.home}/meta"\ndata_dir = "{self.home}/data"\ndb_engine = "lmdb"\n'
            "metadata_fsync = true\ndata_fsync = true\nreplication_factor = 1\n"
            f'rpc_bind_addr = "127.0.0.1:{ports["rpc"]}"\nrpc_public_addr = "127.0.0.1:{ports["rpc"]}"\n'
            f'rpc_secret = "{secrets.token_hex(32)}"\n'
            f'[s3_api]\ns3_region = "garage"\napi_bind_addr = "127.0.0.1:{ports["s3"]}"\nroot_domain = ".s3.local"\n'
            f'[admin]\napi_bind_addr = "127.0.0.1:{ports["admin"]}"\nadmin_token = "{secrets.token_hex(16)}"\n')
        self.run(binary, "-c", conf, "server", env={"RUST_LOG": "error"})

        def garage(*words):
            return subprocess.run([binary, "-c", conf, *words], check=True, capture_output=True, text=True).stdout

        wait_for(self.name, f"http://127.0.0.1:{ports['s3']}/")
        node = garage("node", "id", "-q").split("@")[0].strip()
        garage("layout", "assign", "-z", "dc1", "-c", "100G", node)
        garage("layout", "apply", "--version", "1")
        garage("key", "import", "--yes", "-n", "bench", ACCESS, SECRET)
        garage("key", "allow", "--create-bucket", ACCESS)
        time.sleep(2)  # the layout reaches the tables
        self.bench_args = self.s3(ports["s3"], "garage")
