//! Account access lists (`X-Account-Access-Control`): a JSON object that names groups for each kind of access.

use serde_json::{Map, Value};

/// The header.
pub(in crate::swift) const ACCOUNT_ACL: &str = "x-account-access-control";

/// What may be granted, as the list names it.
const KINDS: [&str; 3] = ["admin", "read-write", "read-only"];

/// Who may do what in an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::swift) struct AccountAcl {
    /// Who is as good as its owner.
    pub(in crate::swift) admin: Vec<String>,
    /// Who may read everything and write containers and objects.
    pub(in crate::swift) read_write: Vec<String>,
    /// Who may read everything.
    pub(in crate::swift) read_only: Vec<String>,
}

impl AccountAcl {
    /// Reads a list, or says what is wrong with it. Nothing is a list that names nobody.
    pub(in crate::swift) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let syntax = || format!("Syntax error in input ({text:?})");
        let list: Map<String, Value> = serde_json::from_str(text).map_err(|_| syntax())?;
        if let Some(key) = list.keys().find(|key| !KINDS.contains(&key.as_str())) {
            return Err(format!("Key {} not recognized", Value::from(key.as_str())));
        }
        let named = |kind: &str| {
            let Some(value) = list.get(kind) else { return Ok(Vec::new()) };
            let value = value.as_array().ok_or_else(|| format!("Value for key \"{kind}\" must be a list"))?;
            let groups = value.iter().map(|group| group.as_str().map(str::to_owned));
            groups.collect::<Option<Vec<_>>>().ok_or_else(|| format!("Elements of \"{kind}\" list must be strings"))
        };
        Ok(Self { admin: named(KINDS[0])?, read_write: named(KINDS[1])?, read_only: named(KINDS[2])? })
    }

    /// Whether it names nobody.
    pub(in crate::swift) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The list as it is kept and shown: sorted, without blanks, in ASCII.
    pub(in crate::swift) fn text(&self) -> String {
        let kinds = [(KINDS[0], &self.admin), (KINDS[2], &self.read_only), (KINDS[1], &self.read_write)];
        let named = kinds.into_iter().filter(|(_, groups)| !groups.is_empty());
        let list: Map<String, Value> = named.map(|(kind, groups)| (kind.to_owned(), groups.clone().into())).collect();
        ascii(&Value::Object(list).to_string())
    }
}

/// JSON whose letters beyond ASCII are written as escapes, so that any header carries it.
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for letter in json.chars() {
        if letter.is_ascii() {
            text.push(letter);
        } else {
            let mut units = [0; 2];
            text.extend(letter.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written_or_refused_with_the_reason() {
        let read = |text| AccountAcl::parse(text).map(|acl| acl.text());
        let list = "{ \"read-only\": [\"x:ü\"], \"admin\": [\"a\", \"b:c\"] }";
        assert_eq!(read(list).as_deref(), Ok("{\"admin\":[\"a\",\"b:c\"],\"read-only\":[\"x:\\u00fc\"]}"));
        assert_eq!(AccountAcl::parse(&read(list).expect("valid")), AccountAcl::parse(list));
        assert!(AccountAcl::parse("{}").is_ok_and(|acl| acl.is_empty()));
        for (text, reason) in [
            ("[]", "Syntax error"),
            ("{\"admin\": [}", "Syntax error"),
            ("{\"other\": []}", "Key \"other\" not recognized"),
            ("{\"admin\": \"a\"}", "must be a list"),
            ("{\"admin\": [1]}", "must be strings"),
        ] {
            assert!(read(text).is_err_and(|found| found.contains(reason)), "{text}");
        }
    }
}
