"""The administrator's session with Keystone, in which suites make their users."""

import json
import os
import urllib.parse
import urllib.request


class Keystone:
    """Whom the OS_* variables name."""

    def __init__(self):
        self.url, self.token = os.environ["OS_AUTH_URL"], ""
        domain = {"name": os.environ["OS_USER_DOMAIN_NAME"]}
        user = {"name": os.environ["OS_USERNAME"], "password": os.environ["OS_PASSWORD"], "domain": domain}
        scope = {"project": {"name": os.environ["OS_PROJECT_NAME"], "domain": domain}}
        identity = {"methods": ["password"], "password": {"user": user}}
        answer, _ = self.call("POST", "auth/tokens", {"auth": {"identity": identity, "scope": scope}})
        self.token = answer.headers["X-Subject-Token"]

    def call(self, method, path, body=None):
        headers = {"Content-Type": "application/json", "X-Auth-Token": self.token}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            return answer, json.loads(answer.read() or "{}")

    def id_of(self, kind, name, **fields):
        """The id of a named thing, which is made if it is not there."""
        _, found = self.call("GET", f"{kind}s?{urllib.parse.urlencode({'name': name, **fields})}")
        if found[f"{kind}s"]:
            return found[f"{kind}s"][0]["id"]
        _, made = self.call("POST", f"{kind}s", {kind: {"name": name, **fields}})
        return made[kind]["id"]
