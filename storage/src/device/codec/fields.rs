//! The fields of each kind of mutation, in the order in which they stand in the head behind the fixed
//! header. Writing and reading a kind stand side by side, so that they can't drift apart.

use anello_base::Timestamp;

use super::Malformed;
use super::record::{Header, INLINE_HASH_BYTES};
use super::wire::{Fields, Write};
use crate::key::{KeyHash, ObjectPath};
use crate::limits::{ALIGNMENT, BLOCK_BYTES};
use crate::model::{Content, Metadata};
use crate::mutation::{Body, ContainerPut, Extent, Extents, Mutation, ObjectPost, ObjectPut, PathHashes};

const OBJECT_PUT: u8 = 1;
const OBJECT_POST: u8 = 2;
const OBJECT_DELETE: u8 = 3;
const CONTAINER_PUT: u8 = 4;
const CONTAINER_DELETE: u8 = 5;
const ACCOUNT_PUT: u8 = 6;
const ACCOUNT_DELETE: u8 = 7;
const CONTAINER_STATS: u8 = 8;

const OPTION_MULTIPART: u8 = 1;
const OPTION_DELETE_AT: u8 = 1 << 1;
// This bit means one thing in a put and another in a post.
const OPTION_SEGMENTS: u8 = 1 << 2;
const OPTION_CONTENT_TYPE: u8 = 1 << 2;
const OPTION_POLICY: u8 = 1 << 3;

const ETAG_TEXT: u8 = 0;
const ETAG_MD5: u8 = 1;

const CONTENT_TYPE_TEXT: u8 = 0;

/// Content types that take one byte: their place in this list and one. The list is part of the format:
/// it may only grow at its end.
const CONTENT_TYPES: [&str; 12] = [
    "application/octet-stream",
    "binary/octet-stream",
    "text/plain",
    "text/html",
    "application/json",
    "application/xml",
    "image/jpeg",
    "image/png",
    "application/pdf",
    "video/mp4",
    "application/x-directory",
    "application/directory",
];

const BODY_ABSENT: u8 = 0;
const BODY_INLINE: u8 = 1;
const BODY_EXTENTS: u8 = 2;

/// The number that stands for a kind of mutation.
pub(super) fn kind(mutation: &Mutation) -> u8 {
    match mutation {
        Mutation::ObjectPut(_) => OBJECT_PUT,
        Mutation::ObjectPost(_) => OBJECT_POST,
        Mutation::ObjectDelete { .. } => OBJECT_DELETE,
        Mutation::ContainerPut(_) => CONTAINER_PUT,
        Mutation::ContainerDelete { .. } => CONTAINER_DELETE,
        Mutation::AccountPut { .. } => ACCOUNT_PUT,
        Mutation::AccountDelete { .. } => ACCOUNT_DELETE,
        Mutation::ContainerStats { .. } => CONTAINER_STATS,
    }
}

/// The kind's name, for people.
pub(crate) fn kind_name(kind: u8) -> &'static str {
    match kind {
        OBJECT_PUT => "object-put",
        OBJECT_POST => "object-post",
        OBJECT_DELETE => "object-delete",
        CONTAINER_PUT => "container-put",
        CONTAINER_DELETE => "container-delete",
        ACCOUNT_PUT => "account-put",
        ACCOUNT_DELETE => "account-delete",
        CONTAINER_STATS => "container-stats",
        _ => "unknown",
    }
}

/// The version that the header shows.
pub(super) fn timestamp(mutation: &Mutation) -> Timestamp {
    match mutation {
        Mutation::ObjectPut(put) => put.timestamp,
        Mutation::ObjectPost(post) => post.timestamp,
        Mutation::ContainerPut(put) => put.timestamp,
        Mutation::ObjectDelete { timestamp, .. }
        | Mutation::ContainerDelete { timestamp, .. }
        | Mutation::AccountPut { timestamp, .. }
        | Mutation::AccountDelete { timestamp, .. } => *timestamp,
        Mutation::ContainerStats { modified, .. } => *modified,
    }
}

