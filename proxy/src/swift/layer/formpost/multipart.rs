//! Bodies of the type `multipart/form-data` (RFC 7578), read part by part as they come. In memory are a part's headers,
//! or one piece of its data, and what came with it.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use memchr::memmem::Finder;

use crate::swift::layer::Incoming;
use crate::swift::limits::FORM_HEADERS_BYTES_MAX;

/// What is wrong with a form.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum FormError {
    #[error("the form ends too early")]
    Ends,
    #[error("invalid starting boundary")]
    Start,
    #[error("the headers of a part are too long or none")]
    Headers,
}

/// The headers of a part, as far as they matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// The field.
    pub(super) name: String,
    /// What the file is called, where it is one.
    pub(super) filename: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
}

/// A form being read.
pub(super) struct Form {
    body: Incoming,
    /// Bytes that have come and were not given out.
    buffer: BytesMut,
    /// What ends a part's data: the line's end before the boundary is none of them.
    delimiter: Finder<'static>,
    is_begun: bool,
}

/// The boundary that a media type names, where it is a form's.
pub(super) fn boundary_of(media_type: &str) -> Option<String> {
    let (kind, parameters) = media_type.split_once(';')?;
    let is_form = kind.trim().eq_ignore_ascii_case("multipart/form-data");
    // RFC 2046 §5.1.1: 70 characters at the most.
    parameter(parameters, "boundary").filter(|boundary| is_form && (1..=70).contains(&boundary.len()))
}

impl Form {
    pub(super) fn new(body: Incoming, boundary: &str) -> Self {
        let delimiter = Finder::new(format!("\r\n--{boundary}").as_bytes()).into_owned();
        // The first boundary has no line before it.
        Self { body, buffer: BytesMut::from(&b"\r\n"[..]), delimiter, is_begun: false }
    }

    /// Takes more of the body; whether there was more.
    async fn fill(&mut self) -> Result<bool, FormError> {
        loop {
            match self.body.frame().await {
                None => return Ok(false),
                Some(Err(_)) => return Err(FormError::Ends),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// The next part, whose data then have to be read to their end; `None` behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<Head>, FormError> {
        if !self.is_begun {
            self.begin().await?;
        }
        while self.buffer.len() < 2 {
            if !self.fill().await? {
                return Err(FormError::Ends);
            }
        }
        if self.buffer.starts_with(b"--") {
            return Ok(None);
        }
        // From the end of the boundary's line: a part may have no headers.
        let length = loop {
            if let Some(at) = memchr::memmem::find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if self.buffer.len() > FORM_HEADERS_BYTES_MAX {
                return Err(FormError::Headers);
            }
            if !self.fill().await? {
                return Err(FormError::Ends);
            }
        };
        let text = self.buffer.split_to(length);
        let text = std::str::from_utf8(&text).ok().filter(|text| text.len() <= FORM_HEADERS_BYTES_MAX);
        text.map(Head::of).map(Some).ok_or(FormError::Headers)
    }

    /// Goes behind the first boundary.
    async fn begin(&mut self) -> Result<(), FormError> {
        let length = self.delimiter.needle().len();
        while self.buffer.len() < length {
            if !self.fill().await? {
                return Err(FormError::Start);
            }
        }
        if !self.buffer.starts_with(self.delimiter.needle()) {
            return Err(FormError::Start);
        }
        let _ = self.buffer.split_to(length);
        self.is_begun = true;
        Ok(())
    }

    /// Some of the part's data; `None` at their end.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, FormError> {
        let length = self.delimiter.needle().len();
        loop {
            match self.delimiter.find(&self.buffer) {
                Some(0) => {
                    let _ = self.buffer.split_to(length);
                    return Ok(None);
                }
                Some(at) => return Ok(Some(self.buffer.split_to(at).freeze())),
                None => {}
            }
            // The end may be the beginning of what ends the data.
            if self.buffer.len() >= length {
                let given = self.buffer.len() - (length - 1);
                return Ok(Some(self.buffer.split_to(given).freeze()));
            }
            if !self.fill().await? {
                return Err(FormError::Ends);
            }
        }
    }
}

impl Head {
    fn of(text: &str) -> Self {
        let mut head = Self::default();
        for line in text.split("\r\n") {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.trim().to_ascii_lowercase().as_str() {
                "content-disposition" => {
                    head.name = parameter(value, "name").unwrap_or_default();
                    head.filename = parameter(value, "filename").filter(|name| !name.is_empty());
                }
                "content-type" => head.content_type = Some(value.to_owned()),
                "content-encoding" => head.content_encoding = Some(value.to_owned()),
                _ => {}
            }
        }
        head
    }
}

/// A parameter of a header's value: `; name=value`, the value in quotes or not.
fn parameter(text: &str, wanted: &str) -> Option<String> {
    let mut rest = text;
    while !rest.is_empty() {
        let item = rest.trim_start_matches([';', ' ', '\t']);
        let end = item.find([';', '=']).unwrap_or(item.len());
        let name = item[..end].trim();
        let Some(behind) = item[end..].strip_prefix('=') else {
            rest = &item[end..];
            continue;
        };
        let (value, after) = value_of(behind.trim_start());
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
    None
}

/// The value that a text begins with, and what is behind it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        return (text[..end].trim().to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            // Only a quote is escaped: others write paths with backslashes.
            '\\' if quoted[at + 1..].starts_with('"') => {
                letters.next();
                value.push('"');
            }
            letter => value.push(letter),
        }
    }
    (value, "")
}

