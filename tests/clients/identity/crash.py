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
import sys
import threading

from server import Server

WORKERS = 8


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
