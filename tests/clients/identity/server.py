"""A server of Anello on free ports of this host, and requests to its identity service as its administrator."""

import http.client
import json
import pathlib
import signal
import subprocess
import sys
import threading
import time


class Server:
    """Started by the constructor, which waits until it is ready. `config` is a configuration file; what the server says
    goes to DIRECTORY.log. Threads may ask at the same time, each on a connection of its own."""

    def __init__(self, program, directory, config=None):
        started = time.monotonic()
        command = [program, "serve", "--data", directory, "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"]
        if config:
            command += ["--config", config]
        with open(f"{directory}.log", "a") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        while True:
            asked = subprocess.run([program, "status", "--json", "--data", directory], capture_output=True, text=True)
            if asked.returncode == 0 and json.loads(asked.stdout)["state"] == "ready":
                break
            if self.process.poll() is not None:
                sys.exit(f"the server ended while it started; see {directory}.log")
            time.sleep(0.02)
        self.ready_seconds = time.monotonic() - started
        url = next(it["url"] for it in json.loads(asked.stdout)["listeners"] if "Keystone" in it["name"])
        self.address, self.local, self.token = url.rpartition("/")[2], threading.local(), ""
        lines = (pathlib.Path(directory) / "credentials" / "openrc").read_text().splitlines()
        self.password = next(line.split("=", 1)[1].strip("'") for line in lines if "OS_PASSWORD" in line)
        self.token = self.login("admin", self.password, "admin")

    def call(self, method, path, body=None):
        """Status, headers and JSON of a request below `/v3`."""
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection(self.address, timeout=30)
        headers = {"Content-Type": "application/json", "X-Auth-Token": self.token}
        self.local.connection.request(method, "/identity/v3" + path, body and json.dumps(body), headers)
        answer = self.local.connection.getresponse()
        data = answer.read()
        return answer.status, answer.headers, json.loads(data or "{}")

    def want(self, method, path, body=None):
        """JSON of a request that has to succeed."""
        status, _, answer = self.call(method, path, body)
        if status >= 300:
            sys.exit(f"{method} {path}: {status} {json.dumps(answer)[:300]}")
        return answer

    def login(self, user, password, project):
        """A token of a user of the default domain for a project there."""
        who = {"name": user, "password": password, "domain": {"id": "default"}}
        scope = {"project": {"name": project, "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": who}}
        status, headers, _ = self.call("POST", "/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
        if status != 201:
            sys.exit(f"{user} does not get in: {status}")
        return headers["X-Subject-Token"]

    def resident_bytes(self):
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def kill(self):
        self.process.kill()
        self.process.wait()
