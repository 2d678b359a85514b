//! [`Versions`] as bytes: the values of the tables `objects`, `rows`, `tombstones` and of the pending
//! parts. Layout in `docs/formats/index.md`.
//!
//! A row leaves out what only the object has. Where its record is the object's own, which is the rule,
//! it leaves out the record too: both lie on the same device and are read together.

use anello_base::Timestamp;

use super::codec::{Reader, Writer};
use super::shadow::Shadows;
use super::version::{Data, Live, ObjectPart, Post, Retype, Versions};
use crate::error::Result;
use crate::model::{Content, Metadata, ObjectEntry};
use crate::mutation::Extent;

/// Which of the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// An object's value.
    Object,
    /// A listing row's value.
    Row,
}

const DATA_MASK: u8 = 0b11;
const DATA_ABSENT: u8 = 0;
const DATA_DELETED: u8 = 1;
const DATA_LIVE: u8 = 2;
const HAS_POST: u8 = 1 << 2;
const HAS_RETYPE: u8 = 1 << 3;
const HAS_SHADOWS: u8 = 1 << 4;
const IS_MULTIPART: u8 = 1 << 5;
const IS_SPLIT: u8 = 1 << 6;
const IS_SEGMENTS: u8 = 1 << 7;

const HAS_STORED_SIZE: u8 = 1;
const HAS_DELETE_AT: u8 = 1 << 1;
const HAS_METADATA: u8 = 1 << 2;
const HAS_EXTENTS: u8 = 1 << 3;
const HAS_POLICY: u8 = 1 << 4;
const OBJECT_FLAGS: u8 = 0b1_1111;

impl Versions {
    pub(super) fn encode(&self, form: Form) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(96));
        let data = match &self.data {
            Data::Absent => DATA_ABSENT,
            Data::Deleted { .. } => DATA_DELETED,
            Data::Live(live) => DATA_LIVE | content_flag(live.content),
        };
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.byte(
            data | flag(self.post.is_some(), HAS_POST)
                | flag(self.retype.is_some(), HAS_RETYPE)
                | flag(!self.shadows.is_empty(), HAS_SHADOWS)
                | flag(self.is_split, IS_SPLIT),
        );
        let base = match &self.data {
            Data::Absent => Timestamp::ZERO,
            Data::Deleted { timestamp, record, policy } => {
                out.timestamp(*timestamp);
                out.location(*record);
                if form == Form::Object {
                    out.number(u64::from(*policy));
                }
                *timestamp
            }
            Data::Live(live) => {
                encode_live(&mut out, live, form);
                live.timestamp
            }
        };
        if let Some(post) = &self.post {
            out.number(post.timestamp.order() - base.order());
            out.location(post.record);
            if form == Form::Object {
                out.optional(post.delete_at);
                encode_metadata(&mut out, &post.metadata);
                out.number(u64::from(post.policy));
            }
        }
        if let Some(retype) = &self.retype {
            out.number(retype.timestamp.order() - base.order());
            out.location(retype.record);
            out.content_type(&retype.content_type);
        }
        if !self.shadows.is_empty() {
            self.shadows.encode(&mut out);
        }
        out.0
    }

    pub(super) fn decode(bytes: &[u8], form: Form) -> Result<Self> {
        let mut reader = Reader::new(form.what(), bytes);
        let flags = reader.byte()?;
        let (data, base) = decode_data(&mut reader, flags, form)?;
        let post = (flags & HAS_POST != 0).then(|| decode_post(&mut reader, base, form)).transpose()?;
        let retype = (flags & HAS_RETYPE != 0).then(|| decode_retype(&mut reader, base)).transpose()?;
        let shadows = if flags & HAS_SHADOWS != 0 { Shadows::decode(&mut reader)? } else { Shadows::default() };
        reader.finish()?;
        Ok(Self { data, post, retype, shadows, is_split: flags & IS_SPLIT != 0 })
    }
}

/// A row as a listing shows it; `None` where it is not there. The same as [`Versions::decode`] and
/// [`Versions::into_entry`], without what a listing does not show: it is what a listing's time goes into.
pub(super) fn decode_entry(name: String, bytes: &[u8]) -> Result<Option<ObjectEntry>> {
    if bytes.first().is_none_or(|flags| *flags & !(IS_MULTIPART | IS_SEGMENTS) != DATA_LIVE) {
        return Ok(Versions::decode(bytes, Form::Row)?.into_entry(name));
    }
    let mut reader = Reader::new(Form::Row.what(), bytes);
    let flags = reader.byte()?;
    let content = content(flags);
    let timestamp = reader.timestamp()?;
    reader.location()?;
    let (size, etag, content_type) = (reader.number()?, reader.etag()?, reader.content_type()?);
    reader.finish()?;
    Ok(Some(ObjectEntry { name, timestamp, size, etag, content_type, content }))
}

fn content_flag(content: Content) -> u8 {
    match content {
        Content::Plain => 0,
        Content::Multipart => IS_MULTIPART,
        Content::Segments => IS_SEGMENTS,
        Content::Fragments => IS_MULTIPART | IS_SEGMENTS,
    }
}