/// The hash that the header shows.
pub(super) fn hash(mutation: &Mutation) -> KeyHash {
    match mutation {
        Mutation::ObjectPut(put) => put.hashes.object,
        Mutation::ObjectPost(post) => post.hashes.object,
        Mutation::ObjectDelete { hashes, .. } => hashes.object,
        Mutation::ContainerPut(put) => put.container_hash,
        Mutation::ContainerDelete { container_hash, .. } => *container_hash,
        Mutation::AccountPut { account_hash, .. }
        | Mutation::AccountDelete { account_hash, .. }
        | Mutation::ContainerStats { account_hash, .. } => *account_hash,
    }
}

/// Appends the fields of `mutation`, all that the header does not hold.
pub(super) fn write(head: &mut Vec<u8>, mutation: &Mutation) {
    match mutation {
        Mutation::ObjectPut(put) => write_object_put(head, put),
        Mutation::ObjectPost(post) => write_object_post(head, post),
        Mutation::ObjectDelete { path, hashes, policy, .. } => {
            write_path(head, path, hashes);
            write_policy(head, *policy);
        }
        Mutation::ContainerPut(put) => {
            head.extend_from_slice(&put.account_hash.0);
            head.text(&put.account);
            head.text(&put.container);
            head.varint(u64::from(put.policy));
            write_metadata(head, &put.changes);
        }
        Mutation::ContainerDelete { account, container, account_hash, .. } => {
            head.extend_from_slice(&account_hash.0);
            head.text(account);
            head.text(container);
        }
        Mutation::AccountPut { account, changes, .. } => {
            head.text(account);
            write_metadata(head, changes);
        }
        Mutation::AccountDelete { account, .. } => head.text(account),
        Mutation::ContainerStats {
            account, container, created, deleted, version, object_count, bytes_used, ..
        } => {
            head.text(account);
            head.text(container);
            head.time(*created);
            head.time(*deleted);
            head.varint(*version);
            head.varint(*object_count);
            head.varint(*bytes_used);
        }
    }
}

/// Reads the fields of the mutation that `header` announces; tells too whether the record holds an
/// object's data.
pub(super) fn read(bytes: &[u8], header: &Header) -> Result<(Mutation, bool), Malformed> {
    let mut fields = Fields::new(bytes);
    let mut inline = false;
    let mutation = match header.kind {
        OBJECT_PUT => {
            let (put, holds_data) = read_object_put(&mut fields, header)?;
            inline = holds_data;
            Mutation::ObjectPut(put)
        }
        OBJECT_POST => Mutation::ObjectPost(read_object_post(&mut fields, header)?),
        OBJECT_DELETE => {
            let (path, hashes) = read_path(&mut fields, header)?;
            // It has no options: what follows the path is the policy, where it is not the default.
            let has_policy = fields.remaining() > 0;
            let policy = read_policy(&mut fields, has_policy)?;
            Mutation::ObjectDelete { path, hashes, timestamp: header.timestamp, policy }
        }
        CONTAINER_PUT => Mutation::ContainerPut(ContainerPut {
            account_hash: fields.hash()?,
            container_hash: header.hash,
            account: fields.text("account name")?,
            container: fields.text("container name")?,
            timestamp: header.timestamp,
            policy: u32::try_from(fields.varint("policy")?).map_err(|_| Malformed::plain("policy"))?,
            changes: read_metadata(&mut fields)?,
        }),
        CONTAINER_DELETE => Mutation::ContainerDelete {
            account_hash: fields.hash()?,
            container_hash: header.hash,
            account: fields.text("account name")?,
            container: fields.text("container name")?,
            timestamp: header.timestamp,
        },
        ACCOUNT_PUT => Mutation::AccountPut {
            account: fields.text("account name")?,
            account_hash: header.hash,
            timestamp: header.timestamp,
            changes: read_metadata(&mut fields)?,
        },
        ACCOUNT_DELETE => Mutation::AccountDelete {
            account: fields.text("account name")?,
            account_hash: header.hash,
            timestamp: header.timestamp,
        },
        CONTAINER_STATS => read_container_stats(&mut fields, header)?,
        unknown => return Err(Malformed::mismatch("record kind", CONTAINER_STATS, unknown)),
    };
    fields.end("record head")?;
    if !inline && header.data_length() != 0 {
        return Err(Malformed::mismatch("record data", 0u64, header.data_length()));
    }
    Ok((mutation, inline))
}

