//! Conditions of policies: operators, the keys that they may look at, and what a request says of those.

use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::document::{Malformed, Values};
use super::pattern::{fill, matches, matches_with};

/// What is known of a request, by lower-case key.
#[derive(Debug, Clone, Default)]
pub(in crate::s3) struct Facts(pub(in crate::s3) Values);

impl Facts {
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        match self.0.get(&name.to_ascii_lowercase()).map(Vec::as_slice) {
            Some([one]) => Some(one.clone()),
            _ => None,
        }
    }

    /// Notes a value; a key may have several.
    pub(in crate::s3) fn add(&mut self, key: &str, value: impl Into<String>) {
        self.0.entry(key.to_ascii_lowercase()).or_default().push(value.into());
    }
}

/// Keys that a condition may look at, in lower case; those that end with `/` are followed by a name.
const KEYS: [&str; 47] = [
    "aws:currenttime",
    "aws:epochtime",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principaltype",
    "aws:referer",
    "aws:securetransport",
    "aws:sourceip",
    "aws:useragent",
    "aws:userid",
    "aws:username",
    "s3:authtype",
    "s3:delimiter",
    "s3:existingobjecttag/",
    "s3:if-match",
    "s3:if-none-match",
    "s3:locationconstraint",
    "s3:max-keys",
    "s3:object-lock-legal-hold",
    "s3:object-lock-mode",
    "s3:object-lock-retain-until-date",
    "s3:prefix",
    "s3:requestobjecttag/",
    "s3:requestobjecttagkeys",
    "s3:resourceaccount",
    "s3:signatureversion",
    "s3:versionid",
    "s3:x-amz-acl",
    "s3:x-amz-content-sha256",
    "s3:x-amz-copy-source",
    "s3:x-amz-grant-full-control",
    "s3:x-amz-grant-read",
    "s3:x-amz-grant-read-acp",
    "s3:x-amz-grant-write",
    "s3:x-amz-grant-write-acp",
    "s3:x-amz-metadata-directive",
    "s3:x-amz-object-ownership",
    "s3:x-amz-server-side-encryption",
    "s3:x-amz-server-side-encryption-aws-kms-key-id",
    "s3:x-amz-server-side-encryption-customer-algorithm",
    "s3:x-amz-storage-class",
    "s3:x-amz-website-redirect-location",
    "aws:sourcearn",
    "aws:sourceaccount",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:principalorgid",
];

/// Keys whose values a caller can't choose at will: a condition on one of them to fixed values keeps the public out.
const NARROWING: [&str; 10] = [
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalorgid",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceip",
    "aws:sourcevpc",
    "aws:sourcevpce",
    "aws:userid",
    "aws:username",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    String,
    StringIgnoreCase,
    StringLike,
    Numeric(Order),
    Date(Order),
    Bool,
    Binary,
    Ip,
    Arn,
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, found: &T, stated: &T) -> bool {
        match self {
            Self::Equal => found == stated,
            Self::Less => found < stated,
            Self::LessOrEqual => found <= stated,
            Self::Greater => found > stated,
            Self::GreaterOrEqual => found >= stated,
        }
    }
}

/// Of a key with several values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    One,
    All,
    Any,
}

/// An operator, a key and the values that it is compared with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    kind: Kind,
    is_negated: bool,
    if_exists: bool,
    quantifier: Quantifier,
    key: String,
    values: Vec<String>,
}

