//! Keys are moved on without losing what was made with them, wherever a rotation is cut short.

use anello_api::identity::Identity;
use anello_identity::records::{Kind, Records};
use anello_identity::{IdentityRoom, KeyKind};
use serde_json::{Value, json};

use crate::cloud::{Cloud, open};

/// The sealed text of the admin's EC2 key, as the records have it.
async fn sealed(cloud: &Cloud) -> String {
    let (id, _) = cloud.records.versions(Kind::Credential).await.expect("listed").swap_remove(0);
    let (_, data) = cloud.records.get(Kind::Credential, &id).await.expect("readable").expect("there");
    let record: Value = serde_json::from_slice(&data).expect("JSON");
    record["record"]["sealed_blob"].as_str().expect("text").to_owned()
}

async fn knows(room: &IdentityRoom, cloud: &Cloud) -> bool {
    room.signing_key(&cloud.made.access).await.is_ok_and(|key| key.secret == cloud.made.secret)
}

#[tokio::test]
async fn credentials_are_sealed_anew_and_outlive_any_number_of_rotations() {
    let cloud = Cloud::new().await;
    let (elsewhere, _) = open(&cloud.records).await;
    let before = sealed(&cloud).await;
    assert_eq!(cloud.room.rotate_keys(KeyKind::Credential).await.expect("rotates"), 1);
    assert_ne!(sealed(&cloud).await, before);
    elsewhere.refresh().await.expect("reads");
    assert!(knows(&elsewhere, &cloud).await, "another host takes the keys over");
    for _ in 0..4 {
        cloud.room.rotate_keys(KeyKind::Credential).await.expect("rotates");
    }
    assert!(knows(&cloud.room, &cloud).await);
    let (again, made) = open(&cloud.records).await;
    assert!(knows(&again, &cloud).await && made.access == cloud.made.access, "after a restart");
}

#[tokio::test]
async fn a_rotation_of_the_credentials_keys_may_be_cut_anywhere() {
    let mut cuts = 0;
    for writes in 0..16 {
        let cloud = Cloud::new().await;
        let admin = cloud.admin_token().await;
        let config = json!({"config": {"ldap": {"url": "ldap://127.0.0.1:1", "password": "of the reader"}}});
        cloud.want(201, &admin, "PUT", "/v3/domains/default/config", Some(config)).await;
        let keys = format!("/v3/users/{}/credentials/OS-EC2", cloud.made.user_id);
        let made = cloud.want(201, &admin, "POST", &keys, Some(json!({"tenant_id": cloud.made.project_id}))).await;
        cloud.records.stop_after(Some(writes));
        let is_cut = cloud.room.rotate_keys(KeyKind::Credential).await.is_err();
        cloud.records.stop_after(None);
        let (room, _) = open(&cloud.records).await;
        for rotation in 0..3 {
            assert!(knows(&room, &cloud).await, "cut after {writes} writes, {rotation} rotations later");
            let second = made["credential"]["access"].as_str().expect("an access key");
            assert!(room.signing_key(second).await.is_ok());
            room.rotate_keys(KeyKind::Credential).await.expect("rotates");
        }
        let (_, data) = cloud.records.get(Kind::DomainConfig, "default").await.expect("readable").expect("there");
        assert!(!String::from_utf8_lossy(&data).contains("of the reader"));
        cuts += usize::from(is_cut);
        if !is_cut {
            break;
        }
    }
    assert_eq!(cuts, 4, "the keys, two credentials and a configuration are written");
}

#[tokio::test]
async fn of_two_hosts_that_rotate_the_credentials_keys_none_loses_what_the_other_made() {
    let cloud = Cloud::new().await;
    let (other, _) = open(&cloud.records).await;
    let (one, two) = tokio::join!(cloud.room.rotate_keys(KeyKind::Credential), other.rotate_keys(KeyKind::Credential));
    assert!(one.is_ok() || two.is_ok());
    cloud.room.rotate_keys(KeyKind::Credential).await.expect("rotates");
    other.rotate_keys(KeyKind::Credential).await.expect("rotates");
    assert!(knows(&other, &cloud).await);
    let (room, _) = open(&cloud.records).await;
    assert!(knows(&room, &cloud).await);
}

#[tokio::test]
async fn a_receipt_outlives_one_rotation_of_its_keys() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("one proof is enough yet");
    let options = json!({"multi_factor_auth_enabled": true, "multi_factor_auth_rules": [["password", "token"]]});
    let path = format!("/v3/users/{}", person.user_id);
    cloud.want(200, &admin, "PATCH", &path, Some(json!({"user": {"options": options}}))).await;
    let user = json!({"id": person.user_id, "password": person.password});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    let receipt =
        cloud.authenticate(identity, None).await.expect_err("one more proof").headers["openstack-auth-receipt"]
            .to_str()
            .expect("text")
            .to_owned();
    let body = json!({"auth": {"identity": {"methods": ["token"], "token": {"id": token}}}});
    for status in [201, 401] {
        cloud.room.rotate_keys(KeyKind::Receipt).await.expect("rotates");
        let given = [("openstack-auth-receipt", receipt.as_str())];
        let answer = cloud.send("POST", "/identity/v3/auth/tokens", &given, Some(body.clone())).await;
        assert_eq!(answer.status, status, "{}", answer.body);
    }
}
