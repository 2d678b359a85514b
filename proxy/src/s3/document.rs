//! XML documents that are written here: those of listings, whose size makes `s3s`'s writer the dearest part of
//! a request. They travel beside an empty answer of `s3s`'s, and take the place of its body.

use anello_base::Timestamp;
use bytes::Bytes;
use http::Response;
use percent_encoding::utf8_percent_encode;
use s3s::S3Response;

use super::listing::{Encoding, PLAIN};

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";

/// A whole document.
#[derive(Debug, Clone)]
struct Written(Bytes);

/// A document being written. Names of elements are ours and need no escape.
#[derive(Debug)]
pub(super) struct Document {
    text: String,
    root: &'static str,
}

impl Document {
    /// Begins one of about `size` bytes.
    pub(super) fn new(root: &'static str, size: usize) -> Self {
        let mut text = String::with_capacity(HEAD.len() + 2 * (root.len() + NAMESPACE.len()) + size);
        text.extend([HEAD, "<", root, " xmlns=\"", NAMESPACE, "\">"]);
        Self { text, root }
    }

    /// Ends it and makes it the body of the answer `output`, which has none of its own.
    pub(super) fn answer<T>(mut self, output: T) -> S3Response<T> {
        self.close(self.root);
        let mut response = S3Response::new(output);
        response.extensions.insert(Written(self.text.into()));
        response
    }

    pub(super) fn open(&mut self, name: &str) {
        self.text.extend(["<", name, ">"]);
    }

    pub(super) fn close(&mut self, name: &str) {
        self.text.extend(["</", name, ">"]);
    }

    /// An element with a value that needs no escape.
    pub(super) fn plain(&mut self, name: &str, value: &str) {
        self.open(name);
        self.text.push_str(value);
        self.close(name);
    }

    pub(super) fn number(&mut self, name: &str, value: u64) {
        self.plain(name, itoa::Buffer::new().format(value));
    }

    /// An element with any text, none where there is no text.
    pub(super) fn text(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        self.open(name);
        escape(&mut self.text, value);
        self.close(name);
    }

    /// An element with a key or a part of one, as the client asked for it.
    pub(super) fn key(&mut self, name: &str, key: Option<&str>, encoding: Encoding) {
        match key {
            Some(key) if encoding.is_url() => {
                self.open(name);
                self.text.extend(utf8_percent_encode(key, PLAIN));
                self.close(name);
            }
            key => self.text(name, key),
        }
    }

    /// `LastModified`, in whole seconds, as HTTP's headers have it.
    pub(super) fn modified(&mut self, timestamp: Timestamp) {
        let seconds = i64::try_from(timestamp.seconds_ceil()).unwrap_or(i64::MAX);
        let time = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second) = time.to_hms();
        self.open("LastModified");
        self.digits(year.unsigned_abs() / 100);
        self.digits(year.unsigned_abs() % 100);
        for (mark, number) in [('-', u8::from(month)), ('-', day), ('T', hour), (':', minute), (':', second)] {
            self.text.push(mark);
            self.digits(number.into());
        }
        self.text.push_str(".000Z");
        self.close("LastModified");
    }

    /// `Owner`.
    pub(super) fn owner(&mut self, owner: &str) {
        self.open("Owner");
        self.text("ID", Some(owner));
        self.text("DisplayName", Some(owner));
        self.close("Owner");
    }

    /// `ETag`, with the quotes that it has in headers.
    pub(super) fn etag(&mut self, etag: &str) {
        self.text.push_str("<ETag>&quot;");
        escape(&mut self.text, etag);
        self.text.push_str("&quot;</ETag>");
    }

    /// Two decimal digits.
    fn digits(&mut self, number: u32) {
        self.text.extend([number / 10, number % 10].map(|digit| char::from_digit(digit, 10).unwrap_or('0')));
    }
}

/// Takes the document out of an answer that has one.
pub(super) fn take<B>(response: &mut Response<B>) -> Option<Bytes> {
    response.extensions_mut().remove().map(|Written(document)| document)
}

/// Appends `value` as character data (XML 1.0); what XML can't have or would change is a character reference,
/// as S3 writes it.
fn escape(text: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.bytes().position(|byte| byte < b' ' || matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\''))
    {
        text.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'&' => text.push_str("&amp;"),
            b'<' => text.push_str("&lt;"),
            b'>' => text.push_str("&gt;"),
            b'"' => text.push_str("&quot;"),
            b'\'' => text.push_str("&#39;"),
            control => text.push_str(&format!("&#x{control:X};")),
        }
        rest = &rest[at + 1..];
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back_from_what_a_parser_reads() {
        let name = "a&b<c>\"d'\u{1}\r\n\tü";
        let mut text = String::new();
        escape(&mut text, name);
        assert_eq!(text, "a&amp;b&lt;c&gt;&quot;d&#39;&#x1;&#xD;&#xA;&#x9;ü");
    }

    #[test]
    fn times_are_those_of_the_headers() {
        let mut document = Document::new("R", 0);
        document.modified(Timestamp::from_seconds(1_700_000_000));
        assert!(document.text.ends_with("<LastModified>2023-11-14T22:13:20.000Z</LastModified>"), "{}", document.text);
    }
}
