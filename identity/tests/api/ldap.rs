//! Users of a domain come from a real directory, are read-only, and log in there.

use serde_json::{Value, json};

use crate::cloud::Cloud;
use crate::servers::{secure_slapd, slapd};

const LDIF: &str = "\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: example

dn: ou=Users,dc=example,dc=org
objectClass: organizationalUnit
ou: Users

dn: ou=UserGroups,dc=example,dc=org
objectClass: organizationalUnit
ou: UserGroups

dn: cn=ann,ou=Users,dc=example,dc=org
objectClass: inetOrgPerson
cn: ann
sn: Ann Ä
mail: ann@example.org
userPassword: ann's secret

dn: cn=bob,ou=Users,dc=example,dc=org
objectClass: inetOrgPerson
cn: bob
sn: Bob (the second)*
employeeType: FALSE
userPassword: bob's secret

dn: cn=staff,ou=UserGroups,dc=example,dc=org
objectClass: groupOfNames
cn: staff
ou: Staff
member: cn=ann,ou=Users,dc=example,dc=org
";

struct Domain {
    cloud: Cloud,
    admin: String,
    id: String,
    project_id: String,
}

impl Domain {
    async fn new(url: &str, options: Value) -> Self {
        let cloud = Cloud::new().await;
        let admin = cloud.admin_token().await;
        let made = cloud.want(201, &admin, "POST", "/v3/domains", Some(json!({"domain": {"name": "company"}}))).await;
        let id = made["domain"]["id"].as_str().expect("an id").to_owned();
        let mut ldap = json!({"url": url, "suffix": "dc=example,dc=org", "user": "cn=admin,dc=example,dc=org",
                              "password": "admin", "page_size": 1, "user_enabled_attribute": "employeeType"});
        let more = options.as_object().expect("options").clone();
        ldap.as_object_mut().expect("options").extend(more);
        let config = json!({"config": {"identity": {"driver": "ldap"}, "ldap": ldap}});
        let path = format!("/v3/domains/{id}/config");
        let shown = cloud.want(201, &admin, "PUT", &path, Some(config)).await;
        assert!(shown["config"]["ldap"].get("password").is_none(), "the password is never shown: {shown}");
        cloud.room.refresh().await.expect("reads");
        let project = json!({"project": {"name": "work", "domain_id": id}});
        let project = cloud.want(201, &admin, "POST", "/v3/projects", Some(project)).await;
        let project_id = project["project"]["id"].as_str().expect("an id").to_owned();
        Self { cloud, admin, id, project_id }
    }

    async fn list(&self, kind: &str) -> Vec<Value> {
        let path = format!("/v3/{kind}?domain_id={}", self.id);
        let list = self.cloud.want(200, &self.admin, "GET", &path, None).await;
        list[kind].as_array().expect("a list").clone()
    }

    async fn login(&self, name: &str, password: &str) -> Result<Value, u16> {
        let user = json!({"name": name, "password": password, "domain": {"id": self.id}});
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let scope = json!({"project": {"id": self.project_id}});
        let token = self.cloud.authenticate(identity, Some(scope)).await;
        token.map(|(_, token)| token).map_err(|answer| answer.status.as_u16())
    }

    async fn give_staff(&self, role: &str) {
        let groups = self.list("groups").await;
        let group = groups[0]["id"].as_str().expect("an id");
        let role = self.cloud.role_id(&self.admin, role).await;
        let path = format!("/v3/projects/{}/groups/{group}/roles/{role}", self.project_id);
        self.cloud.want(204, &self.admin, "PUT", &path, None).await;
    }
}

#[tokio::test]
async fn users_and_groups_of_a_directory_log_in_with_what_their_groups_may() {
    let Some(server) = slapd(LDIF) else { return };
    let domain = Domain::new(&server.url, json!({})).await;
    let users = domain.list("users").await;
    assert_eq!(users.len(), 2, "{users:?}");
    let ann = users.iter().find(|user| user["name"] == "Ann Ä").expect("Ann");
    assert_eq!((&ann["email"], &ann["enabled"]), (&json!("ann@example.org"), &json!(true)));
    assert!(users.iter().any(|user| user["name"] == "Bob (the second)*" && user["enabled"] == false));
    assert_eq!(domain.login("Ann Ä", "ann's secret").await.expect_err("no role yet"), 401);
    domain.give_staff("member").await;
    let token = domain.login("Ann Ä", "ann's secret").await.expect("logs in");
    assert_eq!(token["user"]["id"], ann["id"]);
    for (name, password) in [
        ("Ann Ä", "wrong"),
        ("Ann Ä", ""),
        ("Bob (the second)*", "bob's secret"),
        ("*", "ann's secret"),
        ("nobody", "ann's secret"),
        ("Ann Ä)(cn=*", "ann's secret"),
    ] {
        assert_eq!(domain.login(name, password).await.expect_err("refused"), 401, "{name} {password}");
    }
}

