//! Nobody does what he may not.

use serde_json::json;

use crate::cloud::Cloud;

/// Every route that the room has, with an id that is nowhere in the place of each parameter.
fn routes() -> Vec<(String, String, String)> {
    let golden = include_str!("../../src/http/routes.golden");
    let fill = |path: &str| {
        let parts = path.split('/').map(|part| if part.starts_with('{') { "nowhere" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let lines = golden.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((fill(words.next()?), words.next()?.to_owned(), words.next()?.to_owned()))
    });
    lines.collect()
}

const PUBLIC: [&str; 3] = ["identity:versions", "identity:authenticate", "identity:change_password"];

#[tokio::test]
async fn without_a_valid_token_every_route_but_log_in_answers_401() {
    let cloud = Cloud::new().await;
    for (path, method, rule) in routes() {
        for token in ["", "gAAAAnonsense"] {
            let answer = cloud.ask(token, &method, &path, Some(json!({}))).await;
            let is_public = PUBLIC.contains(&rule.as_str());
            assert!(is_public || answer.status == 401, "{method} {path} answers {}", answer.status);
        }
    }
}

#[tokio::test]
async fn a_member_changes_nothing_that_is_not_his() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let allowed = ["identity:not_offered", "identity:get_auth_catalog", "identity:get_auth_projects"];
    let bodies = json!({
        "user": {"name": "n", "domain_id": "default"}, "project": {"name": "n", "domain_id": "default"},
        "domain": {"name": "n"}, "role": {"name": "n"}, "group": {"name": "n", "domain_id": "default"},
        "service": {"type": "t"}, "endpoint": {}, "region": {}, "tags": [], "tenant_id": person.project_id,
        "credential": {"type": "ec2", "user_id": cloud.made.user_id, "blob": "{}"}, "credentials": {"access": "a"},
        "application_credential": {"name": "n"},
        "trust": {"trustor_user_id": cloud.made.user_id, "trustee_user_id": person.user_id},
    });
    for (path, method, rule) in routes() {
        if method == "GET" || method == "HEAD" || PUBLIC.contains(&rule.as_str()) || allowed.contains(&rule.as_str()) {
            continue;
        }
        let path = path.replacen("/users/nowhere", &format!("/users/{}", cloud.made.user_id), 1);
        let path = path.replacen("/projects/nowhere", &format!("/projects/{}", cloud.made.project_id), 1);
        let answer = cloud.ask(&token, &method, &path, Some(bodies.clone())).await;
        // What nobody can guess is told to everybody to be missing.
        let is_unguessable = ["identity:revoke_token", "identity:delete_trust"].contains(&rule.as_str());
        let want = if is_unguessable { 404 } else { 403 };
        assert_eq!(answer.status, want, "{method} {path}: {}", answer.body);
    }
    for path in ["/v3/users", "/v3/projects", "/v3/role_assignments", "/v3/services", "/v3/domains"] {
        cloud.want(403, &token, "GET", path, None).await;
    }
    let own = format!("/v3/users/{}", person.user_id);
    cloud.want(200, &token, "GET", &own, None).await;
    cloud.want(403, &token, "GET", &format!("/v3/users/{}", cloud.made.user_id), None).await;
    cloud.want(403, &token, "GET", "/v3/users/nowhere", None).await;
}

#[tokio::test]
async fn a_domains_manager_stays_in_his_domain_and_below_admin() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let body = json!({"domain": {"name": "theirs"}});
    let domain = cloud.want(201, &admin, "POST", "/v3/domains", Some(body)).await["domain"]["id"].clone();
    let domain = domain.as_str().expect("an id");
    let body = json!({"user": {"name": "boss", "domain_id": domain, "password": "p"}});
    let boss = cloud.want(201, &admin, "POST", "/v3/users", Some(body)).await["user"]["id"].clone();
    let boss = boss.as_str().expect("an id");
    let manager = cloud.role_id(&admin, "manager").await;
    cloud.want(204, &admin, "PUT", &format!("/v3/domains/{domain}/users/{boss}/roles/{manager}"), None).await;
    let identity = json!({"methods": ["password"], "password": {"user": {"id": boss, "password": "p"}}});
    let scope = Some(json!({"domain": {"id": domain}}));
    let (token, _) = cloud.authenticate(identity, scope).await.ok().expect("logs in");
    let body = json!({"user": {"name": "new", "domain_id": domain}});
    let new = cloud.want(201, &token, "POST", "/v3/users", Some(body)).await["user"]["id"].clone();
    let new = new.as_str().expect("an id");
    let body = json!({"user": {"name": "new", "domain_id": "default"}});
    cloud.want(403, &token, "POST", "/v3/users", Some(body)).await;
    for (role, want) in [("member", 204), ("reader", 204), ("admin", 403), ("service", 403), ("ResellerAdmin", 403)] {
        let role = cloud.role_id(&admin, role).await;
        cloud.want(want, &token, "PUT", &format!("/v3/domains/{domain}/users/{new}/roles/{role}"), None).await;
        let other = format!("/v3/domains/default/users/{new}/roles/{role}");
        cloud.want(403, &token, "PUT", &other, None).await;
    }
    let users = cloud.want(200, &token, "GET", "/v3/users", None).await;
    let users: Vec<_> = users["users"].as_array().expect("a list").iter().map(|it| it["domain_id"].clone()).collect();
    assert!(users.len() == 2 && users.iter().all(|it| it == domain), "{users:?}");
}

#[tokio::test]
async fn what_is_not_there_and_not_offered_answers_in_keystones_shape() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    for (method, path, status) in [
        ("GET", "/v3/users/some%20name", 404),
        ("GET", "/v3/nothing", 404),
        ("GET", "/v3/OS-FEDERATION/mappings", 501),
        ("GET", "/v3/OS-OAUTH1/consumers", 501),
        ("DELETE", "/v3/users", 405),
        ("POST", "/v3/users", 400),
        ("GET", "/v3/users?limit=none", 400),
    ] {
        let body = cloud.want(status, &admin, method, path, None).await;
        assert_eq!(body["error"]["code"], status, "{method} {path}: {body}");
        assert!(body["error"]["message"].is_string() && body["error"]["title"].is_string(), "{body}");
    }
    let long = json!({"user": {"name": "n", "domain_id": "default", "note": "x".repeat(200_000)}});
    cloud.want(413, &admin, "POST", "/v3/users", Some(long)).await;
}
