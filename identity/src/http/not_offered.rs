//! What Keystone has and this room has not: told with 501, so that nobody takes it for a wrong id.

use anello_api::rest::{Fault, Target};
use http::Method;

use super::{Answer, Call, Route};

/// Resources, with all that lies below them.
const PATHS: &[&str] =
    &["/v3/OS-FEDERATION/{*rest}", "/v3/OS-OAUTH1/{*rest}", "/v3/OS-OAUTH2/{*rest}", "/v3/OS-SIMPLE-CERT/{*rest}"];

pub(super) fn routes() -> Vec<Route> {
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let every = PATHS.iter().flat_map(|path| methods.clone().map(|method| (method, *path)));
    every.map(|(method, path)| Route::new(method, path, "identity:not_offered", refuse)).collect()
}

async fn refuse(call: Call) -> Answer {
    call.authorize(&Target::none())?;
    Err(Fault::unsupported("This part of the identity API is not offered by this server."))
}
