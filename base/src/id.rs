//! Random identifiers in the two spellings that OpenStack uses.

/// A new identifier as 32 lower-case hexadecimal digits (Keystone's form).
pub fn hex_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// A new identifier as a dashed version-4 UUID (the form of every service but Keystone).
pub fn uuid() -> String {
    let bits = (rand::random::<u128>() & !(0xf << 76) & !(0b11 << 62)) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

/// A request id as every OpenStack service answers it: `req-<uuid>`.
pub fn request_id() -> String {
    format!("req-{}", uuid())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_states_version_and_variant() {
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(id.as_bytes()[14], b'4');
        assert!(matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{id}");
        assert_ne!(id, uuid());
    }
}
