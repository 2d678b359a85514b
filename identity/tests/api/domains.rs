//! A domain is also a project: the one that acts as it, above all others in it.

use anello_api::identity::Identity;
use serde_json::{Value, json};

use crate::cloud::{Cloud, Login};

fn id(value: &Value) -> String {
    value["id"].as_str().expect("an id").to_owned()
}

/// A project that acts as a domain, made by the admin.
async fn acting(cloud: &Cloud, admin: &str) -> String {
    let body = json!({"project": {"name": "company", "is_domain": true}});
    let made = cloud.want(201, admin, "POST", "/v3/projects", Some(body)).await["project"].clone();
    assert_eq!(
        (&made["is_domain"], &made["domain_id"], &made["parent_id"]),
        (&json!(true), &json!(null), &json!(null))
    );
    id(&made)
}

async fn grant(cloud: &Cloud, admin: &str, path: &str, role: &str) {
    let role = cloud.role_id(admin, role).await;
    cloud.want(204, admin, "PUT", &format!("{path}/roles/{role}"), None).await;
}

#[tokio::test]
async fn a_project_that_acts_as_a_domain_is_the_domain_and_holds_its_projects() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let domain = acting(&cloud, &admin).await;
    let shown = cloud.want(200, &admin, "GET", &format!("/v3/domains/{domain}"), None).await;
    assert_eq!(shown["domain"]["name"], "company");
    let body = json!({"project": {"name": "work", "parent_id": domain}});
    let below = cloud.want(201, &admin, "POST", "/v3/projects", Some(body)).await["project"].clone();
    assert_eq!((&below["domain_id"], &below["parent_id"]), (&json!(domain), &json!(domain)));
    let listed = async |query: &str| -> Vec<String> {
        let list = cloud.want(200, &admin, "GET", &format!("/v3/projects?{query}"), None).await;
        list["projects"].as_array().expect("a list").iter().map(id).collect()
    };
    assert!(listed("is_domain=true").await.contains(&domain));
    assert!(!listed("").await.contains(&domain));
    assert_eq!(listed(&format!("parent_id={domain}")).await, [id(&below)]);
    let path = format!("/v3/projects/{domain}");
    let tree = cloud.want(200, &admin, "GET", &format!("{path}?subtree_as_ids"), None).await;
    assert_eq!(tree["project"]["subtree"], json!({id(&below): null}));
    for (status, body) in [(400, json!({"is_domain": false})), (200, json!({"enabled": false}))] {
        cloud.want(status, &admin, "PATCH", &path, Some(json!({ "project": body }))).await;
    }
    let taken = json!({"domain": {"name": "other", "explicit_domain_id": id(&below)}});
    cloud.want(409, &admin, "POST", "/v3/domains", Some(taken)).await;
    cloud.want(204, &admin, "DELETE", &path, None).await;
    cloud.want(404, &admin, "GET", &format!("/v3/domains/{domain}"), None).await;
}

