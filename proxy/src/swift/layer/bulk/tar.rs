//! Archives in the tar format (POSIX.1-1988 and pax, and GNU's long names), read as they come. Only what an object needs
//! is taken: name, size, and the extended attributes that stand for its media type and metadata.

use percent_encoding::percent_decode_str;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::swift::limits::TAR_EXTENSION_BYTES_MAX;

/// Archives are sequences of blocks.
const BLOCK: usize = 512;

/// What is wrong with an archive.
#[derive(Debug, thiserror::Error)]
pub(super) enum TarError {
    #[error("the archive ends too early or cannot be unpacked: {0}")]
    Read(#[from] std::io::Error),
    #[error("a header is not one")]
    Header,
    #[error("an extended header is too long or not one")]
    Extension,
}

/// A file in an archive, or something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path.
    pub(super) name: Vec<u8>,
    /// Bytes that follow.
    pub(super) size: u64,
    /// Whether it is an ordinary file.
    pub(super) is_file: bool,
    /// Headers that its extended attributes stand for.
    pub(super) headers: Vec<(String, String)>,
}

/// What extended headers say of the next entry.
#[derive(Debug, Default)]
struct Said {
    name: Option<Vec<u8>>,
    size: Option<u64>,
    headers: Vec<(String, String)>,
}

/// An archive being read.
pub(super) struct Tar<R> {
    source: R,
    /// Bytes up to the next block behind the current entry's data.
    padding: usize,
}

impl<R: AsyncRead + Unpin> Tar<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, padding: 0 }
    }

    /// The next entry, whose data then have to be read to their end; `None` behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut said = Said::default();
        loop {
            self.skip_padding().await?;
            let mut block = [0; BLOCK];
            // Some writers leave out the blocks of zeros that end an archive.
            if !self.fill(&mut block).await? || block.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            let header = Header::of(&block).ok_or(TarError::Header)?;
            if !b"xgLK".contains(&header.kind) {
                let size = said.size.unwrap_or(header.size);
                self.padding = padding(size);
                return Ok(Some(Entry {
                    name: said.name.unwrap_or(header.name),
                    size,
                    is_file: header.is_file,
                    headers: said.headers,
                }));
            }
            let mut text = self.extension(header.size).await?;
            match header.kind {
                b'L' => {
                    text.truncate(text.iter().position(|byte| *byte == 0).unwrap_or(text.len()));
                    said.name = Some(text);
                }
                b'x' => take_records(&text, &mut said).ok_or(TarError::Extension)?,
                // What holds for all entries, and where links lead, means nothing here.
                _ => {}
            }
        }
    }

    /// Some of the current entry's data: at most `count` bytes.
    pub(super) async fn data(&mut self, count: usize) -> Result<Vec<u8>, TarError> {
        let mut data = vec![0; count];
        let read = self.source.read(&mut data).await?;
        if read == 0 && count > 0 {
            return Err(TarError::Read(std::io::ErrorKind::UnexpectedEof.into()));
        }
        data.truncate(read);
        Ok(data)
    }

    async fn extension(&mut self, size: u64) -> Result<Vec<u8>, TarError> {
        if size > TAR_EXTENSION_BYTES_MAX {
            return Err(TarError::Extension);
        }
        let mut text = Vec::new();
        let read = (&mut self.source).take(size).read_to_end(&mut text).await?;
        if read as u64 != size {
            return Err(TarError::Read(std::io::ErrorKind::UnexpectedEof.into()));
        }
        self.padding = padding(size);
        Ok(text)
    }

    async fn skip_padding(&mut self) -> Result<(), TarError> {
        let mut rest = [0; BLOCK];
        let count = std::mem::take(&mut self.padding);
        self.source.read_exact(&mut rest[..count]).await?;
        Ok(())
    }

    /// Fills a block; whether there was one.
    async fn fill(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, TarError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.source.read(&mut block[filled..]).await? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(TarError::Read(std::io::ErrorKind::UnexpectedEof.into())),
                read => filled += read,
            }
        }
        Ok(true)
    }
}

