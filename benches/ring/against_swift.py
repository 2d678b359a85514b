#!/usr/bin/env python3
"""The same ring work with Swift's swift-ring-builder and with `anello ring`, in one run, as ratios.

    benches/ring/against_swift.py --anello target/release/anello --swift VENV/bin/swift-ring-builder

2^18 partitions, 3 replicas, 1,000 devices (2 regions x 5 zones x 10 hosts x 10 devices): all are added and the
ring is balanced; then a device joins; then one is lost. Processor time and memory are those of the commands
themselves (wait4); balance, dispersion and moves are counted here, from both programs' ring files alike.
"""

import argparse
import array
import gzip
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict


class Cost:
    """What commands took: processor seconds, wall seconds, largest resident memory in MiB."""

    def __init__(self):
        self.cpu = self.wall = self.memory = 0.0

    def run(self, command, accepted=(0,)):
        started = time.monotonic()
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode not in accepted:
                output.seek(0)
                sys.exit(f"{command[:4]} ended with {process.returncode}: {output.read().decode()[-2000:]}")
        self.cpu += usage.ru_utime + usage.ru_stime
        self.wall += time.monotonic() - started
        self.memory = max(self.memory, usage.ru_maxrss / 1024)


class RingFile:
    """What stands in a ring file of version 1."""

    def __init__(self, path):
        with gzip.open(path) as source:
            magic, version, length = struct.unpack("!4sHI", source.read(10))
            assert (magic, version) == (b"R1NG", 1), path
            head = json.loads(source.read(length))
            assert head["byteorder"] == sys.byteorder == "little"
            partitions = 1 << (32 - head["part_shift"])
            self.rows = [array.array("H", source.read(2 * partitions)) for _ in range(head["replica_count"])]
        self.devices = {device["id"]: device for device in head["devs"] if device}

    def moves_from(self, old):
        """Replicas that are on a device which had none of their partition before."""
        return sum(len(set(new) - set(before)) for new, before in zip(zip(*self.rows), zip(*old.rows)))

    def balance(self):
        """Largest deviation of a device from its share by weight, in percent."""
        parts = Counter(device for row in self.rows for device in row)
        weight = sum(device["weight"] for device in self.devices.values())
        share = sum(len(row) for row in self.rows) / weight
        return max(abs(parts[i] / (d["weight"] * share) - 1) * 100 for i, d in self.devices.items() if d["weight"])

    def dispersion(self):
        """Replicas beyond those that a domain need hold (evenly divided, rounded up), in percent of all."""
        paths = {i: tuple((d["region"], d["zone"], d["ip"], i)[:n] for n in (1, 2, 3, 4)) for i, d in self.devices.items()}
        children = defaultdict(set)
        for path in paths.values():
            for tier in path:
                children[tier[:-1]].add(tier)
        most = {(): len(self.rows)}
        for tier in sorted(children, key=len):
            for child in children[tier]:
                most[child] = -(-most[tier] // len(children[tier]))
        at_risk = 0
        for row in zip(*self.rows):
            worst = [0] * 4
            for level in range(4):
                for tier, count in Counter(paths[device][level] for device in row).items():
                    worst[level] += max(0, count - most[tier])
            at_risk += max(worst)
        return 100 * at_risk / sum(len(row) for row in self.rows)


def place(number):
    """Device of that number; those past 1,000 join the hosts that are there."""
    zone, host, disk = number // 100 % 10, number // 10 % 10, number % 10 + number // 1000 * 10
    return f"r{1 + zone // 5}z{1 + zone}-10.0.{zone}.{host}:6200/disk{disk}"


class Swift:
    name = "Swift"

    def __init__(self, program, folder, options):
        self.program, self.builder = program, os.path.join(folder, "swift.builder")
        self.ring = os.path.join(folder, "swift.ring.gz")
        self.options = options

    def command(self, *arguments, accepted=(0,), cost=None):
        (cost or Cost()).run([self.program, self.builder, *map(str, arguments)], accepted)

    def create(self):
        self.command("create", self.options.part_power, self.options.replicas, 0)

    def add(self, numbers):
        self.command("add", *(word for number in numbers for word in (place(number), "4000")))

    def remove(self, number):
        self.command("remove", f"d{number}")

    def rebalance(self, cost):
        # 1 is a warning: balance or dispersion could be better.
        self.command("rebalance", "--seed", 1, "--format-version", 1, accepted=(0, 1), cost=cost)


class Anello:
    name = "Anello"

    def __init__(self, program, folder, options):
        self.program, self.builder = program, os.path.join(folder, "anello.builder")
        self.ring = os.path.join(folder, "anello.ring.gz")
        self.options = options

    def command(self, verb, *arguments, cost=None):
        (cost or Cost()).run([self.program, "ring", verb, self.builder, *map(str, arguments)])

    def create(self):
        self.command("create", "--part-power", self.options.part_power, "--replicas", self.options.replicas,
                     "--min-part-hours", 0)

    def add(self, numbers):
        self.command("add", *(word for number in numbers for word in (place(number), "4000")))

    def remove(self, number):
        self.command("remove", f"d{number}")

    def rebalance(self, cost):
        self.command("rebalance", "--seed", 1, cost=cost)


def job(tool, devices):
    """Runs the work; answers what each step cost and what the ring is like after it."""
    steps = []

    def step(name, change):
        change()
        cost = Cost()
        tool.rebalance(cost)
        steps.append((name, cost, RingFile(tool.ring)))

    tool.create()
    step("first balance", lambda: tool.add(range(devices)))
    step("a device joins", lambda: tool.add([devices]))
    step("a device is lost", lambda: tool.remove(devices // 2))
    return steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anello", required=True, help="the program anello, of a release build")
    parser.add_argument("--swift", default="swift-ring-builder", help="Swift's ring builder")
    parser.add_argument("--part-power", type=int, default=18)
    parser.add_argument("--replicas", type=int, default=3)
    parser.add_argument("--devices", type=int, default=1000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        ours = job(Anello(options.anello, folder, options), options.devices)
        theirs = job(Swift(options.swift, folder, options), options.devices)
    print(f"2^{options.part_power} partitions, {options.replicas} replicas, {options.devices} devices\n")
    print("| step | | CPU s | wall s | MiB | replicas moved | balance % | dispersion % |")
    print("|---|---|---|---|---|---|---|---|")
    for index, ((name, our_cost, our_ring), (_, their_cost, their_ring)) in enumerate(zip(ours, theirs)):
        for who, steps in (("Swift", theirs), ("Anello", ours)):
            _, cost, ring = steps[index]
            moved = ring.moves_from(steps[index - 1][2]) if index else sum(map(len, ring.rows))
            print(f"| {name} | {who} | {cost.cpu:.2f} | {cost.wall:.2f} | {cost.memory:.0f} | {moved} |"
                  f" {ring.balance():.3f} | {ring.dispersion():.3f} |")
        print(f"| | ratio | {their_cost.cpu / our_cost.cpu:.0f} | {their_cost.wall / our_cost.wall:.0f} |"
              f" {their_cost.memory / our_cost.memory:.1f} | | | |")


if __name__ == "__main__":
    main()
