//! Passwords and log-ins keep the operator's rules.

use std::time::Duration;

use anello_identity::{Compliance, IdentityConfig};
use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;

use crate::cloud::{Cloud, Login};

async fn cloud(compliance: Compliance) -> (Cloud, String) {
    let cloud = Cloud::with(IdentityConfig { compliance, ..IdentityConfig::default() }).await;
    let admin = cloud.admin_token().await;
    (cloud, admin)
}

fn with_password(login: &Login, password: &str) -> Login {
    Login { password: password.to_owned(), ..login.clone() }
}

async fn change(cloud: &Cloud, login: &Login, new: &str) -> u16 {
    let body = json!({"user": {"original_password": login.password, "password": new}});
    let path = format!("/v3/users/{}/password", login.user_id);
    cloud.ask("", "POST", &path, Some(body)).await.status.as_u16()
}

#[tokio::test]
async fn who_fails_too_often_is_locked_out_for_a_while_and_the_excused_are_not() {
    let rules = Compliance { lockout_failure_attempts: 2, lockout_duration: 5, ..Compliance::default() };
    let (cloud, admin) = cloud(rules).await;
    let person = cloud.person(&admin, "someone", "member").await;
    let excused = cloud.person(&admin, "excused", "member").await;
    let options = json!({"user": {"options": {"ignore_lockout_failure_attempts": true}}});
    cloud.want(200, &admin, "PATCH", &format!("/v3/users/{}", excused.user_id), Some(options)).await;
    for login in [&person, &excused] {
        for _ in 0..2 {
            assert_eq!(cloud.login(&with_password(login, "wrong")).await, Err(401));
        }
    }
    assert_eq!(cloud.login(&person).await, Err(401), "also with the right password");
    assert_eq!(change(&cloud, &person, "another").await, 401, "nor is it changed");
    assert!(cloud.login(&excused).await.is_ok());
    tokio::time::sleep(Duration::from_millis(5100)).await;
    assert!(cloud.login(&person).await.is_ok());
    assert_eq!(cloud.login(&with_password(&person, "wrong")).await, Err(401));
    assert!(cloud.login(&person).await.is_ok(), "a good log-in begins the count anew");
}

#[tokio::test]
async fn who_guesses_is_told_to_wait_before_a_password_is_looked_at() {
    let (cloud, admin) = cloud(Compliance::default()).await;
    let person = cloud.person(&admin, "someone", "member").await;
    let tries = anello_identity::limits::FAILED_LOGINS_MAX;
    for _ in 0..tries {
        assert_eq!(cloud.login(&with_password(&person, "wrong")).await, Err(401));
    }
    assert_eq!(cloud.login(&person).await, Err(429));
    assert!(cloud.login(&cloud.admin()).await.is_ok(), "others are not held up");
}

#[tokio::test]
async fn passwords_are_strong_enough_new_and_kept_for_a_while() {
    let rules = Compliance {
        unique_last_password_count: 2,
        password_regex: r"^(?=.*\d).{6,}$".into(),
        password_regex_description: "six characters, a digit among them".into(),
        ..Compliance::default()
    };
    let (cloud, admin) = cloud(rules).await;
    let weak = json!({"user": {"name": "weak", "domain_id": "default", "password": "short"}});
    let answer = cloud.want(400, &admin, "POST", "/v3/users", Some(weak)).await;
    assert!(answer.to_string().contains("a digit among them"), "{answer}");
    let user = json!({"user": {"name": "strong", "domain_id": "default", "password": "number 1"}});
    let made = cloud.want(201, &admin, "POST", "/v3/users", Some(user)).await;
    let user_id = made["user"]["id"].as_str().expect("an id").to_owned();
    let login =
        |password: &str| Login { user_id: user_id.clone(), password: password.into(), project_id: String::new() };
    for (old, new, status) in [
        ("number 1", "weak", 400),
        ("number 1", "number 1", 400),
        ("number 1", "number 2", 204),
        ("number 2", "number 1", 400),
        ("number 2", "number 3", 204),
        ("number 3", "number 1", 204),
    ] {
        assert_eq!(change(&cloud, &login(old), new).await, status, "{old} to {new}");
    }
    let (cloud, admin) = self::cloud(Compliance { minimum_password_age: 1, ..Compliance::default() }).await;
    let person = cloud.person(&admin, "someone", "member").await;
    assert_eq!(change(&cloud, &person, "first").await, 204, "what somebody else set may be changed at once");
    assert_eq!(change(&cloud, &with_password(&person, "first"), "second").await, 400);
}

