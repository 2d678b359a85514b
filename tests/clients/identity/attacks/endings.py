"""What was taken away: users, projects, domains, roles, groups and passwords. It counts with the next request."""

from cloud import Person, ask, by_password, by_token, log_in, must, send, token_of

TITLE = "What is taken away counts at once"


def attacks(cloud):
    admin = cloud.admin

    def uses(token):
        """At Keystone and at the object store."""
        keystone = ask("GET", "/auth/projects", token)
        swift = send("GET", f"/v1/AUTH_{cloud.red_project}", [("X-Auth-Token", token)])
        return keystone if keystone.status == swift.status else f"{keystone}, the object store {swift}"

    person = cloud.person("ending", "member")
    token = person.token()
    must("DELETE", person.grant, admin)
    yield "a token right after its user lost his role", "401", uses(token)
    yield "a log-in for that project", "401", log_in(by_password(person.id), person.scope)
    must("PUT", person.grant, admin)
    token = person.token()
    cloud.change("user", person.id, enabled=False)
    yield "a token right after its user was disabled", "401", uses(token)
    yield "a log-in of a disabled user", "401", log_in(by_password(person.id), person.scope)
    cloud.change("user", person.id, enabled=True)
    yield "the old token once he is enabled again", "401", uses(token)
    token = person.token()
    cloud.change("user", person.id, password="another")
    yield "a token right after the user's password was changed", "401", uses(token)
    yield "a log-in with the old password", "401", log_in(by_password(person.id), person.scope)
    cloud.change("user", person.id, password="pass word")
    _, application = person.application_credential()
    token, lent = person.token(), token_of(log_in(application))
    must("DELETE", f"/users/{person.id}", admin)
    yield "a token right after its user was deleted", "401", uses(token)
    yield "a token of his application credential", "401", uses(lent)
    yield "his application credential", "401", log_in(application)

    person = cloud.person("grouped", "member")
    must("DELETE", person.grant, admin)
    group = must("POST", "/groups", admin, {"group": {"name": "ending", "domain_id": cloud.red}})["group"]["id"]
    must("PUT", f"/projects/{cloud.red_project}/groups/{group}/roles/{cloud.roles['member']}", admin)
    must("PUT", f"/groups/{group}/users/{person.id}", admin)
    token = person.token()
    must("DELETE", f"/groups/{group}/users/{person.id}", admin)
    yield "a token right after its user left the group that has the role", "401", uses(token)

    project = cloud.new_project("ending", cloud.red)
    person = Person(cloud, "homeless", cloud.red, project, "member")
    token = person.token()
    cloud.change("project", project, enabled=False)
    yield "a token right after its project was disabled", "401", ask("GET", "/auth/projects", token)
    yield "a log-in for a disabled project", "401", log_in(by_password(person.id), person.scope)
    yield "a token for a disabled project, from an unscoped one", "401", log_in(by_token(person.unscoped()), person.scope)
    cloud.change("project", project, enabled=True)
    token = person.token()
    must("DELETE", f"/projects/{project}", admin)
    yield "a token right after its project was deleted", "401", ask("GET", "/auth/projects", token)

    domain, project = cloud.new_domain("ending")
    person = Person(cloud, "ending", domain, project, "member")
    token = person.token()
    cloud.change("domain", domain, enabled=False)
    yield "a token right after its domain was disabled", "401", ask("GET", "/auth/projects", token)
    yield "a log-in of a disabled domain's user", "401", log_in(by_password(person.id), person.scope)
    yield "a log-in of a disabled domain's user, by his name", "401", log_in({"methods": ["password"], "password": {
        "user": {"name": "ending", "domain": {"id": domain}, "password": "pass word"}}})
    must("DELETE", f"/domains/{domain}", admin)
    yield "a token of a deleted domain", "401", ask("GET", "/auth/projects", token)
