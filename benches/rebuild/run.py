#!/usr/bin/env python3
"""How long it takes until everything is whole again after a loss, and what clients notice meanwhile.

    benches/rebuild/run.py --anello target/release/anello                           # one of five hosts is lost for good
    benches/rebuild/run.py --anello target/release/anello --policy 'ec 4+2'         # one of six disks is replaced

All hosts are on this machine and share its disk: what the rebuild reads and what it writes is taken from the same disk
that serves the clients. The disk's own speed is measured before, by copying files past the cache, as many at a time as
there are devices.
"""

import argparse
import concurrent.futures
import json
import mmap
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "peers"))
from servers import Server, free_port, wait_for  # noqa: E402

POLICY = "measured"
RUN_SECONDS, RUNS_BEFORE = 10, 3
BLOCK = 1 << 20
PROBE_BYTES = 512 << 20
# A rebuild that takes longer has failed.
PATIENCE_SECONDS = 3600


class Cluster(Server):
    """Hosts of one cluster, each a process with directories of its own."""

    name = "cluster"
    # The kernel divides processors among sessions first: on one machine, too, no host's daemons are to come before
    # another one's clients.
    own_session = False

    def __init__(self, home, anello, hosts, devices, limit):
        super().__init__(home)
        self.anello, self.devices, self.by_host = anello, devices, {}
        self.s3 = [free_port() for _ in range(hosts)]
        self.gateways = [free_port() for _ in range(hosts)]
        storage = f"[storage]\nreplication_mib_per_second = {limit}\n" if limit else ""
        for host in range(hosts):
            data = json.dumps([str(self.disk(host, device)) for device in range(devices)])
            self.config(host).write_text(
                f'data = {data}\n{storage}[gateway]\nlisten = "127.0.0.1:{self.gateways[host]}"\n'
                f'[s3]\nlisten = "127.0.0.1:{self.s3[host]}"\n'
                f'[cluster]\nlisten = "127.0.0.1:{free_port()}"\nname = "h{host}"\nzone = {host + 1}\n')
        token = self.command(0, "cluster", "init", "--hosts", hosts)
        for host in range(1, hosts):
            self.command(host, "cluster", "join", env={**os.environ, "ANELLO_JOIN_TOKEN": token})
        for host in range(hosts):
            self.start(host)
        for host in range(hosts):
            self.wait_ready(host)

    def disk(self, host, device):
        return self.home / f"h{host}-d{device}"

    def config(self, host):
        return self.home / f"h{host}.toml"

    def command(self, host, *words, env=None):
        words = [self.anello, *words, "--config", self.config(host)]
        done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=env)
        if done.returncode:
            raise RuntimeError(f"{words}: {done.stderr}")
        return done.stdout.strip()

    def start(self, host):
        self.by_host[host] = self.run(self.anello, "serve", "--config", self.config(host))

    def wait_ready(self, host):
        wait_for(f"h{host}", f"http://127.0.0.1:{self.gateways[host]}/readyz", lambda status: status == 200)

    def end(self, host):
        self.by_host[host].kill()
        self.by_host[host].wait()

    def credentials(self):
        lines = (self.disk(0, 0) / "credentials" / "s3.env").read_text().splitlines()
        keys = dict(line.removeprefix("export ").split("=", 1) for line in lines if "=" in line)
        return {key: value.strip("'\"") for key, value in keys.items()}

    def load(self, host, *words):
        """The figures of one run of `anello bench` through a host."""
        keys = self.credentials()
        result = self.home / "bench.json"
        words = [self.anello, "bench", "--endpoint", f"http://127.0.0.1:{self.s3[host]}", "--region", keys["AWS_REGION"],
                 "--quiet", "--json", result, *words]
        done = subprocess.run(list(map(str, words)), env={**os.environ, **keys}, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"the load failed: {done.stderr[-500:]}")
        return json.loads(result.read_text()) if "--prepare-only" not in words else None

    def copies(self):
        """Copies that there should be, those that are there, and those that still are elsewhere."""
        rings = json.loads(self.command(0, "cluster", "dispersion", "--json"))["rings"]
        return tuple(sum(ring[what] for ring in rings) for what in ("copies", "found", "misplaced"))

    def epoch(self):
        """The map's, where no change goes on."""
        cluster = json.loads(self.command(0, "cluster", "status", "--json"))["store"]["cluster"]
        return cluster["epoch"] if cluster["is_settled"] and not cluster.get("change") else None

    def wait_whole(self):
        """To be asked while nobody writes: a copy that is on its way is lacking."""
        deadline = time.time() + PATIENCE_SECONDS
        while True:
            copies, found, misplaced = self.copies()
            if copies == found and not misplaced and self.epoch() is not None:
                return
            if time.time() > deadline:
                raise SystemExit(f"not whole: {found} of {copies} copies in place, {misplaced} elsewhere")
            time.sleep(1)

    def written_by(self, hosts):
        """Bytes that processes have had written to disks."""
        total = 0
        for host in hosts:
            lines = pathlib.Path(f"/proc/{self.by_host[host].pid}/io").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("write_bytes"))
        return total