/// For the fuzzer: reads a form to its end.
#[cfg(feature = "fuzzing")]
pub(in crate::swift) fn feed(bytes: &[u8]) {
    let (first, rest) = bytes.split_at(bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len()));
    let Some(boundary) = std::str::from_utf8(first).ok().and_then(boundary_of) else { return };
    let run = async {
        let mut form = Form::new(crate::swift::layer::whole(rest.get(1..).unwrap_or_default().to_vec()), &boundary);
        while form.next().await?.is_some() {
            while form.data().await?.is_some() {}
        }
        Ok::<_, FormError>(())
    };
    // What reads from memory never waits.
    let _ = futures::executor::block_on(run);
}

#[cfg(test)]
mod tests {
    use http_body::Frame;
    use http_body_util::StreamBody;

    use super::*;
    use crate::swift::layer::BodyFault;

    /// A body that comes in pieces of so many bytes.
    fn pieces(text: &str, size: usize) -> Incoming {
        let chunks: Vec<_> = text.as_bytes().chunks(size).map(Bytes::copy_from_slice).collect();
        let frames = chunks.into_iter().map(|chunk| Ok::<_, BodyFault>(Frame::data(chunk)));
        StreamBody::new(futures::stream::iter(frames)).boxed_unsync()
    }

    async fn read(text: &str, size: usize) -> Result<Vec<(Head, String)>, FormError> {
        let mut form = Form::new(pieces(text, size), "X");
        let mut parts = Vec::new();
        while let Some(head) = form.next().await? {
            let mut data = Vec::new();
            while let Some(bytes) = form.data().await? {
                data.extend_from_slice(&bytes);
            }
            parts.push((head, String::from_utf8(data).expect("UTF-8")));
        }
        Ok(parts)
    }

    #[tokio::test]
    async fn a_form_is_the_same_in_whatever_pieces_it_comes() {
        let text = "--X\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n--\r\n-X\r\n--X \r\n\
                    content-type: text/x\r\nContent-Disposition: form-data; name=f; filename=\"ü \\\"q\\\";.txt\"\r\n\r\n\
                    \r\n--Y\r\n--X\r\n\r\nbare\r\n--X--\r\nbehind";
        for size in [1, 2, 3, 7, 1000] {
            let parts = read(text, size).await.expect("a form");
            assert_eq!(parts.len(), 3, "{size}");
            assert_eq!((parts[0].0.name.as_str(), parts[0].1.as_str()), ("a", "one\r\n--\r\n-X"));
            let file = Head {
                name: "f".into(),
                filename: Some("ü \"q\";.txt".into()),
                content_type: Some("text/x".into()),
                content_encoding: None,
            };
            assert_eq!((&parts[1].0, parts[1].1.as_str()), (&file, "\r\n--Y"));
            assert_eq!((&parts[2].0, parts[2].1.as_str()), (&Head::default(), "bare"));
        }
    }

    #[tokio::test]
    async fn what_is_no_form_is_told_and_never_gathered() {
        assert_eq!(read("no form", 3).await, Err(FormError::Start));
        assert_eq!(read("", 3).await, Err(FormError::Start));
        assert_eq!(read("--X\r\na: b\r\n\r\ndata", 3).await, Err(FormError::Ends));
        assert_eq!(read("--X\r\na: b", 3).await, Err(FormError::Ends));
        let endless = format!("--X\r\na: {}", "b".repeat(100_000));
        assert_eq!(read(&endless, 1000).await, Err(FormError::Headers));
    }

    #[test]
    fn media_types_name_boundaries() {
        for (text, want) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("Multipart/Form-Data; charset=x; BOUNDARY=\"a b\"", Some("a b")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/mixed; boundary=abc", None),
        ] {
            assert_eq!(boundary_of(text).as_deref(), want, "{text}");
        }
    }
}
