//! The desk between the engine and the rooms: REST habits that the services share, written once, and the
//! typed clients by which one room asks another without importing it.

pub mod identity;
