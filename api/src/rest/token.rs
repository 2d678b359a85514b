//! The token middleware of the rooms that ask identity who is calling.

use std::sync::Arc;

use anello_base::Class;
use http::HeaderMap;

use super::Fault;
use crate::identity::{Caller, Identity};
use crate::limits::TOKEN_BYTES_MAX;

/// A request's token, where it bears one that can be one.
pub fn token_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let token = headers.get(name)?.to_str().ok()?.trim();
    (!token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then_some(token)
}

/// Who is calling, by `X-Auth-Token`. `None` without a token or with one that is not valid: the dispatcher
/// makes a 401 of it wherever the route's rule wants a caller.
pub async fn identify(identity: &dyn Identity, headers: &HeaderMap) -> Result<Option<Arc<Caller>>, Fault> {
    let Some(token) = token_header(headers, "x-auth-token") else { return Ok(None) };
    match identity.token(token).await {
        Ok(caller) => Ok(Some(caller)),
        Err(error) if error.class() == Class::Unauthenticated => Ok(None),
        Err(error) => Err(Fault::of(error.class(), error.to_string())),
    }
}
