//! A bucket's web site as it is stored, and where it sends visitors. Nothing here asks the store.

use serde::{Deserialize, Serialize};

/// A bucket's site; the stored form is `docs/formats/website.md`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Site {
    /// What a directory's address is completed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<String>,
    /// The key of the page for errors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// Where all requests are sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) elsewhere: Option<Elsewhere>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) rules: Vec<Rule>,
}

/// Another site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Elsewhere {
    pub(super) host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<String>,
}

/// A rule that sends some visitors elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    /// For keys that begin so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prefix: Option<String>,
    /// For what would be answered with this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<String>,
    /// The status to answer with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<u16>,
    /// Stands for what the condition's prefix is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replace_prefix: Option<String>,
    /// Stands for the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replace_key: Option<String>,
}

impl Rule {
    /// The key that it sends to, from one that it is for.
    pub(super) fn key(&self, key: &str) -> String {
        match (&self.replace_key, &self.replace_prefix) {
            (Some(other), _) => other.clone(),
            (None, Some(other)) => {
                let rest = key.strip_prefix(self.prefix.as_deref().unwrap_or_default()).unwrap_or(key);
                format!("{other}{rest}")
            }
            (None, None) => key.to_owned(),
        }
    }
}

impl Site {
    /// Reads a site as it is stored; `None` where it makes no sense.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are JSON")
    }

    /// The first rule for a key before it is looked for, or where it would be answered with an error.
    pub(super) fn rule(&self, key: &str, error: Option<u16>) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            rule.prefix.as_ref().is_none_or(|prefix| key.starts_with(prefix.as_str())) && rule.status == error
        })
    }

    /// The key of a path's page, where it is a directory's.
    pub(super) fn index_of(&self, key: &str) -> Option<String> {
        let index = self.index.as_ref()?;
        (key.is_empty() || key.ends_with('/')).then(|| format!("{key}{index}"))
    }
}

/// For the fuzzer: a site is read as it was written.
#[cfg(feature = "fuzzing")]
pub(in crate::s3) fn feed(bytes: &[u8]) {
    let Some(site) = std::str::from_utf8(bytes).ok().and_then(Site::parse) else { return };
    assert_eq!(Site::parse(&site.text()).as_ref(), Some(&site));
    for rule in &site.rules {
        let _ = rule.key("docs/page");
    }
    assert_eq!(site.index_of("").is_some(), site.index.is_some());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_fits_sends_on() {
        let rule = |prefix: Option<&str>, status, replace_prefix: Option<&str>, replace_key: Option<&str>| Rule {
            prefix: prefix.map(str::to_owned),
            status,
            replace_prefix: replace_prefix.map(str::to_owned),
            replace_key: replace_key.map(str::to_owned),
            ..Rule::default()
        };
        let site = Site {
            rules: vec![
                rule(Some("docs/"), None, Some("documents/"), None),
                rule(Some("old/"), Some(404), None, Some("gone.html")),
                rule(None, Some(403), Some("login/"), None),
            ],
            ..Site::default()
        };
        let check = |key: &str, error, want: Option<&str>| {
            assert_eq!(site.rule(key, error).map(|rule| rule.key(key)).as_deref(), want, "{key} {error:?}");
        };
        check("docs/a", None, Some("documents/a"));
        check("docs/a", Some(404), None);
        check("old/a", None, None);
        check("old/a", Some(404), Some("gone.html"));
        check("a", Some(403), Some("login/a"));
        check("a", Some(404), None);
    }
}
