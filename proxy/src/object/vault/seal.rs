//! Small values, sealed: `~1.<root secret's id>.<nonce, value and its seal in base64>`, each with a key of its object's
//! that only values of its kind have. And what is sealed of an object's record: its entity tag, and all metadata but
//! those that workers without keys need; the sealed ones are one item, the key of the data is another.

use anello_storage::store::{ObjectHead, ObjectUpdate};
use anello_storage::{Error, Metadata, ObjectInfo, ObjectPath, Result};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::aead::{Aad, NONCE_LEN, Nonce};
use ring::rand::{SecureRandom, SystemRandom};

use super::body::{BodyKey, TAG_BYTES, damaged};
use super::keys::{ContainerKeys, Purpose};
use super::service::SecretId;
use crate::object::limits::SEALED_VALUE_BYTES_MAX;
use crate::object::{lock, names};

/// What a sealed value begins with; no entity tag does.
const MARK: &str = "~1.";

/// The sealed items of an object's metadata.
const METADATA_NAME: &str = "x-object-sysmeta-crypto-meta";

/// The sealed key of its data, where it has any.
const BODY_NAME: &str = "x-object-sysmeta-crypto-body";

/// Items that are not sealed: what tells versions, uploads and locks apart is needed where there are no keys.
const OPEN_NAMES: [&str; 3] = [names::PART_KEY_NAME, lock::RETENTION_NAME, lock::HOLD_NAME];
const OPEN_PREFIX: &str = "x-object-sysmeta-version";

/// Whether a text is a sealed value.
pub(super) fn is_text(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Whether anything of an object is sealed.
pub(super) fn is_sealed(info: &ObjectInfo) -> bool {
    is_text(&info.etag) || info.metadata.iter().any(|(name, _)| name == METADATA_NAME)
}

/// A sealed value, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sealed {
    id: SecretId,
    nonce: [u8; NONCE_LEN],
    /// With its seal.
    value: Vec<u8>,
}

impl Sealed {
    /// Reads what [`Sealed::text`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(MARK).filter(|_| text.len() <= SEALED_VALUE_BYTES_MAX)?;
        let (id, value) = rest.split_once('.')?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(value).ok()?;
        let (nonce, value) = bytes.split_first_chunk::<NONCE_LEN>()?;
        (value.len() >= TAG_BYTES).then_some(())?;
        Some(Self { id: SecretId::parse(id)?, nonce: *nonce, value: value.to_vec() })
    }

    pub(super) fn text(&self) -> String {
        let bytes = [&self.nonce, &self.value[..]].concat();
        format!("{MARK}{}.{}", self.id, BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Seals a value of an object under the active secret; `bound` must be the same when it is opened.
pub(super) fn seal(keys: &ContainerKeys, object: &str, purpose: Purpose, bound: &[u8], value: &[u8]) -> Result<String> {
    let mut nonce = [0; NONCE_LEN];
    let random = SystemRandom::new().fill(&mut nonce);
    random.map_err(|_| Error::Message("the system gives no random bytes".into()))?;
    let id = keys.active().clone();
    let mut value = value.to_vec();
    let key = keys.of_object(&id, object, purpose)?;
    let sealed = key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut value);
    sealed.expect("a value is far shorter than GCM allows");
    Ok(Sealed { id, nonce, value }.text())
}

/// Opens a value. Without keys, [`Error::Sealed`].
fn open_value(
    keys: Option<&ContainerKeys>,
    object: &str,
    purpose: Purpose,
    bound: &[u8],
    text: &str,
) -> Result<Vec<u8>> {
    let damaged = || damaged("sealed value", &ObjectPath::new("", "", object), 0);
    let Sealed { id, nonce, mut value } = Sealed::parse(text).ok_or_else(damaged)?;
    let key = keys.ok_or_else(|| Error::Sealed(id.to_string()))?.of_object(&id, object, purpose)?;
    let opened = key.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(bound), &mut value);
    let length = opened.map_err(|_| damaged())?.len();
    value.truncate(length);
    Ok(value)
}

