//! Tokens are good for what they say, and no longer than they should be.

use anello_api::identity::Identity;
use serde_json::json;

use crate::cloud::{Cloud, Login, open};

#[tokio::test]
async fn wrong_users_passwords_and_scopes_are_told_alike() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin();
    let nobody = || "0".repeat(32);
    for login in [
        Login { password: "wrong".to_owned(), ..admin.clone() },
        Login { user_id: nobody(), ..admin.clone() },
        Login { project_id: nobody(), ..admin.clone() },
    ] {
        assert_eq!(cloud.login(&login).await, Err(401));
    }
    let token = cloud.login(&admin).await.expect("the right one");
    let person = cloud.person(&token, "someone", "reader").await;
    assert_eq!(cloud.login(&Login { project_id: admin.project_id, ..person }).await, Err(401), "no role there");
}

#[tokio::test]
async fn a_token_tells_who_where_and_what_and_the_catalog_names_the_project() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let caller = cloud.room.token(&token).await.expect("valid");
    assert_eq!((caller.user_name.as_str(), caller.project_id.as_deref()), ("someone", Some(&*person.project_id)));
    assert!(caller.has_role("member") && caller.has_role("reader") && !caller.has_role("admin"));
    let catalog = cloud.want(200, &token, "GET", "/v3/auth/catalog", None).await.to_string();
    assert!(catalog.contains(&format!("/v1/AUTH_{}", person.project_id)), "{catalog}");
    assert!(cloud.room.token("gAAAAnonsense").await.is_err());
}

#[tokio::test]
async fn a_token_ends_at_once_when_its_reason_does() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let patch = |path: String, kind: &str, what: serde_json::Value| ("PATCH", path, Some(json!({ kind: what })));
    for reason in 0..6 {
        let person = cloud.person(&admin, &format!("person {reason}"), "member").await;
        let token = cloud.login(&person).await.expect("logs in");
        let (user, project) = (&person.user_id, &person.project_id);
        let role = cloud.role_id(&admin, "member").await;
        let (method, path, body) = match reason {
            0 => ("DELETE", format!("/v3/projects/{project}/users/{user}/roles/{role}"), None),
            1 => patch(format!("/v3/users/{user}"), "user", json!({"enabled": false})),
            2 => patch(format!("/v3/projects/{project}"), "project", json!({"enabled": false})),
            3 => patch(format!("/v3/users/{user}"), "user", json!({"password": "other"})),
            4 => ("DELETE", format!("/v3/users/{user}"), None),
            _ => ("DELETE", format!("/v3/projects/{project}"), None),
        };
        assert!(cloud.room.token(&token).await.is_ok());
        let answer = cloud.ask(&admin, method, &path, body).await;
        assert!(answer.status.is_success(), "{method} {path}: {}", answer.body);
        assert!(cloud.room.token(&token).await.is_err(), "reason {reason}");
        cloud.want(401, &token, "GET", "/v3/auth/projects", None).await;
    }
}

#[tokio::test]
async fn a_revoked_token_is_gone_and_the_next_one_is_good() {
    let cloud = Cloud::new().await;
    let (token, other) = (cloud.admin_token().await, cloud.admin_token().await);
    let headers = [("x-auth-token", token.as_str()), ("x-subject-token", token.as_str())];
    assert_eq!(cloud.send("GET", "/identity/v3/auth/tokens", &headers, None).await.status, 200);
    assert_eq!(cloud.send("HEAD", "/identity/v3/auth/tokens", &headers, None).await.status, 200);
    assert_eq!(cloud.send("DELETE", "/identity/v3/auth/tokens", &headers, None).await.status, 204);
    let headers = [("x-auth-token", other.as_str()), ("x-subject-token", token.as_str())];
    assert_eq!(cloud.send("GET", "/identity/v3/auth/tokens", &headers, None).await.status, 404);
    let path = format!("/v3/users/{}/password", cloud.made.user_id);
    let body = json!({"user": {"original_password": "wrong", "password": "new"}});
    cloud.want(401, "", "POST", &path, Some(body)).await;
    let body = json!({"user": {"original_password": "admin's password", "password": "new"}});
    cloud.want(204, "", "POST", &path, Some(body)).await;
    assert!(cloud.room.token(&other).await.is_err(), "a new password ends all tokens");
    let login = Login { password: "new".to_owned(), ..cloud.admin() };
    let token = cloud.login(&login).await.expect("in the same second too");
    assert!(cloud.room.token(&token).await.is_ok());
}

