//! Uploads by a web form: a signed form lets whoever has it store so many files of such a size below a path, until it
//! ends. The fields that are signed come before the files; each file is an upload of its own.

mod multipart;

use std::collections::HashMap;

use futures::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use quick_xml::escape::escape;
use serde_json::{Value, json};

use super::tempurl::keys;
use super::{Chunks, Incoming, Layer, Next, Origin, Pass, piped, subrequest};
use crate::body::Body;
use crate::swift::SwiftDoor;
use crate::swift::config::FormPostConfig;
use crate::swift::fault::Fault;
use crate::swift::limits::{FORM_FIELDS_MAX, FORM_VALUE_BYTES_MAX};
use crate::swift::signature::Signature;
use crate::swift::target::Target;
use crate::swift::{metadata, reply};
use multipart::{FormError, Head};

/// The middleware.
#[derive(Debug)]
pub(super) struct FormPost {
    config: FormPostConfig,
}

/// A form's fields.
#[derive(Debug, Default)]
struct Fields(HashMap<String, String>);

/// What the uploads came to.
struct Outcome {
    status: StatusCode,
    message: &'static str,
    /// What the last upload's answer tells other sites.
    shared: Vec<(HeaderName, HeaderValue)>,
}

impl Fields {
    fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A number; nothing is zero.
    fn number(&self, name: &str) -> Result<u64, Fault> {
        match self.text(name) {
            "" => Ok(0),
            text => text.trim().parse().map_err(|_| invalid(&format!("{name} not an integer"))),
        }
    }

    /// What the signature is of.
    fn signed(&self, path: &str) -> String {
        let or_zero = |name| match self.text(name) {
            "" => "0",
            text => text,
        };
        let (size, count, expires) = (or_zero("max_file_size"), or_zero("max_file_count"), or_zero("expires"));
        format!("{path}\n{}\n{size}\n{count}\n{expires}", self.text("redirect"))
    }
}

fn invalid(reason: &str) -> Fault {
    Fault::invalid(format!("FormPost: {reason}"))
}

fn unauthorized(reason: &str) -> Fault {
    Fault::because(StatusCode::UNAUTHORIZED, format!("FormPost: {reason}"))
        .with("www-authenticate", "Swift realm=\"unknown\"")
}

impl FormPost {
    pub(super) fn new(config: FormPostConfig) -> Self {
        Self { config }
    }

    /// What a form opens, or why it opens nothing.
    async fn open(&self, door: &SwiftDoor, path: &str, form: &Fields) -> Result<Pass, Fault> {
        let end = form.number("expires").map_err(|_| invalid("expired not an integer"))?;
        if end < door.store.clock().wall().seconds() {
            return Err(unauthorized("Form Expired"));
        }
        let denied = || unauthorized("Invalid Signature");
        let signature = Signature::parse(form.text("signature").trim()).ok_or_else(denied)?;
        if !self.config.allowed_digests.contains(&signature.digest) {
            return Err(denied());
        }
        let (account, container) = match Target::parse(path) {
            Ok(Target::Container(account, container)) => (account, container),
            Ok(Target::Object(path)) => (path.account, path.container),
            _ => return Err(denied()),
        };
        let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
        let text = form.signed(&decoded);
        let is_signed = |key: &str| signature.fits(key.as_bytes(), &text);
        let info = door.store.account_settings(&account).await?;
        if keys(info.as_ref().map(|info| &info.metadata), metadata::Kind::Account).any(is_signed) {
            return Ok(Pass { account, container: None });
        }
        let info = door.store.container_settings(&account, &container).await?;
        if keys(info.as_ref().map(|info| &info.metadata), metadata::Kind::Container).any(is_signed) {
            return Ok(Pass { account, container: Some(container) });
        }
        Err(denied())
    }

    /// Reads the form and stores its files; gives the fields as well, which may say where to go then.
    async fn store(&self, next: &Next, parts: &Parts, mut form: multipart::Form) -> Result<(Fields, Outcome), Fault> {
        let (mut fields, mut files) = (Fields::default(), 0_u64);
        let mut outcome =
            Outcome { status: StatusCode::BAD_REQUEST, message: "no files to process", shared: Vec::new() };
        while let Some(head) = form.next().await.map_err(malformed)? {
            let Some(filename) = &head.filename else {
                if fields.0.len() >= FORM_FIELDS_MAX {
                    return Err(invalid("too many fields"));
                }
                fields.0.insert(head.name.to_lowercase(), value(&head.name, &mut form).await?);
                continue;
            };
            files += 1;
            if files > fields.number("max_file_count")? {
                outcome.status = StatusCode::BAD_REQUEST;
                outcome.message = "max file count exceeded";
                break;
            }
            outcome = self.file(next, parts, &fields, filename, &head, &mut form).await?;
            if !outcome.status.is_success() {
                break;
            }
        }
        Ok((fields, outcome))
    }

