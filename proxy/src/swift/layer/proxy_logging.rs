//! The access log: a line for every request that comes through here, once its answer is sent or its client has gone
//! (499). Lines are Swift's unless the operator gives another template (`line`), and go to a file or to the log, as
//! `anello::access`. Of tokens and signatures only a beginning is shown, of keys nothing.

pub(in crate::swift) mod line;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use anello_base::{Clock, SystemClock};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use serde_json::Value;

use super::{Incoming, Layer, Next, Origin, Transaction};
use crate::body::Body;
use crate::swift::config::ProxyLoggingConfig;
use crate::swift::fault::{CLIENT_GONE, Fault};
use line::Seen;

/// The middleware.
#[derive(Debug)]
pub(super) struct ProxyLogging {
    log: Arc<Log>,
}

/// Where lines go, and what they look like.
#[derive(Debug)]
struct Log {
    config: ProxyLoggingConfig,
    /// Written without waiting for the disk; a line is one write, so that lines never mix.
    file: Option<Mutex<File>>,
}

/// Opens a file for lines that only its owner reads.
pub(in crate::swift) fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

impl ProxyLogging {
    pub(super) fn new(config: ProxyLoggingConfig) -> Self {
        let file = config.access_log.as_deref().and_then(|path| match open(path) {
            Ok(file) => Some(Mutex::new(file)),
            // It could be when the configuration was read.
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "the access log can't be opened; its lines go to the log");
                None
            }
        });
        Self { log: Arc::new(Log { config, file }) }
    }
}

impl Log {
    fn write(&self, seen: &Seen) {
        let line = self.config.log_msg_template.line(seen, &self.config);
        match &self.file {
            None => tracing::info!(target: "anello::access", "{line}"),
            Some(file) => {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = file.write_all(format!("{line}\n").as_bytes()) {
                    tracing::error!(%error, line, "the access log can't be written");
                }
            }
        }
    }
}

impl Layer for ProxyLogging {
    fn announce(&self) -> Vec<(&'static str, Value)> {
        // As in Swift.
        Vec::new()
    }

    fn call<'a>(&'a self, request: Request<Incoming>, next: Next) -> BoxFuture<'a, Result<Response<Body>, Fault>> {
        Box::pin(async move {
            let received = Arc::new(AtomicU64::new(0));
            let (parts, body) = request.into_parts();
            let peer = parts.extensions.get::<Origin>().and_then(|origin| origin.peer);
            let transaction = parts.extensions.get::<Transaction>().map(|id| id.0.clone()).unwrap_or_default();
            let seen = Seen::of(&parts, peer, transaction, SystemClock.wall());
            let is_head = parts.method == Method::HEAD;
            // A request that is dropped before it is answered has lost its client, and is logged as such.
            let mut entry = Entry { log: Arc::clone(&self.log), seen: Some(Box::new(seen)), received };
            let count = Arc::clone(&entry.received);
            let body = body.map_frame(move |frame| {
                count.fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Ordering::Relaxed);
                frame
            });
            let response = next.run(Request::from_parts(parts, body.boxed_unsync())).await;
            if let Some(seen) = &mut entry.seen {
                seen.answered(response.status(), SystemClock.wall());
            }
            let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
            let length = length.or_else(|| http_body::Body::size_hint(response.body()).exact());
            if is_head || http_body::Body::is_end_stream(response.body()) {
                entry.end(0, true);
                return Ok(response);
            }
            Ok(response.map(|body| Sent { body, entry, sent: 0, length }.boxed_unsync()))
        })
    }
}

/// A line that is to be written.
struct Entry {
    log: Arc<Log>,
    seen: Option<Box<Seen>>,
    received: Arc<AtomicU64>,
}

impl Entry {
    /// Writes it, if it has not been.
    fn end(&mut self, sent: u64, is_whole: bool) {
        let Some(mut seen) = self.seen.take() else { return };
        seen.bytes_received = self.received.load(Ordering::Relaxed);
        seen.bytes_sent = sent;
        if !is_whole {
            seen.status = CLIENT_GONE;
        }
        seen.ended = SystemClock.wall();
        self.log.write(&seen);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end(0, false);
    }
}

/// A body that is counted.
struct Sent {
    body: Body,
    entry: Entry,
    sent: u64,
    length: Option<u64>,
}

impl http_body::Body for Sent {
    type Data = Bytes;
    type Error = anello_storage::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let sent = match &frame {
            Some(Ok(frame)) => frame.data_ref().map_or(0, Bytes::len) as u64,
            Some(Err(_)) => 0,
            None => {
                let sent = self.sent;
                self.entry.end(sent, true);
                0
            }
        };
        self.sent += sent;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        // Nobody asks for more than was promised.
        let is_whole = http_body::Body::is_end_stream(&self.body) || self.length == Some(self.sent);
        self.entry.end(self.sent, is_whole);
    }
}
