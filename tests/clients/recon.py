"""swift-recon, Swift's own tool, asks the running server by a ring that names its gateway: every check gets an answer
that it understands."""

import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.parse

from swift.common.ring import RingBuilder

# What each kind of server is asked; the figures that a server of one device has before any pass are few.
CHECKS = {
    "object": ["async", "replication", "reconstruction", "updater", "auditor", "expirer"],
    "container": ["replication", "updater", "auditor", "sharding"],
    "account": ["replication", "auditor"],
}
ALL = ["unmounted", "diskusage", "loadstats", "quarantined", "sockstat", "time", "driveaudit", "swift-versions"]


def make_ring(directory, kind, host, port):
    builder = RingBuilder(4, 1, 0)
    builder.add_dev(
        {"id": 0, "region": 1, "zone": 1, "ip": host, "port": port, "device": "d0", "weight": 1.0,
         "replication_ip": host, "replication_port": port}
    )
    builder.rebalance()
    builder.get_ring().save(str(directory / f"{kind}.ring.gz"))


def main():
    gateway = urllib.parse.urlparse(os.environ["OS_AUTH_URL"])
    program = pathlib.Path(sys.executable).with_name("swift-recon")
    with tempfile.TemporaryDirectory() as work:
        directory = pathlib.Path(work)
        (directory / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = anello\n")
        for kind, checks in CHECKS.items():
            make_ring(directory, kind, gateway.hostname, gateway.port)
            for check in checks + ALL:
                command = [program, kind, "--swiftdir", directory, f"--{check}"]
                told = subprocess.run(command, capture_output=True, text=True, check=False)
                text = told.stdout + told.stderr
                faults = ("Traceback", "HTTP Error", "No hosts available", "urlopen error", "-> http")
                assert told.returncode == 0 and not any(fault in text for fault in faults), f"{kind} {check}: {text}"
                if check == "diskusage":
                    assert "Disk usage: space used:" in text, text
                if check == "loadstats":
                    assert "[1m_load_avg] low:" in text, text
                if check == "time":
                    assert "1/1 hosts matched" in text, text
    print("swift-recon understands every answer")


if __name__ == "__main__":
    main()