fn write_path(head: &mut Vec<u8>, path: &ObjectPath, hashes: &PathHashes) {
    head.extend_from_slice(&hashes.account.0);
    head.extend_from_slice(&hashes.container.0);
    head.text(&path.account);
    head.text(&path.container);
    head.text(&path.object);
}

fn read_path(fields: &mut Fields<'_>, header: &Header) -> Result<(ObjectPath, PathHashes), Malformed> {
    let hashes = PathHashes { account: fields.hash()?, container: fields.hash()?, object: header.hash };
    let path = ObjectPath {
        account: fields.text("account name")?,
        container: fields.text("container name")?,
        object: fields.text("object name")?,
    };
    Ok((path, hashes))
}

fn write_metadata(head: &mut Vec<u8>, metadata: &Metadata) {
    head.varint(metadata.len() as u64);
    for (name, value) in metadata {
        head.text(name);
        head.text(value);
    }
}

fn read_metadata(fields: &mut Fields<'_>) -> Result<Metadata, Malformed> {
    // A name and a value take a byte of length each.
    let count = fields.count(2, "metadata count")?;
    (0..count).map(|_| Ok((fields.text("metadata name")?, fields.text("metadata value")?))).collect()
}

fn write_object_put(head: &mut Vec<u8>, put: &ObjectPut) {
    write_path(head, &put.path, &put.hashes);
    let content = match put.content {
        Content::Plain => 0,
        Content::Multipart => OPTION_MULTIPART,
        Content::Segments => OPTION_SEGMENTS,
        Content::Fragments => OPTION_MULTIPART | OPTION_SEGMENTS,
    };
    head.push(content | put.delete_at.map_or(0, |_| OPTION_DELETE_AT) | policy_option(put.policy));
    if let Some(second) = put.delete_at {
        head.varint(second);
    }
    write_policy(head, put.policy);
    head.varint(put.size);
    write_etag(head, &put.etag);
    write_content_type(head, &put.content_type);
    write_metadata(head, &put.metadata);
    match &put.body {
        Body::Absent(length) => {
            head.push(BODY_ABSENT);
            head.varint(*length);
        }
        Body::Inline(_) => head.push(BODY_INLINE),
        Body::Extents(extents) => {
            head.push(BODY_EXTENTS);
            write_extents(head, extents);
        }
    }
}

fn read_object_put(fields: &mut Fields<'_>, header: &Header) -> Result<(ObjectPut, bool), Malformed> {
    let (path, hashes) = read_path(fields, header)?;
    let options = read_options(fields, OPTION_MULTIPART | OPTION_SEGMENTS | OPTION_DELETE_AT | OPTION_POLICY)?;
    let content = match options & (OPTION_MULTIPART | OPTION_SEGMENTS) {
        0 => Content::Plain,
        OPTION_MULTIPART => Content::Multipart,
        OPTION_SEGMENTS => Content::Segments,
        _ => Content::Fragments,
    };
    let delete_at = read_delete_at(fields, options)?;
    let policy = read_policy(fields, options & OPTION_POLICY != 0)?;
    let size = fields.varint("object size")?;
    let etag = read_etag(fields)?;
    let content_type = read_content_type(fields)?;
    let metadata = read_metadata(fields)?;
    let tag = fields.byte("body kind")?;
    let body = match tag {
        BODY_ABSENT => Body::Absent(fields.varint("stored size")?),
        BODY_INLINE => {
            let blocks = header.data_length().div_ceil(BLOCK_BYTES) as usize;
            fields.bytes(4 * blocks + INLINE_HASH_BYTES, "inline checksums")?;
            Body::Absent(header.data_length())
        }
        BODY_EXTENTS => Body::Extents(read_extents(fields)?),
        unknown => return Err(Malformed::mismatch("body kind", BODY_EXTENTS, unknown)),
    };
    let timestamp = header.timestamp;
    let put =
        ObjectPut { path, hashes, timestamp, policy, size, etag, content_type, content, delete_at, metadata, body };
    Ok((put, tag == BODY_INLINE))
}

