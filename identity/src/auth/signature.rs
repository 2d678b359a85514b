//! Verifies signed requests that another service forwards: EC2's (signature versions 0, 1, 2 and 4) and S3's
//! (a string to sign, versions 2 and 4). All that comes in is from outside; comparisons take constant time.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// What signed requests leave as it is (RFC 3986's unreserved characters).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

fn hmac_sha256(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn hmac_sha1(key: &[u8], data: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

fn equal(left: &str, right: &str) -> bool {
    left.as_bytes().ct_eq(right.as_bytes()).into()
}

/// The signing key of version 4 for a scope `date/region/service/aws4_request`.
fn v4_key(secret: &str, scope: &[&str]) -> Vec<u8> {
    scope.iter().fold(format!("AWS4{secret}").into_bytes(), |key, part| hmac_sha256(&key, part.as_bytes()))
}

/// Whether `signature` is the secret's over the string to sign (in URL-safe base64): HMAC-SHA1 in base64, or version 4
/// in hex for the services s3, iam and sts.
pub(crate) fn s3_signature_matches(secret: &str, token: &str, signature: &str) -> bool {
    let Ok(string_to_sign) = URL_SAFE.decode(token) else { return false };
    let is_v4 = string_to_sign.starts_with(b"AWS4");
    if !is_v4 {
        return equal(&STANDARD.encode(hmac_sha1(secret.as_bytes(), &string_to_sign)), signature);
    }
    let Ok(text) = std::str::from_utf8(&string_to_sign) else { return false };
    let lines: Vec<&str> = text.split('\n').collect();
    let [algorithm, _, scope, _] = lines.as_slice() else { return false };
    let scope: Vec<&str> = scope.split('/').collect();
    let is_known = matches!(scope.as_slice(), [_, _, "s3" | "iam" | "sts", "aws4_request"]);
    if *algorithm != "AWS4-HMAC-SHA256" || !is_known {
        return false;
    }
    equal(&hex::encode(hmac_sha256(&v4_key(secret, &scope), &string_to_sign)), signature)
}

/// A request as it was signed.
struct Signed<'a> {
    verb: &'a str,
    path: &'a str,
    params: BTreeMap<&'a str, &'a str>,
    headers: BTreeMap<String, &'a str>,
    body_hash: &'a str,
    signature: &'a str,
}

impl<'a> Signed<'a> {
    fn parse(credentials: &'a Value) -> Option<(Self, &'a str)> {
        let texts = |name: &str| -> Vec<(&'a str, &'a str)> {
            let object = credentials.get(name).and_then(Value::as_object);
            object.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
        };
        let text = |name: &str| credentials.get(name).and_then(Value::as_str);
        let headers = texts("headers").into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value));
        let signed = Self {
            verb: text("verb").unwrap_or("GET"),
            path: text("path").unwrap_or("/"),
            params: texts("params").into_iter().collect(),
            headers: headers.collect(),
            body_hash: text("body_hash").unwrap_or(""),
            signature: text("signature").unwrap_or(""),
        };
        Some((signed, text("host")?))
    }

    fn query(&self, without: &str) -> String {
        let pairs = self.params.iter().filter(|(name, _)| **name != without);
        pairs.map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect::<Vec<_>>().join("&")
    }

    /// Signatures 0 to 2, which travel among the parameters.
    fn matches_query_version(&self, secret: &str, host: &str) -> Option<bool> {
        let secret = secret.as_bytes();
        let expected = match *self.params.get("SignatureVersion")? {
            "0" => {
                let text = format!("{}{}", self.params.get("Action")?, self.params.get("Timestamp")?);
                hmac_sha1(secret, text.as_bytes())
            }
            "1" => {
                let mut pairs: Vec<_> = self.params.iter().filter(|(name, _)| **name != "Signature").collect();
                pairs.sort_by_key(|(name, _)| name.to_ascii_lowercase());
                let text: String = pairs.iter().map(|(name, value)| format!("{name}{value}")).collect();
                hmac_sha1(secret, text.as_bytes())
            }
            "2" => {
                let text = format!("{}\n{host}\n{}\n{}", self.verb, self.path, self.query("Signature"));
                match self.params.get("SignatureMethod").copied() {
                    Some("HmacSHA1") => hmac_sha1(secret, text.as_bytes()),
                    None | Some("HmacSHA256") => hmac_sha256(secret, text.as_bytes()),
                    Some(_) => return Some(false),
                }
            }
            _ => return Some(false),
        };
        Some(equal(&STANDARD.encode(expected), self.signature))
    }

    /// Version 4, in the `Authorization` header or among the parameters.
    fn matches_v4(&self, secret: &str, host: &str) -> Option<bool> {
        let (credential, signed_headers, date, query) = match self.headers.get("authorization") {
            Some(line) => {
                let fields = line.strip_prefix("AWS4-HMAC-SHA256")?;
                let field =
                    |name: &str| fields.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='));
                let date = self.headers.get("x-amz-date").or_else(|| self.headers.get("date")).copied()?;
                (field("Credential")?, field("SignedHeaders")?, date, self.query(""))
            }
            None => {
                let param = |name: &str| self.params.get(name).copied();
                let query = self.query("X-Amz-Signature");
                (param("X-Amz-Credential")?, param("X-Amz-SignedHeaders")?, param("X-Amz-Date")?, query)
            }
        };
        let (_, scope) = credential.split_once('/')?;
        let mut lines = String::new();
        for name in signed_headers.split(';') {
            let value = if name == "host" { host } else { self.headers.get(name).copied()? };
            lines += &format!("{name}:{}\n", value.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        let request = format!("{}\n{}\n{query}\n{lines}\n{signed_headers}\n{}", self.verb, self.path, self.body_hash);
        let digest = hex::encode(Sha256::digest(request.as_bytes()));
        let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}");
        let parts: Vec<&str> = scope.split('/').collect();
        if parts.len() != 4 || parts[3] != "aws4_request" || !date.starts_with(parts[0]) {
            return Some(false);
        }
        Some(equal(&hex::encode(hmac_sha256(&v4_key(secret, &parts), text.as_bytes())), self.signature))
    }
}

