//! Tags of objects as they are stored: one item of metadata in the form of S3's `x-amz-tagging` header
//! (`k=v&k2=v2`, percent-encoded).

use anello_storage::Metadata;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The object's metadata that hold its tags.
pub(crate) const NAME: &str = "x-object-sysmeta-s3-tags";

/// Keys and values in the order the client gave.
pub(crate) type Tags = Vec<(String, String)>;

/// Reads tags; `None` where they are not UTF-8.
pub(crate) fn parse(text: &str) -> Option<Tags> {
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_decode_str(&spaced).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(key)?, decode(value)?))
        })
        .collect()
}

/// Tags in the form that [`parse`] reads.
pub(crate) fn format(tags: &Tags) -> String {
    let encode = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
    tags.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect::<Vec<_>>().join("&")
}

/// An object's tags.
pub(crate) fn stored(metadata: &Metadata) -> Tags {
    metadata.iter().find(|(name, _)| name == NAME).and_then(|(_, text)| parse(text)).unwrap_or_default()
}
