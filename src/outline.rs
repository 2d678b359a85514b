//! Shows reports to people: any value that can be JSON as an indented outline. A field's name tells its
//! unit, so that a report needs no second description.

use std::fmt::Write;

use anello_base::units::format_size;
use serde_json::Value;

/// The value as lines, under its name.
pub(crate) fn outline(name: &str, value: &Value) -> String {
    let mut text = String::new();
    section(&mut text, name, value, 0);
    text
}

/// One value and what is in it; fields that end in `bytes` as sizes.
fn section(text: &mut String, name: &str, value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    let label = name.replace('_', " ");
    // Writing to a String cannot fail.
    let _ = match value {
        Value::Object(map) => {
            let title = map.get("path").or_else(|| map.get("name")).and_then(Value::as_str).unwrap_or_default();
            let _ = writeln!(text, "{indent}{}", format_args!("{label} {title}").to_string().trim_end());
            map.iter().for_each(|(key, inner)| section(text, key, inner, depth + 1));
            Ok(())
        }
        Value::Array(items) if items.iter().any(Value::is_object) => {
            let one = match label.strip_suffix("ies") {
                Some(stem) => format!("{stem}y"),
                None => label.trim_end_matches('s').to_owned(),
            };
            items.iter().for_each(|item| section(text, &one, item, depth));
            Ok(())
        }
        Value::Array(items) if items.is_empty() => writeln!(text, "{indent}{label}: none"),
        Value::Array(items) => {
            let _ = writeln!(text, "{indent}{label}:");
            items.iter().try_for_each(|item| match item.as_str() {
                Some(item) => writeln!(text, "{indent}  {item}"),
                None => writeln!(text, "{indent}  {item}"),
            })
        }
        Value::Null => writeln!(text, "{indent}{label}: -"),
        Value::Number(number) if name.ends_with("bytes") => {
            let size = number.as_u64().map_or_else(|| number.to_string(), format_size);
            writeln!(text, "{indent}{}: {size}", label.trim_end_matches(" bytes"))
        }
        Value::String(inner) => writeln!(text, "{indent}{label}: {inner}"),
        other => writeln!(text, "{indent}{label}: {other}"),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_told_one_by_one_and_sizes_with_their_unit() {
        let report = serde_json::json!({
            "log_volumes": [{"id": 1, "size_bytes": 1536}, {"id": 2, "size_bytes": 0}],
            "quarantine": [],
            "problems": ["first", "second"],
            "torn_tail": false,
        });
        let want = "device\n  log volume\n    id: 1\n    size: 1.5 KiB\n  log volume\n    id: 2\n    size: 0 B\n\
                    \x20 problems:\n    first\n    second\n  quarantine: none\n  torn tail: false\n";
        assert_eq!(outline("device", &report), want);
    }
}
