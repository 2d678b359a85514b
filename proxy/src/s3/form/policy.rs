//! The policy of a form: what its signer lets whoever sends it put there. Every field has to be covered by a condition,
//! and every condition to hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// Fields that no condition has to cover, besides those that begin with `x-ignore-`.
const FREE: [&str; 6] = ["awsaccesskeyid", "signature", "x-amz-signature", "policy", "file", "bucket"];

/// A policy as it was signed.
#[derive(Debug)]
pub(super) struct FormPolicy {
    expires: OffsetDateTime,
    conditions: Vec<Condition>,
    /// Least and most bytes of the file.
    lengths: Option<(u64, u64)>,
}

#[derive(Debug)]
struct Condition {
    /// In lower case.
    field: String,
    value: String,
    is_start: bool,
}

fn invalid(text: &str) -> S3Error {
    S3Error::with_message(S3ErrorCode::InvalidPolicyDocument, format!("Invalid Policy: {text}"))
}

fn refused(text: impl std::fmt::Display) -> S3Error {
    S3Error::with_message(
        S3ErrorCode::AccessDenied,
        format!("Invalid according to Policy: Policy Condition failed: {text}"),
    )
}

impl FormPolicy {
    /// Reads the Base64 of a document.
    pub(super) fn parse(encoded: &str) -> S3Result<Self> {
        let document = STANDARD.decode(encoded.trim()).map_err(|_| invalid("Invalid JSON."))?;
        let Ok(Value::Object(document)) = serde_json::from_slice(&document) else {
            return Err(invalid("Invalid JSON."));
        };
        let (mut expires, mut listed) = (None, None);
        for (name, value) in &document {
            match (name.as_str(), value) {
                ("expiration", Value::String(text)) => {
                    let time = OffsetDateTime::parse(text, &Rfc3339).ok().filter(|_| text.contains('T'));
                    expires = Some(time.ok_or_else(|| invalid(&format!("Invalid 'expiration' value: '{text}'")))?);
                }
                ("conditions", Value::Array(conditions)) => listed = Some(conditions),
                _ => return Err(invalid(&format!("Unexpected: '{name}'"))),
            }
        }
        let expires = expires.ok_or_else(|| invalid("Policy missing expiration."))?;
        let listed = listed.filter(|listed| !listed.is_empty());
        let listed = listed.ok_or_else(|| invalid("Policy missing conditions."))?;
        let mut policy = Self { expires, conditions: Vec::new(), lengths: None };
        listed.iter().try_for_each(|condition| policy.add(condition))?;
        Ok(policy)
    }

    fn add(&mut self, condition: &Value) -> S3Result<()> {
        let odd = || invalid("Invalid condition.");
        match condition {
            Value::Object(fields) if !fields.is_empty() => {
                for (field, value) in fields {
                    let value = value.as_str().ok_or_else(odd)?;
                    self.conditions.push(Condition {
                        field: field.to_ascii_lowercase(),
                        value: value.to_owned(),
                        is_start: false,
                    });
                }
                Ok(())
            }
            Value::Array(items) => match items.as_slice() {
                [Value::String(operator), least, most] if operator.eq_ignore_ascii_case("content-length-range") => {
                    let number = |value: &Value| match value {
                        Value::String(text) => text.parse().ok(),
                        value => value.as_u64(),
                    };
                    self.lengths = Some((number(least).ok_or_else(odd)?, number(most).ok_or_else(odd)?));
                    Ok(())
                }
                [Value::String(operator), Value::String(field), Value::String(value)] => {
                    let is_start = match operator.to_ascii_lowercase().as_str() {
                        "eq" => false,
                        "starts-with" => true,
                        _ => return Err(odd()),
                    };
                    let field = field.strip_prefix('$').ok_or_else(odd)?.to_ascii_lowercase();
                    self.conditions.push(Condition { field, value: value.clone(), is_start });
                    Ok(())
                }
                _ => Err(odd()),
            },
            _ => Err(odd()),
        }
    }

