//! The desk between the engine and the rooms: REST habits that the services share, written once, and the
//! typed clients by which one room asks another without importing it.
//!
//! [`rest`] is how a room speaks HTTP; [`identity`] is how a room asks who is calling, [`access_rule`] what a caller
//! who may not do everything may do, [`keystone`] how another host's identity is asked.

pub mod access_rule;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod identity;
pub mod keystone;
pub mod limits;
pub mod rest;
