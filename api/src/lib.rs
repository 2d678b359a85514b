//! The desk between the engine and the rooms: REST habits that the services share, written once, and the
//! typed clients by which one room asks another without importing it.
//!
//! [`rest`] is how a room speaks HTTP; [`identity`] is how a room asks who is calling.

pub mod identity;
pub mod limits;
pub mod rest;
