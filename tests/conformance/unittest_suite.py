"""What the runners of suites that are Python packages share: where a suite comes from, and how its outcomes are judged.

A suite's list of passes holds the tests that have passed. One that no longer does fails the run; --update adds those
that newly pass. The list only grows.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def fetched(name, pins):
    """The suite's Python, from PyPI; other pins are another copy."""
    home = pathlib.Path(os.environ["ANELLO_CACHE"]) / f"{name}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:12]}"
    if not (home / "complete").exists():
        print("installing the suite and what it needs", flush=True)
        pip = [home / "bin" / "pip", "--quiet", "--disable-pip-version-check"]
        subprocess.run([sys.executable, "-m", "venv", "--clear", home], check=True)
        subprocess.run([*pip, "install", "--no-deps", "-r", pins], check=True)
        (home / "complete").touch()
    return home / "bin" / "python"


def outcomes(python, modules, selection, absent, work, env):
    """Outcome and reason of every test of some modules that `selection` finds and no expression of `absent` does."""
    file = pathlib.Path(work, "outcomes.json")
    command = [python, HERE / "unittest_outcomes.py", ",".join(modules), selection, "|".join(absent), file]
    subprocess.run(command, env=env, cwd=work, check=True)
    return json.loads(file.read_text())


def options(description):
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--update", action="store_true", help="add what newly passes to the list")
    parser.add_argument("--verbose", action="store_true", help="show why tests fail")
    parser.add_argument("selection", nargs="?", default="", metavar="REGEX", help="run only these")
    return parser.parse_args()


def judge(outcomes, passes, absent, options):
    """Prints what is worth knowing; the exit code."""
    passed = {name for name, (outcome, _) in outcomes.items() if outcome == "passed"}
    for name, (outcome, reason) in sorted(outcomes.items()):
        if outcome != "passed":
            lines = reason.strip().splitlines()
            print(f"{outcome}: {name}: " + ("\n".join(lines) if options.verbose else lines[-1] if lines else ""))
    listed = set(passes.read_text().split()) if passes.exists() else set()
    chosen = {name for name in listed if re.search(options.selection, name)}
    lost, gained = chosen - passed, passed - listed
    for title, names in ("no longer passes", lost), ("newly passes", gained):
        print("".join(f"{title}: {name}\n" for name in sorted(names)), end="")
    counts = {kind: sum(it[0] == kind for it in outcomes.values()) for kind in ("passed", "failed", "skipped")}
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()), end="")
    print(f"; not run: {', '.join(f'{name} ({why})' for name, why in absent.items()) or 'none'}")
    print(f"{len(listed)} are listed, {len(lost)} lost, {len(gained)} new")
    if options.update and gained:
        passes.write_text("".join(f"{name}\n" for name in sorted(listed | gained)))
    return 1 if lost else 0
