#!/usr/bin/env python3
"""Measures Anello and its peers with the same load on this machine in one run, and prints the ratios.

    benches/peers/run.py --anello target/release/anello --swift DIR --weed FILE --garage FILE [--only NAME …]
    benches/peers/run.py --anello target/release/anello --swift DIR --replicas 3

`--swift` is the folder of Swift's commands (a virtualenv's bin). A peer that is not named is left out.
Figures that hold on a shared machine are CPU per operation, flushes and bytes per operation, and the
ratios; operations per second and latencies stand beside them.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import servers

# name, arguments of `anello bench`, unit of work (bytes of one operation, or 0)
LOADS = [
    ("PUT 4 KiB, 32 clients", ["--mix", "put=1", "--size", "4KiB", "-c", "32"], 4096),
    ("PUT 4 KiB, 1 client", ["--mix", "put=1", "--size", "4KiB", "-c", "1"], 4096),
    ("GET 4 KiB, 32 clients", ["--mix", "get=1", "--size", "4KiB", "-c", "32", "--keys", "2000"], 4096),
    ("GET 4 KiB, 1 client", ["--mix", "get=1", "--size", "4KiB", "-c", "1", "--keys", "2000"], 4096),
    ("HEAD, 32 clients", ["--mix", "head=1", "--size", "4KiB", "-c", "32", "--keys", "2000"], 0),
    ("DELETE, 32 clients", ["--mix", "delete=1", "--size", "4KiB", "-c", "32", "--keys", "4000", "--count", "4000",
                            "--warm-up", "0s"], 0),
    ("LIST 10,000 keys", ["--mix", "list=1", "--size", "1KiB", "-c", "1", "--keys", "10000", "--list-keys", "10000"], 0),
    ("PUT 128 KiB, 32 clients", ["--mix", "put=1", "--size", "128KiB", "-c", "32"], 128 << 10),
    ("GET 128 KiB, 32 clients", ["--mix", "get=1", "--size", "128KiB", "-c", "32", "--keys", "500"], 128 << 10),
    ("PUT 128 KiB, 1 client", ["--mix", "put=1", "--size", "128KiB", "-c", "1"], 128 << 10),
    ("GET 128 KiB, 1 client", ["--mix", "get=1", "--size", "128KiB", "-c", "1", "--keys", "500"], 128 << 10),
    ("PUT 1 MiB, 32 clients", ["--mix", "put=1", "--size", "1MiB", "-c", "32"], 1 << 20),
    ("GET 1 MiB, 32 clients", ["--mix", "get=1", "--size", "1MiB", "-c", "32", "--keys", "200"], 1 << 20),
    ("PUT 1 MiB, 1 client", ["--mix", "put=1", "--size", "1MiB", "-c", "1"], 1 << 20),
    ("GET 1 MiB, 1 client", ["--mix", "get=1", "--size", "1MiB", "-c", "1", "--keys", "200"], 1 << 20),
    ("PUT 64 MiB, 1 client", ["--mix", "put=1", "--size", "64MiB", "-c", "1"], 64 << 20),
    ("GET 64 MiB, 1 client", ["--mix", "get=1", "--size", "64MiB", "-c", "1", "--keys", "8"], 64 << 20),
    ("PUT 64 MiB, 32 clients", ["--mix", "put=1", "--size", "64MiB", "-c", "32", "--count", "64"], 64 << 20),
    ("GET 64 MiB, 32 clients", ["--mix", "get=1", "--size", "64MiB", "-c", "32", "--keys", "8", "--count", "128"], 64 << 20),
]


def measure(anello, server, seconds, loads, out):
    figures = {}
    for number, (name, arguments, _) in enumerate(loads):
        result = out / f"{server.name}-{number}.json"
        length = [] if "--count" in arguments else ["--duration", f"{seconds}s"]
        command = [anello, "bench", *server.bench_args, "--container", f"bench-{number}", *arguments, *length, "--quiet",
                   "--json", result]
        for pid in server.pids:
            command += ["--server-pid", str(pid)]
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        if done.returncode:
            print(f"{server.name}: {name}: {done.stderr.strip()[-300:]}", file=sys.stderr)
            continue
        figures[name] = json.loads(result.read_text())
        print(f"{server.name}: {name}: done", file=sys.stderr)
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anello", required=True)
    parser.add_argument("--swift")
    parser.add_argument("--weed")
    parser.add_argument("--garage")
    parser.add_argument("--replicas", type=int, default=1, help="of Anello and Swift, each on a device of its own")
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--only", nargs="*", help="loads whose name contains one of these")
    parser.add_argument("--dir", help="where the servers keep their data (default: a temporary directory)")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("bench-results"))
    options = parser.parse_args()
    if options.replicas > 1 and (options.weed or options.garage):
        parser.error("several replicas are for Anello and Swift")
    options.out.mkdir(parents=True, exist_ok=True)
    loads = [load for load in LOADS if not options.only or any(word in load[0] for word in options.only)]
    starts = [lambda home: servers.Anello(home, options.anello, options.replicas)]
    if options.swift:
        starts.append(lambda home: servers.Swift(home, options.swift, options.replicas))
    if options.weed:
        starts.append(lambda home: servers.SeaweedFS(home, options.weed))
    if options.garage:
        starts.append(lambda home: servers.Garage(home, options.garage))
    results = {}
    with tempfile.TemporaryDirectory(dir=options.dir) as home:
        for start in starts:
            server = start(home)
            try:
                results[server.name] = measure(options.anello, server, options.seconds, loads, options.out)
            finally:
                server.stop()
    (options.out / "peers.json").write_text(json.dumps(results, indent=1))
    from table import table  # beside this file
    print(table(results, loads))


if __name__ == "__main__":
    main()
