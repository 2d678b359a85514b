//! The identity room: Keystone v3, its data as objects in the store.
//!
//! [`IdentityRoom`] is the door: [`IdentityRoom::open`] reads the records, [`IdentityRoom::bootstrap`] makes what
//! a new cloud needs, [`IdentityRoom::router`] serves the API, and its [`anello_api::identity::Identity`] tells the
//! other rooms who is calling.
//!
//! Every answer comes from memory ([`directory`]); every change is durable in the [`records`] before it shows.
//! Tokens are Fernet messages and kept nowhere. Secrets are hashed or sealed, and never logged.
//!
//! Left out on purpose: federation and OAuth1; they answer 501.

mod audit;
mod auth;
mod bootstrap;
mod cascade;
mod compliance;
mod directory;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod http;
mod ldap;
pub mod limits;
mod memcached;
mod migrate;
mod model;
mod password;
pub mod policy;
pub mod records;
mod room;
mod rotation;
mod time;
mod token;

pub use bootstrap::{Bootstrap, Bootstrapped, CatalogEntry, DEFAULT_DOMAIN_ID};
pub use compliance::Compliance;
pub use error::{Error, Result};
pub use room::{IdentityConfig, IdentityRoom};
pub use token::KeyKind;
