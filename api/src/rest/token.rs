//! The token middleware of the rooms that ask identity who is calling.

use std::sync::Arc;

use anello_base::Class;
use http::HeaderMap;

use super::Fault;
use crate::identity::{Caller, Identity};
use crate::limits::TOKEN_BYTES_MAX;

/// A request's token, where it bears one that can be one. Of several none counts: whoever stands before the server may
/// have looked at another.
pub fn token_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let (token, None) = (all.next()?, all.next()) else { return None };
    let token = token.to_str().ok()?.trim();
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn one_token_counts_and_of_two_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(token_header(&headers, "x-auth-token"), None);
        headers.append("X-Auth-Token", HeaderValue::from_static(" one "));
        assert_eq!(token_header(&headers, "x-auth-token"), Some("one"));
        headers.append("X-Auth-Token", HeaderValue::from_static("two"));
        assert_eq!(token_header(&headers, "x-auth-token"), None);
    }
}
