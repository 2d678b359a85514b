//! The S3 door as its clients see it, over a real store.

mod client;
mod multipart;
mod objects;
mod security;
