"""Hosts on one machine: each a network namespace on a bridge, with a filesystem of its own and a real server."""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

BRIDGE, SUBNET = "anello-br", "10.77.0"
# Sparse: what is not written takes no space.
FILESYSTEM_BYTES = 24 << 30


def sh(*words, check=True, **options):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, **options)
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(map(str, words))}: exit {done.returncode}: {(done.stderr or done.stdout)[-800:]}")
    return done.stdout.strip()


class Host:
    """One host: its namespace, its disk, its process."""

    def __init__(self, anello, root, number, roles=("storage", "proxy", "control")):
        self.anello, self.number, self.name = anello, number, f"h{number}"
        self.namespace, self.address = f"anello-h{number}", f"{SUBNET}.{10 + number}"
        self.disk, self.config = root / self.name, root / f"{self.name}.toml"
        self.log_file, self.process = root / f"{self.name}.log", None
        self.roles, self.devices = roles, ["home", "disk"] if "storage" in roles else ["home"]

    def make(self):
        self.remove()
        sh("ip", "netns", "add", self.namespace)
        inside, outside = "eth0", f"anello-v{self.number}"
        sh("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", self.namespace)
        sh("ip", "link", "set", outside, "master", BRIDGE, "up")
        self.inside("ip", "addr", "add", f"{self.address}/24", "dev", inside)
        self.inside("ip", "link", "set", inside, "up")
        self.inside("ip", "link", "set", "lo", "up")
        image = self.disk.with_suffix(".img")
        with open(image, "wb") as file:
            file.truncate(FILESYSTEM_BYTES)
        sh("mkfs.ext4", "-q", "-F", image)
        self.disk.mkdir()
        sh("mount", "-o", "loop", image, self.disk)
        self.write_config()

    def write_config(self):
        data = json.dumps([str(self.disk / device) for device in self.devices])
        self.config.write_text(
            f'roles = {json.dumps(self.roles)}\ndata = {data}\n[gateway]\nlisten = "{self.address}:8080"\n[s3]\nlisten = "{self.address}:9000"\n'
            f'[cluster]\nlisten = "{self.address}:6200"\nname = "{self.name}"\nzone = {self.number + 1}\n'
            '[log]\nfilter = "info,anello_proxy=debug,s3s=off"\n')

    def remove(self):
        if self.process:
            self.kill()
        sh("umount", "-l", self.disk, check=False)
        sh("ip", "netns", "del", self.namespace, check=False)
        sh("ip", "link", "del", f"anello-v{self.number}", check=False)

    def inside(self, *words, **options):
        return sh("ip", "netns", "exec", self.namespace, *words, **options)

    def command(self, *words, **options):
        return self.inside(self.anello, *words, "--config", self.config, **options)

    def start(self):
        log = open(self.log_file, "ab")
        words = ["ip", "netns", "exec", self.namespace, self.anello, "serve", "--config", self.config]
        self.process = subprocess.Popen(list(map(str, words)), stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def wait_ready(self, patience=180):
        deadline = time.time() + patience
        while time.time() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended: {self.log_file.read_text()[-1500:]}")
            if self.is_ready():
                return
            time.sleep(0.2)
        raise RuntimeError(f"{self.name} is not ready after {patience} s: {self.log_file.read_text()[-1500:]}")

    def is_ready(self):
        try:
            with socket.create_connection((self.address, 8080), timeout=2) as stream:
                stream.settimeout(2)
                stream.sendall(b"GET /readyz HTTP/1.0\r\nhost: x\r\n\r\n")
                return b" 200 " in stream.recv(64)
        except OSError:
            return False

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        # `ip netns exec` becomes the server: its process is the server's.
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=120)
        self.process = None

    def cut(self):
        sh("ip", "link", "set", f"anello-v{self.number}", "down")

    def mend(self):
        sh("ip", "link", "set", f"anello-v{self.number}", "up")

    def status(self):
        return json.loads(self.command("cluster", "status", "--json"))["store"]


def make_bridge():
    sh("ip", "link", "del", BRIDGE, check=False)
    sh("ip", "link", "add", BRIDGE, "type", "bridge")
    sh("ip", "addr", "add", f"{SUBNET}.1/24", "dev", BRIDGE)
    sh("ip", "link", "set", BRIDGE, "up")


def remove_bridge():
    sh("ip", "link", "del", BRIDGE, check=False)


def require_root():
    missing = [tool for tool in ("ip", "mkfs.ext4", "mount") if not shutil.which(tool)]
    if os.geteuid() or missing:
        raise SystemExit(f"this needs root (network namespaces, loop devices){' and ' + ', '.join(missing) if missing else ''}")


def fresh(path):
    shutil.rmtree(path, ignore_errors=True)
    path = pathlib.Path(path)
    path.mkdir(parents=True)
    return path
