#!/usr/bin/env python3
"""Five hosts with real servers, disks and clients, a proxy before them, and whatever can happen to them.

    tests/hosts/five.py --anello target/release/anello [--work DIR] [--seconds 15] [--only STEP …]

Each step lets clients write, delete and read through every host that should answer, does something to a host
meanwhile, mends it, and ends with reading every name through two hosts, comparing the listings, and the commands `aws`
and `swift` reading what each other wrote. Needs root: each host is a network namespace with a filesystem of its own.
"""

import argparse
import os
import pathlib
import random
import signal
import sys
import tempfile
import time

import clients
import network


# Keeps nothing; the hosts before it are of every role.
PROXY = 5


class Trial:
    def __init__(self, anello, root, seconds):
        self.seconds, self.faults = seconds, 0
        self.hosts = [network.Host(anello, root, number) for number in range(5)]
        self.hosts.append(network.Host(anello, root, PROXY, ["proxy"]))
        self.root = root
        self.verified, self.dice, self.clients = 0, random.Random(5), None

    def form(self):
        network.make_bridge()
        for host in self.hosts:
            host.make()
        token = self.hosts[0].command("cluster", "init", "--hosts", len(self.hosts))
        for host in self.hosts[1:]:
            host.command("cluster", "join", env={**os.environ, "ANELLO_JOIN_TOKEN": token})
        for host in self.hosts:
            host.start()
        for host in self.hosts:
            host.wait_ready()
        self.clients = clients.Clients(self.hosts, clients.credentials(self.hosts[0]))
        deadline = time.time() + 60
        while True:
            try:
                for number in range(len(self.hosts)):
                    self.clients.s3(number).list_buckets()
                break
            except Exception:
                if time.time() > deadline:
                    raise
                time.sleep(1)
        self.clients.s3(0).create_bucket(Bucket=clients.BUCKET)

    def step(self, name, fault, may_fail=()):
        """Clients at work, `fault` in their midst. Hosts in `may_fail` are not asked while it lasts."""
        begun, before, errors = time.time(), self.clients.operations, dict(self.clients.errors)
        self.clients.usable -= set(may_fail)
        self.clients.start(8)
        time.sleep(self.seconds / 3)
        try:
            fault()
            time.sleep(self.seconds / 3)
        finally:
            self.clients.stop()
        self.clients.usable |= {number for number in may_fail if self.hosts[number].process}
        self.faults += 1
        # Hosts that did not answer are asked again after some seconds.
        time.sleep(6)
        asked = self.dice.sample(sorted(self.clients.usable), 2)
        count = self.clients.verify(asked)
        self.verified += count
        self.clients.run_commands(*asked, self.root)
        new = {what: n - errors.get(what, 0) for what, n in self.clients.errors.items() if n > errors.get(what, 0)}
        if self.clients.stale:
            raise AssertionError(f"stale: {self.clients.stale[:5]}")
        print(f"{name}: {time.time() - begun:.0f} s, {self.clients.operations - before} operations, "
              f"{count} names read back, errors: {new or 'none'}", flush=True)

    def wait_settled(self, host=0, patience=240):
        deadline = time.time() + patience
        while not self.hosts[host].status()["cluster"]["is_settled"]:
            if time.time() > deadline:
                raise AssertionError(f"the rings still change: {self.hosts[host].status()['cluster']}")
            time.sleep(1)

    # What can happen.

    def calm(self):
        time.sleep(self.seconds / 3)

    def kill(self, host=1):
        self.hosts[host].kill()
        time.sleep(self.seconds / 2)
        self.hosts[host].start()
        self.hosts[host].wait_ready()

    def kill_proxy(self):
        self.kill(PROXY)

    def pause(self):
        self.hosts[2].signal(signal.SIGSTOP)
        time.sleep(self.seconds / 2)
        self.hosts[2].signal(signal.SIGCONT)

    def partition(self):
        self.hosts[3].cut()
        time.sleep(self.seconds / 2)
        self.hosts[3].mend()

    def fill(self):
        filler = self.hosts[4].disk / "filler"
        free = os.statvfs(self.hosts[4].disk)
        with open(filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_frsize - (4 << 20), 1))
        time.sleep(self.seconds)
        filler.unlink()

    def corrupt(self):
        """Flips a byte in each of many places of a host's volumes."""
        flipped = 0
        for volume in sorted((self.hosts[1].disk / "disk" / "volumes").glob("*.vol")):
            with open(volume, "r+b") as file:
                for place in range(8192, min(volume.stat().st_size, 64 << 20), 1 << 20):
                    file.seek(place)
                    byte = file.read(1)
                    if byte and byte != b"\0":
                        file.seek(place)
                        file.write(bytes([byte[0] ^ 0x10]))
                        flipped += 1
        print(f"  {flipped} bytes of {self.hosts[1].name} flipped", flush=True)
        if not flipped:
            raise AssertionError("there was nothing to corrupt")

    def wipe(self):
        """A disk is replaced by an empty one."""
        host = self.hosts[2]
        host.stop()
        network.sh("rm", "-rf", host.disk / "disk")
        host.start()
        host.wait_ready()
        self.wait_settled()

    def roll(self):
        for host in self.hosts:
            host.stop()
            host.start()
            host.wait_ready()

    def drain(self):
        self.hosts[0].command("cluster", "drain", "h3", "--wait")
        self.hosts[0].command("cluster", "remove", "h3", "--wait")

    def join(self):
        host = self.hosts[3]
        host.stop()
        for device in host.devices:
            network.sh("rm", "-rf", host.disk / device)
        token = self.hosts[1].command("cluster", "token")
        host.command("cluster", "join", env={**os.environ, "ANELLO_JOIN_TOKEN": token})
        host.start()
        host.wait_ready()
        self.wait_settled()

    def lose(self):
        self.hosts[4].kill()
        self.hosts[0].command("cluster", "remove", "h4", "--lost", "--wait")

    STEPS = [
        ("nothing happens", calm, ()),
        ("a host is killed and comes back", kill, (1,)),
        ("the proxy is killed and comes back", kill_proxy, (PROXY,)),
        ("a host is paused", pause, (2,)),
        ("a host is cut off", partition, (3,)),
        ("a disk is full", fill, ()),
        ("bytes on a disk are flipped", corrupt, ()),
        ("a disk is replaced by an empty one", wipe, (2,)),
        ("all hosts are restarted, one after the other", roll, ()),
        ("a host is drained and removed", drain, (3,)),
        ("a host joins", join, (3,)),
        ("a host is lost for good", lose, (4,)),
    ]

    def run(self, only):
        self.form()
        for name, fault, may_fail in self.STEPS:
            if not only or any(word in name for word in only):
                self.step(name, lambda fault=fault: fault(self), may_fail)
        print(f"{self.clients.operations} operations, {self.faults} faults, {self.verified} names read back, "
              f"{self.clients.commands} written and read by commands: "
              f"none lost, none stale; errors that clients saw: {self.clients.errors or 'none'}")

    def end(self):
        for host in self.hosts:
            host.remove()
        network.remove_bridge()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anello", required=True, type=pathlib.Path)
    parser.add_argument("--work", type=pathlib.Path, help="where the hosts' disks are (default: a temporary directory)")
    parser.add_argument("--seconds", type=int, default=15, help="how long clients work in each step, about")
    parser.add_argument("--only", nargs="*", help="steps whose name contains one of these")
    options = parser.parse_args()
    network.require_root()
    root = network.fresh(options.work or tempfile.mkdtemp(prefix="anello-hosts-"))
    trial = Trial(options.anello.resolve(), root, options.seconds)
    try:
        trial.run(options.only)
    except BaseException as error:
        print(f"FAILED: {error!r}; the hosts' logs are in {root}", file=sys.stderr)
        for host in trial.hosts:
            if host.log_file.exists():
                print(f"--- {host.name}\n{host.log_file.read_text()[-2000:]}", file=sys.stderr)
        trial.end()
        raise
    trial.end()
    network.sh("rm", "-rf", root)


if __name__ == "__main__":
    main()
