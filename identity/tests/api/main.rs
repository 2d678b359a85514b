//! The identity API as clients meet it, over records in memory.

mod cloud;
mod credentials;
mod policy;
mod tokens;
