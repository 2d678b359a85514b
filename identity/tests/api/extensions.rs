//! What lies around users and projects: limits, policies, endpoint groups, access rules, an operator's rules.

use anello_identity::IdentityConfig;
use serde_json::{Value, json};

use crate::cloud::Cloud;

fn id(value: &Value) -> String {
    value["id"].as_str().expect("an id").to_owned()
}

async fn service(cloud: &Cloud, admin: &str, kind: &str) -> String {
    id(&cloud.want(201, admin, "POST", "/v3/services", Some(json!({"service": {"type": kind}}))).await["service"])
}

#[tokio::test]
async fn limits_stand_on_registered_ones_and_are_seen_by_whom_they_are_for() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let service = service(&cloud, &admin, "image").await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let limit =
        json!({"project_id": person.project_id, "service_id": service, "resource_name": "n", "resource_limit": 5});
    let limits = Some(json!({"limits": [limit]}));
    cloud.want(403, &admin, "POST", "/v3/limits", limits.clone()).await;
    let registered = json!({"service_id": service, "resource_name": "n", "default_limit": 10});
    let twice = Some(json!({"registered_limits": [registered, registered]}));
    cloud.want(409, &admin, "POST", "/v3/registered_limits", twice).await;
    let once = Some(json!({"registered_limits": [registered]}));
    cloud.want(403, &token, "POST", "/v3/registered_limits", once.clone()).await;
    let made = cloud.want(201, &admin, "POST", "/v3/registered_limits", once).await;
    let registered = format!("/v3/registered_limits/{}", id(&made["registered_limits"][0]));
    let made = cloud.want(201, &admin, "POST", "/v3/limits", limits.clone()).await;
    let limit = format!("/v3/limits/{}", id(&made["limits"][0]));
    cloud.want(409, &admin, "POST", "/v3/limits", limits).await;
    assert_eq!(cloud.want(200, &token, "GET", &limit, None).await["limit"]["resource_limit"], 5);
    let other = cloud.person(&admin, "other", "member").await;
    let other = cloud.login(&other).await.expect("logs in");
    cloud.want(403, &other, "GET", &limit, None).await;
    for (token, count) in [(&token, 1), (&other, 0), (&admin, 1)] {
        let list = cloud.want(200, token, "GET", "/v3/limits", None).await;
        assert_eq!(list["limits"].as_array().map(Vec::len), Some(count));
    }
    let change = Some(json!({"limit": {"resource_limit": 7}}));
    assert_eq!(cloud.want(200, &admin, "PATCH", &limit, change).await["limit"]["resource_limit"], 7);
    cloud.want(400, &admin, "PATCH", &limit, Some(json!({"limit": {"resource_name": "m"}}))).await;
    cloud.want(403, &admin, "DELETE", &registered, None).await;
    cloud.want(204, &admin, "DELETE", &limit, None).await;
    cloud.want(204, &admin, "DELETE", &registered, None).await;
    assert_eq!(cloud.want(200, &token, "GET", "/v3/limits/model", None).await["model"]["name"], "flat");
}

