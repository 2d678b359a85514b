#!/usr/bin/env python3
"""Runs the openstack command against a live identity service and checks what it shows.

Takes the usual OS_* variables of an admin (OS_AUTH_URL, OS_USERNAME, OS_PASSWORD, OS_PROJECT_NAME,
OS_USER_DOMAIN_NAME, OS_PROJECT_DOMAIN_NAME, OS_IDENTITY_API_VERSION=3) and the command to run in OPENSTACK
(default: openstack, from python-openstackclient). Everything it makes bears a random suffix and is deleted
again. Exits with 0 when all held.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

import resources
from command import FAILED, OPENSTACK, check, name, request, run, shown


def tokens_and_catalog():
    token = shown("token", "issue")
    check(token["id"].startswith("gAAAA") and token["project_id"], "token issue shows a Fernet token of the project")
    check(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0000|.*Z", token["expires"]), "its end is a time")
    types = {entry["Type"] for entry in shown("catalog", "list")}
    check("identity" in types, "catalog list has identity")
    urls = [end["url"] for end in shown("catalog", "show", "identity")["endpoints"]]
    check(len(urls) == 3, "catalog show lists three interfaces")
    status, _, answer = request("GET", "/v3/auth/tokens", token["id"], headers={"X-Subject-Token": token["id"]})
    check(status == 200 and answer["token"]["roles"], "a token validates itself")
    run("token", "revoke", token["id"])
    status, _, _ = request("GET", "/v3/auth/projects", token["id"])
    check(status == 401, "a revoked token is refused at once")


def faults_and_versions():
    status, headers, answer = request("GET", "/")
    check(status == 300 and answer["versions"]["values"][0]["id"].startswith("v3"), "the root answers 300")
    self_link = answer["versions"]["values"][0]["links"][0]["href"]
    root = re.sub(r"/v3/?$", "", os.environ["OS_AUTH_URL"]).rstrip("/")
    check(self_link == root + "/v3/", "the version's link keeps host and prefix")
    check(headers["x-openstack-request-id"].startswith("req-"), "an answer bears a request id")
    status, headers, answer = request("GET", "/v3/users")
    check(status == 401 and answer["error"]["code"] == 401, "no token is a 401 in Keystone's shape")
    check(headers["WWW-Authenticate"].startswith("Keystone uri="), "a 401 says where to log in")
    status, _, answer = request("POST", "/v3/auth/tokens", body={"auth": {}})
    check(status == 400 and answer["error"]["title"] == "Bad Request", "a malformed log-in is a 400")


def discovery_as_gophercloud_does_it():
    """Its chooser of versions knows the doubly nested form only, and goes on where the version's link says."""
    root = re.sub(r"/v3/?$", "", os.environ["OS_AUTH_URL"]).rstrip("/")
    for path in "", "/":
        call = urllib.request.Request(root + path, headers={"Accept": "application/json"})
        try:
            answer = urllib.request.urlopen(call)
        except urllib.error.HTTPError as error:
            answer = error
        check(answer.status == 300, f"the address of the service with {path!r} behind it answers 300")
        values = json.loads(answer.read())["versions"]["values"]
        usable = [it for it in values if "v3" in it["id"] and it["status"].lower() in ("current", "supported", "stable")]
        check(len(usable) == 1 and usable[0]["updated"] and usable[0]["media-types"], "one of its versions is usable")
        (address,) = [link["href"] for link in usable[0]["links"] if link["rel"] == "self"]
        user = {"name": os.environ["OS_USERNAME"], "password": os.environ["OS_PASSWORD"],
                "domain": {"name": os.environ["OS_USER_DOMAIN_NAME"]}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
        call = urllib.request.Request(address.rstrip("/") + "/auth/tokens", json.dumps(body).encode(),
                                      {"Content-Type": "application/json"})
        with urllib.request.urlopen(call) as answer:
            expires = json.loads(answer.read())["token"]["expires_at"]
            check(answer.status == 201 and expires.endswith("Z"), "and gives a token, whose end is in UTC")
    for path in "/v3", "/v3/":
        status, _, answer = request("GET", path)
        check(status == 200 and "v3" in answer["version"]["id"], f"{path} answers its version without a redirection")


def projects_and_users():
    project = shown("project", "create", name("project"), "--description", "d", "--tag", "a", "--property", "k=v")
    check(project["tags"] == ["a"] and project["k"] == "v", "project create keeps tags and properties")
    run("project", "set", name("project"), "--description", "other", "--tag", "b")
    check(shown("project", "show", name("project"))["description"] == "other", "project set changes it")
    check(name("project") in run("project", "list"), "project list has it")
    check("409" in run("project", "create", name("project"), fails=True), "a second project of the name is a 409")
    user = shown("user", "create", name("user"), "--password", "pass one", "--project", name("project"), "--email", "a@b.c")
    check("password" not in user and user["email"] == "a@b.c", "user create shows no password")
    check(shown("user", "show", name("user"))["id"] == user["id"], "a user is found by name")
    run("user", "set", name("user"), "--description", "someone")
    run("role", "add", "--user", name("user"), "--project", name("project"), "member")
    own = {"OS_USERNAME": name("user"), "OS_PASSWORD": "pass one", "OS_PROJECT_NAME": name("project"),
           "OS_USER_DOMAIN_NAME": "Default", "OS_PROJECT_DOMAIN_NAME": "Default"}
    check(shown("token", "issue", env=own)["user_id"] == user["id"], "the user logs in")
    check("403" in run("user", "list", env=own, fails=True), "a member may not list users")
    run("user", "password", "set", "--original-password", "pass one", "--password", "pass two", env=own)
    check("401" in run("token", "issue", env=own, fails=True), "the old password is refused")
    own["OS_PASSWORD"] = "pass two"
    run("token", "issue", env=own)
    held = shown("role", "assignment", "list", "--user", name("user"), "--effective", "--names")
    check({line["Role"] for line in held} == {"member", "reader"}, "effective assignments hold what member implies")
    run("user", "set", name("user"), "--disable")
    check("401" in run("token", "issue", env=own, fails=True), "a disabled user gets no token")
    run("user", "set", name("user"), "--enable")
    return own


def credentials(own):
    made = shown("ec2", "credentials", "create", env=own)
    check(made["access"] in run("ec2", "credentials", "list", env=own), "ec2 credentials list has the key")
    check(shown("ec2", "credentials", "show", made["access"], env=own)["secret"] == made["secret"], "show has the secret")
    run("ec2", "credentials", "delete", made["access"], env=own)
    made = shown("application", "credential", "create", name("app"), "--role", "member", env=own)
    app = {key: "" for key in os.environ if key.startswith("OS_")}
    app.update({"OS_AUTH_URL": os.environ["OS_AUTH_URL"], "OS_AUTH_TYPE": "v3applicationcredential",
                "OS_APPLICATION_CREDENTIAL_ID": made["id"], "OS_APPLICATION_CREDENTIAL_SECRET": made["secret"]})
    clean = {key: value for key, value in {**os.environ, **app}.items() if value}
    done = subprocess.run([OPENSTACK, "token", "issue", "-f", "json"], capture_output=True, text=True, env=clean)
    check(done.returncode == 0 and json.loads(done.stdout)["project_id"], "an application credential logs in")
    check(name("app") in run("application", "credential", "list", env=own), "application credential list has it")
    run("application", "credential", "delete", name("app"), env=own)
    done = subprocess.run([OPENSTACK, "token", "issue"], capture_output=True, text=True, env=clean)
    check(done.returncode != 0, "a deleted application credential does not")


def groups_and_domains():
    domain = shown("domain", "create", name("domain"))
    run("project", "create", name("inner"), "--domain", name("domain"))
    run("group", "create", name("group"), "--domain", name("domain"), "--description", "g")
    run("user", "create", name("member"), "--domain", name("domain"), "--password", "p")
    where = ("--group-domain", name("domain"), "--user-domain", name("domain"))
    run("group", "add", "user", *where, name("group"), name("member"))
    run("group", "contains", "user", *where, name("group"), name("member"))
    run("role", "add", "--group", name("group"), "--group-domain", name("domain"), "--domain", name("domain"),
        "--inherited", "reader")
    inner = {"OS_USERNAME": name("member"), "OS_PASSWORD": "p", "OS_PROJECT_NAME": name("inner"),
             "OS_USER_DOMAIN_NAME": name("domain"), "OS_PROJECT_DOMAIN_NAME": name("domain")}
    check(shown("token", "issue", env=inner)["project_id"], "a role inherited by a group gives a token")
    lines = shown("role", "assignment", "list", "--user", name("member"), "--user-domain", name("domain"), "--effective")
    check(len(lines) == 1, "effective assignments resolve groups and inheritance")
    run("group", "remove", "user", *where, name("group"), name("member"))
    check("401" in run("token", "issue", env=inner, fails=True), "out of the group, the role is gone")
    check("403" in run("domain", "delete", name("domain"), fails=True), "an enabled domain is not deleted")
    run("domain", "set", name("domain"), "--disable")
    run("domain", "delete", name("domain"))
    status, _, _ = request("GET", f"/v3/domains/{domain['id']}", shown("token", "issue")["id"])
    check(status == 404, "a deleted domain is gone")


def roles_and_catalog_entries():
    run("role", "create", name("role"))
    run("implied", "role", "create", name("role"), "--implied-role", "reader")
    check(name("role") in run("implied", "role", "list"), "implied role list has it")
    run("implied", "role", "delete", name("role"), "--implied-role", "reader")
    check(name("role") in run("role", "list"), "role list has it")
    check({"admin", "manager", "member", "reader", "service"} <= {it["Name"] for it in shown("role", "list")},
          "the roles of the bootstrap are there")
    run("role", "delete", name("role"))
    run("region", "create", name("region"))
    run("service", "create", "--name", name("service"), name("type"))
    made = shown("endpoint", "create", "--region", name("region"), name("type"), "public", "http://h/%(project_id)s")
    check(made["service_name"] == name("service"), "endpoint create finds the service by its type")
    project_id = shown("token", "issue")["project_id"]
    urls = [end["url"] for end in shown("catalog", "show", name("type"))["endpoints"]]
    check(urls == [f"http://h/{project_id}"], "the catalog puts the project's id into the address")
    check(len(shown("endpoint", "list", "--service", name("service"))) == 1, "endpoint list filters by service")
    run("endpoint", "set", made["id"], "--disable")
    check(name("type") not in json.dumps([e for e in shown("catalog", "list") if e["Endpoints"]]),
          "a disabled endpoint leaves the catalog")
    check("403" in run("region", "delete", name("region"), fails=True), "a region in use is not deleted")
    run("service", "delete", name("service"))
    run("region", "delete", name("region"))


def extensions(own):
    trustee = shown("user", "create", name("trustee"), "--password", "p")
    # By their ids: who is no administrator can't look names up.
    token, role = shown("token", "issue", env=own), shown("role", "show", "member")["id"]
    trust = shown("trust", "create", "--project", token["project_id"], "--role", role, token["user_id"], trustee["id"],
                  env=own)
    check(trust["trustee_user_id"] == trustee["id"], "trust create lends a role")
    check(trust["id"] in run("trust", "list"), "trust list has it")
    lent = {**own, "OS_USERNAME": name("trustee"), "OS_PASSWORD": "p", "OS_TRUST_ID": trust["id"]}
    lent.update({"OS_PROJECT_NAME": "", "OS_PROJECT_DOMAIN_NAME": ""})
    clean = {key: value for key, value in {**os.environ, **lent}.items() if value}
    done = subprocess.run([OPENSTACK, "token", "issue", "-f", "json"], capture_output=True, text=True, env=clean)
    check(done.returncode == 0 and json.loads(done.stdout)["project_id"] == trust["project_id"], "a trust logs in")
    run("trust", "delete", trust["id"], env=own)
    check("No Trust found" in run("trust", "show", trust["id"], fails=True), "a deleted trust is gone")
    rules = json.dumps([{"service": "identity", "method": "GET", "path": "/v3/users/*"}])
    run("application", "credential", "create", name("ruled"), "--access-rules", rules, env=own)
    (rule,) = shown("access", "rule", "list", env=own)
    check(rule["Path"] == "/v3/users/*", "access rule list has the credential's rule")
    run("application", "credential", "delete", name("ruled"), env=own)
    run("access", "rule", "delete", rule["ID"], env=own)
    run("service", "create", "--name", name("limited"), name("limited"))
    registered = shown("registered", "limit", "create", "--service", name("limited"), "--default-limit", "5", name("r"))
    limit = shown("limit", "create", "--service", name("limited"), "--resource-limit", "7", "--project",
                  name("project"), name("r"))
    check(limit["resource_limit"] == 7 and limit["id"] in run("limit", "list"), "limit create and list")
    check(shown("limit", "set", limit["id"], "--resource-limit", "8")["resource_limit"] == 8, "limit set")
    run("limit", "delete", limit["id"])
    run("registered", "limit", "delete", registered["id"])
    policy = pathlib.Path(tempfile.mkdtemp(), "policy")
    policy.write_text("{}")
    made = shown("policy", "create", "--type", "application/json", str(policy))
    check(made["id"] in run("policy", "list"), "policy list has it")
    run("policy", "delete", made["id"])
    filters = policy.with_name("filters")
    filters.write_text(json.dumps({"interface": "public"}))
    group = shown("endpoint", "group", "create", name("group"), str(filters))
    check(group["id"] in run("endpoint", "group", "list"), "endpoint group list has it")
    run("endpoint", "group", "add", "project", name("group"), name("project"))
    run("endpoint", "group", "remove", "project", name("group"), name("project"))
    run("endpoint", "group", "delete", group["id"])
    run("service", "delete", name("limited"))
    run("user", "delete", name("trustee"))


def main():
    faults_and_versions()
    discovery_as_gophercloud_does_it()
    tokens_and_catalog()
    own = projects_and_users()
    credentials(own)
    extensions(own)
    groups_and_domains()
    roles_and_catalog_entries()
    resources.check_all(own)
    run("user", "delete", name("user"))
    run("project", "delete", name("project"))
    check("No User found" in run("user", "show", name("user"), fails=True), "a deleted user is gone")
    resources.check_that_every_command_was_run()
    if FAILED:
        sys.exit(f"{len(FAILED)} checks failed")
    print("all held")


if __name__ == "__main__":
    main()
