//! Names of uploads and parts in the system account; the layout is `docs/formats/multipart.md`.

use anello_base::Timestamp;

/// Where a part keeps the key of the object that it was uploaded for.
pub const PART_KEY_NAME: &str = "x-object-sysmeta-s3-key";

/// Hex digits of an upload id: 16 of its time, 16 random.
pub const UPLOAD_ID_LENGTH: usize = 32;

/// Digits of a part's number in its name.
const NUMBER_LENGTH: usize = 5;

/// Separates key and upload id in a record's name. It sorts before everything that a key may well hold,
/// so that records list in the order of their keys.
const SEPARATOR: char = '\u{1}';

const UPLOADS: &str = "uploads";
const PARTS: &str = "parts";

/// Container of a bucket's upload records.
pub fn uploads_container(account: &str, bucket: &str) -> String {
    format!("{UPLOADS}/{account}/{bucket}")
}

/// Container of a bucket's parts.
pub fn parts_container(account: &str, bucket: &str) -> String {
    format!("{PARTS}/{account}/{bucket}")
}

/// What the names of all containers of parts start with.
pub fn parts_containers() -> String {
    format!("{PARTS}/")
}

/// Account and bucket that a container of parts belongs to.
pub fn owner_of_parts(container: &str) -> Option<(&str, &str)> {
    container.strip_prefix(PARTS)?.strip_prefix('/')?.split_once('/')
}

/// Name of an upload's record. Without an id, a name behind all records of the key.
pub fn record(key: &str, id: Option<&str>) -> String {
    // No id begins with a `g`.
    format!("{key}{SEPARATOR}{}", id.unwrap_or("g"))
}

/// Key and upload id of a record.
pub fn split_record(name: &str) -> Option<(&str, &str)> {
    let at = name.len().checked_sub(UPLOAD_ID_LENGTH)?;
    let (key, id) = (name.get(..at)?, name.get(at..)?);
    Some((key.strip_suffix(SEPARATOR)?, id))
}

/// Name of a part.
pub fn part(upload: &str, number: u16, unique: &str) -> String {
    format!("{upload}/{number:05}/{unique}")
}

/// A name behind all parts of that number, and before those of the next.
pub fn behind_parts(upload: &str, number: u16) -> String {
    // `0` comes right after `/`.
    format!("{upload}/{number:05}0")
}

/// Upload id and number of a part.
pub fn split_part(name: &str) -> Option<(&str, u16)> {
    let (id, rest) = name.split_at_checked(UPLOAD_ID_LENGTH)?;
    let number = rest.strip_prefix('/')?.get(..NUMBER_LENGTH)?.parse().ok()?;
    Some((id, number))
}

/// When an upload was begun.
pub fn begun(id: &str) -> Timestamp {
    let ticks = id.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    Timestamp::from_ticks(ticks.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn names_split_into_what_they_were_made_of() {
        for key in ["a", "a/b", "ü", "with\u{1}separator"] {
            assert_eq!(split_record(&record(key, Some(ID))), Some((key, ID)));
        }
        assert_eq!(split_part(&part(ID, 10_000, "x")), Some((ID, 10_000)));
        assert_eq!(owner_of_parts(&parts_container("AUTH_a", "b.c")), Some(("AUTH_a", "b.c")));
        for name in ["", "short", ID] {
            assert_eq!((split_record(name), split_part(name), owner_of_parts(name)), (None, None, None), "{name}");
        }
    }

    #[test]
    fn a_name_behind_parts_is_before_those_of_the_next_number() {
        let behind = behind_parts(ID, 9);
        assert!(behind > part(ID, 9, &"f".repeat(16)) && behind < part(ID, 10, "0"));
    }

    #[test]
    fn a_name_without_an_id_is_behind_all_uploads_of_its_key() {
        let behind = record("k", None);
        assert!(behind > record("k", Some(&"f".repeat(UPLOAD_ID_LENGTH))));
        assert!(behind < record("k!", Some(&"0".repeat(UPLOAD_ID_LENGTH))));
    }
}