#[tokio::test]
async fn an_expired_password_serves_to_be_changed_only() {
    let rules = Compliance { change_password_upon_first_use: true, password_expires_days: 7, ..Compliance::default() };
    let (cloud, admin) = cloud(rules).await;
    let person = cloud.person(&admin, "someone", "member").await;
    let user = json!({"id": person.user_id, "password": person.password});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    let answer = cloud.authenticate(identity, None).await.expect_err("to be changed first");
    assert_eq!(answer.status, 401);
    assert!(answer.body.to_string().contains("needs to be changed"), "{}", answer.body);
    assert_eq!(cloud.login(&with_password(&person, "wrong")).await, Err(401));
    assert_eq!(change(&cloud, &person, "my own").await, 204);
    let own = with_password(&person, "my own");
    assert!(cloud.login(&own).await.is_ok());
    let shown = cloud.want(200, &admin, "GET", &format!("/v3/users/{}", person.user_id), None).await;
    assert!(shown["user"]["password_expires_at"].is_string(), "{shown}");
    for (filter, count) in [("lt:2001-01-01T00:00:00Z", 0), ("gt:2001-01-01T00:00:00Z", 1)] {
        let list = cloud.want(200, &admin, "GET", &format!("/v3/users?password_expires_at={filter}"), None).await;
        assert_eq!(list["users"].as_array().map(Vec::len), Some(count), "{filter}");
    }
    cloud.want(400, &admin, "GET", "/v3/users?password_expires_at=xx:1", None).await;
}

fn passcode(secret: &[u8], step: u64) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("a key");
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let start = usize::from(digest[19] & 15);
    let word = u32::from_be_bytes(digest[start..start + 4].try_into().expect("four"));
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

#[tokio::test]
async fn who_must_give_two_proofs_gets_a_receipt_for_the_first() {
    let (cloud, admin) = cloud(Compliance::default()).await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("one proof is enough yet");
    let secret = b"a secret of 20 bytes";
    let body = json!({"credential": {"type": "totp", "blob": BASE32_NOPAD.encode(secret), "user_id": person.user_id}});
    cloud.want(201, &token, "POST", "/v3/credentials", Some(body)).await;
    let rules = json!([["password", "totp"], ["password", "unheard-of"]]);
    let options = json!({"multi_factor_auth_enabled": true, "multi_factor_auth_rules": rules});
    let path = format!("/v3/users/{}", person.user_id);
    cloud.want(200, &admin, "PATCH", &path, Some(json!({"user": {"options": options}}))).await;
    let auth = |methods: Value, more: Value| {
        let mut identity = json!({ "methods": methods });
        identity.as_object_mut().expect("fields").extend(more.as_object().expect("fields").clone());
        json!({"auth": {"identity": identity, "scope": {"project": {"id": person.project_id}}}})
    };
    let password = json!({"password": {"user": {"id": person.user_id, "password": person.password}}});
    let path = "/identity/v3/auth/tokens";
    let first = cloud.send("POST", path, &[], Some(auth(json!(["password"]), password))).await;
    assert_eq!(first.status, 401);
    assert_eq!(first.body["required_auth_methods"], json!([["password", "totp"]]), "{}", first.body);
    let receipt = first.headers["openstack-auth-receipt"].to_str().expect("text").to_owned();
    let seconds = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let code = passcode(secret, seconds / 30);
    let totp = |code: &str| json!({"totp": {"user": {"id": person.user_id, "passcode": code}}});
    let given = [("openstack-auth-receipt", receipt.as_str())];
    let forged = [("openstack-auth-receipt", "gAAAAnonsense")];
    for (headers, code, status) in
        [(&[][..], "000000", 401), (&given, "000000", 401), (&forged, &code, 401), (&given, &code, 401)]
    {
        // The third uses the passcode up, so that the fourth is a replay.
        let answer = cloud.send("POST", path, headers, Some(auth(json!(["totp"]), totp(code)))).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
    let code = passcode(secret, seconds / 30 - 1);
    let answer = cloud.send("POST", path, &given, Some(auth(json!(["totp"]), totp(&code)))).await;
    // At the turn of a step the one before is two behind.
    let is_turn = answer.status == 401 && answer.headers.get("openstack-auth-receipt").is_none();
    assert!(answer.status == 201 || is_turn, "{}", answer.body);
    if answer.status == 201 {
        assert_eq!(answer.body["token"]["methods"].as_array().map(Vec::len), Some(2), "{}", answer.body);
    }
}

#[tokio::test]
async fn the_audit_log_names_who_did_what_and_no_secret() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("audit.log");
    let config = IdentityConfig { audit_log: Some(path.clone()), ..IdentityConfig::default() };
    let cloud = Cloud::with(config).await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let _ = cloud.login(&with_password(&person, "a mistyped secret")).await;
    let token = cloud.login(&person).await.expect("logs in");
    cloud.want(403, &token, "DELETE", &format!("/v3/users/{}", cloud.made.user_id), None).await;
    let keys = format!("/v3/users/{}/credentials/OS-EC2", person.user_id);
    let key = cloud.want(201, &token, "POST", &keys, Some(json!({"tenant_id": person.project_id}))).await;
    let text = std::fs::read_to_string(path).expect("written");
    for secret in ["a mistyped secret", "pass word", &token, key["credential"]["secret"].as_str().expect("a secret")] {
        assert!(!text.contains(secret), "{secret}");
    }
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let is = |action: &str, outcome: &str, who: &str| {
        let same = |it: &&Value| it["action"] == action && it["outcome"] == outcome && it["initiator"]["id"] == who;
        events.iter().filter(same).count()
    };
    assert_eq!(is("created.user", "success", &cloud.made.user_id), 1);
    assert_eq!(is("authenticate", "failure", &person.user_id), 1);
    assert_eq!(is("authenticate", "success", &person.user_id), 1);
    assert_eq!(is("deleted.user", "failure", &person.user_id), 1);
}

