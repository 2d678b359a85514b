//! Response bodies of the doors.

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

/// What a door answers with. An error while streaming breaks the connection: the status is long gone.
pub type Body = UnsyncBoxBody<Bytes, anello_storage::Error>;
