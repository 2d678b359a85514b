//! The identity API as clients meet it, over records in memory.

mod cloud;
mod compliance;
mod credentials;
mod databases;
mod domain_moves;
mod domains;
mod extensions;
mod ldap;
mod policy;
mod rotation;
#[path = "../servers/mod.rs"]
mod servers;
mod shared;
mod tokens;
mod trusts;
