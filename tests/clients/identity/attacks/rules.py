"""Ways around the access rules of an application credential."""

from cloud import ask, log_in, must, send, token_of

TITLE = "Access rules"


def attacks(cloud):
    person = cloud.person("ruled", "member")
    own = person.token()
    account = f"/v1/AUTH_{cloud.red_project}"
    for container in "open", "closed":
        for path in container, f"{container}/object":
            answer = send("PUT", f"{account}/{path}", [("X-Auth-Token", own)], b"content" if "/" in path else b"")
            assert answer.status == 201, answer.status

    rules = [{"service": "object-store", "method": "GET", "path": f"{account}/open/**"},
             {"service": "identity", "method": "GET", "path": f"/v3/users/{person.id}"}]
    _, identity = person.application_credential(access_rules=rules)
    token = token_of(log_in(identity))

    def swift(path, method="GET", headers=()):
        return send(method, account + path, [("X-Auth-Token", token), *headers], b"" if method in ("PUT", "POST") else None)

    assert swift("/open/object").status == 200 and ask("GET", f"/users/{person.id}", token).status == 200
    yield "a container that no rule names", "401", swift("/closed/object")
    yield "the account itself", "401", swift("")
    for method in "PUT", "POST", "DELETE", "HEAD", "COPY":
        yield f"`{method}` where the rule says `GET`", "401", swift("/open/object", method)
    yield "`X-HTTP-Method-Override: DELETE` with a `GET`", "200", swift("/open/object", headers=[("X-HTTP-Method-Override", "DELETE")])

    def closed(path):
        """What comes of a way that leads, or may lead, into what is closed: whether its content does."""
        answer = swift(path)
        return "its content" if answer.data == b"content" and answer.status == 200 else "nothing of it"

    for what, path in [("`..`", "/open/../closed/object"), ("`%2e%2e`", "/open/%2e%2e/closed/object"), ("`..%2f`", "/open/..%2fclosed/object"),
                       ("`%2e%2e%2f`", "/open/%2e%2e%2fclosed%2fobject"), ("`//`", "/open//../closed/object"), ("a doubled slash before it", "//closed/object"),
                       ("`;`", "/open;/../closed/object"), ("a query", "/closed/object?/open/"), ("an absolute address", None)]:
        if path is None:
            answer = send("GET", f"http://h{account}/closed/object", [("X-Auth-Token", token)])
            yield "the closed container, by an absolute address", "nothing of it", "its content" if answer.data == b"content" else "nothing of it"
        else:
            yield f"the closed container, by {what}", "nothing of it", closed(path)
    yield "a name that begins like the open one's", "401", swift("open/../closed/object")
    yield "the same letters in percent form (`%6fpen`)", "401", swift("/%6fpen/object")
    yield "another account through the rule", "401", send(
        "GET", f"/v1/AUTH_{cloud.blue_project}/open/object", [("X-Auth-Token", token)])

    yield "another request to Keystone", "401", ask("GET", f"/users/{person.id}/projects", token)
    yield "the same with `..`", "404", ask("GET", f"/users/{person.id}/../{person.id}/projects", token)
    yield "the same with an encoded slash", "401", ask("GET", f"/users/{person.id}%2fprojects", token)
    yield "the same with `//`", "404", ask("GET", f"/users//{person.id}/projects", token)
    yield "the rule's own path with a slash behind it", "401", ask("GET", f"/users/{person.id}/", token)
    yield "another method on the rule's path", "401", ask("DELETE", f"/users/{person.id}", token)
    yield "a new token for the one with rules", "403", log_in({"methods": ["token"], "token": {"id": token}})
    yield "deleting the access rule that binds it", "401", ask("DELETE", f"/users/{person.id}/access_rules/x", token)
    rule = must("GET", f"/users/{person.id}/access_rules", own)["access_rules"][0]["id"]
    yield "its user deletes a rule that is in use", "403", ask("DELETE", f"/users/{person.id}/access_rules/{rule}", own)
    yield "the token, validated by a service that does not say that it holds access rules", "404", ask(
        "GET", "/auth/tokens", cloud.admin, headers=[("X-Subject-Token", token)])

    rules = [{"service": "identity", "method": "POST", "path": f"/v3/users/{person.id}/credentials/OS-EC2"}]
    _, identity = person.application_credential(access_rules=rules, unrestricted=True)
    yield "an access key made with such a credential", "403", ask(
        "POST", f"/users/{person.id}/credentials/OS-EC2", token_of(log_in(identity)), {"tenant_id": cloud.red_project})
    rules = [{"service": "identity", "method": "POST", "path": "/v3/OS-TRUST/trusts"}]
    _, identity = person.application_credential(access_rules=rules, unrestricted=True)
    yield "a trust made with such a credential", "403", ask("POST", "/OS-TRUST/trusts", token_of(log_in(identity)), {"trust": {
        "trustor_user_id": person.id, "trustee_user_id": cloud.other.id, "impersonation": True,
        "project_id": cloud.red_project, "roles": [{"name": "member"}]}})
    rules = [{"service": "identity", "method": "POST", "path": f"/v3/users/{person.id}/application_credentials"}]
    _, identity = person.application_credential(access_rules=rules, unrestricted=True)
    yield "an application credential without rules, made with such a credential", "403", ask(
        "POST", f"/users/{person.id}/application_credentials", token_of(log_in(identity)), {"application_credential": {"name": "free"}})
    for container in "open", "closed":
        for path in f"{container}/object", container:
            assert send("DELETE", f"{account}/{path}", [("X-Auth-Token", own)]).status == 204
