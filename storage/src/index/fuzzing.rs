//! What stands in the index. What is read is written again as the same.

use std::fmt::Debug;

use super::digest::{Digest, Tree};
use super::overlay::Parts;
use super::totals::{Account, Container, ContainerRow};
use super::version::Versions;
use super::version_codec::{Form, decode_entry};
use crate::error::Result;

fn same<T: Debug + PartialEq>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T>, encode: impl Fn(&T) -> Vec<u8>) {
    if let Ok(value) = decode(bytes) {
        assert_eq!(decode(&encode(&value)).expect("it was written"), value);
    }
}

/// Values of all tables; the first byte says which.
pub(crate) fn values(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 7 {
        0 => same(bytes, |bytes| Versions::decode(bytes, Form::Object), |it| it.encode(Form::Object)),
        1 => row(bytes),
        2 => same(bytes, Container::decode, Container::encode),
        3 => same(bytes, Account::decode, Account::encode),
        4 => same(bytes, ContainerRow::decode, ContainerRow::encode),
        5 => same(bytes, Digest::decode, |it| it.encode().to_vec()),
        _ => {
            let key = [b'p'; 1 + 8 + 16];
            let fields = |it: Parts| (it.object, it.container, it.name, it.versions);
            if let Ok(parts) = Parts::decode(&key, bytes) {
                let again = Parts::decode(&key, &parts.encode()).expect("it was written");
                assert_eq!(fields(again), fields(parts));
            }
        }
    }
}

/// The short way of listings says the same as the long one.
fn row(bytes: &[u8]) {
    same(bytes, |bytes| Versions::decode(bytes, Form::Row), |it| it.encode(Form::Row));
    if let Ok(versions) = Versions::decode(bytes, Form::Row) {
        let entry = decode_entry("name".to_owned(), bytes).expect("it was read");
        assert_eq!(entry, versions.into_entry("name".to_owned()));
    }
}

/// Keys of digests and of parts to be deleted.
pub(crate) fn keys(bytes: &[u8]) {
    if let Ok((tree, leaf)) = Tree::of_leaf_key(bytes) {
        assert_eq!(tree.leaf_key(leaf)[..], *bytes);
    }
    if let Ok(object) = Parts::object(bytes) {
        assert!(bytes.ends_with(&object.0));
    }
}
