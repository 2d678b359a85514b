//! Byte units, and sizes as people write them (`64MiB`, `5GB`, `4096`).

/// 1024 bytes.
pub const KIB: u64 = 1024;
/// 1024 KiB.
pub const MIB: u64 = 1024 * KIB;
/// 1024 MiB.
pub const GIB: u64 = 1024 * MIB;
/// 1024 GiB.
pub const TIB: u64 = 1024 * GIB;

/// Parses a size in bytes: a number, optionally with a decimal point and a unit
/// (`k`, `kB`, `KiB`, … `TiB`; a bare letter and `iB` mean powers of 1024, `B` forms powers of 1000).
///
/// Returns `None` where the text is not such a size or does not fit 64 bits.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = (text.get(..split)?, text.get(split..)?.trim().to_ascii_lowercase());
    let factor = match unit.as_str() {
        "" | "b" => 1,
        "k" | "kib" => KIB,
        "m" | "mib" => MIB,
        "g" | "gib" => GIB,
        "t" | "tib" => TIB,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(factor);
    }
    let bytes = number.parse::<f64>().ok()? * factor as f64;
    (bytes.is_finite() && bytes < u64::MAX as f64).then_some(bytes as u64)
}

/// Shows a size with the largest binary unit that keeps it at one or above: `1.5 MiB`.
pub fn format_size(bytes: u64) -> String {
    for (unit, name) in [(TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB")] {
        if bytes >= unit {
            return format!("{:.1} {name}", bytes as f64 / unit as f64);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, want) in [
            ("4096", Some(4096)),
            ("64KiB", Some(65_536)),
            ("64k", Some(65_536)),
            ("5 GB", Some(5_000_000_000)),
            ("1.5MiB", Some(1_572_864)),
            ("", None),
            ("12parsec", None),
            ("99999999999TiB", None),
        ] {
            assert_eq!(parse_size(text), want, "{text:?}");
        }
    }

    #[test]
    fn sizes_are_shown_with_their_largest_unit() {
        assert_eq!(format_size(100), "100 B");
        assert_eq!(format_size(3 * MIB / 2), "1.5 MiB");
    }
}
