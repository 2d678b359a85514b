//! A small cloud for the tests: the room over records in memory, and requests to it.

use std::sync::Arc;

use anello_identity::records::MemoryRecords;
use anello_identity::{Bootstrap, Bootstrapped, CatalogEntry, IdentityConfig, IdentityRoom};
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

/// The room and what its bootstrap made.
pub(crate) struct Cloud {
    pub(crate) records: MemoryRecords,
    pub(crate) room: Arc<IdentityRoom>,
    pub(crate) made: Bootstrapped,
}

/// An answer, read whole.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// Who logs in, and for what project.
#[derive(Clone)]
pub(crate) struct Login {
    pub(crate) user_id: String,
    pub(crate) password: String,
    pub(crate) project_id: String,
}

pub(crate) async fn open(records: &MemoryRecords) -> (Arc<IdentityRoom>, Bootstrapped) {
    open_with(records, IdentityConfig::default()).await
}

pub(crate) async fn open_with(records: &MemoryRecords, config: IdentityConfig) -> (Arc<IdentityRoom>, Bootstrapped) {
    let config = IdentityConfig { cluster_secret: b"secret of the cluster".to_vec(), ..config };
    let room = IdentityRoom::open_with(Arc::new(records.clone()), config).await.expect("opens");
    let entry = |kind: &str, url: &str| CatalogEntry { kind: kind.into(), name: kind.into(), url: url.into() };
    let bootstrap = Bootstrap {
        admin_password: "admin's password".to_owned(),
        region: "RegionOne".to_owned(),
        catalog: vec![entry("identity", "http://h/identity"), entry("object-store", "http://h/v1/AUTH_%(project_id)s")],
    };
    let made = room.bootstrap(&bootstrap).await.expect("bootstraps");
    (room, made)
}

impl Cloud {
    pub(crate) async fn new() -> Self {
        Self::with(IdentityConfig::default()).await
    }

    /// A cloud with settings of its own.
    pub(crate) async fn with(config: IdentityConfig) -> Self {
        let records = MemoryRecords::default();
        let (room, made) = open_with(&records, config).await;
        Self { records, room, made }
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "h");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let router = axum::Router::new().nest_service("/identity", self.room.router());
        let answer = router.oneshot(request.body(body).expect("a request")).await.expect("an answer");
        let (parts, body) = answer.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).expect("JSON") };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub(crate) async fn ask(&self, token: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.send(method, &format!("/identity{path}"), &[("x-auth-token", token)], body).await
    }

    /// As [`Cloud::ask`], for an answer with this status.
    pub(crate) async fn want(&self, status: u16, token: &str, method: &str, path: &str, body: Option<Value>) -> Value {
        let answer = self.ask(token, method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        answer.body
    }

    /// Logs in with any body; gives the token too.
    pub(crate) async fn authenticate(&self, identity: Value, scope: Option<Value>) -> Result<(String, Value), Answer> {
        let mut auth = json!({"identity": identity});
        if let Some(scope) = scope {
            auth["scope"] = scope;
        }
        let answer = self.send("POST", "/identity/v3/auth/tokens", &[], Some(json!({ "auth": auth }))).await;
        match answer.status.as_u16() {
            201 => {
                let token = answer.headers["x-subject-token"].to_str().expect("text").to_owned();
                Ok((token, answer.body["token"].clone()))
            }
            _ => Err(answer),
        }
    }

    pub(crate) async fn login(&self, login: &Login) -> Result<String, u16> {
        let user = json!({"id": login.user_id, "password": login.password});
        let identity = json!({"methods": ["password"], "password": {"user": user}});
        let scope = json!({"project": {"id": login.project_id}});
        let token = self.authenticate(identity, Some(scope)).await;
        token.map(|(token, _)| token).map_err(|answer| answer.status.as_u16())
    }

    pub(crate) fn admin(&self) -> Login {
        Login {
            user_id: self.made.user_id.clone(),
            password: "admin's password".to_owned(),
            project_id: self.made.project_id.clone(),
        }
    }

    pub(crate) async fn admin_token(&self) -> String {
        self.login(&self.admin()).await.expect("the admin logs in")
    }

    pub(crate) async fn role_id(&self, admin: &str, name: &str) -> String {
        let roles = self.want(200, admin, "GET", &format!("/v3/roles?name={name}"), None).await;
        roles["roles"][0]["id"].as_str().expect("the role is there").to_owned()
    }

    /// A user with a role on a project of his own.
    pub(crate) async fn person(&self, admin: &str, name: &str, role: &str) -> Login {
        let body = json!({"project": {"name": name, "domain_id": "default"}});
        let project = self.want(201, admin, "POST", "/v3/projects", Some(body)).await;
        let body = json!({"user": {"name": name, "domain_id": "default", "password": "pass word"}});
        let user = self.want(201, admin, "POST", "/v3/users", Some(body)).await;
        let id = |value: &Value| value["id"].as_str().expect("an id").to_owned();
        let (project_id, user_id) = (id(&project["project"]), id(&user["user"]));
        let role_id = self.role_id(admin, role).await;
        let path = format!("/v3/projects/{project_id}/users/{user_id}/roles/{role_id}");
        self.want(204, admin, "PUT", &path, None).await;
        Login { user_id, project_id, password: "pass word".to_owned() }
    }
}