#[tokio::test]
async fn a_project_with_endpoints_of_its_own_sees_only_these_in_its_catalog() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let types = async |token: &str| -> Vec<String> {
        let catalog = cloud.want(200, token, "GET", "/v3/auth/catalog", None).await;
        let services = catalog["catalog"].as_array().expect("a list").clone();
        let used = services.iter().filter(|it| it["endpoints"].as_array().is_some_and(|it| !it.is_empty()));
        used.map(|it| it["type"].as_str().expect("a type").to_owned()).collect()
    };
    assert_eq!(types(&token).await.len(), 2);
    let services = cloud.want(200, &admin, "GET", "/v3/services?type=identity", None).await;
    let filters = json!({"service_id": services["services"][0]["id"], "interface": "public"});
    let body = json!({"endpoint_group": {"name": "g", "filters": filters}});
    let group = cloud.want(201, &admin, "POST", "/v3/OS-EP-FILTER/endpoint_groups", Some(body)).await;
    let group = format!("/v3/OS-EP-FILTER/endpoint_groups/{}", id(&group["endpoint_group"]));
    // As the openstack command says it.
    let body = json!({"endpoint_group": {"name": null, "description": "d", "filters": null}});
    let changed = cloud.want(200, &admin, "PATCH", &group, Some(body)).await["endpoint_group"].clone();
    assert_eq!((&changed["name"], &changed["description"]), (&json!("g"), &json!("d")));
    let empty = json!({"endpoint_group": {"name": " "}});
    cloud.want(400, &admin, "PATCH", &group, Some(empty)).await;
    let association = format!("{group}/projects/{}", person.project_id);
    cloud.want(404, &admin, "GET", &association, None).await;
    cloud.want(204, &admin, "PUT", &association, None).await;
    assert_eq!(types(&token).await, ["identity"]);
    assert_eq!(types(&admin).await.len(), 2, "others see all");
    let path = format!("/v3/OS-EP-FILTER/projects/{}/endpoints", person.project_id);
    let seen = cloud.want(200, &admin, "GET", &path, None).await;
    assert_eq!(seen["endpoints"].as_array().map(Vec::len), Some(1));
    cloud.want(204, &admin, "DELETE", &group, None).await;
    assert_eq!(types(&token).await.len(), 2);
    let wrong = json!({"endpoint_group": {"name": "g", "filters": {"colour": "red"}}});
    cloud.want(400, &admin, "POST", "/v3/OS-EP-FILTER/endpoint_groups", Some(wrong)).await;
}

#[tokio::test]
async fn the_nearest_policy_counts_for_an_endpoint() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let endpoints = cloud.want(200, &admin, "GET", "/v3/endpoints?interface=public", None).await;
    let endpoint = &endpoints["endpoints"][0];
    let (endpoint, service) = (id(endpoint), endpoint["service_id"].as_str().expect("an id").to_owned());
    let mut policies = Vec::new();
    for name in ["of the service", "of the region", "of the endpoint"] {
        let body = json!({"policy": {"blob": {"rule": name}, "type": "application/json"}});
        policies.push(id(&cloud.want(201, &admin, "POST", "/v3/policies", Some(body)).await["policy"]));
    }
    let of = format!("/v3/endpoints/{endpoint}/OS-ENDPOINT-POLICY/policy");
    cloud.want(404, &admin, "GET", &of, None).await;
    let places = [
        format!("services/{service}"),
        format!("services/{service}/regions/RegionOne"),
        format!("endpoints/{endpoint}"),
    ];
    for (policy, place) in policies.iter().zip(&places) {
        let path = format!("/v3/policies/{policy}/OS-ENDPOINT-POLICY/{place}");
        cloud.want(404, &admin, "GET", &path, None).await;
        cloud.want(204, &admin, "PUT", &path, None).await;
        cloud.want(204, &admin, "GET", &path, None).await;
        assert_eq!(id(&cloud.want(200, &admin, "GET", &of, None).await["policy"]), *policy, "{place}");
    }
    cloud.want(204, &admin, "DELETE", &format!("/v3/policies/{}", policies[2]), None).await;
    assert_eq!(id(&cloud.want(200, &admin, "GET", &of, None).await["policy"]), policies[1]);
}

