#!/usr/bin/env python3
"""Kills a server with -9 in the middle of creations and deletions of users, again and again, and looks what is left.

    tests/clients/identity/crash.py ANELLO DIRECTORY [--rounds 20] [--operations 1000] [--database URL]

After each kill and start: what was acknowledged is as it was acknowledged; what was not is whole or not there; every
name that no user has can be had. Ends with 0 when all of it held.
"""

import argparse
import concurrent.futures
import http.client
import json
import pathlib
import random
import subprocess
import sys
import threading
import time

WORKERS = 8


class Server:
    def __init__(self, program, directory, config):
        command = [program, "serve", "--data", directory, "--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"]
        if config:
            command += ["--config", config]
        self.log = open(f"{directory}.log", "a")
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=self.log)
        while True:
            asked = subprocess.run([program, "status", "--json", "--data", directory], capture_output=True, text=True)
            if asked.returncode == 0 and json.loads(asked.stdout)["state"] == "ready":
                break
            if self.process.poll() is not None:
                sys.exit(f"the server ended while it started; see {directory}.log")
            time.sleep(0.02)
        url = next(it["url"] for it in json.loads(asked.stdout)["listeners"] if "Keystone" in it["name"])
        self.address, self.local, self.token = url.rpartition("/")[2], threading.local(), ""
        lines = (pathlib.Path(directory) / "credentials" / "openrc").read_text().splitlines()
        password = next(line.split("=", 1)[1].strip("'") for line in lines if "OS_PASSWORD" in line)
        who = {"name": "admin", "password": password, "domain": {"id": "default"}}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        identity = {"methods": ["password"], "password": {"user": who}}
        _, headers, _ = self.call("POST", "/auth/tokens", {"auth": {"identity": identity, "scope": scope}})
        self.token = headers["X-Subject-Token"]

    def call(self, method, path, body=None):
        if not hasattr(self.local, "connection"):
            self.local.connection = http.client.HTTPConnection(self.address, timeout=30)
        headers = {"Content-Type": "application/json", "X-Auth-Token": self.token}
        self.local.connection.request(method, "/identity/v3" + path, body and json.dumps(body), headers)
        answer = self.local.connection.getresponse()
        data = answer.read()
        return answer.status, answer.headers, json.loads(data or "{}")

    def kill(self):
        self.process.kill()
        self.process.wait()


def operate(server, names, known, kill_after):
    """Creates and deletes users by these names until the server is gone. `known` is what was acknowledged: an id, None
    for deleted, and "?" while an answer is awaited."""
    done, killed = [0], threading.Event()

    def work(own):
        try:
            for name in own:
                if killed.is_set():
                    return
                before = known.get(name)
                known[name] = "?"
                if before:
                    status, _, _ = server.call("DELETE", f"/users/{before}")
                    assert status == 204, status
                    known[name] = None
                else:
                    status, _, answer = server.call("POST", "/users", {"user": {"name": name, "domain_id": "default"}})
                    assert status == 201, (status, answer)
                    known[name] = answer["user"]["id"]
                done[0] += 1
                if done[0] == kill_after:
                    killed.set()
                    server.kill()
        except (OSError, http.client.HTTPException):
            if not killed.is_set():
                raise

    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for result in [pool.submit(work, names[number::WORKERS]) for number in range(WORKERS)]:
            result.result()
    if not killed.is_set():
        server.kill()
    return done[0]


def check(server, known):
    """What is wrong, as text."""
    wrong = []
    _, _, answer = server.call("GET", "/users?name__startswith=crash-")
    there = {}
    for user in answer["users"]:
        if user["name"] in there:
            wrong.append(f"two users are called {user['name']}")
        there[user["name"]] = user["id"]
        status, _, _ = server.call("GET", f"/users/{user['id']}")
        if status != 200:
            wrong.append(f"{user['name']} is listed and answers {status}")
    for name, state in known.items():
        if state == "?":
            # Nobody was told: either is right, and counts from now on.
            known[name] = there.get(name)
            if name not in there:
                status, _, made = server.call("POST", "/users", {"user": {"name": name, "domain_id": "default"}})
                if status != 201:
                    wrong.append(f"the name {name} is taken by nobody: {status}")
                known[name] = made.get("user", {}).get("id")
        elif there.get(name) != state:
            wrong.append(f"{name} was acknowledged as {state} and is {there.get(name)}")
    for name in there:
        if name not in known:
            wrong.append(f"{name} was never asked for")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("directory")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--operations", type=int, default=1000)
    parser.add_argument("--database", help="where identity's records are, if not in the store")
    options = parser.parse_args()
    config = None
    if options.database:
        config = f"{options.directory}.toml"
        pathlib.Path(config).write_text(f"[identity]\ndatabase = {json.dumps(options.database)}\n")
    known, failures, total = {}, [], 0
    server = Server(options.program, options.directory, config)
    for number in range(options.rounds):
        names = [f"crash-{number % 3}-{it}" for it in range(options.operations)]
        kill_after = random.randrange(1, options.operations)
        done = operate(server, names, known, kill_after)
        total += done
        server = Server(options.program, options.directory, config)
        wrong = check(server, known)
        print(f"round {number + 1}: killed after {done} operations, {len(wrong)} wrong", flush=True)
        failures += wrong
    server.kill()
    print("\n".join(failures[:20]))
    print(f"{options.rounds} kills, {total} acknowledged operations, {len(failures)} wrong")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
