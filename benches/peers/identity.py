#!/usr/bin/env python3
"""Tokens per second and CPU per token, of Anello and of Keystone in one run.

    benches/peers/identity.py --anello PROGRAM --keystone VENV/bin [--seconds 8]

VENV has `pip install keystone uwsgi`. Keystone runs as its documentation says: uWSGI with two processes, Fernet tokens,
SQLite, its caches in memory, bcrypt with its default cost. Each server is asked by eight kept-alive connections of this
program, which is slower than Anello: the CPU time of the servers' processes per request is the figure, the rate is
what was reached. Prints a table.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(str(pathlib.Path(__file__).parents[2] / "tests/clients/identity"))

from server import Server

CONNECTIONS = 8
PASSWORD = "a pass word"
TICKS = os.sysconf("SC_CLK_TCK")


def children(pid):
    """A process and all below it."""
    found = [pid]
    for entry in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in entry.read_text().split():
            found += children(int(child))
    return found


def cpu_seconds(pid):
    total = 0
    for one in children(pid):
        fields = pathlib.Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


class Anello(Server):
    name, prefix = "anello", "/identity/v3"

    def __init__(self, program, work):
        super().__init__(program, pathlib.Path(work, "anello"))


class Keystone:
    name = "keystone"

    def __init__(self, venv, work):
        home = pathlib.Path(work, "keystone")
        home.mkdir()
        self.password = PASSWORD
        config = home / "keystone.conf"
        config.write_text(
            f"[DEFAULT]\nlog_file = {home}/log\n[database]\nconnection = sqlite:///{home}/db\n"
            f"[fernet_tokens]\nkey_repository = {home}/fernet\n[fernet_receipts]\nkey_repository = {home}/receipts\n"
            f"[credential]\nkey_repository = {home}/credential\n"
            "[cache]\nenabled = true\nbackend = dogpile.cache.memory\n[token]\nprovider = fernet\n"
        )
        manage = [f"{venv}/keystone-manage", "--config-file", config]
        for words in (
            ["db_sync"],
            ["fernet_setup", "--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())],
            ["credential_setup", "--keystone-user", str(os.getuid()), "--keystone-group", str(os.getgid())],
            ["bootstrap", "--bootstrap-password", PASSWORD, "--bootstrap-region-id", "RegionOne",
             "--bootstrap-public-url", "http://127.0.0.1:5000/v3"],
        ):
            subprocess.run([*manage, *words], check=True, capture_output=True)
        self.address, self.prefix = "127.0.0.1:15000", "/v3"
        wsgi = home / "wsgi.py"
        wsgi.write_text("from keystone.server.wsgi import initialize_public_application\n"
                        "application = initialize_public_application()\n")
        command = [f"{venv}/uwsgi", "--http-socket", self.address, "--wsgi-file", wsgi, "--master", "--processes", "2",
                   "--die-on-term", "--disable-logging", "--http-keepalive", "--so-keepalive", "--buffer-size", "65535",
                   "--add-header", "Connection: close"]
        env = {**os.environ, "OS_KEYSTONE_CONFIG_FILES": str(config)}
        log = open(home / "uwsgi.log", "w")
        self.process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        for _ in range(600):
            try:
                connection = http.client.HTTPConnection(self.address)
                connection.request("GET", "/v3")
                if connection.getresponse().status == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit("Keystone does not answer")


class Client:
    """Connections to one server, one per thread."""

    def __init__(self, server):
        self.server, self.local = server, threading.local()

    def call(self, method, path, body=None, headers=None):
        for attempt in range(3):
            if not hasattr(self.local, "connection"):
                self.local.connection = http.client.HTTPConnection(self.server.address)
            try:
                self.local.connection.request(method, self.server.prefix + path, body and json.dumps(body),
                                              {"Content-Type": "application/json", **(headers or {})})
                answer = self.local.connection.getresponse()
                data = answer.read()
            except (http.client.HTTPException, OSError):
                # A server that closes after each answer may be met closing.
                del self.local.connection
                if attempt == 2:
                    raise
                continue
            if answer.status >= 300:
                raise SystemExit(f"{method} {path}: {answer.status} {data[:300]}")
            return answer, data

    def issue(self):
        user = {"name": "admin", "password": self.server.password, "domain": {"id": "default"}}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": user}}
        answer, _ = self.call("POST", "/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
        return answer.headers["X-Subject-Token"]

    def validate(self, own, subject):
        self.call("GET", "/auth/tokens", headers={"X-Auth-Token": own, "X-Subject-Token": subject})


def measured(server, seconds, work):
    """Rate, and server CPU per request in microseconds."""
    stop = time.monotonic() + seconds

    def loop(number):
        count = 0
        while time.monotonic() < stop:
            work(number * 1_000_000 + count)
            count += 1
        return count

    before, started = cpu_seconds(server.process.pid), time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        count = sum(pool.map(loop, range(CONNECTIONS)))
    elapsed = time.monotonic() - started
    return count / elapsed, (cpu_seconds(server.process.pid) - before) / count * 1e6


def figures(server, seconds):
    client = Client(server)
    own = client.issue()
    subjects = [client.issue() for _ in range(20)]
    return {
        "validate one token": measured(server, seconds, lambda _: client.validate(own, subjects[0])),
        "validate 20 tokens in turn": measured(server, seconds, lambda n: client.validate(own, subjects[n % 20])),
        "issue (password, project)": measured(server, seconds, lambda _: client.issue()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--anello", required=True)
    parser.add_argument("--keystone", required=True, help="the venv's bin directory")
    parser.add_argument("--seconds", type=float, default=8)
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as work:
        for make in (lambda: Anello(options.anello, work), lambda: Keystone(options.keystone, work)):
            server = make()
            try:
                results[server.name] = figures(server, options.seconds)
            finally:
                server.process.send_signal(signal.SIGTERM)
                server.process.wait()
    print("| work | anello | CPU | keystone | CPU | CPU ratio |\n|---|---|---|---|---|---|")
    for name, (rate, cpu) in results["anello"].items():
        peer_rate, peer_cpu = results["keystone"][name]
        print(f"| {name} | {rate:,.0f}/s | {cpu:,.0f} µs | {peer_rate:,.0f}/s | {peer_cpu:,.0f} µs | {peer_cpu / cpu:.1f} |")


if __name__ == "__main__":
    sys.exit(main())
