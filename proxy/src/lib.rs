//! The front doors of the object store. [`swift`] and [`s3`] speak their protocols over one namespace: a
//! bucket is a container, and what one writes the other reads. [`object`] is what both stand on: objects
//! whose parts are stored apart are read and deleted as one. [`website`] shows the sites of both to visitors.

mod acl;
pub mod body;
pub mod digest;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
pub mod object;
pub mod s3;
pub mod swift;
pub mod website;