#[tokio::test]
async fn a_token_with_access_rules_does_what_they_say_and_nothing_else() {
    let cloud = Cloud::new().await;
    let admin = cloud.admin_token().await;
    let person = cloud.person(&admin, "someone", "member").await;
    let token = cloud.login(&person).await.expect("logs in");
    let path = format!("/v3/users/{}/application_credentials", person.user_id);
    let rules = json!([{"service": "identity", "method": "GET", "path": "/v3/users/*/projects"},
                       {"service": "object-store", "method": "GET", "path": "/v1/**"}]);
    let body = json!({"application_credential": {"name": "ruled", "access_rules": rules, "unrestricted": true}});
    let made = cloud.want(201, &token, "POST", &path, Some(body)).await["application_credential"].clone();
    let proof = json!({"id": made["id"], "secret": made["secret"]});
    let identity = json!({"methods": ["application_credential"], "application_credential": proof});
    let (ruled, shown) = cloud.authenticate(identity, None).await.ok().expect("logs in");
    assert_eq!(shown["application_credential"]["access_rules"].as_array().map(Vec::len), Some(2));
    let projects = format!("/v3/users/{}/projects", person.user_id);
    cloud.want(200, &ruled, "GET", &projects, None).await;
    cloud.want(401, &ruled, "GET", "/v3/auth/projects", None).await;
    cloud.want(401, &ruled, "POST", &path, Some(json!({"application_credential": {"name": "more"}}))).await;
    use anello_api::identity::Identity;
    let caller = cloud.room.token(&ruled).await.expect("valid");
    assert!(caller.admits("object-store", "GET", "/v1/AUTH_x/c/o"));
    assert!(!caller.admits("object-store", "PUT", "/v1/AUTH_x/c/o") && !caller.admits("image", "GET", "/v1/x"));
    // A service that does not say that it holds them, and might let the token do anything, is told of no token.
    for (version, status) in [(None, 404), (Some("0.9"), 404), (Some("none"), 404), (Some("1.0"), 200)] {
        let mut headers = vec![("x-auth-token", &*admin), ("x-subject-token", &*ruled)];
        headers.extend(version.map(|version| ("openstack-identity-access-rules", version)));
        let answer = cloud.send("GET", "/identity/v3/auth/tokens", &headers, None).await;
        assert_eq!(answer.status, status, "{version:?}");
    }
    let own = format!("/v3/users/{}/access_rules", person.user_id);
    let listed = cloud.want(200, &token, "GET", &own, None).await;
    let rule = format!("{own}/{}", id(&listed["access_rules"][0]));
    cloud.want(403, &token, "DELETE", &rule, None).await;
    cloud.want(204, &token, "DELETE", &format!("{path}/{}", id(&made)), None).await;
    cloud.want(204, &token, "DELETE", &rule, None).await;
}

#[tokio::test]
async fn an_operators_rules_count_and_wrong_ones_stop_the_start() {
    let yaml = "\"auditor\": \"role:auditor\"\n\"identity:list_users\": \"rule:admin_required or rule:auditor\"\n\
                \"identity:get_user\": \"rule:admin_required or user_id:%(target.user.id)s\"\n";
    let config = IdentityConfig { policy_overrides: Some(yaml.to_owned()), ..IdentityConfig::default() };
    let cloud = Cloud::with(config).await;
    let admin = cloud.admin_token().await;
    cloud.want(201, &admin, "POST", "/v3/roles", Some(json!({"role": {"name": "auditor"}}))).await;
    let auditor = cloud.person(&admin, "auditor", "auditor").await;
    let token = cloud.login(&auditor).await.expect("logs in");
    cloud.want(200, &token, "GET", "/v3/users", None).await;
    cloud.want(200, &token, "GET", &format!("/v3/users/{}", auditor.user_id), None).await;
    cloud.want(403, &token, "GET", &format!("/v3/users/{}", cloud.made.user_id), None).await;
    cloud.want(403, &token, "GET", "/v3/groups", None).await;
    cloud.want(401, "", "GET", "/v3/users", None).await;
    let records = anello_identity::records::MemoryRecords::default();
    let wrong = Some("\"identity:list_userz\": \"@\"".to_owned());
    let config = IdentityConfig { policy_overrides: wrong, ..IdentityConfig::default() };
    let error = anello_identity::IdentityRoom::open_with(std::sync::Arc::new(records), config).await;
    assert!(error.expect_err("refused").to_string().contains("list_userz"));
}

#[tokio::test]
async fn the_hosts_operator_needs_no_token_and_is_no_user() {
    use tower::ServiceExt;
    let cloud = Cloud::new().await;
    let router = axum::Router::new().nest_service("/identity", cloud.room.operator_router());
    let request = |method: &str, path: &str, body: Value| {
        let request = http::Request::builder().method(method).uri(path);
        request.body(axum::body::Body::from(body.to_string())).expect("a request")
    };
    let body = json!({"user": {"name": "made here", "domain_id": "default"}});
    let answer = router.clone().oneshot(request("POST", "/identity/v3/users", body)).await.expect("an answer");
    assert_eq!(answer.status(), 201);
    let users = cloud.want(200, &cloud.admin_token().await, "GET", "/v3/users", None).await;
    assert_eq!(users["users"].as_array().map(Vec::len), Some(2), "the admin and the one who was made");
    let through_the_door = cloud.ask("", "GET", "/v3/users", None).await;
    assert_eq!(through_the_door.status, 401, "the other door asks for a token still");
}
