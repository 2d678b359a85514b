//! What visitors of a site are shown where there is no page: an error in HTML, or the way to another place.

use http::{HeaderValue, Response, StatusCode, header};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use s3s::S3Error;

use crate::body::{self, Body};
use crate::s3::error;

/// What a key has to be rid of to stand in an address.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What went wrong, as a visitor is told.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: StatusCode,
    code: String,
    message: String,
    /// Bucket or key that it is about.
    about: Option<(&'static str, String)>,
}

impl Failure {
    pub(super) fn of(failed: &S3Error, about: Option<(&'static str, &str)>) -> Self {
        let status = failed.status_code().or_else(|| failed.code().status_code());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = failed.code().as_str().to_owned();
        let message = failed.message().map_or_else(|| error::message(&code).to_owned(), str::to_owned);
        let about = about.map(|(name, value)| (name, value.to_owned()));
        Self { status, code, message, about }
    }

    fn items(&self) -> String {
        let item = |name: &str, value: &str| format!("<li>{name}: {}</li>\n", quick_xml::escape::escape(value));
        let about = self.about.as_ref().map(|(name, value)| item(name, value)).unwrap_or_default();
        format!("{}{}{about}", item("Code", &self.code), item("Message", &self.message))
    }

    /// The page that says so; also why the site's own page for errors is not shown.
    pub(super) fn page(&self, of_error_page: Option<&Self>, request_id: &str) -> Response<Body> {
        let status = self.status;
        let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let more = of_error_page.map(|failure| {
            format!(
                "<h3>An Error Occurred While Attempting to Retrieve a Custom Error Document</h3>\n<ul>\n{}</ul>\n",
                failure.items()
            )
        });
        let text = format!(
            "<html>\n<head><title>{title}</title></head>\n<body>\n<h1>{title}</h1>\n<ul>\n{}<li>RequestId: {request_id}</li>\n\
             <li>HostId: {request_id}</li>\n</ul>\n{}<hr/>\n</body>\n</html>\n",
            self.items(),
            more.unwrap_or_default()
        );
        let mut response = Response::new(());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(text.len()));
        if let Ok(code) = HeaderValue::from_str(&self.code) {
            headers.insert("x-amz-error-code", code);
        }
        if let Ok(message) = HeaderValue::from_str(&self.message) {
            headers.insert("x-amz-error-message", message);
        }
        response.map(|()| body::full(text.into()))
    }
}

/// Sends a visitor to an address.
pub(super) fn redirect(status: u16, location: &str) -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::MOVED_PERMANENTLY);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// A key as it stands in an address.
pub(super) fn in_path(key: &str) -> String {
    utf8_percent_encode(key, IN_PATH).to_string()
}
