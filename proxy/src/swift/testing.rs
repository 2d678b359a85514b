//! What the tests of this door share: a request's head from a line.

use http::Request;

use super::call::Call;

/// The head of a request.
pub(super) fn call(method: &str, uri: &str, headers: &[(&str, &str)]) -> Call {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).expect("a valid request").into_parts();
    Call::read(parts).map_err(|fault| fault.code()).expect("a readable request")
}
