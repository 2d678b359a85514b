//! What `fuzz` feeds with bytes: tokens, bodies of requests, what another service forwards, and snapshots. Compiled
//! with the feature `fuzzing` alone.

use serde_json::Value;

use crate::auth::fuzzing as auth;
use crate::records::fuzzing as records;
use crate::time;
use crate::token::{Payload, Receipt};

/// A name, and what is to be fed. It panics where something does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("token-payload", payload),
    ("token-receipt", receipt),
    ("identity-login", login),
    ("identity-signed", signed),
    ("identity-time", times),
    ("identity-snapshot", records::snapshot),
];

/// A payload that is read is written as one that says the same.
fn payload(bytes: &[u8]) {
    if let Some(payload) = Payload::unpack(bytes) {
        assert_eq!(Payload::unpack(&payload.pack()), Some(payload));
    }
}

/// As [`payload`].
fn receipt(bytes: &[u8]) {
    if let Some(receipt) = Receipt::unpack(bytes) {
        assert_eq!(Receipt::unpack(&receipt.pack()), Some(receipt));
    }
}

fn login(bytes: &[u8]) {
    if let Ok(body) = serde_json::from_slice(bytes) {
        auth::login(body);
    }
}

fn signed(bytes: &[u8]) {
    match serde_json::from_slice::<Value>(bytes) {
        Ok(credentials) => auth::forwarded(&credentials),
        Err(_) => auth::string_to_sign(bytes),
    }
}

/// A time that is read is shown as one that is the same.
fn times(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for time_us in [time::parse(text), time::parse_basic(text)].into_iter().flatten() {
        assert_eq!(time::parse(&time::iso_z(time_us)), Some(time_us), "{text:?}");
        assert_eq!(time::parse(&time::iso(time_us)), Some(time_us), "{text:?}");
    }
}
