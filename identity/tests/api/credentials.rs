//! Keys and application credentials give what their owner has, and never more.

use anello_api::identity::Identity;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::cloud::Cloud;

#[tokio::test]
async fn the_first_start_gives_a_key_that_signs_for_the_admin() {
    let cloud = Cloud::new().await;
    let key = cloud.room.signing_key(&cloud.made.access).await.expect("known");
    assert_eq!(key.secret, cloud.made.secret);
    assert_eq!(key.caller.project_id.as_deref(), Some(&*cloud.made.project_id));
    assert!(key.caller.has_role("admin"));
    assert!(!format!("{key:?} {:?}", cloud.made).contains(&cloud.made.secret), "no secret in debug output");
    assert!(cloud.room.signing_key("AKIANOBODY").await.is_err());
}

#[tokio::test]
async fn a_key_ends_with_the_role_that_it_stands_for() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let path = format!("/v3/users/{}/credentials/OS-EC2", person.user_id);
    let made = cloud.want(201, &token, "POST", &path, Some(json!({"tenant_id": person.project_id}))).await;
    let access = made["credential"]["access"].as_str().expect("an access key");
    assert!(cloud.room.signing_key(access).await.expect("known").caller.has_role("member"));
    let role = cloud.role_id(&admin, "member").await;
    let grant = format!("/v3/projects/{}/users/{}/roles/{role}", person.project_id, person.user_id);
    cloud.want(204, &admin, "DELETE", &grant, None).await;
    assert!(cloud.room.signing_key(access).await.is_err());
    cloud.want(204, &admin, "PUT", &grant, None).await;
    assert!(cloud.room.signing_key(access).await.is_ok());
    cloud.want(204, &token, "DELETE", &format!("{path}/{access}"), None).await;
    assert!(cloud.room.signing_key(access).await.is_err());
}

#[tokio::test]
async fn nobody_sees_or_moves_another_ones_credentials() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let list = cloud.want(200, &token, "GET", "/v3/credentials", None).await;
    assert_eq!(list["credentials"], json!([]), "only one's own");
    let foreign = format!("/v3/users/{}/credentials/OS-EC2", cloud.made.user_id);
    cloud.want(403, &token, "GET", &foreign, None).await;
    let blob = json!({"access": "one", "secret": "two"}).to_string();
    let body = json!({"credential": {"type": "ec2", "blob": blob, "project_id": person.project_id}});
    let made = cloud.want(201, &token, "POST", "/v3/credentials", Some(body)).await;
    let path = format!("/v3/credentials/{}", made["credential"]["id"].as_str().expect("an id"));
    let body = json!({"credential": {"user_id": cloud.made.user_id}});
    cloud.want(403, &token, "PATCH", &path, Some(body)).await;
    let body = json!({"credential": {"blob": json!({"access": "other", "secret": "two"}).to_string()}});
    cloud.want(200, &token, "PATCH", &path, Some(body)).await;
    assert!(cloud.room.signing_key("one").await.is_err(), "the access key was changed");
    assert_eq!(cloud.room.signing_key("other").await.expect("known by the new one").secret, "two");
}

async fn application_credential(cloud: &Cloud, token: &str, user_id: &str, body: Value) -> Value {
    let path = format!("/v3/users/{user_id}/application_credentials");
    let made = cloud.want(201, token, "POST", &path, Some(json!({"application_credential": body}))).await;
    made["application_credential"].clone()
}

