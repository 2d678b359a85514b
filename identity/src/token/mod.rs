//! Tokens: Fernet messages that carry who, how, what for and until when, and nothing that is kept. Layout
//! and key repository are Keystone's, so that its tools and its keys fit.

mod keys;
mod payload;
mod repository;

pub(crate) use keys::{KeyRing, sealed_at};
pub(crate) use payload::{Method, Payload, Receipt, TokenScope, audit_id};
pub use repository::KeyKind;
pub(crate) use repository::Keys;
