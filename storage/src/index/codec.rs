//! The index's own bytes: numbers, names and tags as they stand in the values of its tables. Every read
//! checks its length first; what does not decode is [`Error::Corrupt`], never a default.
//!
//! Numbers are LEB128 (seven bits per byte, low first). See `docs/formats/index.md`.

use std::path::PathBuf;

use anello_base::Timestamp;

use crate::error::{Error, Result};
use crate::mutation::Location;

/// Media types that are stored as one byte: their place in this list. Only ever appended to.
const CONTENT_TYPES: [&str; 24] = [
    "application/octet-stream",
    "binary/octet-stream",
    "text/plain",
    "text/html",
    "text/css",
    "text/csv",
    "text/xml",
    "application/json",
    "application/javascript",
    "text/javascript",
    "application/xml",
    "application/pdf",
    "application/zip",
    "application/gzip",
    "application/x-gzip",
    "application/x-tar",
    "application/directory",
    "application/x-directory",
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/svg+xml",
    "video/mp4",
    "text/plain; charset=utf-8",
];
/// Tags below this are places in [`CONTENT_TYPES`]; from here on they are lengths.
const CONTENT_TYPE_TEXT: u64 = 64;

/// The tag is an MD5: 16 bytes.
const ETAG_MD5: u64 = 0;
/// The tag is `<MD5>-<number>`: 16 bytes and the number.
const ETAG_PARTS: u64 = 1;
/// From here on the number is a length.
const ETAG_TEXT: u64 = 2;
const MD5_HEX_BYTES: usize = 32;

/// An MD5 as text; a listing makes thousands of them.
fn md5_hex(md5: [u8; 16]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; MD5_HEX_BYTES];
    for (digits, byte) in text.chunks_exact_mut(2).zip(md5) {
        digits[0] = DIGITS[usize::from(byte >> 4)];
        digits[1] = DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(&text).expect("hexadecimal digits are ASCII").to_owned()
}

/// Appends values.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.bytes(text.as_bytes());
    }

    pub(super) fn timestamp(&mut self, timestamp: Timestamp) {
        self.number(timestamp.to_bits());
    }

    /// A number that is there or not: one more than it, or zero.
    pub(super) fn optional(&mut self, number: Option<u64>) {
        match number {
            None => self.number(0),
            Some(u64::MAX) => {
                self.number(u64::MAX);
                self.byte(1);
            }
            Some(number) => {
                self.number(number + 1);
                if number + 1 == u64::MAX {
                    self.byte(0);
                }
            }
        }
    }

    pub(super) fn location(&mut self, location: Option<Location>) {
        self.optional(location.map(|location| u64::from(location.volume)));
        if let Some(location) = location {
            self.number(location.offset);
            self.number(u64::from(location.length));
            self.number(u64::from(location.data_start));
        }
    }

    pub(super) fn content_type(&mut self, content_type: &str) {
        match CONTENT_TYPES.iter().position(|known| *known == content_type) {
            Some(place) => self.number(place as u64),
            None => {
                self.number(CONTENT_TYPE_TEXT + content_type.len() as u64);
                self.bytes(content_type.as_bytes());
            }
        }
    }

    pub(super) fn etag(&mut self, etag: &str) {
        let mut md5 = [0; 16];
        let is_md5 = |hex: &str, md5: &mut [u8; 16]| {
            hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) && hex::decode_to_slice(hex, md5).is_ok()
        };
        if etag.len() == MD5_HEX_BYTES && is_md5(etag, &mut md5) {
            self.number(ETAG_MD5);
            return self.bytes(&md5);
        }
        if let Some((hex, parts)) = etag.split_once('-')
            && hex.len() == MD5_HEX_BYTES
            && is_md5(hex, &mut md5)
            && let Ok(number) = parts.parse::<u32>()
            && number.to_string() == parts
        {
            self.number(ETAG_PARTS);
            self.bytes(&md5);
            return self.number(u64::from(number));
        }
        self.number(ETAG_TEXT + etag.len() as u64);
        self.bytes(etag.as_bytes());
    }
}