#[tokio::test]
async fn a_token_for_a_project_that_acts_as_a_domain_says_so_and_has_the_roles_on_it_alone() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let domain = acting(&cloud, &admin).await;
    let person = cloud.person(&admin, "someone", "reader").await;
    let login = Login { project_id: domain.clone(), ..person.clone() };
    let of = |place: &str| format!("/v3/{place}/{domain}/users/{}", person.user_id);
    // A role on the domain, or one that is inherited from it, is none on the project.
    grant(&cloud, &admin, &of("domains"), "manager").await;
    let role = cloud.role_id(&admin, "manager").await;
    let inherited = format!("{}/roles/{role}/inherited_to_projects", of("OS-INHERIT/domains"));
    cloud.want(204, &admin, "PUT", &inherited, None).await;
    assert_eq!(cloud.login(&login).await, Err(401));
    grant(&cloud, &admin, &of("projects"), "member").await;
    let user = json!({"id": login.user_id, "password": login.password});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    let scope = json!({"project": {"id": domain}});
    let (token, shown) = cloud.authenticate(identity, Some(scope)).await.ok().expect("logs in");
    let project = json!({"id": domain, "name": "company", "domain": {"id": null, "name": null}});
    assert_eq!((&shown["project"], &shown["is_domain"]), (&project, &json!(true)));
    let caller = cloud.room.token(&token).await.expect("valid");
    assert_eq!(caller.project_id.as_deref(), Some(&*domain));
    assert!(caller.has_role("member") && !caller.has_role("manager"));
    let catalog = cloud.want(200, &token, "GET", "/v3/auth/catalog", None).await.to_string();
    assert!(catalog.contains(&format!("/v1/AUTH_{domain}")), "{catalog}");
    let own = cloud.want(200, &token, "GET", "/v3/auth/projects", None).await;
    let own: Vec<&Value> = own["projects"].as_array().expect("a list").iter().filter(|it| it["id"] == domain).collect();
    assert_eq!(own.iter().map(|it| &it["is_domain"]).collect::<Vec<_>>(), [&json!(true)]);
    let plain = cloud.login(&person).await.expect("logs in");
    let headers = [("x-auth-token", admin.as_str()), ("x-subject-token", plain.as_str())];
    let plain = cloud.send("GET", "/identity/v3/auth/tokens", &headers, None).await;
    assert_eq!(plain.body["token"]["is_domain"], false);
    let path = format!("/v3/role_assignments?scope.project.id={domain}&include_names");
    let list = cloud.want(200, &admin, "GET", &path, None).await;
    assert_eq!(list["role_assignments"][0]["scope"]["project"], json!({"id": domain, "name": "company"}));
    let disabled = json!({"domain": {"enabled": false}});
    cloud.want(200, &admin, "PATCH", &format!("/v3/domains/{domain}"), Some(disabled)).await;
    assert!(cloud.room.token(&token).await.is_err(), "it ends with the domain");
    cloud.want(204, &admin, "DELETE", &format!("/v3/domains/{domain}"), None).await;
    let left = cloud.want(200, &admin, "GET", &format!("/v3/role_assignments?user.id={}", person.user_id), None).await;
    assert_eq!(left["role_assignments"].as_array().map(Vec::len), Some(1), "what was given there is gone: {left}");
}

#[tokio::test]
async fn a_key_for_a_project_that_acts_as_a_domain_signs_for_it_and_it_is_nobodys_default() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let domain = acting(&cloud, &admin).await;
    let person = cloud.person(&admin, "someone", "member").await;
    grant(&cloud, &admin, &format!("/v3/projects/{domain}/users/{}", person.user_id), "member").await;
    let keys = format!("/v3/users/{}/credentials/OS-EC2", person.user_id);
    let made = cloud.want(201, &admin, "POST", &keys, Some(json!({"tenant_id": domain}))).await;
    let access = made["credential"]["access"].as_str().expect("an access key");
    let key = cloud.room.signing_key(access).await.expect("known");
    assert_eq!(key.caller.project_id.as_deref(), Some(&*domain));
    let path = format!("/v3/users/{}", person.user_id);
    let body = json!({"user": {"default_project_id": domain}});
    cloud.want(400, &admin, "PATCH", &path, Some(body)).await;
}

#[tokio::test]
async fn a_domain_has_the_tags_of_the_project_that_acts_as_it() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let domain = acting(&cloud, &admin).await;
    let (tags, tag) =
        (format!("/v3/projects/{domain}/tags"), |name: &str| format!("/v3/projects/{domain}/tags/{name}"));
    assert_eq!(cloud.want(200, &admin, "GET", &tags, None).await["tags"], json!([]));
    let set = cloud.want(200, &admin, "PUT", &tags, Some(json!({"tags": ["red", "blue"]}))).await;
    assert_eq!(set["tags"], json!(["blue", "red"]));
    cloud.want(201, &admin, "PUT", &tag("green"), None).await;
    cloud.want(204, &admin, "DELETE", &tag("red"), None).await;
    cloud.want(204, &admin, "GET", &tag("green"), None).await;
    cloud.want(404, &admin, "GET", &tag("red"), None).await;
    for path in [format!("/v3/domains/{domain}"), format!("/v3/projects/{domain}")] {
        let shown = cloud.want(200, &admin, "GET", &path, None).await;
        let shown = shown.as_object().and_then(|it| it.values().next()).expect("an object");
        assert_eq!(shown["tags"], json!(["blue", "green"]), "{path}");
    }
    for (query, count) in [("tags=blue", 1), ("tags=red", 0), ("not-tags-any=green", 1)] {
        let list = cloud.want(200, &admin, "GET", &format!("/v3/projects?is_domain=true&{query}"), None).await;
        assert_eq!(list["projects"].as_array().map(Vec::len), Some(count), "{query}: {list}");
    }
    let body = json!({"domain": {"name": "tagged", "tags": ["one"]}});
    let made = cloud.want(201, &admin, "POST", "/v3/domains", Some(body)).await;
    let path = format!("/v3/domains/{}", id(&made["domain"]));
    let changed = cloud.want(200, &admin, "PATCH", &path, Some(json!({"domain": {"tags": ["two"]}}))).await;
    assert_eq!((&made["domain"]["tags"], &changed["domain"]["tags"]), (&json!(["one"]), &json!(["two"])));
    cloud.want(400, &admin, "PATCH", &path, Some(json!({"domain": {"tags": ["a,b"]}}))).await;
    // Who may see the domain may see them; they are changed by whoever may change the domain.
    let person = cloud.person(&admin, "someone", "reader").await;
    for role in ["reader", "manager"] {
        grant(&cloud, &admin, &format!("/v3/domains/{domain}/users/{}", person.user_id), role).await;
    }
    let user = json!({"id": person.user_id, "password": person.password});
    let identity = json!({"methods": ["password"], "password": {"user": user}});
    let scope = json!({"domain": {"id": domain}});
    let (manager, _) = cloud.authenticate(identity, Some(scope)).await.ok().expect("logs in");
    assert_eq!(cloud.want(200, &manager, "GET", &tags, None).await["tags"], json!(["blue", "green"]));
    cloud.want(403, &manager, "PUT", &tag("own"), None).await;
    cloud.want(204, &admin, "DELETE", &tags, None).await;
    assert_eq!(cloud.want(200, &manager, "GET", &tags, None).await["tags"], json!([]));
}