/// Whether a forwarded EC2 request (`access`, `signature`, `host`, `verb`, `path`, `params`, `headers`, `body_hash`)
/// bears the secret's signature. Some clients leave the port out of the host that they sign; both are tried.
pub(crate) fn ec2_signature_matches(secret: &str, credentials: &Value) -> bool {
    let Some((signed, host)) = Signed::parse(credentials) else { return false };
    let without_port = host.rsplit_once(':').map(|(host, _)| host);
    std::iter::once(host).chain(without_port).any(|host| {
        signed.matches_query_version(secret, host).or_else(|| signed.matches_v4(secret, host)).unwrap_or(false)
    })
}

/// The time that a forwarded EC2 request was signed at, in microseconds since 1970: the one that its signature covers,
/// and no other that it may state besides. `Ok(None)` where it says none, `Err` where what it says is no time.
pub(crate) fn signed_at(credentials: &Value) -> Result<Option<u64>, ()> {
    let Some((signed, _)) = Signed::parse(credentials) else { return Ok(None) };
    let stated = if signed.params.contains_key("SignatureVersion") {
        signed.params.get("Timestamp")
    } else if signed.headers.contains_key("authorization") {
        signed.headers.get("x-amz-date").or_else(|| signed.headers.get("date"))
    } else {
        signed.params.get("X-Amz-Date")
    };
    match stated {
        None => Ok(None),
        Some(text) => crate::time::parse_basic(text).or_else(|| crate::time::parse(text)).map(Some).ok_or(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_example_of_the_version_4_documentation_is_verified() {
        // "Signature calculations: GET object", secret and result as published by AWS.
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let text = "AWS4-HMAC-SHA256\n20130524T000000Z\n20130524/us-east-1/s3/aws4_request\n\
                    7344ae5b7ee6c3e7e6b0fe0640412a37625d1fbfff95c48bbb2dc43964946972";
        let signature = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        assert!(s3_signature_matches(secret, &URL_SAFE.encode(text), signature));
        assert!(!s3_signature_matches("another", &URL_SAFE.encode(text), signature));
        let other = text.replace("/s3/", "/ec2/");
        assert!(!s3_signature_matches(secret, &URL_SAFE.encode(other), signature));
        assert!(!s3_signature_matches(secret, "no base64 !", signature));
    }

    #[test]
    fn a_version_2_request_is_verified_with_and_without_the_port() {
        let params = json!({"Action": "Test", "SignatureVersion": "2", "SignatureMethod": "HmacSHA256", "A b": "c/d"});
        let text = "GET\nh\n/\nA%20b=c%2Fd&Action=Test&SignatureMethod=HmacSHA256&SignatureVersion=2";
        let signature = STANDARD.encode(hmac_sha256(b"secret", text.as_bytes()));
        let request = |host: &str, signature: &str| json!({"host": host, "verb": "GET", "path": "/", "params": params, "signature": signature});
        assert!(ec2_signature_matches("secret", &request("h", &signature)));
        assert!(ec2_signature_matches("secret", &request("h:8773", &signature)));
        assert!(!ec2_signature_matches("secret", &request("other", &signature)));
        assert!(!ec2_signature_matches("secret", &request("h", "")));
        assert!(!ec2_signature_matches("secret", &json!({})));
    }

    #[test]
    fn the_time_that_counts_is_the_one_that_is_signed() {
        let at = |headers: Value, params: Value| signed_at(&json!({"host": "h", "headers": headers, "params": params}));
        let (old, new) = ("20200101T000000Z", "20300101T000000Z");
        let old_us = crate::time::parse_basic(old);
        let v4 = |name: &str| json!({"Authorization": "AWS4-HMAC-SHA256 …", name: old});
        assert_eq!(at(v4("X-Amz-Date"), json!({})), Ok(old_us));
        assert_eq!(at(v4("x-amz-date"), json!({})), Ok(old_us), "clients write headers as they like");
        assert_eq!(at(v4("Date"), json!({"Timestamp": new, "X-Amz-Date": new})), Ok(old_us));
        assert_eq!(at(json!({"X-Amz-Date": new}), json!({"X-Amz-Date": old})), Ok(old_us), "presigned");
        let v2 = json!({"SignatureVersion": "2", "Timestamp": "2020-01-01T00:00:00Z", "X-Amz-Date": new});
        assert_eq!(at(json!({"X-Amz-Date": new}), v2), Ok(old_us));
        assert_eq!(at(json!({"X-Amz-Date": new}), json!({"SignatureVersion": "2"})), Ok(None), "not signed");
        assert_eq!(at(json!({}), json!({"X-Amz-Date": "yesterday"})), Err(()));
    }
}