/// Reads values in the order in which they were written.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    what: &'static str,
    whole: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of `bytes`, which are a `what`.
    pub(super) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, whole: bytes.len(), rest: bytes }
    }

    /// The error for a value that can't be right here.
    pub(super) fn corrupt(&self, expected: u64, found: u64) -> Error {
        let offset = (self.whole - self.rest.len()) as u64;
        Error::Corrupt { what: self.what, file: PathBuf::from("index"), offset, expected, found }
    }

    /// Checks that nothing is left over.
    pub(super) fn finish(self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.corrupt(0, self.rest.len() as u64)) }
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        let (first, rest) = self.rest.split_first().ok_or_else(|| self.corrupt(1, 0))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn number(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(self.corrupt(0, u64::MAX))
    }

    /// A number of at most 32 bits.
    pub(super) fn small(&mut self) -> Result<u32> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| self.corrupt(u64::from(u32::MAX), number))
    }

    /// How many entries follow, each at least one byte long.
    pub(super) fn count(&mut self) -> Result<usize> {
        let count = self.number()?;
        if count > self.rest.len() as u64 {
            return Err(self.corrupt(count, self.rest.len() as u64));
        }
        Ok(count as usize)
    }

    pub(super) fn bytes(&mut self, length: u64) -> Result<&'a [u8]> {
        if length > self.rest.len() as u64 {
            return Err(self.corrupt(length, self.rest.len() as u64));
        }
        let (bytes, rest) = self.rest.split_at(length as usize);
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N as u64)?;
        Ok(bytes.try_into().expect("as many bytes as were asked for"))
    }

    fn utf8(&mut self, length: u64) -> Result<String> {
        let bytes = self.bytes(length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(self.corrupt(length, error.valid_up_to() as u64)),
        }
    }

    pub(super) fn text(&mut self) -> Result<String> {
        let length = self.number()?;
        self.utf8(length)
    }

    /// All that is left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// All that is left, as text.
    pub(super) fn rest_as_text(&mut self) -> Result<String> {
        self.utf8(self.rest.len() as u64)
    }

    pub(super) fn timestamp(&mut self) -> Result<Timestamp> {
        let bits = self.number()?;
        self.timestamp_from(bits)
    }

    /// A timestamp that was read as a number.
    pub(super) fn timestamp_from(&self, bits: u64) -> Result<Timestamp> {
        Timestamp::from_bits(bits).ok_or_else(|| self.corrupt(Timestamp::MAX.to_bits(), bits))
    }

    pub(super) fn optional(&mut self) -> Result<Option<u64>> {
        match self.number()? {
            0 => Ok(None),
            u64::MAX => match self.byte()? {
                0 => Ok(Some(u64::MAX - 1)),
                1 => Ok(Some(u64::MAX)),
                other => Err(self.corrupt(1, u64::from(other))),
            },
            number => Ok(Some(number - 1)),
        }
    }

    pub(super) fn location(&mut self) -> Result<Option<Location>> {
        let Some(volume) = self.optional()? else { return Ok(None) };
        let volume = u32::try_from(volume).map_err(|_| self.corrupt(u64::from(u32::MAX), volume))?;
        Ok(Some(Location { volume, offset: self.number()?, length: self.small()?, data_start: self.small()? }))
    }

    pub(super) fn content_type(&mut self) -> Result<String> {
        let tag = self.number()?;
        if tag >= CONTENT_TYPE_TEXT {
            return self.utf8(tag - CONTENT_TYPE_TEXT);
        }
        let known = CONTENT_TYPES.get(tag as usize).ok_or_else(|| self.corrupt(CONTENT_TYPES.len() as u64, tag))?;
        Ok((*known).to_owned())
    }

    pub(super) fn etag(&mut self) -> Result<String> {
        match self.number()? {
            ETAG_MD5 => Ok(md5_hex(self.array()?)),
            ETAG_PARTS => {
                let md5 = self.array::<16>()?;
                Ok(format!("{}-{}", md5_hex(md5), self.small()?))
            }
            tag => self.utf8(tag - ETAG_TEXT),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_come_back_as_they_were_given() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        for etag in ["", md5, &md5.to_uppercase(), &format!("{md5}-12"), &format!("{md5}-012"), &format!("{md5}-"), "x"]
        {
            let mut writer = Writer::default();
            writer.etag(etag);
            let mut reader = Reader::new("tag", &writer.0);
            assert_eq!(reader.etag().expect(etag), etag);
            reader.finish().expect(etag);
        }
    }

    #[test]
    fn media_types_come_back_as_they_were_given() {
        for content_type in CONTENT_TYPES.iter().copied().chain(["", "x/y; charset=z", "Text/Plain"]) {
            let mut writer = Writer::default();
            writer.content_type(content_type);
            assert_eq!(Reader::new("type", &writer.0).content_type().expect(content_type), content_type);
        }
    }

    #[test]
    fn numbers_come_back_and_overlong_ones_are_refused() {
        for number in [0, 1, 127, 128, 16_383, 16_384, u64::MAX - 2, u64::MAX - 1, u64::MAX] {
            let mut writer = Writer::default();
            writer.number(number);
            writer.optional(Some(number));
            writer.optional(None);
            let mut reader = Reader::new("number", &writer.0);
            assert_eq!(reader.number().expect("number"), number);
            assert_eq!(reader.optional().expect("optional"), Some(number));
            assert_eq!(reader.optional().expect("none"), None);
            reader.finish().expect("all of it");
        }
        for bytes in [&[][..], &[0x80], &[0xff; 10], &[0xff; 11]] {
            assert!(matches!(Reader::new("number", bytes).number(), Err(Error::Corrupt { .. })), "{bytes:?}");
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_before_anything_is_allocated() {
        let mut writer = Writer::default();
        writer.number(u64::MAX);
        assert!(Reader::new("text", &writer.0).text().is_err());
        assert!(Reader::new("count", &writer.0).count().is_err());
    }
}