/// Opens the entity tag of an object of so many bytes, as it stands in a row of a listing.
pub(super) fn open_tag(keys: Option<&ContainerKeys>, object: &str, text: &str, size: u64) -> Result<String> {
    let value = open_value(keys, object, Purpose::Tag, &size.to_le_bytes(), text)?;
    String::from_utf8(value).map_err(|_| damaged("sealed entity tag", &ObjectPath::new("", "", object), 0))
}

/// Opens the digests of an object's parts.
pub(super) fn open_digests(keys: Option<&ContainerKeys>, object: &str, text: &str) -> Result<Vec<u8>> {
    open_value(keys, object, Purpose::Digests, &[], text)
}

/// An object, opened.
#[derive(Debug)]
pub(super) struct Opened {
    /// As if it had never been sealed.
    pub(super) info: ObjectInfo,
    /// The key of its data, where these are sealed.
    pub(super) body: Option<BodyKey>,
}

/// Opens what is sealed of an object.
pub(super) fn open(keys: Option<&ContainerKeys>, path: &ObjectPath, mut info: ObjectInfo) -> Result<Opened> {
    if is_text(&info.etag) {
        info.etag = open_tag(keys, &path.object, &info.etag, info.size)?;
    }
    let mut body = None;
    if let Some(text) = take(&mut info.metadata, BODY_NAME) {
        let bytes = open_value(keys, &path.object, Purpose::Body, &[], &text)?;
        let key = BodyKey::decode(&bytes).ok_or_else(|| damaged("key of an object's data", path, 0))?;
        info.stored_size = key.length;
        body = Some(key);
    }
    if let Some(text) = take(&mut info.metadata, METADATA_NAME) {
        let bytes = open_value(keys, &path.object, Purpose::Metadata, &[], &text)?;
        let items = decode_items(&bytes).ok_or_else(|| damaged("sealed metadata", path, 0))?;
        info.metadata.extend(items);
        info.metadata.sort();
    }
    Ok(Opened { info, body })
}

/// Seals what an object is to be like; `body` is the key of its data, where these are sealed.
pub(super) fn head(
    keys: &ContainerKeys,
    path: &ObjectPath,
    size: u64,
    body: Option<&BodyKey>,
    head: &mut ObjectHead,
) -> Result<()> {
    head.etag = seal(keys, &path.object, Purpose::Tag, &size.to_le_bytes(), head.etag.as_bytes())?;
    head.size = Some(size);
    metadata(keys, path, &mut head.metadata)?;
    if let Some(body) = body {
        let text = seal(keys, &path.object, Purpose::Body, &[], &body.encode())?;
        head.metadata.push((BODY_NAME.to_owned(), text));
        head.metadata.sort();
    }
    Ok(())
}

/// Seals what is said of an object that stands as `found`, whose data and tag stay as they are.
pub(super) fn update(
    keys: Option<&ContainerKeys>,
    path: &ObjectPath,
    found: &ObjectInfo,
    mut update: ObjectUpdate,
) -> Result<ObjectUpdate> {
    metadata(keys.ok_or_else(|| Error::Sealed(String::new()))?, path, &mut update.metadata)?;
    update.metadata.extend(found.metadata.iter().filter(|(name, _)| name == BODY_NAME).cloned());
    update.metadata.sort();
    Ok(update)
}

/// Puts all items that are not to be open into one that is sealed.
fn metadata(keys: &ContainerKeys, path: &ObjectPath, items: &mut Metadata) -> Result<()> {
    let is_open = |(name, _): &(String, String)| OPEN_NAMES.contains(&name.as_str()) || name.starts_with(OPEN_PREFIX);
    let (open, closed): (Metadata, Metadata) = std::mem::take(items).into_iter().partition(is_open);
    *items = open;
    if !closed.is_empty() {
        let bytes = serde_json::to_vec(&closed).expect("strings are JSON");
        let text = seal(keys, &path.object, Purpose::Metadata, &[], &bytes)?;
        items.push((METADATA_NAME.to_owned(), text));
        items.sort();
    }
    Ok(())
}

/// Reads the items that a sealed one holds.
pub(super) fn decode_items(bytes: &[u8]) -> Option<Metadata> {
    serde_json::from_slice(bytes).ok()
}

fn take(metadata: &mut Metadata, name: &str) -> Option<String> {
    let at = metadata.iter().position(|(found, _)| found == name)?;
    Some(metadata.remove(at).1)
}
