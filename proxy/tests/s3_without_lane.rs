//! The same tests with every request going through `s3s`: both ways have to answer alike.

#[path = "s3/access_lists.rs"]
mod access_lists;
#[path = "s3/access_logs.rs"]
mod access_logs;
#[path = "s3/client.rs"]
mod client;
#[path = "s3/lifecycle.rs"]
mod lifecycle;
#[path = "s3/multipart.rs"]
mod multipart;
#[path = "s3/objects.rs"]
mod objects;
#[path = "s3/security.rs"]
mod security;

const HAS_LANE: bool = false;
