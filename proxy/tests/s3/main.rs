//! The S3 door as its clients see it, over a real store.

mod access_lists;
mod access_logs;
mod client;
mod lifecycle;
mod multipart;
mod objects;
mod security;
mod websites;

/// Whether plain requests take the short way. The same tests run without it in `s3_without_lane.rs`.
const HAS_LANE: bool = true;