#[tokio::test]
async fn a_directory_is_asked_over_tls_only_where_its_certificate_is_trusted() {
    let Some(directory) = secure_slapd(LDIF) else { return };
    let (own, stranger) = (directory.authority.display().to_string(), directory.stranger.display().to_string());
    let (ldaps, plain) = (directory.ldaps.as_str(), directory.plain.url.as_str());
    for (url, options, is_trusted) in [
        (ldaps, json!({"tls_cacertfile": own}), true),
        (ldaps, json!({"tls_req_cert": "never"}), true),
        (ldaps, json!({"tls_cacertfile": stranger}), false),
        (ldaps, json!({}), false),
        (plain, json!({"use_tls": true, "tls_cacertfile": own}), true),
        (plain, json!({"use_tls": true, "tls_cacertfile": stranger}), false),
        (plain, json!({"use_tls": true}), false),
        // The server takes no password in the clear.
        (plain, json!({}), false),
    ] {
        let domain = Domain::new(url, options.clone()).await;
        assert_eq!(domain.list("users").await.len(), if is_trusted { 2 } else { 0 }, "{url} {options}");
        if is_trusted {
            domain.give_staff("member").await;
            assert!(domain.login("Ann Ä", "ann's secret").await.is_ok(), "{url} {options}");
        }
        let refused = domain.login("Ann Ä", "wrong").await.expect_err("refused");
        assert!(refused == 401 || (!is_trusted && refused == 503), "{url} {options}: {refused}");
    }
}

#[tokio::test]
async fn what_comes_from_a_directory_is_not_changed_here_and_goes_with_its_configuration() {
    let Some(server) = slapd(LDIF) else { return };
    let domain = Domain::new(&server.url, json!({})).await;
    let (cloud, admin) = (&domain.cloud, &domain.admin);
    let users = domain.list("users").await;
    let user = format!("/v3/users/{}", users[0]["id"].as_str().expect("an id"));
    cloud.want(403, admin, "PATCH", &user, Some(json!({"user": {"name": "other"}}))).await;
    cloud.want(403, admin, "DELETE", &user, None).await;
    let new = json!({"user": {"name": "new", "domain_id": domain.id}});
    cloud.want(403, admin, "POST", "/v3/users", Some(new)).await;
    let group = domain.list("groups").await[0]["id"].as_str().expect("an id").to_owned();
    let member = format!("/v3/groups/{group}/users/{}", cloud.made.user_id);
    cloud.want(403, admin, "PUT", &member, None).await;
    cloud.room.refresh().await.expect("reads");
    assert_eq!(domain.list("users").await.len(), 2, "a refresh of the records leaves them");
    let path = format!("/v3/domains/{}/config", domain.id);
    cloud.want(204, admin, "DELETE", &path, None).await;
    assert!(domain.list("users").await.is_empty() && domain.list("groups").await.is_empty());
    cloud.want(404, admin, "GET", &path, None).await;
}

#[tokio::test]
async fn a_directory_that_does_not_answer_stops_its_own_users_only() {
    let Some(server) = slapd(LDIF) else { return };
    let domain = Domain::new(&server.url, json!({})).await;
    domain.give_staff("member").await;
    drop(server);
    domain.cloud.room.read_directories().await;
    assert_eq!(domain.list("users").await.len(), 2, "what was read stays");
    assert_eq!(domain.login("Ann Ä", "ann's secret").await.expect_err("not now"), 503);
    assert!(domain.cloud.login(&domain.cloud.admin()).await.is_ok());
}

/// A refresh comes every few seconds, and a directory may be long.
#[tokio::test]
async fn a_directory_is_not_read_again_with_every_refresh() {
    let Some(server) = slapd(LDIF) else { return };
    let domain = Domain::new(&server.url, json!({})).await;
    let (connection, mut ldap) = ldap3::LdapConnAsync::new(&server.url).await.expect("connects");
    let driver = tokio::spawn(connection.drive());
    let bound = ldap.simple_bind("cn=admin,dc=example,dc=org", "admin").await.expect("answers");
    bound.success().expect("is let in");
    for name in ["cid", "dan"] {
        let attributes = [("objectClass", "inetOrgPerson"), ("cn", name), ("sn", name), ("userPassword", "secret")];
        let attributes = attributes.map(|(attribute, value)| (attribute, [value].into()));
        let added = ldap.add(&format!("cn={name},ou=Users,dc=example,dc=org"), attributes.into()).await;
        added.expect("answers").success().expect("added");
    }
    domain.cloud.room.refresh().await.expect("reads the records");
    assert_eq!(domain.list("users").await.len(), 2, "what was read lately");
    assert_eq!(domain.login("cid", "secret").await.expect_err("no role"), 401);
    assert_eq!(domain.list("users").await.len(), 3, "who logs in is seen at once");
    domain.cloud.room.read_directories().await;
    assert_eq!(domain.list("users").await.len(), 4);
    ldap.unbind().await.expect("ends");
    driver.await.expect("joins").expect("ends well");
}

#[tokio::test]
async fn options_that_are_not_offered_are_refused_and_unknown_drivers_let_nobody_in() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let path = "/v3/domains/default/config";
    for (config, status) in [
        (json!({"ldap": {"pool_size": 5}}), 403),
        (json!({"other": {"a": 1}}), 403),
        (json!({"ldap": {"url": 5}}), 400),
        (json!({"ldap": 5}), 400),
        (json!({}), 400),
    ] {
        cloud.want(status, &admin, "PUT", path, Some(json!({ "config": config }))).await;
    }
    cloud.want(404, &admin, "GET", path, None).await;
    let person = cloud.person(&admin, "someone", "member").await;
    cloud.want(201, &admin, "PUT", path, Some(json!({"config": {"identity": {"driver": "mystery"}}}))).await;
    assert_eq!(cloud.login(&person).await, Err(401));
    cloud.want(204, &admin, "DELETE", path, None).await;
    assert!(cloud.login(&person).await.is_ok());
}
