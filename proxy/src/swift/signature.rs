//! Signatures that stand in an address or a form: an HMAC under a key that the account's owner has set, in hexadecimal
//! digits or as `sha512:` and base64.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use sha1::Sha1;
use sha2::{Sha256, Sha512};

/// The hash that a signature is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Digest {
    /// 20 bytes; broken for other uses, and only for old clients.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 64 bytes.
    Sha512,
}

impl Digest {
    /// As `/info` and signatures name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn of_length(bytes: usize) -> Option<Self> {
        match bytes {
            20 => Some(Self::Sha1),
            32 => Some(Self::Sha256),
            64 => Some(Self::Sha512),
            _ => None,
        }
    }
}

/// A signature that a client has sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Signature {
    /// What it was made with.
    pub(super) digest: Digest,
    bytes: Vec<u8>,
}

impl Signature {
    /// Reads one; `None` where it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some((name, encoded)) = text.split_once(':') else {
            let bytes = hex::decode(text).ok()?;
            return Some(Self { digest: Digest::of_length(bytes.len())?, bytes });
        };
        let digest = [Digest::Sha1, Digest::Sha256, Digest::Sha512].into_iter().find(|digest| digest.name() == name)?;
        // Some leave out what fills it up.
        let encoded = encoded.trim_end_matches('=');
        let filled = format!("{encoded}{}", &"==="[..(4 - encoded.len() % 4) % 4]);
        let bytes =
            if encoded.contains(['-', '_']) { URL_SAFE.decode(filled) } else { STANDARD.decode(filled) }.ok()?;
        (Digest::of_length(bytes.len()) == Some(digest)).then_some(Self { digest, bytes })
    }

    /// Whether it was made of `text` with `key`. Takes the same time wherever it differs.
    pub(super) fn fits(&self, key: &[u8], text: &str) -> bool {
        match self.digest {
            Digest::Sha1 => self.is_of(Hmac::<Sha1>::new_from_slice(key), text),
            Digest::Sha256 => self.is_of(Hmac::<Sha256>::new_from_slice(key), text),
            Digest::Sha512 => self.is_of(Hmac::<Sha512>::new_from_slice(key), text),
        }
    }

    fn is_of<M: Mac, E>(&self, mac: Result<M, E>, text: &str) -> bool {
        mac.is_ok_and(|mut mac| {
            mac.update(text.as_bytes());
            mac.verify_slice(&self.bytes).is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with Python's hmac: new(b"key", b"text", …).
    const HEX_256: &str = "6afa9046a9579cad143a384c1b564b9a250d27d6f6a63f9f20bf3a7594c9e2c6";

    #[test]
    fn every_form_of_a_signature_is_read() {
        let base64 = STANDARD.encode(hex::decode(HEX_256).expect("hex"));
        for text in [HEX_256.to_owned(), HEX_256.to_uppercase(), format!("sha256:{base64}")] {
            let signature = Signature::parse(&text).expect("a signature");
            assert_eq!(signature.digest, Digest::Sha256);
            assert!(signature.fits(b"key", "text"), "{text}");
            assert!(!signature.fits(b"key", "other") && !signature.fits(b"yek", "text"), "{text}");
        }
        for text in ["", "abcd", "sha512:abcd", "md5:abcd", "sha256:€", "zz", &HEX_256[2..]] {
            assert_eq!(Signature::parse(text), None, "{text}");
        }
    }
}