fn write_object_post(head: &mut Vec<u8>, post: &ObjectPost) {
    write_path(head, &post.path, &post.hashes);
    let delete_at = post.delete_at.map_or(0, |_| OPTION_DELETE_AT);
    let content_type = post.content_type.as_ref().map_or(0, |_| OPTION_CONTENT_TYPE);
    head.push(delete_at | content_type | policy_option(post.policy));
    if let Some(second) = post.delete_at {
        head.varint(second);
    }
    write_policy(head, post.policy);
    if let Some(content_type) = &post.content_type {
        head.text(content_type);
    }
    write_metadata(head, &post.metadata);
}

fn read_object_post(fields: &mut Fields<'_>, header: &Header) -> Result<ObjectPost, Malformed> {
    let (path, hashes) = read_path(fields, header)?;
    let options = read_options(fields, OPTION_DELETE_AT | OPTION_CONTENT_TYPE | OPTION_POLICY)?;
    let delete_at = read_delete_at(fields, options)?;
    let policy = read_policy(fields, options & OPTION_POLICY != 0)?;
    let has_content_type = options & OPTION_CONTENT_TYPE != 0;
    let content_type = has_content_type.then(|| fields.text("content type")).transpose()?;
    let metadata = read_metadata(fields)?;
    Ok(ObjectPost { path, hashes, timestamp: header.timestamp, policy, content_type, delete_at, metadata })
}

fn read_container_stats(fields: &mut Fields<'_>, header: &Header) -> Result<Mutation, Malformed> {
    Ok(Mutation::ContainerStats {
        account: fields.text("account name")?,
        container: fields.text("container name")?,
        account_hash: header.hash,
        created: fields.time("created")?,
        modified: header.timestamp,
        deleted: fields.time("deleted")?,
        version: fields.varint("statistics version")?,
        object_count: fields.varint("object count")?,
        bytes_used: fields.varint("bytes used")?,
    })
}

fn read_options(fields: &mut Fields<'_>, known: u8) -> Result<u8, Malformed> {
    let options = fields.byte("options")?;
    if options & !known == 0 { Ok(options) } else { Err(Malformed::mismatch("options", known, options)) }
}

fn read_delete_at(fields: &mut Fields<'_>, options: u8) -> Result<Option<u64>, Malformed> {
    (options & OPTION_DELETE_AT != 0).then(|| fields.varint("time of deletion")).transpose()
}

fn policy_option(policy: u32) -> u8 {
    if policy == 0 { 0 } else { OPTION_POLICY }
}

/// The default policy is left out: records of before there were policies are those of the default one.
fn write_policy(head: &mut Vec<u8>, policy: u32) {
    if policy != 0 {
        head.varint(u64::from(policy));
    }
}

fn read_policy(fields: &mut Fields<'_>, is_there: bool) -> Result<u32, Malformed> {
    if !is_there {
        return Ok(0);
    }
    match u32::try_from(fields.varint("policy")?) {
        Ok(policy) if policy > 0 => Ok(policy),
        _ => Err(Malformed::plain("policy")),
    }
}

