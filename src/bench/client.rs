//! One HTTP/1.1 connection, driven by hand: a request is one vectored write, an answer is read into one
//! buffer that is kept, and a body is compared or counted where it lies. Any answer that a server may
//! give is understood (lengths, chunks, until close); pipelining and `100 Continue` are not used.

use std::io::IoSlice;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Read buffer: holds the head of any answer, and large enough that reading 64 MiB is not system calls.
const BUFFER_BYTES: usize = 256 * 1024;

/// A request that takes longer has failed.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// Text of a failed answer that is kept for the report.
const ERROR_TEXT_BYTES: usize = 300;

/// A listing page, the largest answer that is kept whole: 10,000 names of 1,024 bytes with their markup.
const COLLECT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("connection: {0}")]
    Io(#[from] std::io::Error),
    #[error("the server closed the connection")]
    Closed,
    #[error("the answer is not HTTP/1.1: {0}")]
    Malformed(&'static str),
    #[error("no answer within {} s", REQUEST_TIMEOUT.as_secs())]
    Timeout,
}

/// What becomes of an answer's body.
pub(crate) enum Sink<'a> {
    /// Only its length counts.
    Discard,
    /// It must be these bytes.
    Compare(&'a [u8]),
    /// It is kept.
    Collect(&'a mut Vec<u8>),
}

/// An answer, its body already dealt with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Length of the body.
    pub(crate) body_bytes: u64,
    /// Whether the body is what it was compared with.
    pub(crate) matches: bool,
}

/// A connection that is opened when it is first used and again when the server has closed it.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    head: String,
    error_text: String,
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
            buffer: vec![0; BUFFER_BYTES],
            start: 0,
            end: 0,
            head: String::new(),
            error_text: String::new(),
        }
    }

    /// Sends a request and reads its answer. A connection that the server had closed while it was idle is
    /// opened again: requests of ours may be repeated.
    pub(crate) async fn exchange(&mut self, head: &[u8], body: &[u8], sink: Sink<'_>) -> Result<Answer, ClientError> {
        let exchange = async {
            let reused = self.stream.is_some();
            if let Err(error) = self.begin(head, body).await {
                self.stream = None;
                if !reused {
                    return Err(error);
                }
                self.begin(head, body).await?;
            }
            self.finish(head.starts_with(b"HEAD "), sink).await
        };
        let outcome = tokio::time::timeout(REQUEST_TIMEOUT, exchange).await.unwrap_or(Err(ClientError::Timeout));
        if outcome.is_err() {
            self.stream = None;
        }
        outcome
    }

    /// A header of the last answer.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(it, _)| it.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The beginning of the last failed answer's body.
    pub(crate) fn error_text(&self) -> &str {
        self.error_text.trim()
    }

    /// Sends, and waits for the first bytes of the answer.
    async fn begin(&mut self, head: &[u8], body: &[u8]) -> Result<(), ClientError> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(stream)
            }
        };
        (self.start, self.end) = (0, 0);
        let mut sent = 0;
        while sent < head.len() + body.len() {
            let written = if sent < head.len() {
                stream.write_vectored(&[IoSlice::new(&head[sent..]), IoSlice::new(body)]).await?
            } else {
                stream.write(&body[sent - head.len()..]).await?
            };
            if written == 0 {
                return Err(ClientError::Closed);
            }
            sent += written;
        }
        self.fill().await
    }

    async fn finish(&mut self, is_head: bool, sink: Sink<'_>) -> Result<Answer, ClientError> {
        let status = self.read_head().await?;
        let framing = if is_head || status == 204 || status == 304 { Framing::Length(0) } else { self.framing()? };
        let mut body = BodyState { sink, bytes: 0, matches: true };
        let mut text = Vec::new();
        if !(200..300).contains(&status) {
            body.sink = Sink::Collect(&mut text);
        }
        self.read_body(framing, &mut body).await?;
        let answer = Answer { status, body_bytes: body.bytes, matches: body.is_whole() };
        if !(200..300).contains(&status) {
            text.truncate(ERROR_TEXT_BYTES);
            self.error_text = String::from_utf8_lossy(&text).into_owned();
        }
        let closes = self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if closes || framing == Framing::UntilClose {
            self.stream = None;
        }
        Ok(answer)
    }

    /// Reads up to the end of the head; gives the status.
    async fn read_head(&mut self) -> Result<u16, ClientError> {
        let mut searched = self.start;
        let end = loop {
            let from = searched.saturating_sub(3).max(self.start);
            if let Some(at) = self.buffer[from..self.end].windows(4).position(|window| window == b"\r\n\r\n") {
                break from + at;
            }
            searched = self.end;
            if self.end == self.buffer.len() {
                return Err(ClientError::Malformed("the head is too long"));
            }
            self.fill().await?;
        };
        let head = std::str::from_utf8(&self.buffer[self.start..end])
            .map_err(|_| ClientError::Malformed("the head is not text"))?;
        self.head.clear();
        self.head.push_str(head);
        self.start = end + 4;
        let status = self.head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)).and_then(|it| it.parse().ok());
        status.ok_or(ClientError::Malformed("no status line"))
    }

    fn framing(&self) -> Result<Framing, ClientError> {
        if self.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            return Ok(Framing::Chunked);
        }
        match self.header("content-length").map(str::parse) {
            Some(Ok(length)) => Ok(Framing::Length(length)),
            Some(Err(_)) => Err(ClientError::Malformed("Content-Length is no number")),
            None => Ok(Framing::UntilClose),
        }
    }

    async fn read_body(&mut self, framing: Framing, body: &mut BodyState<'_>) -> Result<(), ClientError> {
        match framing {
            Framing::Length(length) => self.pass(length, body).await,
            Framing::Chunked => loop {
                let line = self.read_line().await?;
                let digits = line.split(';').next().unwrap_or_default().trim();
                let length = u64::from_str_radix(digits, 16)
                    .map_err(|_| ClientError::Malformed("a chunk's length is no number"))?;
                if length == 0 {
                    // Trailers, up to an empty line.
                    while !self.read_line().await?.is_empty() {}
                    return Ok(());
                }
                self.pass(length, body).await?;
                self.read_line().await?;
            },
            Framing::UntilClose => loop {
                body.take(&self.buffer[self.start..self.end])?;
                self.start = self.end;
                match self.fill().await {
                    Ok(()) => {}
                    Err(ClientError::Closed) => return Ok(()),
                    Err(error) => return Err(error),
                }
            },
        }
    }

    /// Passes so many bytes of the body on.
    async fn pass(&mut self, mut length: u64, body: &mut BodyState<'_>) -> Result<(), ClientError> {
        while length > 0 {
            if self.start == self.end {
                self.fill().await?;
            }
            let here = (self.end - self.start).min(usize::try_from(length).unwrap_or(usize::MAX));
            body.take(&self.buffer[self.start..self.start + here])?;
            self.start += here;
            length -= here as u64;
        }
        Ok(())
    }

    async fn read_line(&mut self) -> Result<String, ClientError> {
        loop {
            let here = &self.buffer[self.start..self.end];
            if let Some(at) = here.windows(2).position(|window| window == b"\r\n") {
                let line = String::from_utf8_lossy(&here[..at]).into_owned();
                self.start += at + 2;
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    /// Reads more; what is not used yet moves to the front where there is no room behind it.
    async fn fill(&mut self) -> Result<(), ClientError> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buffer.len() {
            if self.start == 0 {
                return Err(ClientError::Malformed("a line is too long"));
            }
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let stream = self.stream.as_mut().ok_or(ClientError::Closed)?;
        match stream.read(&mut self.buffer[self.end..]).await? {
            0 => Err(ClientError::Closed),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }
}

/// A body on its way into its sink.
struct BodyState<'a> {
    sink: Sink<'a>,
    bytes: u64,
    matches: bool,
}

impl BodyState<'_> {
    fn take(&mut self, piece: &[u8]) -> Result<(), ClientError> {
        let at = self.bytes as usize;
        self.bytes += piece.len() as u64;
        match &mut self.sink {
            Sink::Discard => {}
            Sink::Compare(expected) => self.matches &= expected.get(at..at + piece.len()) == Some(piece),
            Sink::Collect(into) => {
                if into.len() + piece.len() > COLLECT_BYTES_MAX {
                    return Err(ClientError::Malformed("the answer is too long"));
                }
                into.extend_from_slice(piece);
            }
        }
        Ok(())
    }

    fn is_whole(&self) -> bool {
        match self.sink {
            Sink::Compare(expected) => self.matches && self.bytes == expected.len() as u64,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that gives these pieces, one write each, and closes.
    fn serve(pieces: &'static [&'static str]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 1024];
            assert_ne!(stream.read(&mut request).expect("a request"), 0);
            for piece in pieces {
                stream.write_all(piece.as_bytes()).expect("taken");
                stream.flush().expect("taken");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        address
    }

    #[test]
    fn every_framing_of_a_body_is_understood_however_it_is_cut() {
        let cases: [(&'static [&'static str], &str); 4] = [
            (&["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"], "hello"),
            (&["HTTP/1.1 200 OK\r\nContent-Le", "ngth: 5\r\n\r", "\nhel", "lo"], "hello"),
            (&["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3;x\r\nhel\r", "\n2\r\nlo\r\n0\r\n\r\n"], "hello"),
            (&["HTTP/1.1 200 OK\r\n\r\nhel", "lo"], "hello"),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        for (pieces, want) in cases {
            let mut connection = Connection::new(serve(pieces));
            let mut body = Vec::new();
            let request = connection.exchange(b"GET / HTTP/1.1\r\n\r\n", b"", Sink::Collect(&mut body));
            let answer = runtime.block_on(request).expect("an answer");
            assert_eq!((answer.status, String::from_utf8_lossy(&body).as_ref()), (200, want), "{pieces:?}");
        }
    }

    #[test]
    fn a_body_that_differs_or_ends_early_is_found_out() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let answer = |pieces, expected: &'static [u8]| {
            let mut connection = Connection::new(serve(pieces));
            runtime.block_on(connection.exchange(b"GET / HTTP/1.1\r\n\r\n", b"", Sink::Compare(expected)))
        };
        let same: &'static [&'static str] = &["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"];
        assert!(answer(same, b"hello").expect("an answer").matches);
        assert!(!answer(same, b"hellO").expect("an answer").matches);
        assert!(!answer(same, b"hello!").expect("an answer").matches);
        assert!(!answer(same, b"hell").expect("an answer").matches);
        let short: &'static [&'static str] = &["HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello"];
        assert!(matches!(answer(short, b"hello!"), Err(ClientError::Closed)));
    }
}