/// Keystone's rule: what is immutable is changed only by a request that takes that away and does nothing else.
#[tokio::test]
async fn what_is_immutable_keeps_its_tags_and_what_is_in_it() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let (fixed, free) = (json!({"immutable": true}), json!({"immutable": false}));
    let domain = json!({"domain": {"name": "d", "options": fixed, "tags": ["red"]}});
    let domain = id(&cloud.want(201, &admin, "POST", "/v3/domains", Some(domain)).await["domain"]);
    let project = json!({"project": {"name": "p", "domain_id": domain, "options": fixed, "tags": ["red"]}});
    let project = id(&cloud.want(201, &admin, "POST", "/v3/projects", Some(project)).await["project"]);
    let role = json!({"role": {"name": "r", "domain_id": domain, "options": fixed}});
    let role = id(&cloud.want(201, &admin, "POST", "/v3/roles", Some(role)).await["role"]);
    for of in [&project, &domain] {
        let tags = format!("/v3/projects/{of}/tags");
        for (method, path, body) in [
            ("PUT", tags.clone(), Some(json!({"tags": ["blue"]}))),
            ("DELETE", tags.clone(), None),
            ("PUT", format!("{tags}/blue"), None),
            ("DELETE", format!("{tags}/red"), None),
        ] {
            cloud.want(403, &admin, method, &path, body).await;
        }
        assert_eq!(cloud.want(200, &admin, "GET", &tags, None).await["tags"], json!(["red"]));
    }
    let things = [("project", format!("/v3/projects/{project}")), ("role", format!("/v3/roles/{role}"))];
    for (kind, path) in things.iter().chain(&[("domain", format!("/v3/domains/{domain}"))]) {
        for (status, change) in [
            (403, json!({"description": "other"})),
            (403, json!({"description": "other", "options": free})),
            (403, json!({"options": {}})),
            (400, json!({"options": {"immutable": "no"}})),
        ] {
            cloud.want(status, &admin, "PATCH", path, Some(json!({*kind: change}))).await;
        }
        cloud.want(403, &admin, "DELETE", path, None).await;
    }
    let path = format!("/v3/domains/{domain}");
    cloud.want(200, &admin, "PATCH", &path, Some(json!({"domain": {"options": free}}))).await;
    cloud.want(200, &admin, "PATCH", &path, Some(json!({"domain": {"enabled": false}}))).await;
    for (kind, thing) in &things {
        cloud.want(403, &admin, "DELETE", &path, None).await;
        cloud.want(200, &admin, "GET", &format!("/v3/projects/{project}"), None).await;
        cloud.want(200, &admin, "PATCH", thing, Some(json!({*kind: {"options": {"immutable": null}}}))).await;
    }
    cloud.want(204, &admin, "DELETE", &path, None).await;
    cloud.want(404, &admin, "GET", &format!("/v3/projects/{project}"), None).await;
}