    async fn file(
        &self,
        next: &Next,
        parts: &Parts,
        form: &Fields,
        filename: &str,
        head: &Head,
        data: &mut multipart::Form,
    ) -> Result<Outcome, Fault> {
        let size_max = form.number("max_file_size")?;
        let path = parts.uri.path();
        let pass = self.open(next.door(), path, form).await?;
        // Below a container, whose slash some leave out.
        let gap = if !path.ends_with('/') && path.matches('/').count() < 4 { "/" } else { "" };
        let mut request = subrequest(parts, Method::PUT, &format!("{path}{gap}{}", reply::quoted(filename)))?;
        let origin = Origin { party: None, pass: Some(pass), ..Origin::of(&request) };
        request.extensions_mut().insert(origin);
        let own = [(CONTENT_TYPE, &head.content_type), (CONTENT_ENCODING, &head.content_encoding)];
        let own =
            own.into_iter().filter_map(|(name, value)| Some((name, HeaderValue::try_from(value.as_ref()?).ok()?)));
        let mut headers: Vec<_> = own.collect();
        for (name, header) in [
            ("content-type", "content-type"),
            ("content-encoding", "content-encoding"),
            ("x_delete_at", "x-delete-at"),
            ("x_delete_after", "x-delete-after"),
        ] {
            if let Some(value) = form.0.get(name) {
                let value =
                    HeaderValue::try_from(value).map_err(|_| invalid(&format!("{name} is no header's value")))?;
                headers.push((HeaderName::from_static(header), value));
            }
        }
        for name in ["x_delete_at", "x_delete_after"] {
            form.number(name)?;
        }
        request.headers_mut().extend(headers);
        request.headers_mut().insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        if let Some(origin) = parts.headers.get("origin") {
            request.headers_mut().insert("origin", origin.clone());
        }
        let (body, chunks) = piped();
        *request.body_mut() = body;
        let (response, fed) = futures::join!(next.clone().run(request), feed_file(data, size_max, chunks));
        fed?;
        let is_shared = |(name, _): &(&HeaderName, &HeaderValue)| name.as_str().starts_with("access-control");
        let shared = response.headers().iter().filter(is_shared);
        let shared = shared.map(|(name, value)| (name.clone(), value.clone())).collect();
        Ok(Outcome { status: response.status(), message: "", shared })
    }
}

fn malformed(error: FormError) -> Fault {
    invalid(&error.to_string())
}

/// The value of a field that is no file.
async fn value(name: &str, form: &mut multipart::Form) -> Result<String, Fault> {
    let mut value = Vec::new();
    while let Some(bytes) = form.data().await.map_err(malformed)? {
        if value.len() + bytes.len() > FORM_VALUE_BYTES_MAX {
            return Err(invalid(&format!("the field {name:?} is too long")));
        }
        value.extend_from_slice(&bytes);
    }
    String::from_utf8(value).map_err(|_| invalid("a field is not UTF-8"))
}

/// Gives a file's bytes on, up to so many: with one more the upload ends in an error, so that nothing of it is kept. An
/// upload that wants no more of them lets the rest pass.
async fn feed_file(form: &mut multipart::Form, count_max: u64, chunks: Chunks) -> Result<(), Fault> {
    let mut taken = 0;
    while let Some(bytes) = form.data().await.map_err(malformed)? {
        taken += bytes.len() as u64;
        if taken > count_max {
            chunks.fail("max_file_size exceeded").await;
            return Err(invalid("max_file_size exceeded"));
        }
        chunks.send(bytes).await;
    }
    chunks.end().await;
    Ok(())
}

/// Where the browser goes then, with the outcome in the query.
fn redirection(redirect: &str, outcome: &Outcome) -> Response<Body> {
    let gap = if redirect.contains('?') { '&' } else { '?' };
    let message = utf8_percent_encode(outcome.message, NON_ALPHANUMERIC);
    let location = format!("{redirect}{gap}status={}&message={message}", outcome.status.as_u16());
    let text = format!("<html><body><p><a href=\"{}\">Click to continue...</a></p></body></html>", escape(&location));
    let mut response = reply::with_body(StatusCode::SEE_OTHER, "text/html; charset=UTF-8", text);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

impl Layer for FormPost {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        let digests: Vec<_> = self.config.allowed_digests.iter().map(|digest| digest.name()).collect();
        vec![("formpost", json!({"allowed_digests": digests}))]
    }

    fn call<'a>(&'a self, request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            let media_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
            let is_form = request.method() == Method::POST && request.uri().path().starts_with("/v1");
            let boundary = multipart::boundary_of(media_type).filter(|_| is_form);
            let Some(boundary) = boundary else { return Ok(next.run(request).await) };
            let (mut parts, body) = request.into_parts();
            parts.headers.remove(ACCEPT);
            let form = multipart::Form::new(body, &boundary);
            let (form, outcome) = self.store(&next, &parts, form).await?;
            // Where an unsigned form leads, nobody is sent.
            let is_signed = self.open(next.door(), parts.uri.path(), &form).await.is_ok();
            let mut response = match form.text("redirect") {
                redirect if is_signed && !redirect.is_empty() => redirection(redirect, &outcome),
                _ => {
                    let reason = outcome.status.canonical_reason().unwrap_or("");
                    let message = match outcome.message {
                        "" => String::new(),
                        message => format!("\r\nFormPost: {message}"),
                    };
                    let text = format!("{} {reason}{message}", outcome.status.as_u16());
                    let mut response = reply::with_body(StatusCode::OK, "text/plain", text);
                    *response.status_mut() = outcome.status;
                    response
                }
            };
            response.headers_mut().extend(outcome.shared);
            Ok(response)
        })
    }
}

#[cfg(feature = "fuzzing")]
pub(in crate::swift) use multipart::feed;
