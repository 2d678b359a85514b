"""The openstack command: runs it, reads what it shows, and notes what was wrong and which commands were run."""

import json
import os
import re
import subprocess
import urllib.error
import urllib.request
import uuid

OPENSTACK = os.environ.get("OPENSTACK", "openstack")
SUFFIX = uuid.uuid4().hex[:8]
FAILED = []
RUN = []


def run(*words, env=None, fails=False):
    """Output of `openstack <words>`; with `fails`, the error text of a command that has to fail."""
    RUN.append(words)
    done = subprocess.run([OPENSTACK, *words], capture_output=True, text=True, env={**os.environ, **(env or {})})
    if fails:
        check(done.returncode != 0, f"openstack {' '.join(words)} should have failed")
        return done.stderr
    if done.returncode != 0:
        raise SystemExit(f"openstack {' '.join(words)} failed:\n{done.stderr}")
    return done.stdout


def shown(*words, env=None):
    """What a command shows, as JSON."""
    found = json.loads(run(*words, "-f", "json", env=env))
    # Some commands name their columns for people ("Project ID"), most by the field.
    return {key.lower().replace(" ", "_"): value for key, value in found.items()} if isinstance(found, dict) else found


def check(holds, what):
    print(("ok    " if holds else "FAILED ") + what, flush=True)
    if not holds:
        FAILED.append(what)


def name(kind):
    return f"{kind}-{SUFFIX}"


def request(method, path, token=None, body=None, headers=None):
    """Status, headers and JSON of a request below the address of the service, without the client."""
    data = None if body is None else json.dumps(body).encode()
    url = re.sub(r"/v3/?$", "", os.environ["OS_AUTH_URL"]) + path
    call = urllib.request.Request(url, data=data, method=method)
    for key, value in {"Content-Type": "application/json", "X-Auth-Token": token, **(headers or {})}.items():
        if value is not None:
            call.add_header(key, value)
    try:
        answer = urllib.request.urlopen(call)
    except urllib.error.HTTPError as error:
        answer = error
    text = answer.read()
    return answer.status, answer.headers, json.loads(text) if text else None
