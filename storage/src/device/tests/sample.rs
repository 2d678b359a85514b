//! Mutations to test with, and what they store.

use anello_base::Timestamp;
use bytes::Bytes;

use crate::key::{KeyHash, KeyHasher, ObjectPath};
use crate::model::Content;
use crate::mutation::{Body, ContainerPut, Mutation, ObjectPost, ObjectPut, PathHashes};

/// Object `name` of the only container.
pub(crate) fn path(name: &str) -> ObjectPath {
    ObjectPath::new("AUTH_test", "box", name)
}

/// Its hashes.
pub(crate) fn hashes(name: &str) -> PathHashes {
    let hasher = KeyHasher::new(b"test");
    let path = path(name);
    PathHashes {
        account: hasher.account(&path.account),
        container: hasher.container(&path.account, &path.container),
        object: hasher.object(&path),
    }
}

/// Its key.
pub(crate) fn hash(name: &str) -> KeyHash {
    hashes(name).object
}

/// `length` bytes that differ with `seed` and do not repeat.
pub(crate) fn bytes(seed: u64, length: usize) -> Bytes {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out.into()
}

/// A put of `body` at tick `at`.
pub(crate) fn put(name: &str, at: u64, body: Body) -> Mutation {
    Mutation::ObjectPut(ObjectPut {
        path: path(name),
        hashes: hashes(name),
        timestamp: Timestamp::from_ticks(at),
        policy: 0,
        size: body.len(),
        etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        content_type: "text/plain".to_owned(),
        content: Content::Plain,
        delete_at: None,
        metadata: vec![("x-object-meta-color".to_owned(), format!("blue {at}"))],
        body,
    })
}

/// A put of inline data.
pub(crate) fn put_inline(name: &str, at: u64, data: Bytes) -> Mutation {
    put(name, at, Body::Inline(data))
}

/// New metadata at tick `at`.
pub(crate) fn post(name: &str, at: u64) -> Mutation {
    Mutation::ObjectPost(ObjectPost {
        path: path(name),
        hashes: hashes(name),
        timestamp: Timestamp::from_ticks(at),
        policy: 0,
        content_type: None,
        delete_at: Some(at),
        metadata: vec![("x-object-meta-color".to_owned(), format!("posted {at}"))],
    })
}

/// A deletion at tick `at`.
pub(crate) fn delete(name: &str, at: u64) -> Mutation {
    Mutation::ObjectDelete { path: path(name), hashes: hashes(name), timestamp: Timestamp::from_ticks(at), policy: 0 }
}

/// A change of the container at tick `at`.
pub(crate) fn container(at: u64) -> Mutation {
    Mutation::ContainerPut(ContainerPut {
        account: "AUTH_test".to_owned(),
        container: "box".to_owned(),
        account_hash: hashes("").account,
        container_hash: hashes("").container,
        timestamp: Timestamp::from_ticks(at),
        policy: 0,
        changes: vec![("x-container-meta-at".to_owned(), at.to_string())],
    })
}