#[tokio::test]
async fn whoever_chooses_a_password_may_read_what_it_must_be_like() {
    let regex = r"^(?=.*\d).{7,}$";
    let rules = Compliance {
        password_regex: regex.into(),
        password_regex_description: "seven letters and a digit".into(),
        ..Compliance::default()
    };
    let cloud = Cloud::with(IdentityConfig { compliance: rules, ..IdentityConfig::default() }).await;
    let admin = cloud.admin_token().await;
    let made = cloud.want(201, &admin, "POST", "/v3/domains", Some(json!({"domain": {"name": "other"}}))).await;
    let other = made["domain"]["id"].as_str().expect("an id");
    let user = json!({"user": {"name": "someone", "domain_id": other, "password": "1 pass word"}});
    cloud.want(201, &admin, "POST", "/v3/users", Some(user)).await;
    let user = json!({"name": "someone", "domain": {"id": other}, "password": "1 pass word"});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    let (token, _) = cloud.authenticate(identity, Some(json!("unscoped"))).await.ok().expect("logs in");
    let description = "seven letters and a digit";
    let all = json!({"security_compliance": {"password_regex": regex, "password_regex_description": description}});
    let path = "/v3/domains/default/config/security_compliance";
    let one = format!("{path}/password_regex");
    for (path, want) in [
        (path, all.clone()),
        (&one, json!({"password_regex": regex})),
        (&format!("{path}/password_regex_description"), json!({"password_regex_description": description})),
        (&format!("/v3/domains/{other}/config/security_compliance"), all),
    ] {
        assert_eq!(cloud.want(200, &token, "GET", path, None).await["config"], want, "{path}");
        assert_eq!(cloud.ask(&token, "HEAD", path, None).await.status, 200);
    }
    cloud.want(403, &token, "GET", &format!("{path}/lockout_duration"), None).await;
    cloud.want(403, &admin, "GET", &format!("/v3/domains/{other}/config/security_compliance"), None).await;
    cloud.want(404, &admin, "GET", "/v3/domains/nowhere/config/security_compliance", None).await;
    cloud.want(401, "", "GET", path, None).await;
    let change = json!({"config": {"password_regex": ""}});
    cloud.want(403, &admin, "PATCH", &one, Some(change)).await;
    cloud.want(403, &admin, "DELETE", path, None).await;
    cloud.want(403, &token, "GET", "/v3/domains/default/config", None).await;
    let default = cloud.want(200, &admin, "GET", "/v3/domains/config/identity/driver/default", None).await;
    assert_eq!(default["config"]["driver"], "objects");
}
