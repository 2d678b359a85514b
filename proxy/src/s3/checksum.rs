//! The checksums that today's clients add to uploads: computed while the data stream, compared with what
//! the client states in a header or a trailer, kept with the object and shown again on request.
//!
//! An object keeps at most one. It is stored as `x-object-sysmeta-s3-checksum`, with the entity tag it
//! belongs to, so that a checksum can never be shown for other data than its own.

use anello_storage::Metadata;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crc_fast::{CrcAlgorithm, Digest as CrcDigest};
use s3s::dto;
use sha1::Digest as _;

/// Where the checksum is kept: `<algorithm> <value> <type> <etag>`.
const STORED_NAME: &str = "x-object-sysmeta-s3-checksum";

/// The algorithms on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

/// Whether a multipart object's checksum is of its data or of its parts' checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    FullObject,
    Composite,
}

/// A checksum of an object or part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Checksum {
    pub(super) algorithm: Algorithm,
    pub(super) kind: Kind,
    /// As shown: Base64, with `-<parts>` behind it where composite.
    pub(super) value: String,
}

impl Algorithm {
    pub(super) const ALL: [Self; 5] = [Self::Crc32, Self::Crc32c, Self::Crc64Nvme, Self::Sha1, Self::Sha256];

    /// S3's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Crc32 => "CRC32",
            Self::Crc32c => "CRC32C",
            Self::Crc64Nvme => "CRC64NVME",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
        }
    }

    /// The header that carries it.
    pub(super) fn header(self) -> &'static str {
        match self {
            Self::Crc32 => "x-amz-checksum-crc32",
            Self::Crc32c => "x-amz-checksum-crc32c",
            Self::Crc64Nvme => "x-amz-checksum-crc64nvme",
            Self::Sha1 => "x-amz-checksum-sha1",
            Self::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The XML element that shows it.
    pub(super) fn element(self) -> &'static str {
        match self {
            Self::Crc32 => "ChecksumCRC32",
            Self::Crc32c => "ChecksumCRC32C",
            Self::Crc64Nvme => "ChecksumCRC64NVME",
            Self::Sha1 => "ChecksumSHA1",
            Self::Sha256 => "ChecksumSHA256",
        }
    }

    /// By S3's name, in any case.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// By the header's name, in any case.
    pub(super) fn from_header(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(name))
    }

    /// Length of a digest in bytes.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Crc32 | Self::Crc32c => 4,
            Self::Crc64Nvme => 8,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    /// A digest as the client wrote it; `None` where it is not Base64 of the right length.
    pub(super) fn parse(self, value: &str) -> Option<Vec<u8>> {
        STANDARD.decode(value).ok().filter(|digest| digest.len() == self.length())
    }

    /// The kind that an upload has where it names none.
    pub(super) fn default_kind(self) -> Kind {
        if self == Self::Crc64Nvme { Kind::FullObject } else { Kind::Composite }
    }

    /// Whether S3 offers the kind with it.
    pub(super) fn offers(self, kind: Kind) -> bool {
        match kind {
            Kind::Composite => self != Self::Crc64Nvme,
            Kind::FullObject => !matches!(self, Self::Sha1 | Self::Sha256),
        }
    }

    fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            Self::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            Self::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            Self::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            Self::Sha1 | Self::Sha256 => None,
        }
    }
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::FullObject => "FULL_OBJECT",
            Self::Composite => "COMPOSITE",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::FullObject, Self::Composite].into_iter().find(|kind| kind.name() == name)
    }
}

/// Computes one digest.
pub(super) enum Hasher {
    Crc(Algorithm, CrcDigest),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match (algorithm, algorithm.crc()) {
            (_, Some(crc)) => Self::Crc(algorithm, CrcDigest::new(crc)),
            (Algorithm::Sha1, None) => Self::Sha1(sha1::Sha1::new()),
            (_, None) => Self::Sha256(sha2::Sha256::new()),
        }
    }

    pub(super) fn update(&mut self, data: &[u8]) {
        match self {
            Self::Crc(_, digest) => digest.update(data),
            Self::Sha1(digest) => digest.update(data),
            Self::Sha256(digest) => digest.update(data),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        match self {
            Self::Crc(algorithm, digest) => crc_bytes(algorithm, digest.finalize()),
            Self::Sha1(digest) => digest.finalize().to_vec(),
            Self::Sha256(digest) => digest.finalize().to_vec(),
        }
    }
}

fn crc_bytes(algorithm: Algorithm, crc: u64) -> Vec<u8> {
    crc.to_be_bytes()[8 - algorithm.length()..].to_vec()
}

