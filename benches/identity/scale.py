#!/usr/bin/env python3
"""What identity costs with many users and projects: start-up, memory, lists, log-ins.

    benches/identity/scale.py ANELLO DIRECTORY [--users 100000] [--projects 10000]

Fills a fresh DIRECTORY through the API (users without a password but the hundredth, whose hashes would take most of the
time), starts the server again and measures. Prints one JSON object.
"""

import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import signal
import statistics
import subprocess
import threading
import time
import urllib.parse

WORKERS = 32
PASSWORD = "pass word"


class Server:
    """The store on free ports; `openrc` says how to log in."""

    def __init__(self, program, directory):
        started = time.monotonic()
        command = [program, "serve", "--data", directory, "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"]
        self.log = open(pathlib.Path(directory).with_suffix(".log"), "a")
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log)
        while True:
            asked = subprocess.run([program, "status", "--json", "--data", directory], capture_output=True, text=True)
            if asked.returncode == 0 and json.loads(asked.stdout)["state"] == "ready":
                break
            if self.process.poll() is not None:
                raise SystemExit("the server ended while it started")
            time.sleep(0.02)
        self.ready_seconds = time.monotonic() - started
        listeners = json.loads(asked.stdout)["listeners"]
        url = urllib.parse.urlsplit(next(it["url"] for it in listeners if "Keystone" in it["name"]))
        self.host, self.port = url.hostname, url.port
        self.local = threading.local()
        text = (pathlib.Path(directory) / "credentials" / "openrc").read_text()
        lines = (line.removeprefix("export ").split("=", 1) for line in text.splitlines())
        self.openrc = {name: value.strip("'") for name, value in lines}
        self.token = self.login("admin", self.openrc["OS_PASSWORD"], "admin")

    def call(self, method, path, body=None, token=None):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection(self.host, self.port)
        headers = {"Content-Type": "application/json", "X-Auth-Token": token or getattr(self, "token", "")}
        self.local.connection.request(method, "/identity/v3" + path, body and json.dumps(body), headers)
        answer = self.local.connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {data[:300]}")
        return answer, json.loads(data or "{}")

    def login(self, user, password, project):
        who = {"name": user, "password": password, "domain": {"id": "default"}}
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": who}}
        answer, _ = self.call("POST", "/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
        return answer.headers["X-Subject-Token"]

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def fill(server, users, projects):
    def project(number):
        body = {"project": {"name": f"project-{number:06}", "domain_id": "default"}}
        return server.call("POST", "/projects", body)[1]["project"]["id"]

    def user(number):
        body = {"user": {"name": f"user-{number:06}", "domain_id": "default"}}
        if number % 100 == 0:
            body["user"]["password"] = PASSWORD
        made = server.call("POST", "/users", body)[1]["user"]["id"]
        where = ids[number % projects]
        server.call("PUT", f"/projects/{where}/users/{made}/roles/{role}")

    role = server.call("GET", "/roles?name=member")[1]["roles"][0]["id"]
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        ids = list(pool.map(project, range(projects)))
        # The admin's token lives an hour.
        list(pool.map(user, range(users), chunksize=100))


def timed(what, times=20):
    """Median milliseconds."""
    def one():
        started = time.perf_counter()
        what()
        return (time.perf_counter() - started) * 1000

    return round(statistics.median(one() for _ in range(times)), 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("directory")
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--projects", type=int, default=10_000)
    options = parser.parse_args()
    os.makedirs(options.directory, exist_ok=False)
    server = Server(options.program, options.directory)
    empty_ms, empty_bytes = round(server.ready_seconds * 1000), server.resident_bytes()
    started = time.monotonic()
    fill(server, options.users, options.projects)
    filled = time.monotonic() - started
    server.stop()
    server = Server(options.program, options.directory)
    middle = f"user-{options.users // 200 * 100:06}"
    home = f"project-{options.users // 200 * 100 % options.projects:06}"
    print(json.dumps({
        "users": options.users,
        "projects": options.projects,
        "filled_seconds": round(filled, 1),
        "first_start_ms": empty_ms,
        "first_start_bytes": empty_bytes,
        "start_ms": round(server.ready_seconds * 1000),
        "resident_bytes": server.resident_bytes(),
        "user_by_name_ms": timed(lambda: server.call("GET", f"/users?name={middle}")),
        "users_by_prefix_ms": timed(lambda: server.call("GET", "/users?name__startswith=user-0500")),
        "page_of_1000_ms": timed(lambda: server.call("GET", "/users?limit=1000")),
        "login_ms": timed(lambda: server.login(middle, PASSWORD, home)),
        "validation_ms": timed(lambda: server.call("GET", "/auth/projects"), 200),
    }, indent=1))
    server.stop()


if __name__ == "__main__":
    main()