#[tokio::test]
async fn an_application_credential_has_the_roles_it_was_given_and_makes_no_others() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let body = json!({"name": "app", "roles": [{"name": "reader"}]});
    let made = application_credential(&cloud, &token, &person.user_id, body).await;
    let proof = json!({"id": made["id"], "secret": made["secret"]});
    let identity = json!({"methods": ["application_credential"], "application_credential": proof});
    let scope = json!({"project": {"id": person.project_id}});
    let refused = cloud.authenticate(identity.clone(), Some(scope)).await.expect_err("a scope is refused");
    assert_eq!(refused.status, 401);
    let (app, shown) = cloud.authenticate(identity.clone(), None).await.ok().expect("logs in");
    assert_eq!(shown["roles"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(shown["application_credential"]["restricted"], true);
    let path = format!("/v3/users/{}/application_credentials", person.user_id);
    let body = json!({"application_credential": {"name": "second"}});
    cloud.want(403, &app, "POST", &path, Some(body)).await;
    let keys = format!("/v3/users/{}/credentials/OS-EC2", person.user_id);
    cloud.want(403, &app, "POST", &keys, Some(json!({"tenant_id": person.project_id}))).await;
    let rescope = json!({"methods": ["token"], "token": {"id": app}});
    assert_eq!(cloud.authenticate(rescope, None).await.expect_err("not rescoped").status, 403);
    let body = json!({"application_credential": {"name": "app"}});
    cloud.want(409, &token, "POST", &path, Some(body)).await;
    let body = json!({"application_credential": {"name": "more", "roles": [{"name": "admin"}]}});
    cloud.want(400, &token, "POST", &path, Some(body)).await;
    let body = json!({"application_credential": {"name": "ruled", "access_rules": [{"path": "/v3"}]}});
    cloud.want(400, &token, "POST", &path, Some(body)).await;
    cloud.want(204, &token, "DELETE", &format!("{path}/{}", made["id"].as_str().expect("id")), None).await;
    assert!(cloud.room.token(&app).await.is_err(), "its tokens end with it");
    assert!(cloud.authenticate(identity, None).await.is_err());
}

#[tokio::test]
async fn a_forwarded_signature_is_worth_a_token_only_to_services() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let mut mac = Hmac::<Sha1>::new_from_slice(cloud.made.secret.as_bytes()).expect("a key");
    mac.update(b"GET\n\n\n\n/bucket");
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let string = URL_SAFE.encode("GET\n\n\n\n/bucket");
    let body = |signature: &str, access: &str| {
        Some(json!({"credentials": {"access": access, "token": string, "signature": signature}}))
    };
    let access = &cloud.made.access;
    cloud.want(403, &token, "POST", "/v3/s3tokens", body(&signature, access)).await;
    let shown = cloud.want(200, &admin, "POST", "/v3/s3tokens", body(&signature, access)).await;
    assert_eq!(shown["token"]["user"]["id"], cloud.made.user_id.as_str());
    assert_eq!(shown["token"]["methods"], json!(["ec2credential"]));
    cloud.want(401, &admin, "POST", "/v3/s3tokens", body("wrong", access)).await;
    cloud.want(404, &admin, "POST", "/v3/s3tokens", body(&signature, "nobody")).await;
    cloud.want(401, &admin, "POST", "/v3/ec2tokens", body(&signature, access)).await;
}

/// Other services find out from the blob, as Keystone shows it, what a key was made with, and narrow it down.
#[tokio::test]
async fn a_credential_shows_what_its_key_was_made_with_and_nothing_that_somebody_wrote_there() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let body = json!({"name": "app", "unrestricted": true});
    let made = application_credential(&cloud, &token, &person.user_id, body).await;
    let proof = json!({"id": made["id"], "secret": made["secret"]});
    let identity = json!({"methods": ["application_credential"], "application_credential": proof});
    let Ok((narrow, _)) = cloud.authenticate(identity, None).await else { panic!("it logs in") };
    for (number, (token, is_narrow)) in [(&token, false), (&narrow, true)].into_iter().enumerate() {
        let forged = json!({"access": format!("key{number}"), "secret": "s", "app_cred_id": "x", "trust_id": "y"});
        let body = json!({"type": "ec2", "blob": forged.to_string(), "project_id": person.project_id});
        let made_key = cloud.want(201, token, "POST", "/v3/credentials", Some(json!({"credential": body}))).await;
        let path = format!("/v3/credentials/{}", made_key["credential"]["id"].as_str().expect("an id"));
        let shown = cloud.want(200, &admin, "GET", &path, None).await;
        let blob: Value = serde_json::from_str(shown["credential"]["blob"].as_str().expect("text")).expect("JSON");
        assert_eq!(blob["secret"], "s");
        assert_eq!(blob.get("app_cred_id"), is_narrow.then_some(&made["id"]), "{blob}");
        assert_eq!(blob.get("trust_id"), None, "{blob}");
    }
}
