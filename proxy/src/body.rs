//! Response bodies of the doors.

use std::convert::Infallible;

use bytes::Bytes;
use futures::TryStream;
use futures::stream::TryStreamExt;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};

/// What a door answers with. An error while streaming breaks the connection: the status is long gone.
pub type Body = UnsyncBoxBody<Bytes, anello_storage::Error>;

/// No bytes.
pub fn empty() -> Body {
    Empty::new().map_err(never).boxed_unsync()
}

/// These bytes.
pub fn full(bytes: Bytes) -> Body {
    Full::new(bytes).map_err(never).boxed_unsync()
}

/// Bytes as they come. The next ones are asked for when the client has taken the last, so that a slow
/// client slows the disk down and nothing piles up.
pub fn stream<S>(chunks: S) -> Body
where
    S: TryStream<Ok = Bytes, Error = anello_storage::Error> + Send + 'static,
{
    StreamBody::new(chunks.map_ok(Frame::data)).boxed_unsync()
}

fn never(error: Infallible) -> anello_storage::Error {
    match error {}
}
