"""Requests that are too long, too deep, no JSON, or of a method that is none."""

from cloud import IDENTITY, Person, ask, by_password, log_in, must, send

TITLE = "Bodies, methods, headers"


def attacks(cloud):
    admin = cloud.admin

    def user(**fields):
        return ask("POST", "/users", admin, {"user": {"name": "body", "domain_id": cloud.red, **fields}})

    def raw(data):
        return ask("POST", "/users", admin, data)

    yield "a body of 200 KB", "413", user(note="x" * 200_000)
    chunk = b"%x\r\n%s\r\n" % (65536, b" " * 65536)
    yield "a body of 256 KB in chunks, its length unsaid", "413", send(
        "POST", f"{IDENTITY.path}/v3/users", [("X-Auth-Token", admin), ("Transfer-Encoding", "chunked")], chunk * 4 + b"0\r\n\r\n")
    yield "a log-in of 200 KB without a token", "413", ask("POST", "/auth/tokens", None, b"x" * 200_000)
    yield "a name of 256 letters", "400", user(name="n" * 256)
    yield "an empty name", "400", user(name="")
    yield "a name of spaces", "400", user(name="   ")
    yield "a name with NUL", "400", user(name="a\0b")
    yield "a password of 5,000 letters", "400", user(password="p" * 5000)
    yield "a password of 5,000 letters at a log-in", "400", log_in(by_password(cloud.member.id, "p" * 5000))
    yield "lists in lists, 50,000 deep", "400", raw(b'{"user":{"name":' + b"[" * 50_000 + b"]" * 50_000 + b"}}")
    yield "objects in objects, 10,000 deep", "400", raw(b'{"user":' * 10_000 + b"1" + b"}" * 10_000)
    yield "no JSON", "400", raw(b"user=body")
    yield "half of a JSON", "400", raw(b'{"user": {"name": "bo')
    yield "an empty body", "400", raw(b"")
    yield "a JSON that is no object", "400", raw(b'[{"user": {}}]')
    yield "two JSONs", "400", raw(b'{"user": {"name": "a"}}{"user": {"name": "b"}}')
    yield "bytes that are no UTF-8", "400", raw(b'{"user": {"name": "\xff\xfe", "domain_id": "default"}}')
    yield "UTF-16", "400", raw('{"user": {"name": "a"}}'.encode("utf-16"))
    yield "half of a surrogate pair", "400", raw(b'{"user": {"name": "\\ud800", "domain_id": "default"}}')
    yield "the number 1e999", "400", raw(b'{"user": {"name": "a", "domain_id": "default", "note": 1e999}}')
    for what, fields in [("a number for a name", {"name": 5}), ("a list for a name", {"name": ["a"]}), ("null for a name", {"name": None}),
                         ("an object for a domain", {"domain_id": {"id": "default"}}), ("a text for `enabled`", {"enabled": "true"}),
                         ("a list for options", {"options": []}), ("a number for a password", {"password": 12345678})]:
        yield what, "400", user(**fields)
    for what, auth in [("no methods", {"identity": {"methods": []}}), ("a method that is none", {"identity": {"methods": ["magic"]}}),
                       ("methods that are no list", {"identity": {"methods": "password"}}), ("no identity", {}), ("a list for a user", {
                           "identity": {"methods": ["password"], "password": {"user": []}}})]:
        answer = ask("POST", "/auth/tokens", body={"auth": auth})
        yield f"a log-in with {what}", "401" if "none" in what else "400", answer
    yield "a log-in with 5,000 methods", "400", log_in({"methods": ["password"] * 5000, **by_password(cloud.member.id)["password"]})
    yield "`limit=-1`", "400", ask("GET", "/users?limit=-1", admin)
    yield "`limit` of 30 digits", "400", ask("GET", "/users?limit=" + "9" * 30, admin)
    yield "a path of 100 KB", "414", ask("GET", "/users/" + "a" * 100_000, admin)
    yield "a header of 100 KB", "431", ask("GET", "/users", admin, headers=[("X-Long", "a" * 100_000)])
    yield "1,000 headers", "431", ask("GET", "/users", admin, headers=[(f"X-{n}", "a") for n in range(1000)])

    victim = Person(cloud, "victim", cloud.red, cloud.red_project, "member")
    path = f"/users/{victim.id}"
    for header in "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override":
        ask("POST", path, admin, headers=[(header, "DELETE")])
        ask("GET", path, admin, headers=[(header, "DELETE")])
        yield f"`{header}: DELETE`", "is ignored", "is ignored" if ask("GET", path, admin).status == 200 else "deletes"
    ask("GET", f"{path}?_method=DELETE", admin)
    yield "`?_method=DELETE`", "is ignored", "is ignored" if ask("GET", path, admin).status == 200 else "deletes"
    for method, status in ("TRACE", "405"), ("delete", "405"), ("PROPFIND", "405"), ("POST", "405"):
        yield f"method `{method}` on a user", status, ask(method, path, admin)
    yield "a wrong method without a token", "405", ask("PROPFIND", path)
    for what, way in [("`..` into another user", f"/users/{cloud.other.id}/../{victim.id}"), ("`%2e%2e` into another user", f"/users/{cloud.other.id}/%2e%2e/{victim.id}"),
                      ("an encoded slash", f"/users%2F{victim.id}"), ("doubled slashes", f"//users//{victim.id}"),
                      ("an id with NUL", "/users/a%00b"), ("an id that is no UTF-8", "/users/%ff%fe")]:
        yield f"{what} in a path", "404", ask("GET", way, admin)
    yield "system accounts (`.identity`) at the object store", "403", send("GET", "/v1/.identity/users", [("X-Auth-Token", admin)])
    yield "system accounts, written otherwise (`%2eidentity`)", "403", send("GET", "/v1/%2eidentity/users", [("X-Auth-Token", admin)])
    must("DELETE", path, admin)