impl Condition {
    pub(super) fn parse(operator: &str, key: &str, values: Vec<String>) -> Result<Self, Malformed> {
        let refused = |what: &str| Malformed(format!("Policy has an invalid condition {what}"));
        let (quantifier, name) = match operator.split_once(':') {
            Some(("ForAllValues", name)) => (Quantifier::All, name),
            Some(("ForAnyValue", name)) => (Quantifier::Any, name),
            Some(_) => return Err(refused("operator")),
            None => (Quantifier::One, operator),
        };
        let bare = name.strip_suffix("IfExists");
        let (name, if_exists) = (bare.unwrap_or(name), bare.is_some());
        let (kind, is_negated) = match name {
            "StringEquals" => (Kind::String, false),
            "StringNotEquals" => (Kind::String, true),
            "StringEqualsIgnoreCase" => (Kind::StringIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Kind::StringIgnoreCase, true),
            "StringLike" => (Kind::StringLike, false),
            "StringNotLike" => (Kind::StringLike, true),
            "NumericEquals" => (Kind::Numeric(Order::Equal), false),
            "NumericNotEquals" => (Kind::Numeric(Order::Equal), true),
            "NumericLessThan" => (Kind::Numeric(Order::Less), false),
            "NumericLessThanEquals" => (Kind::Numeric(Order::LessOrEqual), false),
            "NumericGreaterThan" => (Kind::Numeric(Order::Greater), false),
            "NumericGreaterThanEquals" => (Kind::Numeric(Order::GreaterOrEqual), false),
            "DateEquals" => (Kind::Date(Order::Equal), false),
            "DateNotEquals" => (Kind::Date(Order::Equal), true),
            "DateLessThan" => (Kind::Date(Order::Less), false),
            "DateLessThanEquals" => (Kind::Date(Order::LessOrEqual), false),
            "DateGreaterThan" => (Kind::Date(Order::Greater), false),
            "DateGreaterThanEquals" => (Kind::Date(Order::GreaterOrEqual), false),
            "Bool" => (Kind::Bool, false),
            "BinaryEquals" => (Kind::Binary, false),
            "IpAddress" => (Kind::Ip, false),
            "NotIpAddress" => (Kind::Ip, true),
            "ArnEquals" | "ArnLike" => (Kind::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Kind::Arn, true),
            "Null" if !if_exists => (Kind::Null, false),
            _ => return Err(refused("operator")),
        };
        let key = key.to_ascii_lowercase();
        let is_known = |known: &str| {
            key == known && !known.ends_with('/')
                || known.ends_with('/') && key.len() > known.len() && key.starts_with(known)
        };
        if !KEYS.iter().any(|known| is_known(known)) {
            return Err(refused("key"));
        }
        let is_value = |value: &String| match kind {
            _ if value.contains("${") => true,
            Kind::Numeric(_) => value.parse::<f64>().is_ok(),
            Kind::Date(_) => date(value).is_some(),
            Kind::Bool | Kind::Null => truth(value).is_some(),
            Kind::Ip => Network::parse(value).is_some(),
            Kind::Binary => STANDARD.decode(value).is_ok(),
            Kind::String | Kind::StringIgnoreCase | Kind::StringLike | Kind::Arn => true,
        };
        if values.is_empty() || !values.iter().all(is_value) {
            return Err(refused("value"));
        }
        Ok(Self { kind, is_negated, if_exists, quantifier, key, values })
    }

    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Whether it holds for callers alone whom something fixed tells from the public.
    pub(super) fn narrows(&self) -> bool {
        let is_fixed = |value: &String| !value.contains("${") && !value.contains(['*', '?']) && !value.ends_with("/0");
        NARROWING.contains(&self.key.as_str())
            && !self.is_negated
            && !self.if_exists
            && self.kind != Kind::Null
            && self.quantifier != Quantifier::All
            && self.values.iter().all(is_fixed)
    }

    pub(super) fn holds(&self, facts: &Facts, has_variables: bool) -> bool {
        let found = facts.0.get(&self.key).filter(|found| !found.is_empty());
        if self.kind == Kind::Null {
            return self.values.iter().any(|value| truth(value) == Some(found.is_none()));
        }
        let Some(found) = found else {
            // A key that isn't there is not what is asked for; of none, all are.
            return self.if_exists || self.is_negated || self.quantifier == Quantifier::All;
        };
        let is_one = |value: &String| {
            self.values.iter().any(|stated| self.compares(value, stated, facts, has_variables)) != self.is_negated
        };
        match self.quantifier {
            Quantifier::One if self.is_negated => found.iter().all(is_one),
            Quantifier::One | Quantifier::Any => found.iter().any(is_one),
            Quantifier::All => found.iter().all(is_one),
        }
    }