fn content(flags: u8) -> Content {
    match flags & (IS_MULTIPART | IS_SEGMENTS) {
        0 => Content::Plain,
        IS_MULTIPART => Content::Multipart,
        IS_SEGMENTS => Content::Segments,
        _ => Content::Fragments,
    }
}

impl Form {
    fn what(self) -> &'static str {
        match self {
            Self::Object => "object in the index",
            Self::Row => "listing row in the index",
        }
    }
}

fn decode_data(reader: &mut Reader<'_>, flags: u8, form: Form) -> Result<(Data, Timestamp)> {
    Ok(match flags & DATA_MASK {
        DATA_ABSENT => (Data::Absent, Timestamp::ZERO),
        DATA_DELETED => {
            let (timestamp, record) = (reader.timestamp()?, reader.location()?);
            let policy = if form == Form::Object { reader.small()? } else { 0 };
            (Data::Deleted { timestamp, record, policy }, timestamp)
        }
        DATA_LIVE => {
            let live = decode_live(reader, content(flags), form)?;
            let timestamp = live.timestamp;
            (Data::Live(live), timestamp)
        }
        other => return Err(reader.corrupt(u64::from(DATA_LIVE), u64::from(other))),
    })
}

fn encode_live(out: &mut Writer, live: &Live, form: Form) {
    out.timestamp(live.timestamp);
    out.location(live.record);
    out.number(live.size);
    out.etag(&live.etag);
    out.content_type(&live.content_type);
    if form == Form::Row {
        return;
    }
    let object = &live.object;
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let has_stored_size = object.stored_size != live.size;
    out.byte(
        flag(has_stored_size, HAS_STORED_SIZE)
            | flag(object.delete_at.is_some(), HAS_DELETE_AT)
            | flag(!object.metadata.is_empty(), HAS_METADATA)
            | flag(object.extents.is_some(), HAS_EXTENTS)
            | flag(object.policy != 0, HAS_POLICY),
    );
    if has_stored_size {
        out.number(object.stored_size);
    }
    if let Some(delete_at) = object.delete_at {
        out.number(delete_at);
    }
    if !object.metadata.is_empty() {
        encode_metadata(out, &object.metadata);
    }
    if let Some(extents) = &object.extents {
        out.number(extents.len() as u64);
        for extent in extents {
            out.number(u64::from(extent.volume));
            out.number(extent.offset);
            out.number(extent.length);
        }
    }
    if object.policy != 0 {
        out.number(u64::from(object.policy));
    }
}

fn decode_live(reader: &mut Reader<'_>, content: Content, form: Form) -> Result<Live> {
    let mut live = Live {
        timestamp: reader.timestamp()?,
        record: reader.location()?,
        size: reader.number()?,
        etag: reader.etag()?,
        content_type: reader.content_type()?,
        content,
        object: ObjectPart::default(),
    };
    if form == Form::Row {
        return Ok(live);
    }
    if live.record.is_none() {
        return Err(reader.corrupt(1, 0));
    }
    let flags = reader.byte()?;
    if flags & !OBJECT_FLAGS != 0 {
        return Err(reader.corrupt(u64::from(OBJECT_FLAGS), u64::from(flags)));
    }
    live.object.stored_size = if flags & HAS_STORED_SIZE != 0 { reader.number()? } else { live.size };
    if flags & HAS_DELETE_AT != 0 {
        live.object.delete_at = Some(reader.number()?);
    }
    if flags & HAS_METADATA != 0 {
        live.object.metadata = decode_metadata(reader)?;
    }
    if flags & HAS_EXTENTS != 0 {
        let count = reader.count()?;
        let extent = |_| Ok(Extent { volume: reader.small()?, offset: reader.number()?, length: reader.number()? });
        live.object.extents = Some((0..count).map(extent).collect::<Result<Vec<_>>>()?);
    }
    if flags & HAS_POLICY != 0 {
        live.object.policy = reader.small()?;
    }
    Ok(live)
}

/// A timestamp that is stored as its distance from `base`.
fn decode_later(reader: &mut Reader<'_>, base: Timestamp) -> Result<Timestamp> {
    let distance = reader.number()?;
    match base.order().checked_add(distance).filter(|order| *order <= Timestamp::MAX.order()) {
        Some(order) => Ok(Timestamp::from_order(order)),
        None => Err(reader.corrupt(Timestamp::MAX.order(), distance)),
    }
}

fn decode_post(reader: &mut Reader<'_>, base: Timestamp, form: Form) -> Result<Post> {
    let (timestamp, record) = (decode_later(reader, base)?, reader.location()?);
    let (delete_at, metadata, policy) = match form {
        Form::Object => (reader.optional()?, decode_metadata(reader)?, reader.small()?),
        Form::Row => (None, Metadata::new(), 0),
    };
    Ok(Post { timestamp, record, delete_at, metadata, policy })
}

fn decode_retype(reader: &mut Reader<'_>, base: Timestamp) -> Result<Retype> {
    Ok(Retype {
        timestamp: decode_later(reader, base)?,
        record: reader.location()?,
        content_type: reader.content_type()?,
    })
}

