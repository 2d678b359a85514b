#!/usr/bin/env python3
"""What identity costs with many users and projects: start-up, memory, lists, log-ins.

    benches/identity/scale.py ANELLO DIRECTORY [--users 100000] [--projects 10000]

Fills a fresh DIRECTORY through the API (users without a password but the hundredth, whose hashes would take most of the
time), starts the server again and measures. Prints one JSON object.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import statistics
import sys
import time

sys.path.append(str(pathlib.Path(__file__).parents[2] / "tests/clients/identity"))

from server import Server

WORKERS = 32
PASSWORD = "pass word"


def fill(server, users, projects):
    def project(number):
        body = {"project": {"name": f"project-{number:06}", "domain_id": "default"}}
        return server.want("POST", "/projects", body)["project"]["id"]

    def user(number):
        body = {"user": {"name": f"user-{number:06}", "domain_id": "default"}}
        if number % 100 == 0:
            body["user"]["password"] = PASSWORD
        made = server.want("POST", "/users", body)["user"]["id"]
        where = ids[number % projects]
        server.want("PUT", f"/projects/{where}/users/{made}/roles/{role}")

    role = server.want("GET", "/roles?name=member")["roles"][0]["id"]
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
        "user_by_name_ms": timed(lambda: server.want("GET", f"/users?name={middle}")),
        "users_by_prefix_ms": timed(lambda: server.want("GET", "/users?name__startswith=user-0500")),
        "page_of_1000_ms": timed(lambda: server.want("GET", "/users?limit=1000")),
        "login_ms": timed(lambda: server.login(middle, PASSWORD, home)),
        "validation_ms": timed(lambda: server.want("GET", "/auth/projects"), 200),
    }, indent=1))
    server.stop()


if __name__ == "__main__":
    main()