    fn compares(&self, found: &str, stated: &str, facts: &Facts, has_variables: bool) -> bool {
        let variable = |name: &str| facts.variable(name).filter(|_| has_variables);
        if matches!(self.kind, Kind::StringLike | Kind::Arn) {
            return match has_variables {
                true => matches_with(stated, found, variable),
                false => matches(stated, found),
            };
        }
        let filled = if has_variables { fill(stated, variable) } else { Some(stated.to_owned()) };
        let Some(stated) = filled else { return false };
        match self.kind {
            Kind::String => found == stated,
            // Base64 of the same bytes.
            Kind::Binary => STANDARD.decode(found).ok() == STANDARD.decode(&stated).ok(),
            Kind::StringIgnoreCase => found.to_lowercase() == stated.to_lowercase(),
            Kind::Numeric(order) => match (found.parse::<f64>(), stated.parse::<f64>()) {
                (Ok(found), Ok(stated)) => order.holds(&found, &stated),
                _ => false,
            },
            Kind::Date(order) => match (date(found), date(&stated)) {
                (Some(found), Some(stated)) => order.holds(&found, &stated),
                _ => false,
            },
            Kind::Bool => truth(found).is_some() && truth(found) == truth(&stated),
            Kind::Ip => match (found.parse(), Network::parse(&stated)) {
                (Ok(found), Some(network)) => network.has(found),
                _ => false,
            },
            Kind::StringLike | Kind::Arn | Kind::Null => false,
        }
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// Seconds since 1970 of a date as ISO 8601 has it, or of seconds.
fn date(text: &str) -> Option<f64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let whole = if text.contains('T') { text.to_owned() } else { format!("{text}T00:00:00Z") };
    let time = OffsetDateTime::parse(&whole, &Rfc3339).ok()?;
    Some(time.unix_timestamp_nanos() as f64 / 1e9)
}

/// An address, or those that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(width), |bits| bits.parse().ok()).filter(|bits| *bits <= width)?;
        Some(Self { address, bits })
    }

    fn has(self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - self.bits).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - self.bits).unwrap_or(0);
                network.to_bits() & mask == address.to_bits() & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(operator: &str, key: &str, values: &[&str], facts: &[(&str, &str)]) -> bool {
        let mut known = Facts::default();
        facts.iter().for_each(|(key, value)| known.add(key, *value));
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        Condition::parse(operator, key, values).expect("a condition").holds(&known, true)
    }

    #[test]
    fn operators_compare_as_they_are_called() {
        let prefix = [("s3:prefix", "home/Ann")];
        for (operator, values, want) in [
            ("StringEquals", ["home/Ann"].as_slice(), true),
            ("StringEquals", &["home/ann"], false),
            ("StringEquals", &["x", "home/Ann"], true),
            ("StringEqualsIgnoreCase", &["HOME/ANN"], true),
            ("StringNotEquals", &["x", "home/Ann"], false),
            ("StringNotEquals", &["x", "y"], true),
            ("StringLike", &["home/*"], true),
            ("StringNotLike", &["home/*"], false),
            ("Null", &["true"], false),
            ("Null", &["false"], true),
            ("ForAllValues:StringLike", &["home/*"], true),
        ] {
            assert_eq!(holds(operator, "s3:prefix", values, &prefix), want, "{operator} {values:?}");
        }
        for (operator, value, want) in [
            ("NumericLessThanEquals", "10", true),
            ("NumericLessThan", "10", false),
            ("NumericGreaterThan", "9.5", true),
            ("NumericNotEquals", "10", false),
        ] {
            assert_eq!(holds(operator, "s3:max-keys", &[value], &[("s3:max-keys", "10")]), want, "{operator}");
        }
        let now = [("aws:currenttime", "2026-11-23T10:00:00Z")];
        assert!(holds("DateGreaterThan", "aws:CurrentTime", &["2026-11-23"], &now));
        assert!(!holds("DateLessThan", "aws:CurrentTime", &["2026-11-23T09:59:59Z"], &now));
    }

    #[test]
    fn addresses_are_in_networks_or_not() {
        for (network, address, want) in [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("2001:db8::/32", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            assert_eq!(holds("IpAddress", "aws:SourceIp", &[network], &[("aws:sourceip", address)]), want, "{network}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_what_is_asked_for() {
        assert!(!holds("StringEquals", "s3:prefix", &["a"], &[]));
        assert!(holds("StringEqualsIfExists", "s3:prefix", &["a"], &[]));
        assert!(holds("StringNotEquals", "s3:prefix", &["a"], &[]));
        assert!(holds("ForAllValues:StringEquals", "s3:RequestObjectTagKeys", &["a"], &[]));
        assert!(!holds("ForAnyValue:StringEquals", "s3:RequestObjectTagKeys", &["a"], &[]));
        assert!(holds("Null", "s3:prefix", &["true"], &[]));
    }

    #[test]
    fn variables_are_filled_in() {
        let facts = [("aws:username", "ann"), ("s3:prefix", "home/ann/x")];
        assert!(holds("StringLike", "s3:prefix", &["home/${aws:username}/*"], &facts));
        assert!(!holds("StringEquals", "s3:prefix", &["${aws:userid}"], &facts));
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        for (operator, key, value) in [
            ("StringIs", "s3:prefix", "a"),
            ("StringEquals", "s3:nothing", "a"),
            ("StringEquals", "s3:ExistingObjectTag/", "a"),
            ("NumericEquals", "s3:max-keys", "ten"),
            ("DateEquals", "aws:CurrentTime", "today"),
            ("IpAddress", "aws:SourceIp", "10.0.0.0/33"),
            ("Bool", "aws:SecureTransport", "yes"),
            ("NullIfExists", "s3:prefix", "true"),
            ("Some:StringEquals", "s3:prefix", "a"),
        ] {
            assert!(Condition::parse(operator, key, vec![value.into()]).is_err(), "{operator} {key} {value}");
        }
    }
}
