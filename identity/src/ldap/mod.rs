//! Domains whose users and groups come from an LDAP directory, by the domain's configuration. They are read into the
//! view ([`sync`]): all of them now and then, and one user with his groups at each of his log-ins, which binds as him.
//! Nothing is written to the directory, and nothing of it to the records.

mod client;
mod entry;
mod settings;
mod sync;

pub(crate) use client::Client;
pub(crate) use settings::{Kind, OPTIONS, Settings, is_secret, kind_of};
pub(crate) use sync::Sources;
