"""More than somebody was given: other scopes, other roles, other users."""

import uuid

from cloud import (S3, SYSTEM, ask, by_password, by_token, domain, log_in, must, project, send, signed_4,
                   token_of)

TITLE = "Scopes, roles, delegation"


def attacks(cloud):
    member, token, unscoped = cloud.member, cloud.member.token(), cloud.member.unscoped()
    for what, scope in [("his domain", domain(cloud.red)), ("the system", SYSTEM), ("another project", project(cloud.blue_project)),
                        ("a project that is none", project(uuid.uuid4().hex))]:
        yield f"a member logs in for {what}", "401", log_in(by_password(member.id), scope)
        yield f"a member rescopes his token to {what}", "401", log_in(by_token(token), scope)
        yield f"a member rescopes an unscoped token to {what}", "401", log_in(by_token(unscoped), scope)
    yield "two scopes at once", "400", log_in(by_password(member.id), {**project(cloud.red_project), **SYSTEM})
    yield "a scope of the system that says `all: false`", "400", log_in(by_password(member.id), {"system": {"all": False}})
    both = {"methods": ["token", "password"], "token": {"id": token}, "password": by_password(cloud.other.id)["password"]}
    yield "a token of one user and the password of another", "401", log_in(both, member.scope)

    grant = f"/projects/{cloud.red_project}/users/{member.id}/roles/"
    yield "a member gives himself a role", "403", ask("PUT", grant + cloud.roles["admin"], token)
    yield "a member gives himself a role on the system", "403", ask("PUT", f"/system/users/{member.id}/roles/{cloud.roles['admin']}", token)
    yield "a member changes himself", "403", ask("PATCH", f"/users/{member.id}", token, {"user": {"enabled": True}})
    yield "a member lets his role imply another", "403", ask("PUT", f"/roles/{cloud.roles['member']}/implies/{cloud.roles['manager']}", token)
    yield "an administrator lets a role imply `admin`", "403", ask("PUT", f"/roles/{cloud.roles['member']}/implies/{cloud.roles['admin']}", cloud.admin)
    yield "a member makes a role", "403", ask("POST", "/roles", token, {"role": {"name": "admin", "domain_id": cloud.red}})

    manager = cloud.manager.token()
    yield "a domain's manager grants `admin`", "403", ask("PUT", grant + cloud.roles["admin"], manager)
    yield "a domain's manager grants a role on the system", "403", ask("PUT", f"/system/users/{member.id}/roles/{cloud.roles['reader']}", manager)
    yield "a domain's manager grants on another domain's project", "403", ask(
        "PUT", f"/projects/{cloud.blue_project}/users/{member.id}/roles/{cloud.roles['member']}", manager)
    yield "a domain's manager grants to another domain's user", "403", ask(
        "PUT", f"/projects/{cloud.red_project}/users/{cloud.stranger.id}/roles/{cloud.roles['member']}", manager)
    yield "a domain's manager grants, inherited, on another domain", "403", ask(
        "PUT", f"/OS-INHERIT/domains/{cloud.blue}/users/{member.id}/roles/{cloud.roles['member']}/inherited_to_projects", manager)
    yield "a domain's manager makes a user in another domain", "403", ask(
        "POST", "/users", manager, {"user": {"name": "intruder", "domain_id": cloud.blue}})
    yield "a domain's manager makes a project below another domain's", "403", ask(
        "POST", "/projects", manager, {"project": {"name": "intruder", "domain_id": cloud.blue, "parent_id": cloud.blue_project}})
    yield "a domain's manager changes another domain's user", "403", ask(
        "PATCH", f"/users/{cloud.stranger.id}", manager, {"user": {"password": "mine"}})
    yield "a domain's manager moves his user to another domain", "403", ask(
        "PATCH", f"/users/{member.id}", manager, {"user": {"domain_id": cloud.blue}})
    yield "a domain's manager changes his domain", "403", ask("PATCH", f"/domains/{cloud.red}", manager, {"domain": {"enabled": True}})
    yield "a domain's manager makes a domain", "403", ask("POST", "/domains", manager, {"domain": {"name": "intruder"}})
    group = must("POST", "/groups", cloud.admin, {"group": {"name": "blues", "domain_id": cloud.blue}})["group"]["id"]
    yield "a domain's manager joins another domain's group", "403", ask("PUT", f"/groups/{group}/users/{cloud.manager.id}", manager)
    yield "a domain's manager reads another one's credentials", "403", ask("GET", f"/users/{member.id}/credentials/OS-EC2", manager)

    for who, other in ("manager", manager), ("reader", cloud.reader.token()):
        for what, path in [("its user", f"/users/{cloud.stranger.id}"), ("its users", f"/users?domain_id={cloud.blue}"),
                           ("its project", f"/projects/{cloud.blue_project}"), ("its projects", f"/projects?domain_id={cloud.blue}"),
                           ("its group", f"/groups/{group}"), ("its groups", f"/groups?domain_id={cloud.blue}"),
                           ("the domain", f"/domains/{cloud.blue}"),
                           ("grants on its project", f"/projects/{cloud.blue_project}/users/{cloud.stranger.id}/roles"),
                           ("its configuration", f"/domains/{cloud.blue}/config")]:
            yield f"a {who} of another domain reads {what}", "403", ask("GET", path, other)
        found = must("GET", f"/role_assignments?scope.project.id={cloud.blue_project}", other)["role_assignments"]
        yield f"a {who} of another domain reads assignments on its project", "none", len(found) or "none"
        for plural in "users", "projects", "groups", "domains":
            rows = must("GET", f"/{plural}", other)[plural]
            foreign = [row for row in rows if (row["id"] if plural == "domains" else row["domain_id"]) != cloud.red]
            yield f"a {who} lists all {plural}: of other domains", "none", len(foreign) or "none"
    yield "a member lists users", "403", ask("GET", "/users", token)
    yield "a member reads another member", "403", ask("GET", f"/users/{cloud.other.id}", token)
    yield "a member reads another one's application credentials", "403", ask("GET", f"/users/{cloud.other.id}/application_credentials", token)
    yield "a member makes an access key for another", "403", ask(
        "POST", f"/users/{cloud.other.id}/credentials/OS-EC2", token, {"tenant_id": cloud.red_project})
    yield "a member makes an access key for a project that is not his", "403 at its use", key_for_a_foreign_project(cloud)

    yield from application_credentials(cloud)
    yield from trusts(cloud)


