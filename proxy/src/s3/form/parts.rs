//! The body of a form (RFC 7578) as it comes: its fields, and then the file, of which no more than a chunk is held.

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use s3s::{S3ErrorCode, S3Result, StdError, s3_error};

use crate::s3::limits::{FORM_BYTES_MAX, FORM_FIELDS_MAX};

/// The fields before the file, and the file.
pub(super) struct Form<S> {
    /// Names in lower case, and values, in their order.
    pub(super) fields: Vec<(String, String)>,
    /// What the file is called where it comes from.
    pub(super) file_name: Option<String>,
    pub(super) file: File<S>,
}

/// The file's bytes, up to the line that ends them.
pub(super) struct File<S> {
    body: S,
    /// What was read and not yet handed out.
    held: BytesMut,
    /// Line break, two dashes, boundary.
    end: Vec<u8>,
    is_over: bool,
}

/// The boundary that a media type names.
pub(in crate::s3) fn boundary(content_type: &str) -> Option<String> {
    let parameters = content_type.split(';').skip(1);
    let named = |parameter: &str| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
    };
    parameters.filter_map(named).next().filter(|value| !value.is_empty() && value.len() <= 70)
}

fn malformed() -> s3s::S3Error {
    s3_error!(MalformedPOSTRequest, "The body of your POST request is not well-formed multipart/form-data.")
}

impl<S, E> Form<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<StdError>,
{
    /// Reads the fields, up to where the file begins.
    pub(super) async fn read(mut body: S, boundary: &str) -> S3Result<Self> {
        let line = format!("--{boundary}");
        let end = format!("\r\n{line}").into_bytes();
        let (mut held, mut taken) = (BytesMut::new(), 0);
        // What comes before the first line means nothing.
        let at = find(&mut body, &mut held, line.as_bytes(), &mut taken).await?;
        let _preamble = held.split_to(at + line.len());
        let mut fields = Vec::new();
        loop {
            let at = find(&mut body, &mut held, b"\r\n", &mut taken).await?;
            if held[..at].starts_with(b"--") {
                return Err(s3_error!(InvalidArgument, "POST requires exactly one file upload per request."));
            }
            let _rest_of_line = held.split_to(at + 2);
            let at = find(&mut body, &mut held, b"\r\n\r\n", &mut taken).await?;
            let head = held.split_to(at + 4);
            let (name, file_name) = disposition(&head).ok_or_else(malformed)?;
            if name == "file" {
                let file = File { body, held, end, is_over: false };
                return Ok(Self { fields, file_name, file });
            }
            let at = find(&mut body, &mut held, &end, &mut taken).await?;
            let value = String::from_utf8(held.split_to(at).to_vec()).map_err(|_| malformed())?;
            let _line = held.split_to(end.len());
            if fields.len() >= FORM_FIELDS_MAX {
                return Err(too_large());
            }
            fields.push((name, value));
        }
    }
}

fn too_large() -> s3s::S3Error {
    s3_error!(MaxPostPreDataLengthExceededError, "Your POST request fields preceding the upload file were too large.")
}

/// Where `wanted` is in what is held, for which more is read; `taken` counts what was.
async fn find<S, E>(body: &mut S, held: &mut BytesMut, wanted: &[u8], taken: &mut usize) -> S3Result<usize>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<StdError>,
{
    let mut from = 0;
    loop {
        if let Some(at) = position(&held[from..], wanted) {
            return Ok(from + at);
        }
        if *taken > FORM_BYTES_MAX {
            return Err(too_large());
        }
        from = held.len().saturating_sub(wanted.len() - 1);
        let chunk = body.next().await.ok_or_else(malformed)?.map_err(|_| S3ErrorCode::IncompleteBody)?;
        *taken += chunk.len();
        held.extend_from_slice(&chunk);
    }
}

fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// A field's name in lower case, and its file's, from the lines before its value.
fn disposition(head: &[u8]) -> Option<(String, Option<String>)> {
    let head = std::str::from_utf8(head).ok()?;
    let line = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    Some((parameter(line, "name")?.to_ascii_lowercase(), parameter(line, "filename")))
}

