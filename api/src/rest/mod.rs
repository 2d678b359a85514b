//! How every room speaks HTTP. A room declares its [`Route`]s, each with the policy rule that guards it,
//! and its [`Dialect`] (how faults and version documents look); the rest is written once: request ids,
//! body limits, identification, policy with default deny, links, filters and pages.
//!
//! Left out on purpose: the byte path. The object doors don't come through here.

mod audit;
mod dialect;
mod dispatch;
mod fault;
mod fields;
mod link;
pub(crate) mod policy;
mod query;
mod reply;
mod token;
mod version;

pub use audit::{Audited, PeerAddress};
pub use dialect::{Dialect, KEYSTONE};
pub use dispatch::{Call, Route, Service, router};
pub use fault::{Fault, status};
pub use fields::Fields;
pub use link::Links;
pub use policy::{Aliases, Check, Credentials, Policy, PolicyError, Rule, Target};
pub use query::{Page, Query};
pub use reply::{Granted, Reply};
pub use token::{identify, token_header};
pub use version::{Status, Version, version_document, versions_document};