def key_for_a_foreign_project(cloud):
    person = cloud.person("greedy", "member")
    made = ask("POST", f"/users/{person.id}/credentials/OS-EC2", person.token(), {"tenant_id": cloud.blue_project})
    if made.status != 201:
        return made
    key = made.json["credential"]["access"], made.json["credential"]["secret"]
    return f"{send('GET', '/', signed_4(key, 'GET', '/'), host=S3).status} at its use"


def application_credentials(cloud):
    member = cloud.member
    id, restricted = member.application_credential()
    own = f"/users/{member.id}"
    token = token_of(log_in(restricted))
    body = {"application_credential": {"name": uuid.uuid4().hex}}
    trust = {"trust": {"trustor_user_id": member.id, "trustee_user_id": cloud.other.id, "impersonation": True,
                       "project_id": cloud.red_project, "roles": [{"name": "member"}]}}
    yield "an application credential with a scope", "401", log_in(restricted, project(cloud.red_project))
    yield "an application credential with another secret", "401", log_in(
        {"methods": ["application_credential"], "application_credential": {"id": id, "secret": "wrong"}})
    yield "a new token for one of an application credential", "403", log_in(by_token(token))
    yield "a token of an application credential, rescoped", "403", log_in(by_token(token), project(cloud.red_project))
    yield "an application credential makes another", "403", ask("POST", f"{own}/application_credentials", token, body)
    yield "an application credential deletes itself", "403", ask("DELETE", f"{own}/application_credentials/{id}", token)
    yield "an application credential makes an access key", "403", ask("POST", f"{own}/credentials/OS-EC2", token, {"tenant_id": cloud.red_project})
    yield "an application credential makes a trust", "403", ask("POST", "/OS-TRUST/trusts", token, trust)
    yield "an application credential with a role that its user has not", "400", ask(
        "POST", f"{own}/application_credentials", member.token(), {"application_credential": {"name": "x", "roles": [{"name": "admin"}]}})
    yield "an application credential for another user", "403", ask(
        "POST", f"/users/{cloud.other.id}/application_credentials", member.token(), body)
    must("DELETE", f"{own}/application_credentials/{id}", member.token())
    yield "a token right after its application credential was deleted", "401", ask("GET", "/auth/projects", token)
    yield "a deleted application credential", "401", log_in(restricted)


def trusts(cloud):
    member, other = cloud.member, cloud.other
    body = {"trustor_user_id": member.id, "trustee_user_id": other.id, "impersonation": True,
            "project_id": cloud.red_project, "roles": [{"name": "member"}]}

    def make(token, **changes):
        return ask("POST", "/OS-TRUST/trusts", token, {"trust": {**body, **changes}})

    token = member.token()
    yield "a trust in another one's name", "403", make(token, trustor_user_id=other.id, trustee_user_id=member.id)
    yield "a trust with a role that the trustor has not", "404", make(token, roles=[{"name": "admin"}])
    yield "a trust on a project where the trustor has no role", "404", make(token, project_id=cloud.blue_project)
    trust = {"OS-TRUST:trust": {"id": must("POST", "/OS-TRUST/trusts", token, {"trust": body})["trust"]["id"]}}
    id = trust["OS-TRUST:trust"]["id"]
    lent = token_of(log_in(by_password(other.id), trust))
    yield "a trust used by whom it is not for", "403", log_in(by_password(cloud.person("third", "member").id), trust)
    yield "a new token for one of a trust", "403", log_in(by_token(lent))
    yield "a token of a trust, rescoped", "403", log_in(by_token(lent), project(cloud.red_project))
    yield "a token of a trust makes an application credential", "403", ask(
        "POST", f"/users/{member.id}/application_credentials", lent, {"application_credential": {"name": "x"}})
    yield "a token of a trust makes another trust", "403", ask("POST", "/OS-TRUST/trusts", lent, {"trust": {
        **body, "trustee_user_id": cloud.stranger.id}})
    yield "the trustee deletes the trust", "403", ask("DELETE", f"/OS-TRUST/trusts/{id}", other.token())
    yield "another one reads the trust", "403", ask("GET", f"/OS-TRUST/trusts/{id}", cloud.stranger.token())
    must("DELETE", f"/OS-TRUST/trusts/{id}", token)
    yield "a token right after its trust was deleted", "401", ask("GET", "/auth/projects", lent)
    yield "a deleted trust", "401", log_in(by_password(other.id), trust)