fn crc_value(digest: &[u8]) -> u64 {
    digest.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Digest of the whole from its parts' digests and sizes, in order.
pub(super) fn join(algorithm: Algorithm, kind: Kind, parts: &[(Vec<u8>, u64)]) -> Checksum {
    let value = match (kind, algorithm.crc()) {
        (Kind::FullObject, Some(crc)) => {
            let combine = |joined, (digest, size): &(Vec<u8>, u64)| {
                crc_fast::checksum_combine(crc, joined, crc_value(digest), *size)
            };
            let first = parts.first().map_or(0, |(digest, _)| crc_value(digest));
            STANDARD.encode(crc_bytes(algorithm, parts.iter().skip(1).fold(first, combine)))
        }
        _ => {
            let mut hasher = Hasher::new(algorithm);
            parts.iter().for_each(|(digest, _)| hasher.update(digest));
            format!("{}-{}", STANDARD.encode(hasher.finish()), parts.len())
        }
    };
    Checksum { algorithm, kind, value }
}

impl Checksum {
    /// Of data that were read as a whole.
    pub(super) fn whole(algorithm: Algorithm, digest: &[u8]) -> Self {
        Self { algorithm, kind: Kind::FullObject, value: STANDARD.encode(digest) }
    }

    /// Adds it to what is stored with the object that has this tag.
    pub(super) fn store(&self, etag: &str, metadata: &mut Metadata) {
        let text = format!("{} {} {} {etag}", self.algorithm.name(), self.value, self.kind.name());
        metadata.retain(|(name, _)| name != STORED_NAME);
        metadata.push((STORED_NAME.to_owned(), text));
    }

    /// What is stored with an object, if it belongs to these data.
    pub(super) fn stored(metadata: &Metadata, etag: &str) -> Option<Self> {
        let (_, text) = metadata.iter().find(|(name, _)| name == STORED_NAME)?;
        let mut words = text.split(' ');
        let (algorithm, value) = (Algorithm::from_name(words.next()?)?, words.next()?);
        let kind = Kind::from_name(words.next()?)?;
        (words.next()? == etag).then(|| Self { algorithm, kind, value: value.to_owned() })
    }

    /// For XML answers.
    fn to_dto(&self) -> dto::Checksum {
        let mut shown = dto::Checksum { checksum_type: Some(self.kind.name().to_owned().into()), ..Default::default() };
        let slot = match self.algorithm {
            Algorithm::Crc32 => &mut shown.checksum_crc32,
            Algorithm::Crc32c => &mut shown.checksum_crc32c,
            Algorithm::Crc64Nvme => &mut shown.checksum_crc64nvme,
            Algorithm::Sha1 => &mut shown.checksum_sha1,
            Algorithm::Sha256 => &mut shown.checksum_sha256,
        };
        *slot = Some(self.value.clone());
        shown
    }
}

/// The checksum shown in several fields of an answer, all absent where there is none.
pub(super) fn shown(checksum: Option<&Checksum>) -> dto::Checksum {
    checksum.map(Checksum::to_dto).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_what_clients_compute() {
        let check = |algorithm, want: &str| {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"1234");
            hasher.update(b"56789");
            assert_eq!(hex::encode(hasher.finish()), want, "{algorithm:?}");
        };
        check(Algorithm::Crc32, "cbf43926");
        check(Algorithm::Crc32c, "e3069283");
        check(Algorithm::Crc64Nvme, "ae8b14860a799888");
        check(Algorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441");
        check(Algorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225");
    }

    #[test]
    fn parts_join_to_the_checksum_of_the_whole() {
        for algorithm in [Algorithm::Crc32, Algorithm::Crc32c, Algorithm::Crc64Nvme] {
            let digest = |data: &[u8]| {
                let mut hasher = Hasher::new(algorithm);
                hasher.update(data);
                hasher.finish()
            };
            let parts: Vec<_> =
                [b"12345".as_slice(), b"6", b"789"].iter().map(|part| (digest(part), part.len() as u64)).collect();
            let joined = join(algorithm, Kind::FullObject, &parts);
            assert_eq!(joined, Checksum::whole(algorithm, &digest(b"123456789")));
            assert!(join(algorithm, Kind::Composite, &parts).value.ends_with("-3"));
        }
    }

    #[test]
    fn a_stored_checksum_is_not_shown_for_other_data() {
        let checksum = Checksum::whole(Algorithm::Crc32, &[1, 2, 3, 4]);
        let mut metadata = Metadata::new();
        checksum.store("tag", &mut metadata);
        checksum.store("tag", &mut metadata);
        assert_eq!(metadata.len(), 1);
        assert_eq!(Checksum::stored(&metadata, "tag"), Some(checksum));
        assert_eq!(Checksum::stored(&metadata, "other"), None);
    }
}
