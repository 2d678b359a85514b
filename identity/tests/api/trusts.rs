//! A trust lends what its trustor has, for as long as he has it, and to nobody else.

use serde_json::{Value, json};

use crate::cloud::{Cloud, Login};

struct Lent {
    cloud: Cloud,
    admin: String,
    trustor: Login,
    trustee: Login,
}

impl Lent {
    async fn new() -> Self {
        let cloud = Cloud::new().await;
        let admin = cloud.admin_token().await;
        let trustor = cloud.person(&admin, "trustor", "member").await;
        let trustee = cloud.person(&admin, "trustee", "reader").await;
        Self { cloud, admin, trustor, trustee }
    }

    fn body(&self, more: Value) -> Value {
        let mut trust = json!({
            "trustor_user_id": self.trustor.user_id, "trustee_user_id": self.trustee.user_id, "impersonation": true,
            "project_id": self.trustor.project_id, "roles": [{"name": "member"}],
        });
        trust.as_object_mut().expect("a trust").extend(more.as_object().expect("fields").clone());
        json!({ "trust": trust })
    }

    async fn make(&self, more: Value) -> String {
        let token = self.cloud.login(&self.trustor).await.expect("logs in");
        let made = self.cloud.want(201, &token, "POST", "/v3/OS-TRUST/trusts", Some(self.body(more))).await;
        made["trust"]["id"].as_str().expect("an id").to_owned()
    }

    async fn use_as(&self, login: &Login, trust: &str) -> Result<(String, Value), u16> {
        let user = json!({"id": login.user_id, "password": login.password});
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let scope = Some(json!({"OS-TRUST:trust": {"id": trust}}));
        self.cloud.authenticate(identity, scope).await.map_err(|answer| answer.status.as_u16())
    }
}

#[tokio::test]
async fn the_trustee_acts_as_the_trustor_with_what_was_lent_and_no_more() {
    let lent = Lent::new().await;
    let trust = lent.make(json!({})).await;
    let (token, shown) = lent.use_as(&lent.trustee, &trust).await.expect("a token");
    assert_eq!(shown["user"]["id"], lent.trustor.user_id.as_str(), "with impersonation");
    assert_eq!(shown["OS-TRUST:trust"]["trustee_user"]["id"], lent.trustee.user_id.as_str());
    assert_eq!(shown["project"]["id"], lent.trustor.project_id.as_str());
    let plain = lent.make(json!({"impersonation": false})).await;
    let (_, shown) = lent.use_as(&lent.trustee, &plain).await.expect("a token");
    assert_eq!(shown["user"]["id"], lent.trustee.user_id.as_str(), "without");
    assert_eq!(lent.use_as(&lent.trustor, &trust).await.expect_err("it is not for him"), 403);
    let (user, cloud) = (&lent.trustor.user_id, &lent.cloud);
    let rescope = json!({"methods": ["token"], "token": {"id": token}});
    let other = Some(json!({"project": {"id": lent.trustor.project_id}}));
    assert_eq!(cloud.authenticate(rescope, other).await.expect_err("no other scope").status, 403);
    let own = json!({"application_credential": {"name": "for ever"}});
    cloud.want(403, &token, "POST", &format!("/v3/users/{user}/application_credentials"), Some(own)).await;
    let keys = format!("/v3/users/{user}/credentials/OS-EC2");
    let theirs = cloud.login(&lent.trustor).await.expect("logs in");
    let tenant = Some(json!({"tenant_id": lent.trustor.project_id}));
    cloud.want(201, &theirs, "POST", &keys, tenant.clone()).await;
    let seen = cloud.want(200, &token, "GET", &keys, None).await;
    assert_eq!(seen["credentials"], json!([]), "the trustor's own secrets are not lent");
    let made = cloud.want(201, &token, "POST", &keys, tenant).await;
    assert_eq!(made["credential"]["trust_id"], trust.as_str());
    let access = made["credential"]["access"].as_str().expect("a key").to_owned();
    use anello_api::identity::Identity;
    assert!(cloud.room.signing_key(&access).await.is_ok());
    cloud.want(204, &theirs, "DELETE", &format!("/v3/OS-TRUST/trusts/{trust}"), None).await;
    assert!(cloud.room.signing_key(&access).await.is_err(), "what was made with it ends with it");
    assert!(cloud.room.token(&token).await.is_err());
}

