//! The list of segments that a client sends (`?multipart-manifest=put`), read and checked for its form; and
//! the stored list turned back into it (`&format=raw`).

use anello_storage::ObjectPath;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::fault::Fault;
use super::range::{self, Asked as AskedRange};
use crate::object::segments::{Stored, segment_path};

/// One item of the list.
#[derive(Debug)]
pub(super) enum Entry {
    /// Bytes of its own.
    Inline(Bytes),
    /// An object, and what it should be like.
    Segment(Asked),
}

/// An object that a client wants as a segment.
#[derive(Debug)]
pub(super) struct Asked {
    /// `/container/object`
    pub(super) name: String,
    /// The tag that it should have.
    pub(super) etag: Option<String>,
    /// The size that it should have.
    pub(super) size: Option<u64>,
    /// Which of its bytes count.
    pub(super) range: Option<AskedRange>,
}

/// Reads a client's list for the manifest at `path`; everything that is wrong with it is told at once.
pub(super) fn parse(text: &[u8], path: &ObjectPath) -> Result<Vec<Entry>, Fault> {
    let list: Value = serde_json::from_slice(text).map_err(|_| Fault::invalid("Manifest must be valid JSON.\n"))?;
    let Value::Array(list) = list else { return Err(Fault::invalid("Manifest must be a list.\n")) };
    let count = list.len();
    let (mut entries, mut errors) = (Vec::with_capacity(count), String::new());
    for (at, item) in list.iter().enumerate() {
        match entry(item, path, at + 1 == count) {
            Ok(entry) => entries.push(entry),
            Err(reason) => errors.push_str(&format!("Index {at}: {reason}\n")),
        }
    }
    if errors.is_empty() && count > 0 && entries.iter().all(|entry| matches!(entry, Entry::Inline(_))) {
        errors.push_str("Inline data segments require at least one object-backed segment.\n");
    }
    if errors.is_empty() { Ok(entries) } else { Err(Fault::invalid(errors)) }
}

fn entry(item: &Value, manifest: &ObjectPath, is_last: bool) -> Result<Entry, String> {
    let item = item.as_object().ok_or("not a JSON object")?;
    let (kind, allowed): (&str, &[&str]) = if item.contains_key("data") {
        ("data", &[])
    } else if item.contains_key("path") {
        ("path", &["etag", "size_bytes", "range"])
    } else {
        return Err("expected keys to include one of 'path' or 'data'".into());
    };
    let extra: Vec<_> = item
        .keys()
        .filter(|key| *key != kind && !allowed.contains(&key.as_str()))
        .map(|key| format!("{key:?}"))
        .collect();
    if !extra.is_empty() {
        return Err(format!("extraneous keys {}", extra.join(", ")));
    }
    if kind == "data" { inline(&item["data"]) } else { segment(item, manifest, is_last).map(Entry::Segment) }
}

fn inline(data: &Value) -> Result<Entry, String> {
    let data = data.as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    let data = data.ok_or("data must be valid base64")?;
    if data.is_empty() {
        return Err("too small; each segment must be at least 1 byte.".into());
    }
    Ok(Entry::Inline(data.into()))
}

fn segment(item: &Map<String, Value>, manifest: &ObjectPath, is_last: bool) -> Result<Asked, String> {
    let name = item["path"].as_str().ok_or("\"path\" must be a string")?;
    let etag = match item.get("etag") {
        None | Some(Value::Null) => None,
        Some(Value::String(etag)) => Some(etag.trim_matches('"').to_owned()),
        Some(_) => return Err("\"etag\" must be a string or null (if provided)".into()),
    };
    let path = segment_path(&manifest.account, name);
    let path = path.ok_or("path does not refer to an object. Path must be of the form /container/object.")?;
    let size = match item.get("size_bytes") {
        None | Some(Value::Null) => None,
        Some(Value::Number(size)) => Some(size.as_u64().ok_or("invalid size_bytes")?),
        Some(Value::String(size)) => Some(size.trim().parse().map_err(|_| "invalid size_bytes")?),
        Some(_) => return Err("invalid size_bytes".into()),
    };
    if size == Some(0) && !is_last {
        return Err("too small; each segment must be at least 1 byte.".into());
    }
    if path == *manifest {
        return Err("manifest must not include itself as a segment".into());
    }
    let range = match item.get("range") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() => None,
        Some(Value::String(text)) => Some(single_range(text)?),
        Some(_) => return Err("invalid range".into()),
    };
    if let (Some(size), Some(range)) = (size, &range)
        && range.within(size).is_none()
    {
        return Err("unsatisfiable range".into());
    }
    Ok(Asked { name: name.to_owned(), etag, size, range })
}

fn single_range(text: &str) -> Result<AskedRange, String> {
    let mut ranges = range::parse(&format!("bytes={text}")).ok_or("invalid range")?;
    match (ranges.pop(), ranges.is_empty()) {
        (Some(range), true) => Ok(range),
        _ => Err("multiple ranges (only one allowed)".into()),
    }
}

/// A stored list as a client would send it.
pub(super) fn raw(items: Vec<Stored>) -> String {
    let items = items.into_iter().map(|item| match item.data {
        Some(data) => json!({"data": data}),
        None => {
            let mut entry = json!({"path": item.name, "etag": item.hash, "size_bytes": item.bytes});
            if let Some(range) = item.range {
                entry["range"] = range.into();
            }
            entry
        }
    });
    Value::Array(items.collect()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_or_everything_wrong_with_it_is_told() {
        let check = |text: &str, want: Result<usize, &[&str]>| {
            let path = ObjectPath::new("a", "c", "manifest");
            match (parse(text.as_bytes(), &path), want) {
                (Ok(entries), Ok(count)) => assert_eq!(entries.len(), count, "{text}"),
                (Err(fault), Err(reasons)) => {
                    for reason in reasons {
                        assert!(fault.detail().contains(reason), "{text}: {} lacks {reason}", fault.detail());
                    }
                }
                (found, _) => panic!("{text}: {:?}", found.map(|entries| entries.len())),
            }
        };
        check(r#"[{"path": "/c/o", "etag": null, "size_bytes": "12", "range": "0-5"}, {"data": "aGk="}]"#, Ok(2));
        check("[]", Ok(0));
        check("nonsense", Err(&["valid JSON"]));
        check("{}", Err(&["must be a list"]));
        check(
            r#"[1, {"path": "c"}, {}]"#,
            Err(&["Index 0: not a JSON", "Index 1: path does not", "Index 2: expected"]),
        );
        check(r#"[{"path": "/c/o", "size": 1}]"#, Err(&["extraneous keys \"size\""]));
        check(r#"[{"path": "/c/manifest"}]"#, Err(&["must not include itself"]));
        check(r#"[{"path": "/c/o", "size_bytes": 0}, {"path": "/c/o"}]"#, Err(&["too small"]));
        check(r#"[{"path": "/c/o", "range": "1-2,4-5"}]"#, Err(&["multiple ranges"]));
        check(r#"[{"path": "/c/o", "range": "x"}]"#, Err(&["invalid range"]));
        check(r#"[{"path": "/c/o", "size_bytes": 5, "range": "5-"}]"#, Err(&["unsatisfiable range"]));
        check(r#"[{"data": "aGk="}]"#, Err(&["at least one object-backed"]));
        check(r#"[{"data": "!"}]"#, Err(&["valid base64"]));
    }
}