/// The value of a parameter, quoted or not.
fn parameter(line: &str, wanted: &str) -> Option<String> {
    let mut rest = line.split_once(';')?.1;
    loop {
        let (name, tail) = rest.split_once('=')?;
        let tail = tail.trim_start();
        let (value, behind) = match tail.strip_prefix('"') {
            None => {
                let (value, behind) = tail.split_once(';').unwrap_or((tail, ""));
                (value.trim().to_owned(), behind)
            }
            Some(quoted) => {
                let at = quoted.char_indices().scan(false, |escaped, (at, next)| {
                    let ends = next == '"' && !*escaped;
                    *escaped = next == '\\' && !*escaped;
                    Some((at, ends))
                });
                let at = at.into_iter().find(|(_, ends)| *ends)?.0;
                let value = quoted[..at].replace("\\\"", "\"");
                (value, quoted[at + 1..].split_once(';').map_or("", |(_, behind)| behind))
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = behind;
    }
}

impl<S, E> File<S>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<StdError>,
{
    /// The next bytes; `None` at the end, which has to be there.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, StdError> {
        while !self.is_over {
            if let Some(at) = position(&self.held, &self.end) {
                self.is_over = true;
                let last = self.held.split_to(at).freeze();
                return Ok(Some(last).filter(|last| !last.is_empty()));
            }
            // The end may have begun in what is held.
            let sure = self.held.len().saturating_sub(self.end.len() - 1);
            if sure > 0 {
                return Ok(Some(self.held.split_to(sure).freeze()));
            }
            match self.body.next().await {
                Some(chunk) => self.held.extend_from_slice(&chunk.map_err(Into::into)?),
                None => return Err("the form ends within the file".into()),
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A form that comes in pieces of some size.
    async fn read(text: &str, piece: usize) -> S3Result<(Vec<(String, String)>, Option<String>, Vec<u8>)> {
        let pieces: Vec<_> =
            text.as_bytes().chunks(piece).map(|piece| Ok::<_, StdError>(Bytes::copy_from_slice(piece))).collect();
        let mut form = Form::read(futures::stream::iter(pieces), "B").await?;
        let mut file = Vec::new();
        while let Some(chunk) = form.file.next().await.map_err(|_| S3ErrorCode::IncompleteBody)? {
            file.extend_from_slice(&chunk);
        }
        Ok((form.fields, form.file_name, file))
    }

    #[tokio::test]
    async fn a_form_is_the_same_in_pieces_of_any_size() {
        let text = "--B\r\nContent-Disposition: form-data; name=\"Key\"\r\n\r\na\r\n--Bx? no\r\n--B\r\n\
                    content-disposition: form-data; name=policy\r\nContent-Type: x\r\n\r\n\r\n--B\r\n\
                    Content-Disposition: form-data; name=\"file\"; filename=\"a;\\\"b.txt\"\r\n\r\n\
                    data\r\n--\r\n-B\r\n--B--\r\n";
        let text = text.replace("\r\n--Bx? no", "");
        for piece in 1..text.len() {
            let (fields, name, file) = read(&text, piece).await.unwrap_or_else(|error| panic!("{piece}: {error}"));
            assert_eq!(fields, [("key".to_owned(), "a".to_owned()), ("policy".to_owned(), String::new())]);
            assert_eq!(name.as_deref(), Some("a;\"b.txt"));
            assert_eq!(file, b"data\r\n--\r\n-B");
        }
    }

    #[tokio::test]
    async fn a_form_that_is_cut_or_too_long_is_refused() {
        let text = "--B\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\ndata\r\n--B--";
        for length in 0..text.len() - 2 {
            assert!(read(&text[..length], 5).await.is_err(), "{length}");
        }
        let long =
            format!("--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n{}", "x".repeat(FORM_BYTES_MAX + 1));
        assert!(read(&long, 1_000).await.is_err());
        assert!(read("--B\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nx\r\n--B--\r\n", 7).await.is_err());
        assert!(read("--B\r\nX: y\r\n\r\nx\r\n--B--\r\n", 7).await.is_err());
    }

    #[test]
    fn a_boundary_is_a_parameter_of_the_type() {
        let check = |given, want: Option<&str>| assert_eq!(boundary(given).as_deref(), want, "{given}");
        check("multipart/form-data; boundary=x", Some("x"));
        check("multipart/form-data; charset=utf-8; Boundary=\"a b\"", Some("a b"));
        check("multipart/form-data", None);
        check("multipart/form-data; boundary=", None);
    }
}
