//! A failure on its way out of a door: a status, a message for people, and headers. Which JSON it
//! becomes is the [`crate::rest::Dialect`]'s matter.

use anello_base::Class;
use http::{HeaderName, HeaderValue, StatusCode};

/// A failed request. The message is shown to the client: no secret may be in it.
#[derive(Debug, Clone)]
pub struct Fault {
    /// Status of the answer.
    pub status: StatusCode,
    /// What a person is told.
    pub message: String,
    /// More headers for the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// The status that a class of failure has in every OpenStack service.
pub fn status(class: Class) -> StatusCode {
    match class {
        Class::Invalid => StatusCode::BAD_REQUEST,
        Class::Unauthenticated => StatusCode::UNAUTHORIZED,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::Missing => StatusCode::NOT_FOUND,
        Class::Conflict => StatusCode::CONFLICT,
        Class::Precondition => StatusCode::PRECONDITION_FAILED,
        Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Class::Busy => StatusCode::SERVICE_UNAVAILABLE,
        Class::Full => StatusCode::INSUFFICIENT_STORAGE,
        Class::Unsupported => StatusCode::NOT_IMPLEMENTED,
        Class::Corrupt | Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Fault {
    /// A fault with this status and message.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), headers: Vec::new() }
    }

    /// A fault of this class.
    pub fn of(class: Class, message: impl Into<String>) -> Self {
        Self::new(status(class), message)
    }

    /// 400: the request is malformed or breaks a stated rule.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::of(Class::Invalid, message)
    }

    /// 401 with OpenStack's usual sentence. Clients log in again and repeat the request on it, so it is
    /// never an answer of the policy.
    pub fn unauthenticated() -> Self {
        Self::of(Class::Unauthenticated, "The request you have made requires authentication.")
    }

    /// 403: known, and may not do this.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self::of(Class::Forbidden, message)
    }

    /// 404: `what` of this id is not there.
    pub fn missing(what: &str, id: &str) -> Self {
        Self::of(Class::Missing, format!("Could not find {what}: {id}."))
    }

    /// 409: what is there excludes the request.
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::of(Class::Conflict, message)
    }

    /// 501: understood, and not offered here.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::of(Class::Unsupported, message)
    }
}