/// A tag that is the lower-case hex of an MD5 takes half of its length.
fn write_etag(head: &mut Vec<u8>, etag: &str) {
    let mut md5 = [0; 16];
    let is_md5 = hex::decode_to_slice(etag, &mut md5).is_ok() && !etag.bytes().any(|b| b.is_ascii_uppercase());
    if is_md5 {
        head.push(ETAG_MD5);
        head.extend_from_slice(&md5);
    } else {
        head.push(ETAG_TEXT);
        head.text(etag);
    }
}

fn read_etag(fields: &mut Fields<'_>) -> Result<String, Malformed> {
    match fields.byte("entity tag")? {
        ETAG_MD5 => Ok(hex::encode(fields.array::<16>("entity tag")?)),
        ETAG_TEXT => fields.text("entity tag"),
        unknown => Err(Malformed::mismatch("entity tag", ETAG_MD5, unknown)),
    }
}

fn write_content_type(head: &mut Vec<u8>, content_type: &str) {
    if let Some(place) = CONTENT_TYPES.iter().position(|known| *known == content_type) {
        head.push(place as u8 + 1);
    } else {
        head.push(CONTENT_TYPE_TEXT);
        head.text(content_type);
    }
}

fn read_content_type(fields: &mut Fields<'_>) -> Result<String, Malformed> {
    match fields.byte("content type")? {
        CONTENT_TYPE_TEXT => fields.text("content type"),
        place => match CONTENT_TYPES.get(usize::from(place) - 1) {
            Some(known) => Ok((*known).to_owned()),
            None => Err(Malformed::mismatch("content type", CONTENT_TYPES.len() as u64, place)),
        },
    }
}

fn write_extents(head: &mut Vec<u8>, extents: &Extents) {
    head.varint(extents.length);
    head.varint(extents.pieces.len() as u64);
    for piece in &extents.pieces {
        head.varint(u64::from(piece.volume));
        head.varint(piece.offset / ALIGNMENT);
        head.varint(piece.length);
    }
    for crc in &extents.block_crcs {
        head.extend_from_slice(&crc.to_le_bytes());
    }
    head.extend_from_slice(&extents.blake3);
}

fn read_extents(fields: &mut Fields<'_>) -> Result<Extents, Malformed> {
    const WHAT: &str = "extents";
    let length = fields.varint(WHAT)?;
    // Volume, offset and length take a byte each at least.
    let count = fields.count(3, WHAT)?;
    let mut pieces = Vec::with_capacity(count);
    let mut sum = 0u64;
    for index in 0..count {
        let piece = read_extent(fields)?;
        let whole_blocks = piece.length % BLOCK_BYTES == 0 || index + 1 == count;
        sum = sum.checked_add(piece.length).filter(|_| whole_blocks).ok_or(Malformed::plain(WHAT))?;
        pieces.push(piece);
    }
    if sum != length {
        return Err(Malformed::mismatch(WHAT, length, sum));
    }
    let blocks = length.div_ceil(BLOCK_BYTES);
    if blocks > fields.remaining() as u64 / 4 {
        return Err(Malformed::mismatch(WHAT, blocks, fields.remaining() as u64 / 4));
    }
    let block_crcs = (0..blocks).map(|_| fields.u32(WHAT)).collect::<Result<_, _>>()?;
    Ok(Extents { length, pieces, block_crcs, blake3: fields.array(WHAT)? })
}

fn read_extent(fields: &mut Fields<'_>) -> Result<Extent, Malformed> {
    const WHAT: &str = "extent";
    let volume = u32::try_from(fields.varint(WHAT)?).map_err(|_| Malformed::plain(WHAT))?;
    let offset = fields.varint(WHAT)?.checked_mul(ALIGNMENT).ok_or(Malformed::plain(WHAT))?;
    let length = fields.varint(WHAT)?;
    // The end must be a file offset, which is signed.
    let fits = length > 0 && offset.checked_add(length).is_some_and(|end| end <= i64::MAX as u64);
    if fits { Ok(Extent { volume, offset, length }) } else { Err(Malformed::plain(WHAT)) }
}
