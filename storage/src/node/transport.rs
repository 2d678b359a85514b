//! How messages and the data behind them get from one host to another.

use std::pin::Pin;

use bytes::Bytes;
use futures::Stream;
use futures::future::BoxFuture;

use crate::error::Result;

/// Data behind a message, in order; ends with an error where they are cut off.
pub type DataStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send + Sync>>;

/// What came: a message, and the data behind it.
pub struct Incoming {
    /// The message's bytes.
    pub message: Bytes,
    /// The data; empty where there are none.
    pub data: DataStream,
}

/// Carries calls to other hosts. It keeps secret and whole what it carries, or fails.
pub trait Transport: Send + Sync + 'static {
    /// Sends a message, and the data behind it, to the host at `address` and waits for the beginning of the
    /// answer. [`crate::Error::Unreachable`] where there is none.
    fn call<'a>(&'a self, address: &'a str, message: Bytes, data: DataStream) -> BoxFuture<'a, Result<Incoming>>;
}

/// No data.
pub(super) fn nothing() -> DataStream {
    Box::pin(futures::stream::empty())
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("message_bytes", &self.message.len()).finish_non_exhaustive()
    }
}
