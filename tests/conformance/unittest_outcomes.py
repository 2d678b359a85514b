"""Runs the tests of some modules, and of all below them, in a suite's own Python and writes how each ended, as JSON.

Arguments: names of modules with commas between, expression that a test's name must match, expression that it must not,
file to write.
"""

import importlib
import json
import pathlib
import pkgutil
import re
import sys
import unittest

OUTCOMES = {}


class Outcomes(unittest.TestResult):
    """Notes each test's end; a class whose set-up fails or skips counts as one test of its name."""

    def note(self, test, outcome, reason=""):
        # A test's attributes stand behind its name in brackets.
        name = re.sub(r"\[.*\]$", "", test.id())
        OUTCOMES.setdefault(name, (outcome, reason))
        print(".FS"["passed failed skipped".split().index(outcome)], end="", flush=True)

    def addSuccess(self, test):
        self.note(test, "passed")

    def addFailure(self, test, err=None, details=None):
        text = "\n".join(content.as_text() for name, content in (details or {}).items() if "traceback" in name)
        self.note(test, "failed", text or self._exc_info_to_string(err, test))

    addError = addFailure

    def addSkip(self, test, reason=None, details=None):
        self.note(test, "skipped", reason or "".join(content.as_text() for content in (details or {}).values()))


def tests(suite):
    for it in suite:
        if isinstance(it, unittest.TestSuite):
            yield from tests(it)
        else:
            yield it


def modules(names):
    for name in names:
        root = importlib.import_module(name)
        if not hasattr(root, "__path__"):
            yield root
            continue
        for it in pkgutil.walk_packages(root.__path__, f"{name}."):
            if not it.ispkg:
                yield importlib.import_module(it.name)


def main():
    names, wanted, unwanted, outcomes = sys.argv[1:]
    loader = unittest.TestLoader()
    for module in modules(names.split(",")):
        suite = loader.loadTestsFromModule(module)
        keep = (lambda name: re.search(wanted, name) and not (unwanted and re.search(unwanted, name)))
        chosen = unittest.TestSuite(test for test in tests(suite) if keep(test.id()))
        chosen.run(Outcomes())
    print(flush=True)
    pathlib.Path(outcomes).write_text(json.dumps(OUTCOMES))


main()
