//! Answers of handlers. A [`Reply`] can only be made from a [`Granted`], which only the policy gives.

use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, VARY, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::{Dialect, Fault, Links};

/// The policy said yes. Replies are made from it.
#[derive(Debug, Clone, Copy)]
pub struct Granted(());

impl Granted {
    /// Only for the dispatcher, which has asked the policy.
    pub(super) fn new() -> Self {
        Self(())
    }

    /// 200 with a JSON body.
    pub fn ok(self, body: Value) -> Reply {
        self.status(StatusCode::OK, Some(body))
    }

    /// 200 with a JSON body that is written already.
    pub fn written(self, body: Bytes) -> Reply {
        Reply { body: Some(Body::Written(body)), ..self.status(StatusCode::OK, None) }
    }

    /// 201 with a JSON body.
    pub fn created(self, body: Value) -> Reply {
        self.status(StatusCode::CREATED, Some(body))
    }

    /// 204.
    pub fn no_content(self) -> Reply {
        self.status(StatusCode::NO_CONTENT, None)
    }

    /// Another status.
    pub fn status(self, status: StatusCode, body: Option<Value>) -> Reply {
        Reply { status, body: body.map(Body::Json), headers: HeaderMap::new() }
    }
}

/// A successful answer.
#[derive(Debug)]
pub struct Reply {
    status: StatusCode,
    body: Option<Body>,
    headers: HeaderMap,
}

/// An answer's body.
#[derive(Debug)]
enum Body {
    Json(Value),
    /// JSON as it goes out.
    Written(Bytes),
}

impl Reply {
    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// Id of what the body shows: `{"user": {"id": …}}`.
    pub(super) fn shown_id(&self) -> Option<&str> {
        let Some(Body::Json(body)) = &self.body else { return None };
        let mut shown = body.as_object()?.values();
        shown.find_map(|it| it.get("id")?.as_str())
    }

    /// With one header more. A value that is no header value is left out.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }
}

/// The answer with the headers that every answer of the dialect has.
pub(super) fn finish(dialect: &Dialect, links: &Links, request_id: &str, result: Result<Reply, Fault>) -> Response {
    let (status, mut headers, body) = match result {
        Ok(reply) => (reply.status, reply.headers, reply.body),
        Err(fault) => {
            let mut headers: HeaderMap = fault.headers.iter().cloned().collect();
            if let (StatusCode::UNAUTHORIZED, Some(path)) = (fault.status, dialect.challenge_path) {
                let challenge = format!("Keystone uri=\"{}\"", links.to(path));
                headers.extend(HeaderValue::from_str(&challenge).ok().map(|value| (WWW_AUTHENTICATE, value)));
            }
            (fault.status, headers, Some(Body::Json((dialect.fault)(&fault))))
        }
    };
    for name in dialect.request_id_headers {
        headers.extend(HeaderValue::from_str(request_id).ok().map(|id| (HeaderName::from_static(name), id)));
    }
    headers.extend(dialect.vary.map(|vary| (VARY, HeaderValue::from_static(vary))));
    let body = match body {
        Some(body) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            axum::body::Body::from(match body {
                Body::Json(body) => body.to_string().into(),
                Body::Written(body) => body,
            })
        }
        None => axum::body::Body::empty(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
