//! Values of object metadata: Swift takes any bytes and gives them back, the store keeps text. A byte that is
//! not UTF-8 is kept as a character of the last half row of Unicode, which is for private use; where a client
//! really sends such a character, its bytes are kept so, too. Everything comes back as it came.

/// The character for byte 0x80; that for 0xFF is Unicode's last.
const FIRST: u32 = 0x10_FF80;

/// Bytes as text.
pub(super) fn to_text(value: &[u8]) -> String {
    let mut text = String::with_capacity(value.len());
    for chunk in value.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if byte_of(letter).is_some() {
                text.extend(letter.encode_utf8(&mut [0; 4]).bytes().filter_map(letter_of));
            } else {
                text.push(letter);
            }
        }
        text.extend(chunk.invalid().iter().copied().filter_map(letter_of));
    }
    text
}

/// The bytes that a text stands for.
pub(super) fn to_bytes(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for letter in text.chars() {
        match byte_of(letter) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// How many bytes a text stands for.
pub(super) fn length(text: &str) -> usize {
    text.chars().map(|letter| if byte_of(letter).is_some() { 1 } else { letter.len_utf8() }).sum()
}

fn letter_of(byte: u8) -> Option<char> {
    char::from_u32(FIRST + u32::from(byte.checked_sub(0x80)?))
}

fn byte_of(letter: char) -> Option<u8> {
    let offset = u8::try_from(u32::from(letter).checked_sub(FIRST)?).ok()?;
    offset.checked_add(0x80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_come_back_and_text_stays_itself() {
        let check = |bytes: &[u8], text: &str| {
            assert_eq!(to_text(bytes), text, "{bytes:?}");
            assert_eq!(to_bytes(text), bytes, "{text:?}");
            assert_eq!(length(text), bytes.len(), "{text:?}");
        };
        check(b"", "");
        check("blue ☃ \u{10FF7F}".as_bytes(), "blue ☃ \u{10FF7F}");
        check(b"caf\xe9", "caf\u{10FFE9}");
        check("☃".as_bytes().split_at(2).0, "\u{10FFE2}\u{10FF98}");
        check("\u{10FFFF}".as_bytes(), "\u{10FFF4}\u{10FF8F}\u{10FFBF}\u{10FFBF}");
    }
}
