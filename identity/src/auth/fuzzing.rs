//! Bodies of log-ins, and requests that another service forwards.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::Value;

use super::request::LoginRequest;
use super::signature;

/// A log-in that is taken gives proofs, and no method twice.
pub(crate) fn login(body: Value) {
    let Ok(login) = LoginRequest::parse(body) else { return };
    assert!(!login.proofs.is_empty());
    let mut kinds: Vec<_> = login.proofs.iter().map(std::mem::discriminant).collect();
    kinds.dedup();
    assert_eq!(kinds.len(), login.proofs.len());
}

/// Nobody guesses a signature.
pub(crate) fn forwarded(credentials: &Value) {
    let _ = signature::signed_at(credentials);
    assert!(!signature::ec2_signature_matches("a secret that no input knows", credentials));
}

pub(crate) fn string_to_sign(bytes: &[u8]) {
    let (token, signature) = bytes.split_at(bytes.len() / 2);
    let signature = String::from_utf8_lossy(signature);
    assert!(!signature::s3_signature_matches("a secret that no input knows", &URL_SAFE.encode(token), &signature));
}
