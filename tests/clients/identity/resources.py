"""What the openstack command shows, changes and deletes of each kind, beyond what the other checks make use of."""

import importlib.metadata
import json
import pathlib
import tempfile

from command import RUN, check, name, request, run, shown

# Groups of commands for what is answered as an absent extension is, with one of each; OAuth's want a library.
ABSENT = {
    "access token": None,
    "consumer": None,
    "federation protocol": ("federation", "protocol", "list", "--identity-provider", "any"),
    "identity provider": ("identity", "provider", "list"),
    "mapping": ("mapping", "list"),
    "request token": None,
    "service provider": ("service", "provider", "list"),
}


def listed(*words, env=None):
    return json.dumps(shown(*words, env=env))


def groups_and_domains():
    domain = shown("domain", "create", name("shown"), "--description", "d")
    check(shown("domain", "show", name("shown"))["description"] == "d", "domain show")
    check(domain["id"] in listed("domain", "list"), "domain list")
    group = shown("group", "create", name("plain"), "--domain", domain["id"])
    run("group", "set", name("plain"), "--domain", domain["id"], "--name", name("renamed"), "--description", "g")
    again = shown("group", "show", name("renamed"), "--domain", domain["id"])
    check((again["id"], again["description"]) == (group["id"], "g"), "group set and show")
    check(group["id"] in listed("group", "list", "--domain", domain["id"]), "group list")
    run("group", "delete", group["id"])
    check(group["id"] not in listed("group", "list", "--domain", domain["id"]), "group delete")
    run("domain", "set", domain["id"], "--disable")
    run("domain", "delete", domain["id"])


def roles():
    made = shown("role", "create", name("first"))
    run("role", "set", name("first"), "--name", name("second"), "--description", "r")
    again = shown("role", "show", name("second"))
    check((again["id"], again["description"]) == (made["id"], "r"), "role set and show")
    where = ("--user", name("user"), "--project", name("project"), made["id"])
    run("role", "add", *where)
    held = ("role", "assignment", "list", "--user", name("user"), "--project", name("project"))
    check(made["id"] in listed(*held), "role add")
    run("role", "remove", *where)
    check(made["id"] not in listed(*held), "role remove")
    run("role", "delete", made["id"])


def catalog():
    run("region", "create", name("place"))
    run("region", "set", name("place"), "--description", "here")
    check(shown("region", "show", name("place"))["description"] == "here", "region set and show")
    check(name("place") in listed("region", "list"), "region list")
    service = shown("service", "create", "--name", name("seen"), name("seen"))
    run("service", "set", service["id"], "--description", "s")
    check(shown("service", "show", name("seen"))["description"] == "s", "service set and show")
    check(service["id"] in listed("service", "list"), "service list")
    endpoint = shown("endpoint", "create", "--region", name("place"), name("seen"), "public", "http://h/")["id"]
    check(shown("endpoint", "show", endpoint)["url"] == "http://h/", "endpoint show")
    run("endpoint", "add", "project", endpoint, name("project"))
    check(endpoint in listed("endpoint", "list", "--project", name("project")), "endpoint add project")
    run("endpoint", "remove", "project", endpoint, name("project"))
    check(endpoint not in listed("endpoint", "list", "--project", name("project")), "endpoint remove project")
    filters = pathlib.Path(tempfile.mkdtemp(), "filters")
    filters.write_text(json.dumps({"interface": "public"}))
    group = shown("endpoint", "group", "create", name("endpoints"), str(filters))["id"]
    run("endpoint", "group", "set", group, "--description", "e")
    check(shown("endpoint", "group", "show", group)["description"] == "e", "endpoint group set and show")
    run("endpoint", "group", "delete", group)
    run("endpoint", "delete", endpoint)
    check(endpoint not in listed("endpoint", "list"), "endpoint delete")
    run("service", "delete", service["id"])
    run("region", "delete", name("place"))


def credentials(own):
    made = shown("credential", "create", "--type", "cert", name("user"), "blob one")
    check(made["id"] in listed("credential", "list", "--user", name("user")), "credential list")
    run("credential", "set", made["id"], "--type", "cert", "--user", name("user"), "--data", "blob two")
    check(shown("credential", "show", made["id"])["blob"] == "blob two", "credential set and show")
    run("credential", "delete", made["id"])
    check(made["id"] not in listed("credential", "list"), "credential delete")
    rules = json.dumps([{"service": "identity", "method": "GET", "path": "/v3/users"}])
    made = shown("application", "credential", "create", name("shown"), "--access-rules", rules, env=own)
    again = shown("application", "credential", "show", name("shown"), env=own)
    check(again["id"] == made["id"] and "secret" not in again, "application credential show")
    (rule,) = shown("access", "rule", "list", env=own)
    check(shown("access", "rule", "show", rule["ID"], env=own)["path"] == "/v3/users", "access rule show")
    run("application", "credential", "delete", made["id"], env=own)
    run("access", "rule", "delete", rule["ID"], env=own)


def limits_and_policies():
    run("service", "create", "--name", name("counted"), name("counted"))
    of = ("--service", name("counted"))
    registered = shown("registered", "limit", "create", *of, "--default-limit", "5", name("things"))["id"]
    run("registered", "limit", "set", registered, "--default-limit", "6")
    check(shown("registered", "limit", "show", registered)["default_limit"] == 6, "registered limit set and show")
    check(registered in listed("registered", "limit", "list"), "registered limit list")
    made = shown("limit", "create", *of, "--resource-limit", "7", "--project", name("project"), name("things"))["id"]
    check(shown("limit", "show", made)["resource_limit"] == 7, "limit show")
    run("limit", "delete", made)
    run("registered", "limit", "delete", registered)
    run("service", "delete", name("counted"))
    blob = pathlib.Path(tempfile.mkdtemp(), "policy")
    blob.write_text("{}")
    policy = shown("policy", "create", "--type", "application/json", str(blob))["id"]
    run("policy", "set", policy, "--type", "text/plain")
    check(shown("policy", "show", policy)["type"] == "text/plain", "policy set and show")
    run("policy", "delete", policy)


def absent_extensions(own):
    for group, words in ABSENT.items():
        if words:
            check("501" in run(*words, fails=True), f"{group} is answered as not implemented")
    status, _, _ = request("GET", "/v3/OS-OAUTH1/consumers", shown("token", "issue")["id"])
    check(status == 501, "and so is OAuth")
    check(name("project") in listed("federation", "project", "list", env=own), "federation project list")
    check(listed("federation", "domain", "list", env=own) == "[]", "federation domain list")


def check_all(own):
    groups_and_domains()
    roles()
    catalog()
    credentials(own)
    limits_and_policies()
    absent_extensions(own)


def check_that_every_command_was_run():
    """What the client's own list of identity commands has."""
    commands = {it.name.replace("_", " ") for it in importlib.metadata.entry_points(group="openstack.identity.v3")}
    check(len(commands) > 100, "the client's commands are known")
    ran = [" ".join(words) + " " for words in RUN]
    left = {it for it in commands if not any(line.startswith(it + " ") for line in ran)}
    left = {it for it in left if not any(it.startswith(group + " ") for group in ABSENT)}
    check(not left, f"every command was run, without {sorted(left)}")
