//! The identity API as clients meet it, over records in memory.

mod cloud;
mod compliance;
mod credentials;
mod extensions;
mod ldap;
mod policy;
#[path = "../servers/mod.rs"]
mod servers;
mod tokens;
mod trusts;