/// Bytes from the end of an entry's data to the next block.
fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

/// A header block.
struct Header {
    name: Vec<u8>,
    size: u64,
    kind: u8,
    is_file: bool,
}

impl Header {
    /// Reads one; `None` where its checksum does not fit, or a number is none.
    fn of(block: &[u8; BLOCK]) -> Option<Self> {
        let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
        let stated = &block[148..156];
        let without = sum - stated.iter().map(|byte| u64::from(*byte)).sum::<u64>() + 8 * u64::from(b' ');
        if number(stated)? != without {
            return None;
        }
        let mut name = text(&block[..100]).to_vec();
        let prefix = text(&block[345..500]);
        if &block[257..263] == b"ustar\0" && !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
        let kind = block[156];
        // Before POSIX a directory was a file whose name ends in a slash.
        let is_file = matches!(kind, b'0' | b'7') || (kind == 0 && !name.ends_with(b"/"));
        // What is no file has no data, whatever it states: links state the size of what they lead to.
        let has_data = is_file || b"xgLKSV".contains(&kind);
        Some(Self { name, size: if has_data { number(&block[124..136])? } else { 0 }, kind, is_file })
    }
}

fn text(field: &[u8]) -> &[u8] {
    &field[..field.iter().position(|byte| *byte == 0).unwrap_or(field.len())]
}

/// A number: octal digits, or bytes where the first bit says so.
fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let (front, bytes) = field.split_last_chunk::<8>()?;
        // What is in front says no more than that bytes follow: larger numbers are none that we store.
        let (first, rest) = front.split_first()?;
        let is_short = *first == 0x80 && rest.iter().all(|byte| *byte == 0);
        return is_short.then(|| u64::from_be_bytes(*bytes));
    }
    let digits = std::str::from_utf8(text(field)).ok()?.trim();
    if digits.is_empty() { Some(0) } else { u64::from_str_radix(digits, 8).ok() }
}

/// Records of an extended header: `length key=value\n`, the length being that of the whole record.
fn take_records(mut rest: &[u8], said: &mut Said) -> Option<()> {
    while !rest.is_empty() {
        let blank = rest.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&rest[..blank]).ok()?.parse().ok()?;
        let record = rest.get(blank + 1..length)?.strip_suffix(b"\n")?;
        rest = &rest[length..];
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let (key, value) = (std::str::from_utf8(&record[..equals]).ok()?, &record[equals + 1..]);
        match key {
            "path" => said.name = Some(value.to_vec()),
            "size" => said.size = Some(std::str::from_utf8(value).ok()?.parse().ok()?),
            key => {
                if let (Some(name), Ok(value)) = (header_of(key), std::str::from_utf8(value)) {
                    said.headers.push((name, value.to_owned()));
                }
            }
        }
    }
    Some(())
}

/// The header that an extended attribute stands for, as GNU's and BSD's tar write its name.
fn header_of(key: &str) -> Option<String> {
    let attribute = key.strip_prefix("SCHILY.xattr.").map(str::to_owned).or_else(|| {
        let quoted = key.strip_prefix("LIBARCHIVE.xattr.")?;
        percent_decode_str(quoted).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    })?;
    match attribute.strip_prefix("user.")? {
        "mime_type" => Some("content-type".into()),
        rest => rest.strip_prefix("meta.").map(|name| format!("x-object-meta-{name}")),
    }
}