fn encode_metadata(out: &mut Writer, metadata: &Metadata) {
    out.number(metadata.len() as u64);
    for (name, value) in metadata {
        out.text(name);
        out.text(value);
    }
}

fn decode_metadata(reader: &mut Reader<'_>) -> Result<Metadata> {
    let count = reader.count()?;
    (0..count).map(|_| Ok((reader.text()?, reader.text()?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mutation::Location;

    fn timestamp() -> impl Strategy<Value = Timestamp> {
        (0..=Timestamp::MAX.order() / 2).prop_map(Timestamp::from_order)
    }

    fn record() -> impl Strategy<Value = Location> {
        let parts = (any::<u32>(), any::<u64>(), any::<u32>(), any::<u32>());
        parts.prop_map(|(volume, offset, length, data_start)| Location { volume, offset, length, data_start })
    }

    fn metadata() -> impl Strategy<Value = Metadata> {
        prop::collection::vec(("[a-z-]{1,12}", ".{0,12}"), 0..4)
    }

    fn contents() -> impl Strategy<Value = Content> {
        prop_oneof![Just(Content::Plain), Just(Content::Multipart), Just(Content::Segments), Just(Content::Fragments)]
    }

    fn live() -> impl Strategy<Value = Data> {
        let extent = (any::<u32>(), any::<u64>(), any::<u64>());
        let extent = extent.prop_map(|(volume, offset, length)| Extent { volume, offset, length });
        let extents = prop::option::of(prop::collection::vec(extent, 0..3));
        let object = (any::<u64>(), any::<Option<u64>>(), metadata(), extents, any::<u32>());
        let texts = ("[0-9a-f]{32}(-[0-9]{1,5})?|.{0,9}", "text/plain|.{0,9}");
        (timestamp(), record(), any::<u64>(), texts, contents(), object).prop_map(
            |(
                timestamp,
                record,
                size,
                (etag, content_type),
                content,
                (stored_size, delete_at, metadata, extents, policy),
            )| {
                let object = ObjectPart { stored_size, policy, delete_at, metadata, extents };
                Data::Live(Live { timestamp, record: Some(record), size, etag, content_type, content, object })
            },
        )
    }

    fn versions() -> impl Strategy<Value = Versions> {
        let deleted = (timestamp(), record(), any::<u32>());
        let deleted =
            deleted.prop_map(|(timestamp, record, policy)| Data::Deleted { timestamp, record: Some(record), policy });
        let data = prop_oneof![Just(Data::Absent), deleted, live()];
        let later = || (1..1_000_000_u64, prop::option::of(record()));
        let post = prop::option::of((later(), any::<Option<u64>>(), metadata(), any::<u32>()));
        let retype = prop::option::of((later(), ".{0,9}"));
        (data, post, retype, prop::collection::vec(any::<u32>(), 0..12), any::<bool>()).prop_map(
            |(data, post, retype, volumes, is_split)| {
                let base = match &data {
                    Data::Absent => 0,
                    Data::Deleted { timestamp, .. } => timestamp.order(),
                    Data::Live(live) => live.timestamp.order(),
                };
                let at = |later| Timestamp::from_order(base + later);
                let post = post.map(|((later, record), delete_at, metadata, policy)| Post {
                    timestamp: at(later),
                    record,
                    delete_at,
                    metadata,
                    policy,
                });
                let retype =
                    retype.map(|((later, record), content_type)| Retype { timestamp: at(later), record, content_type });
                let mut shadows = Shadows::default();
                volumes.into_iter().for_each(|volume| shadows.add(volume));
                Versions { data, post, retype, shadows, is_split }
            },
        )
    }

    proptest! {
        /// Without this the index tells something else than it was told.
        #[test]
        fn what_is_written_is_read(versions in versions()) {
            let bytes = versions.encode(Form::Object);
            prop_assert_eq!(Versions::decode(&bytes, Form::Object).expect("decodes"), versions);
        }

        /// Without this a listing shows something else than the row says.
        #[test]
        fn a_row_read_for_a_listing_is_the_row(mut versions in versions()) {
            for (_, record) in versions.record_slots().into_iter().flatten() {
                *record = None;
            }
            let bytes = versions.encode(Form::Row);
            let row = Versions::decode(&bytes, Form::Row).expect("decodes");
            let entry = decode_entry("name".to_owned(), &bytes).expect("decodes");
            prop_assert_eq!(entry, row.into_entry("name".to_owned()));
        }

        /// Without this a damaged value is served as if it were whole, or takes the server down.
        #[test]
        fn what_is_cut_is_refused(versions in versions(), cut in any::<prop::sample::Index>()) {
            let bytes = versions.encode(Form::Object);
            let cut = cut.index(bytes.len());
            prop_assert!(Versions::decode(&bytes[..cut], Form::Object).is_err());
        }

        /// Without this arbitrary bytes panic or allocate without bound.
        #[test]
        fn any_bytes_give_a_value_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            for form in [Form::Object, Form::Row] {
                if let Ok(versions) = Versions::decode(&bytes, form) {
                    versions.encode(form);
                    versions.into_object();
                }
                let _ = decode_entry(String::new(), &bytes);
            }
        }
    }
}
