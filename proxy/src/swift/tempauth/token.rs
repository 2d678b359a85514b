//! Tokens: a user's name and the second of the end, sealed.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What stands between the prefix and the rest.
pub(super) const MARK: &str = "tk";

/// Bytes of the end in front of the name.
const END_BYTES: usize = 8;

/// Bytes of the seal behind it.
const SEAL_BYTES: usize = 32;

/// A token for `user` until the second `end`.
pub(super) fn seal(user: &str, end: u64, key: &[u8]) -> String {
    let mut token = [&end.to_be_bytes(), user.as_bytes()].concat();
    token.extend(mac(&token, key).finalize().into_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(token)
}

/// The user of a token that is good at the second `now`; `key_of` knows the users' keys.
pub(super) fn open(token: &str, now: u64, key_of: impl Fn(&str) -> Option<Vec<u8>>) -> Option<String> {
    let token = BASE64_URL_SAFE_NO_PAD.decode(token).ok()?;
    let (content, seal) = token.split_at_checked(token.len().checked_sub(SEAL_BYTES)?)?;
    let (end, user) = content.split_first_chunk::<END_BYTES>()?;
    let user = std::str::from_utf8(user).ok()?;
    mac(content, &key_of(user)?).verify_slice(seal).ok()?;
    (u64::from_be_bytes(*end) > now).then(|| user.to_owned())
}

fn mac(content: &[u8], key: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(content);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_its_users_until_its_end_and_under_his_key() {
        let keys = |name: &str| (name == "a:b").then(|| b"key".to_vec());
        let token = seal("a:b", 100, b"key");
        assert_eq!(open(&token, 99, keys).as_deref(), Some("a:b"));
        assert_eq!(open(&token, 100, keys), None, "it has ended");
        assert_eq!(open(&token, 99, |_| Some(b"other".to_vec())), None, "the password has changed");
        assert_eq!(open(&seal("a:c", 100, b"key"), 99, keys), None, "nobody knows him");
        let mut forged = BASE64_URL_SAFE_NO_PAD.decode(&token).expect("base64");
        forged[6] ^= 1;
        assert_eq!(open(&BASE64_URL_SAFE_NO_PAD.encode(forged), 99, keys), None, "its end was put off");
        for text in ["", "x", "AAAA", "€"] {
            assert_eq!(open(text, 0, keys), None, "{text:?}");
        }
    }
}