def copy(source, target):
    """Reads one file and writes another, past the page cache."""
    buffer = mmap.mmap(-1, BLOCK)
    read, write = os.open(source, os.O_RDONLY | os.O_DIRECT), os.open(target, os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    try:
        while os.readv(read, [buffer]):
            os.write(write, buffer)
        os.fdatasync(write)
    finally:
        os.close(read)
        os.close(write)


def disk_speed(directory, streams):
    """Bytes per second that the disk copies, this many files at a time."""
    size = PROBE_BYTES // streams // BLOCK * BLOCK
    files = [(directory / f"probe-{number}", directory / f"copy-{number}") for number in range(streams)]
    for source, _ in files:
        source.write_bytes(os.urandom(BLOCK) * (size // BLOCK))
        with open(source, "rb") as file:
            os.fsync(file.fileno())
    begun = time.time()
    with concurrent.futures.ThreadPoolExecutor(streams) as pool:
        for done in [pool.submit(copy, *pair) for pair in files]:
            done.result()
    speed = size * streams / (time.time() - begun)
    for path in (path for pair in files for path in pair):
        path.unlink()
    return speed


def copies_per_byte(policy):
    """Bytes on disks for each that is stored: three copies, or fragments and what they are computed to."""
    if not policy:
        return 3
    data, parity = map(int, policy.removeprefix("ec ").split("+"))
    return (data + parity) / data


def milliseconds(reports, operation, quantile):
    """Of each run."""
    of = [it for report in reports for it in report["operations"] if it["operation"] == operation]
    return sorted(it["latency_us"][quantile] / 1000 for it in of)


def show(before, during):
    print(f"{'':8}{'p50 ms':>18}{'p99 ms':>18}{'p99 ms':>18}{'ratio of p99':>16}")
    print(f"{'':8}{'before, meanwhile':>18}{'before, meanwhile':>18}{'worst run':>18}{'median':>16}")
    for operation in ("get", "put"):
        (p50, now50), (p99, now99) = ([statistics.median(milliseconds(reports, operation, quantile))
                                       for reports in (before, during)] for quantile in ("p50", "p99"))
        worst = milliseconds(during, operation, "p99")[-1]
        print(f"{operation:8}{f'{p50:.2f}, {now50:.2f}':>18}{f'{p99:.2f}, {now99:.2f}':>18}{worst:>18.2f}"
              f"{now99 / p99:>16.2f}")
    print(f"{sum(report['errors'] for report in during)} errors seen by clients, "
          f"{sum(report['wrong_answers'] for report in during)} wrong answers")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anello", required=True, type=pathlib.Path)
    parser.add_argument("--policy", help="`ec 4+2`: six devices of three hosts, of which one is replaced")
    parser.add_argument("--objects", type=int, help="(default: 100,000, and 20,000 where they are cut)")
    parser.add_argument("--kib", type=int, help="of each; up to 256 are never cut (default: 200, and 1024)")
    parser.add_argument("--rate", type=int, default=200, help="what clients ask per second: three of four read")
    parser.add_argument("--limit", type=int, help="MiB that a device sends to others per second at most")
    parser.add_argument("--dir", type=pathlib.Path, help="where the data are (default: a temporary directory)")
    options = parser.parse_args()
    hosts, devices = (3, 2) if options.policy else (5, 1)
    count, kib = (20_000, 1024) if options.policy else (100_000, 200)
    count, kib = options.objects or count, options.kib or kib
    root = pathlib.Path(tempfile.mkdtemp(prefix="anello-rebuild-", dir=options.dir))
    cluster = None
    try:
        speed = disk_speed(root, hosts * devices)
        cluster = Cluster(root, options.anello.resolve(), hosts, devices, options.limit)
        if options.policy:
            cluster.command(0, "policy", "add", POLICY, options.policy)
            cluster.command(0, "policy", "default", POLICY)
        objects = ["--keys", count, "--size", f"{kib}KiB", "--keep"]
        cluster.load(0, *objects, "-c", 8, "--prepare-only")
        load = [*objects, "--no-prepare", "--mix", "get=3,put=1", "--rate", options.rate]
        load += ["--duration", f"{RUN_SECONDS}s"]
        before = [cluster.load(0, *load) for _ in range(RUNS_BEFORE)]
        cluster.wait_whole()
        lost = hosts - 1
        disk = cluster.disk(lost, devices - 1)
        bytes_lost = count * kib * 1024 * copies_per_byte(options.policy) / (hosts * devices)
        others = range(lost + bool(options.policy))
        epoch = cluster.epoch()
        cluster.end(lost)
        shutil.rmtree(disk)
        begun = time.time()
        if options.policy:
            cluster.start(lost)
            cluster.wait_ready(lost)
        else:
            cluster.command(0, "cluster", "remove", f"h{lost}", "--lost")
        written, during = cluster.written_by(others), []
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            is_over = threading.Event()
            clients = pool.submit(lambda: [during.append(cluster.load(0, *load)) for _ in iter(is_over.is_set, True)])
            # The map changes first, and again when everything has moved.
            while cluster.epoch() in (None, epoch) and time.time() < begun + PATIENCE_SECONDS:
                time.sleep(1)
            took, written = time.time() - begun, cluster.written_by(others) - written
            is_over.set()
            clients.result()
        cluster.wait_whole()
        by_clients = sum(it["bytes_per_second"] * report["seconds"] for report in during
                         for it in report["operations"] if it["operation"] == "put")
        print(f"{hosts * devices} devices, {options.policy or '3 replicas'}, {count} objects of {kib} KiB: "
              f"{bytes_lost / 1e9:.2f} GB were lost, which is the least that is to be written")
        print(f"everything is in place after {took:.1f} s: {bytes_lost / took / 1e6:.0f} MB/s made anew; "
              f"the disk copies {speed / 1e6:.0f} MB/s with as many files at a time ({bytes_lost / took / speed:.0%})")
        print(f"{written / 1e9:.2f} GB written meanwhile, of which clients wrote {by_clients / 1e9:.2f} GB, once each")
        show(before, during)
    finally:
        if cluster:
            cluster.stop()
        shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    main()