/// For the fuzzer: reads an archive to its end.
#[cfg(feature = "fuzzing")]
pub(in crate::swift) fn feed(bytes: &[u8]) {
    let run = async {
        let mut tar = Tar::new(bytes);
        while let Some(entry) = tar.next().await? {
            let mut left = entry.size;
            while left > 0 {
                left -= tar.data(left.min(4096) as usize).await?.len() as u64;
            }
        }
        Ok::<_, TarError>(())
    };
    // What reads from memory never waits.
    let _ = futures::executor::block_on(run);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header block.
    fn block(name: &str, kind: u8, size: &str) -> Vec<u8> {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..124 + size.len()].copy_from_slice(size.as_bytes());
        block[148..156].fill(b' ');
        block[156] = kind;
        block[257..263].copy_from_slice(b"ustar\0");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block.to_vec()
    }

    fn with_data(head: Vec<u8>, data: &[u8]) -> Vec<u8> {
        let mut all = [head, data.to_vec()].concat();
        all.resize(all.len().next_multiple_of(BLOCK), 0);
        all
    }

    async fn read(archive: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
        let mut tar = Tar::new(archive);
        let mut found = Vec::new();
        while let Some(entry) = tar.next().await? {
            let mut data = Vec::new();
            while (data.len() as u64) < entry.size {
                data.extend(tar.data((entry.size as usize - data.len()).min(300)).await?);
            }
            found.push((entry, data));
        }
        Ok(found)
    }

    #[tokio::test]
    async fn files_are_told_from_the_rest_and_extensions_count() {
        let records = "27 path=long/n\u{e4}me/of/file\n40 SCHILY.xattr.user.meta.lunch=burger\n43 SCHILY.xattr.user.mime_type=text/x-own\n";
        // Each record states its own length.
        let records: String = records
            .split_terminator('\n')
            .map(|record| {
                let rest = record.split_once(' ').expect("a record").1;
                let length = (1..200).find(|length| format!("{length} {rest}\n").len() == *length).expect("a length");
                format!("{length} {rest}\n")
            })
            .collect();
        let archive = [
            block("d/", b'5', "0"),
            with_data(block("d/a", b'0', "5"), b"hello"),
            with_data(block("x", b'x', &format!("{:o}", records.len())), records.as_bytes()),
            with_data(block("short", b'0', "1130"), &[7; 600]),
            with_data(block("././@LongLink", b'L', "6"), b"gnu/b\0"),
            with_data(block("cut", 0, "0"), b""),
            block("link", b'2', "5"),
            vec![0; 2 * BLOCK],
        ]
        .concat();
        let found = read(&archive).await.expect("an archive");
        let names: Vec<_> = found.iter().map(|(entry, _)| String::from_utf8_lossy(&entry.name).into_owned()).collect();
        assert_eq!(names, ["d/", "d/a", "long/n\u{e4}me/of/file", "gnu/b", "link"]);
        let files: Vec<_> = found.iter().map(|(entry, _)| entry.is_file).collect();
        assert_eq!(files, [false, true, true, true, false]);
        assert_eq!((found[1].1.as_slice(), found[2].1.len(), found[4].1.len()), (&b"hello"[..], 600, 0));
        let headers = [("x-object-meta-lunch", "burger"), ("content-type", "text/x-own")];
        assert_eq!(found[2].0.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[tokio::test]
    async fn what_is_no_archive_is_told() {
        assert!(matches!(read(&[1; BLOCK]).await, Err(TarError::Header)));
        assert!(matches!(read(&block("a", b'0', "5")).await, Err(TarError::Read(_))), "data are missing");
        assert!(matches!(read(&block("a", b'0', "5")[..100]).await, Err(TarError::Read(_))));
        assert!(matches!(read(&block("x", b'x', "77777777777")).await, Err(TarError::Extension)));
        assert!(matches!(read(&with_data(block("x", b'x', "3"), b"9 a")).await, Err(TarError::Extension)));
        assert!(read(&[]).await.is_ok_and(|found| found.is_empty()));
    }

    #[test]
    fn numbers_have_two_forms() {
        assert_eq!(number(b"0000017\0"), Some(15));
        assert_eq!(number(b"     17 "), Some(15));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(number(&[0xff; 12]), None);
        assert_eq!(number(&[0x80; 8]), None, "a checksum has only the one form");
        assert_eq!(number(b"9\0"), None);
    }
}