#[tokio::test]
async fn a_trust_ends_with_its_uses_its_time_and_its_trustors_role() {
    let lent = Lent::new().await;
    let once = lent.make(json!({"remaining_uses": 1})).await;
    let (token, _) = lent.use_as(&lent.trustee, &once).await.expect("once");
    assert_eq!(lent.use_as(&lent.trustee, &once).await.expect_err("not twice"), 401);
    use anello_api::identity::Identity;
    assert!(lent.cloud.room.token(&token).await.is_ok(), "what it was used for stays");
    let trust = lent.make(json!({})).await;
    let (token, _) = lent.use_as(&lent.trustee, &trust).await.expect("a token");
    let role = lent.cloud.role_id(&lent.admin, "member").await;
    let (project, user) = (&lent.trustor.project_id, &lent.trustor.user_id);
    let grant = format!("/v3/projects/{project}/users/{user}/roles/{role}");
    lent.cloud.want(204, &lent.admin, "DELETE", &grant, None).await;
    assert!(lent.cloud.room.token(&token).await.is_err(), "what he lost is lent no more");
    assert_eq!(lent.use_as(&lent.trustee, &trust).await.expect_err("nor again"), 401);
}

#[tokio::test]
async fn nobody_lends_what_he_has_not_or_in_anothers_name() {
    let lent = Lent::new().await;
    let token = lent.cloud.login(&lent.trustor).await.expect("logs in");
    for (more, status) in [
        (json!({"roles": [{"name": "admin"}]}), 404),
        (json!({"roles": []}), 403),
        (json!({"project_id": null}), 403),
        (json!({"trustor_user_id": lent.trustee.user_id}), 403),
        (json!({"trustee_user_id": "0".repeat(32)}), 404),
        (json!({"expires_at": "2001-01-01T00:00:00Z"}), 400),
        (json!({"expires_at": "soon"}), 400),
        (json!({"remaining_uses": 0}), 400),
        (json!({"remaining_uses": 2, "allow_redelegation": true}), 400),
        (json!({"allow_redelegation": true, "redelegation_count": 9}), 403),
        (json!({"impersonation": null}), 400),
    ] {
        let body = Some(lent.body(more.clone()));
        let answer = lent.cloud.ask(&token, "POST", "/v3/OS-TRUST/trusts", body).await;
        assert_eq!(answer.status, status, "{more}: {}", answer.body);
    }
    let trust = lent.make(json!({})).await;
    let other = lent.cloud.person(&lent.admin, "other", "member").await;
    let other = lent.cloud.login(&other).await.expect("logs in");
    for path in [format!("/v3/OS-TRUST/trusts/{trust}"), format!("/v3/OS-TRUST/trusts/{trust}/roles")] {
        lent.cloud.want(403, &other, "GET", &path, None).await;
    }
    lent.cloud.want(403, &other, "GET", "/v3/OS-TRUST/trusts", None).await;
    let theirs = format!("/v3/OS-TRUST/trusts?trustor_user_id={}", lent.trustor.user_id);
    lent.cloud.want(403, &other, "GET", &theirs, None).await;
    let own = lent.cloud.want(200, &token, "GET", &theirs, None).await;
    assert_eq!(own["trusts"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_trust_is_passed_on_as_often_as_was_said_and_ends_with_the_first() {
    let lent = Lent::new().await;
    let third = lent.cloud.person(&lent.admin, "third", "reader").await;
    let first = lent.make(json!({"allow_redelegation": true, "redelegation_count": 1})).await;
    let (token, _) = lent.use_as(&lent.trustee, &first).await.expect("a token");
    let more = json!({"trustee_user_id": third.user_id, "allow_redelegation": true});
    let made = lent.cloud.want(201, &token, "POST", "/v3/OS-TRUST/trusts", Some(lent.body(more.clone()))).await;
    let second = made["trust"]["id"].as_str().expect("an id");
    assert_eq!(made["trust"]["redelegated_trust_id"], first.as_str());
    assert_eq!(made["trust"]["redelegation_count"], 0);
    let (further, shown) = lent.use_as(&third, second).await.expect("a token");
    assert_eq!(shown["user"]["id"], lent.trustor.user_id.as_str());
    let again = Some(lent.body(more));
    lent.cloud.want(403, &further, "POST", "/v3/OS-TRUST/trusts", again).await;
    lent.cloud.want(204, &lent.admin, "DELETE", &format!("/v3/OS-TRUST/trusts/{first}"), None).await;
    assert_eq!(lent.use_as(&third, second).await.expect_err("gone with the first"), 401);
    use anello_api::identity::Identity;
    assert!(lent.cloud.room.token(&further).await.is_err());
}