#[tokio::test]
async fn a_rescoped_token_keeps_end_and_chain() {
    let cloud = Cloud::new().await;
    let user = json!({"id": cloud.made.user_id, "password": "admin's password"});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    let (unscoped, first) = cloud.authenticate(identity, Some(json!("unscoped"))).await.ok().expect("logs in");
    assert!(first.get("roles").is_none() && first.get("catalog").is_none() && first.get("project").is_none());
    let identity = json!({"methods": ["token"], "token": {"id": unscoped}});
    let scope = json!({"project": {"id": cloud.made.project_id}});
    let (_, second) = cloud.authenticate(identity, Some(scope)).await.ok().expect("rescopes");
    assert_eq!(second["expires_at"], first["expires_at"]);
    assert_eq!(second["methods"], json!(["token", "password"]));
    assert_eq!(second["audit_ids"][1], first["audit_ids"][0]);
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let (room, made) = open(&cloud.records).await;
    assert!(!made.created, "the bootstrap makes nothing twice");
    assert_eq!((&made.user_id, &made.access), (&cloud.made.user_id, &cloud.made.access));
    assert_eq!(room.token(&token).await.expect("still valid").user_id, person.user_id);
    let again = Cloud { records: cloud.records.clone(), room, made };
    assert!(again.login(&person).await.is_ok());
    let roles = again.want(200, &admin, "GET", "/v3/roles", None).await;
    assert_eq!(roles["roles"].as_array().map(Vec::len), Some(7));
}

#[tokio::test]
async fn tokens_outlive_a_rotation_of_the_keys() {
    let cloud = Cloud::new().await;
    let token = cloud.admin_token().await;
    cloud.room.rotate_keys(anello_identity::KeyKind::Token).await.expect("rotates");
    assert!(cloud.room.token(&token).await.is_ok());
    let new = cloud.admin_token().await;
    let (elsewhere, _) = open(&cloud.records).await;
    assert!(elsewhere.token(&new).await.is_ok(), "another host has the keys");
}

#[tokio::test]
async fn services_see_what_was_revoked_since_and_nobody_else_does() {
    let cloud = Cloud::new().await;
    let (admin, ended) = (cloud.admin_token().await, cloud.admin_token().await);
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", ended.as_str())];
    let shown = cloud.send("GET", "/identity/v3/auth/tokens", &headers, None).await;
    cloud.send("DELETE", "/identity/v3/auth/tokens", &headers, None).await;
    let disabled = |kind: &str| Some(json!({kind: {"enabled": false}}));
    cloud.want(200, &admin, "PATCH", &format!("/v3/projects/{}", person.project_id), disabled("project")).await;
    let made = cloud.want(201, &admin, "POST", "/v3/domains", Some(json!({"domain": {"name": "other"}}))).await;
    let domain = made["domain"]["id"].as_str().expect("an id");
    cloud.want(200, &admin, "PATCH", &format!("/v3/domains/{domain}"), disabled("domain")).await;
    let seen = async |query: &str| -> Vec<serde_json::Value> {
        let path = format!("/v3/OS-REVOKE/events{query}");
        cloud.want(200, &admin, "GET", &path, None).await["events"].as_array().expect("a list").clone()
    };
    let events = seen("").await;
    let of = |attribute: &str, id: &serde_json::Value| events.iter().find(|it| it[attribute] == *id).expect("an event");
    let event = of("audit_id", &shown.body["token"]["audit_ids"][0]);
    of("project_id", &json!(person.project_id));
    of("domain_id", &json!(domain));
    let at = event["revoked_at"].as_str().expect("a time");
    assert!(at.ends_with('Z') && event["issued_before"] == at && event.get("user_id").is_none(), "{event}");
    assert!(seen(&format!("?since={at}")).await.contains(event));
    assert!(seen("?since=2999-01-01T00:00:00Z").await.is_empty());
    cloud.want(400, &admin, "GET", "/v3/OS-REVOKE/events?since=yesterday", None).await;
    cloud.want(401, &token, "GET", "/v3/OS-REVOKE/events", None).await;
    let other = cloud.person(&admin, "other", "member").await;
    let other = cloud.login(&other).await.expect("logs in");
    cloud.want(403, &other, "GET", "/v3/OS-REVOKE/events", None).await;
    let service = cloud.person(&admin, "service", "service").await;
    let service = cloud.login(&service).await.expect("logs in");
    cloud.want(200, &service, "GET", "/v3/OS-REVOKE/events", None).await;
}
