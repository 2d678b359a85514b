//! How a request fails. A [`Fault`] carries what the client is told; the engine's errors become one by
//! their class, and their details stay in the log.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Response, StatusCode};

use crate::body::{self, Body};

/// A failed request.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    detail: Option<Cow<'static, str>>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The media type of Swift's standing texts.
const PAGE: &str = "text/html; charset=UTF-8";

/// The client went away or fell silent: nobody reads the answer, but the log does (nginx's and Swift's code).
pub(super) const CLIENT_GONE: u16 = 499;

impl Fault {
    /// A status with Swift's standing text.
    pub(super) fn status(status: StatusCode) -> Self {
        Self { status, detail: None, headers: Vec::new() }
    }

    /// A status and what exactly is wrong.
    pub(super) fn because(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status, detail: Some(detail.into()), headers: Vec::new() }
    }

    /// 400 and what exactly is wrong.
    pub(super) fn invalid(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::because(StatusCode::BAD_REQUEST, detail)
    }

    /// 404.
    pub(super) fn missing() -> Self {
        Self::status(StatusCode::NOT_FOUND)
    }

    /// 499.
    pub(super) fn client_gone() -> Self {
        Self::status(StatusCode::from_u16(CLIENT_GONE).unwrap_or(StatusCode::BAD_REQUEST))
    }

    /// The same as Swift's pages are sent, though it is plain text: Swift does so for names of containers.
    pub(super) fn on_a_page(self) -> Self {
        self.with("content-type", PAGE)
    }

    /// The same with one more header; a value that no header can carry is left out.
    pub(super) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }

    /// The status as a number.
    #[cfg(test)]
    pub(super) fn code(&self) -> u16 {
        self.status.as_u16()
    }

    /// The status.
    pub(super) fn status_code(&self) -> StatusCode {
        self.status
    }

    /// The status line, for reports that name several failures.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.status.canonical_reason().unwrap_or(""))
    }

    /// What exactly is wrong, where it says.
    pub(super) fn detail(&self) -> &str {
        self.detail.as_deref().unwrap_or("")
    }

    /// The answer that says it.
    pub(super) fn into_response(self) -> Response<Body> {
        let (media_type, text) = match self.detail {
            Some(detail) => ("text/plain; charset=UTF-8", detail.into_owned()),
            None => (PAGE, page(self.status)),
        };
        let is_bodiless = self.status == StatusCode::NOT_MODIFIED;
        let content = if is_bodiless { body::empty() } else { body::full(Bytes::from(text)) };
        let mut response = Response::new(content);
        *response.status_mut() = self.status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// What is said of an encrypted object whose root secret is not known, Swift's words and why.
const SEALED: &str =
    "Error retrieving encryption keys: the object is encrypted with a root secret that this server does not have.";

impl From<anello_storage::Error> for Fault {
    fn from(error: anello_storage::Error) -> Self {
        if let anello_storage::Error::Sealed(_) = error {
            tracing::error!(%error, "a Swift request needs a key that is not there");
            return Self::because(StatusCode::INTERNAL_SERVER_ERROR, SEALED);
        }
        let status = anello_api::rest::status(error.class());
        if status.is_server_error() {
            tracing::error!(%error, "the store failed a Swift request");
        }
        Self::status(status)
    }
}

/// The short page that stands for a status.
fn page(status: StatusCode) -> String {
    let title = status.canonical_reason().unwrap_or("Client Disconnect");
    format!("<html><h1>{title}</h1><p>{}</p></html>", standing_text(status))
}

/// What Swift says of a status.
pub(super) fn standing_text(status: StatusCode) -> &'static str {
    match status.as_u16() {
        400 => "The server could not comply with the request since it is either malformed or otherwise incorrect.",
        401 => "This server could not verify that you are authorized to access the document you requested.",
        403 => "Access was denied to this resource.",
        404 => "The resource could not be found.",
        405 => "The method is not allowed for this resource.",
        406 => "The resource is not available in a format acceptable to your browser.",
        408 => "The server has waited too long for the request to be sent by the client.",
        409 => "There was a conflict when trying to complete your request.",
        411 => "Content-Length header required.",
        412 => "A precondition for this request was not met.",
        413 => "The body of your request was too large for this server.",
        416 => "The Range requested is not available.",
        422 => "Unable to process the contained instructions",
        499 => "The client was disconnected during request.",
        501 => "The requested method is not implemented by this server.",
        503 => "The server is currently unavailable. Please try again at a later time.",
        507 => "There was not enough space to save the resource.",
        _ => "The server has either erred or is incapable of performing the requested operation.",
    }
}
