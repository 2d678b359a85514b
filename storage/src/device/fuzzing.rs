//! The bytes of a device, as they come and with their checksums put right, since no mutation finds a checksum.

use bytes::Bytes;

use super::codec::{batch, record};
use super::exchange::{self, ExportedRecord, ReceivedRecord};
use super::{floor, superblock};
use crate::limits::ALIGNMENT;

/// What a record takes is written again as the same record, and a bit of it that flips is noticed.
pub(crate) fn record(bytes: &[u8]) {
    check_record(bytes);
    let mut sealed = bytes.to_vec();
    if let Some(data_start) = record_data_start(&sealed) {
        record::put_crc(&mut sealed[..data_start]);
        check_record(&sealed);
    }
}

/// Where the data of what may be a record begin.
fn record_data_start(bytes: &[u8]) -> Option<usize> {
    let stated = bytes.get(12..16)?.try_into().map(u32::from_le_bytes).ok()? as usize;
    (record::HEADER_BYTES..=bytes.len()).contains(&stated).then_some(stated)
}

fn check_record(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    if let Ok(head) = record::decode(&bytes) {
        assert!(head.header.data_start as usize <= bytes.len() && head.header.data_start <= head.header.length);
    }
    let Ok(decoded) = record::decode_whole(&bytes) else { return };
    let encoded = record::encode(&decoded.mutation, decoded.header.applies).expect("it was a record");
    let again = Bytes::from([&encoded.head[..], &encoded.data[..]].concat());
    let again = record::decode_whole(&again).expect("it was written");
    assert_eq!((&again.mutation, again.header.applies), (&decoded.mutation, decoded.header.applies));
    let bit = crc32fast::hash(&bytes) as usize % (8 * bytes.len());
    let mut flipped = bytes.to_vec();
    flipped[bit / 8] ^= 1 << (bit % 8);
    assert!(record::decode_whole(&flipped.into()).is_err(), "bit {bit} of a record flipped and nobody noticed");
}

/// What a batch's header says of its records lies within the batch.
pub(crate) fn batch(bytes: &[u8]) {
    let mut block = bytes.to_vec();
    block.resize(ALIGNMENT as usize, 0);
    check_batch(&block);
    let count = (u32::from_le_bytes(block[24..28].try_into().expect("four bytes")) as usize) % batch::BATCH_RECORDS_MAX;
    block[24..28].copy_from_slice(&(count as u32).to_le_bytes());
    batch::put_crc(&mut block, count);
    check_batch(&block);
}

fn check_batch(block: &[u8]) {
    let tag = block[32..40].try_into().expect("eight bytes");
    let volume = u32::from_le_bytes(block[28..32].try_into().expect("four bytes"));
    let offset = u64::from_le_bytes(block[40..48].try_into().expect("eight bytes"));
    let Ok((header, lengths)) = batch::decode(block, tag, volume, offset) else { return };
    assert!(batch::decode(block, tag, volume, offset ^ 1).is_err(), "taken for the batch of another place");
    assert_eq!(lengths.len(), header.count as usize);
    for (at, length) in batch::offsets(&lengths).zip(&lengths) {
        assert!(at + *length as usize <= header.used as usize && header.used <= header.length);
    }
    let mut plan = batch::Plan::default();
    assert!(lengths.iter().all(|length| plan.add(*length as usize)), "it did not fit");
    assert_eq!(plan.length(), header.length as usize);
    let mut again = vec![0; plan.length()];
    plan.seal(&mut again, header.sequence, tag, volume, offset);
    let again = batch::decode(&again[..ALIGNMENT as usize], tag, volume, offset).expect("it was written");
    assert_eq!(again, (header, lengths));
}

/// What is taken for a superblock is one, to the last byte.
pub(crate) fn superblock(bytes: &[u8]) {
    let mut copy = bytes.to_vec();
    copy.resize(superblock::COPY_BYTES, 0);
    for _ in 0..2 {
        if let Ok(found) = superblock::Superblock::decode(&copy) {
            assert!(found.encode()[..superblock::COPY_BYTES] == copy, "{found:?}");
        }
        superblock::put_crc(&mut copy);
    }
    assert!(superblock::Superblock::decode(&copy[1..]).is_err());
}

/// As [`superblock`].
pub(crate) fn floor(bytes: &[u8]) {
    let mut sealed = bytes.to_vec();
    sealed.extend(crc32fast::hash(bytes).to_le_bytes());
    for bytes in [bytes, &sealed] {
        if let Ok(found) = floor::decode(bytes) {
            assert_eq!(floor::encode(found), bytes);
        }
    }
}

/// A record of a replica tells its length before it is there, and what is taken is sent on as it came.
pub(crate) fn exchanged(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    check_exchanged(&bytes);
    if bytes.len() >= exchange::HEADER_BYTES {
        if let Some(data_start) = record_data_start(&bytes[exchange::HEADER_BYTES..]) {
            record::put_crc(&mut bytes[exchange::HEADER_BYTES..][..data_start]);
        }
        let length = (bytes.len() - exchange::HEADER_BYTES) as u32;
        bytes[8..12].copy_from_slice(&length.to_le_bytes());
        exchange::put_crc(&mut bytes);
        check_exchanged(&bytes);
    }
}

fn check_exchanged(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let stated = ReceivedRecord::head_length(&bytes);
    let Ok(received) = ReceivedRecord::decode(&bytes) else { return };
    assert_eq!(stated.expect("it was taken"), Some(bytes.len()));
    if received.data_length == 0 {
        let sent = ExportedRecord { record: received.record, data: None, data_length: 0 };
        assert_eq!(sent.head(), bytes);
    }
}
