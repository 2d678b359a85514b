//! Who somebody is and what he may do: how log-ins are checked, tokens issued and validated, roles worked
//! out, and signed requests verified.

mod authority;
mod catalog;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod local;
mod lockout;
mod login;
mod named;
mod prove;
mod receipt;
mod request;
mod roles;
mod shared;
mod signature;
mod signing;
mod tokens;
mod totp;
mod view;

pub(crate) use authority::{Authority, Refusal};
pub(crate) use catalog::{catalog, seen_endpoints};
pub(crate) use local::operator;
pub(crate) use lockout::Throttle;
pub(crate) use login::LoginError;
pub(crate) use request::LoginRequest;
pub(crate) use roles::{Assigned, assignments, effective_roles, projects_of, scopes_of};
pub(crate) use shared::SharedTokens;
pub(crate) use signature::{ec2_signature_matches, s3_signature_matches, signed_at};
pub(crate) use signing::{EC2, Ec2Blob, SigningKeys, key_of};
pub(crate) use tokens::{Issue, Tokens, now_us};
pub(crate) use view::token_view;
