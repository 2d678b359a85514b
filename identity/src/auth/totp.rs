//! Passcodes that change with time (RFC 6238: HMAC-SHA1, six digits, 30 seconds), by the secrets that a user keeps
//! as credentials of the type `totp`.

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

/// Seconds that a passcode is shown for.
const STEP_SECONDS: u64 = 30;

/// Earlier passcodes that are accepted too, for clocks that differ and people who type; Keystone's default.
const EARLIER_STEPS: u64 = 1;

/// The passcode of a step.
fn passcode(secret: &[u8], step: u64) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes keys of any length");
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    // The last half byte says which four bytes to take; it is below 16, and SHA-1 has 20.
    let start = usize::from(digest[19] & 0xf);
    let word = u32::from_be_bytes([digest[start], digest[start + 1], digest[start + 2], digest[start + 3]]);
    format!("{:06}", (word & 0x7fff_ffff) % 1_000_000)
}

/// Whether `given` is the passcode of a secret (base32, with or without padding) at a second since 1970, or of the
/// step before.
pub(crate) fn is_passcode(secret: &str, given: &str, now: u64) -> bool {
    let letters = secret.trim().trim_end_matches('=').to_ascii_uppercase();
    let Ok(secret) = BASE32_NOPAD.decode(letters.as_bytes()) else { return false };
    let step = now / STEP_SECONDS;
    let steps = step.saturating_sub(EARLIER_STEPS)..=step;
    steps.into_iter().any(|step| passcode(&secret, step).as_bytes().ct_eq(given.as_bytes()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_accepted_for_a_minute() {
        // "12345678901234567890"; RFC 6238, appendix B, the last six digits.
        let secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
        for (now, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert!(is_passcode(secret, code, now) && is_passcode(secret, code, now + 30), "{now}");
            assert!(!is_passcode(secret, code, now + 60) && !is_passcode(secret, code, now - 30), "{now}");
        }
        assert!(!is_passcode("no base32 !", "287082", 59) && !is_passcode(secret, "", 59));
    }
}
