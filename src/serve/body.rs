//! Bodies at the border between a listener and the doors. A request's body tells the connection while
//! it waits for bytes; an answer's body counts what it sends, and reports when it ends.

use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use anello_storage::node::NodeBody;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::serve::connection::Watch;
use crate::serve::metrics::Meter;

/// What went wrong with a body.
pub(crate) type BodyError = Box<dyn Error + Send + Sync>;

/// A request's body as the doors get it.
#[derive(Debug)]
pub(crate) struct RequestBody {
    inner: Incoming,
    watch: Arc<Watch>,
}

impl RequestBody {
    pub(crate) fn new(inner: Incoming, watch: Arc<Watch>) -> Self {
        Self { inner, watch }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        self.watch.body(polled.is_pending());
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.watch.body(false);
    }
}

/// An answer's body.
pub(crate) struct ResponseBody {
    source: Source,
    meter: Option<Meter>,
}

enum Source {
    /// Streamed by the Swift or the S3 door.
    Door(anello_proxy::body::Body),
    /// From a room's router.
    Room(axum::body::Body),
    /// Sealed frames for another host.
    Node(NodeBody),
    /// Small and whole.
    Whole(Option<Bytes>),
}

impl ResponseBody {
    /// A small answer.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { source: Source::Whole((!bytes.is_empty()).then_some(bytes)), meter: None }
    }

    /// Reports to `meter` what was sent once the answer has ended or is cut off.
    pub(crate) fn metered(mut self, meter: Meter) -> Self {
        self.meter = Some(meter);
        self
    }
}

impl From<anello_proxy::body::Body> for ResponseBody {
    fn from(body: anello_proxy::body::Body) -> Self {
        Self { source: Source::Door(body), meter: None }
    }
}

impl From<axum::body::Body> for ResponseBody {
    fn from(body: axum::body::Body) -> Self {
        Self { source: Source::Room(body), meter: None }
    }
}

impl From<NodeBody> for ResponseBody {
    fn from(body: NodeBody) -> Self {
        Self { source: Source::Node(body), meter: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = match &mut self.source {
            Source::Door(body) => Pin::new(body).poll_frame(context).map_err(BodyError::from),
            Source::Room(body) => Pin::new(body).poll_frame(context).map_err(BodyError::from),
            Source::Node(body) => Pin::new(body).poll_frame(context).map_err(BodyError::from),
            Source::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        };
        if let (Some(meter), Poll::Ready(Some(Ok(frame)))) = (&mut self.meter, &polled) {
            meter.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Door(body) => body.is_end_stream(),
            Source::Room(body) => body.is_end_stream(),
            Source::Node(body) => body.is_end_stream(),
            Source::Whole(bytes) => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Door(body) => body.size_hint(),
            Source::Room(body) => body.size_hint(),
            Source::Node(body) => body.size_hint(),
            Source::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
        }
    }
}