    /// Holds a form to the policy.
    pub(super) fn check(&self, now: OffsetDateTime, fields: &[(String, String)], bucket: &str) -> S3Result<()> {
        if now >= self.expires {
            return Err(s3_error!(AccessDenied, "Invalid according to Policy: Policy expired."));
        }
        for condition in &self.conditions {
            let found = match condition.field.as_str() {
                "bucket" => Some(bucket),
                field => fields.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str()),
            };
            let found = found.unwrap_or_default();
            let holds = match condition.is_start {
                true => found.starts_with(&condition.value),
                false => found == condition.value,
            };
            if !holds {
                return Err(refused(format!("\"{}\"", condition.field)));
            }
        }
        for (name, _) in fields {
            let is_free = FREE.contains(&name.as_str()) || name.starts_with("x-ignore-");
            if !is_free && !self.conditions.iter().any(|condition| condition.field == *name) {
                return Err(S3Error::with_message(
                    S3ErrorCode::AccessDenied,
                    format!("Invalid according to Policy: Extra input fields: {name}"),
                ));
            }
        }
        Ok(())
    }

    /// Least and most bytes of the file.
    pub(super) fn lengths(&self) -> Option<(u64, u64)> {
        self.lengths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(document: &str) -> S3Result<FormPolicy> {
        FormPolicy::parse(&STANDARD.encode(document))
    }

    fn check(conditions: &str, fields: &[(&str, &str)]) -> bool {
        let document = format!(r#"{{"expiration": "2030-01-01T00:00:00Z", "conditions": {conditions}}}"#);
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        parse(&document).expect("a policy").check(OffsetDateTime::UNIX_EPOCH, &fields, "b").is_ok()
    }

    #[test]
    fn every_field_is_covered_and_every_condition_holds() {
        let conditions = r#"[{"bucket": "b"}, ["starts-with", "$key", "a/"], ["eq", "$ACL", "private"]]"#;
        assert!(check(conditions, &[("key", "a/x"), ("acl", "private")]));
        assert!(check(conditions, &[("key", "a/x"), ("acl", "private"), ("x-ignore-a", "1"), ("signature", "s")]));
        assert!(!check(conditions, &[("key", "b/x"), ("acl", "private")]));
        assert!(!check(conditions, &[("key", "a/x")]));
        assert!(!check(conditions, &[("key", "a/x"), ("acl", "private"), ("x-amz-meta-a", "1")]));
        assert!(!check(r#"[{"bucket": "c"}]"#, &[]));
    }

    #[test]
    fn a_document_that_is_none_is_refused() {
        for document in [
            "",
            "[]",
            r#"{"conditions": [{"bucket": "b"}]}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z"}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": []}"#,
            r#"{"expiration": "2030-01-01 00:00:00Z", "conditions": [{"bucket": "b"}]}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": [{}]}"#,
            r#"{"expiration": "soon", "conditions": [{"bucket": "b"}]}"#,
            r#"{"Expiration": "2030-01-01T00:00:00Z", "conditions": [{"bucket": "b"}]}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": [["content-length-range", 0]]}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": [["content-length-range", -1, 0]]}"#,
            r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": [["ends-with", "$key", "a"]]}"#,
        ] {
            assert!(parse(document).is_err(), "{document}");
        }
        assert!(FormPolicy::parse("not Base64!").is_err());
    }

    #[test]
    fn a_policy_ends() {
        let policy =
            parse(r#"{"expiration": "2030-01-01T00:00:00Z", "conditions": [["content-length-range", 1, "9"]]}"#);
        let policy = policy.expect("a policy");
        assert_eq!(policy.lengths(), Some((1, 9)));
        let end = OffsetDateTime::parse("2030-01-01T00:00:00Z", &Rfc3339).expect("a time");
        assert!(policy.check(end, &[], "b").is_err());
        assert!(policy.check(end - time::Duration::SECOND, &[], "b").is_ok());
    }
}
