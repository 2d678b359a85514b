//! What `fuzz` feeds with bytes: what an operator or a client of any service writes. Compiled with the feature `fuzzing`
//! alone.

use std::sync::LazyLock;

use http::{HeaderMap, Uri};

use crate::access_rule::AccessRule;
use crate::limits::LIST_ROWS_MAX;
use crate::rest::{Links, Page, Query, policy};

/// A name, and what is to be fed. It panics where something does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("policy-rule", policy::fuzzing::rule),
    ("policy-file", policy::fuzzing::file),
    ("rest-query", query),
    ("access-rule", access_rule),
];

/// A page is never longer than lists are.
fn query(bytes: &[u8]) {
    let Ok(uri) = Uri::try_from([b"/?", bytes].concat()) else { return };
    let Ok(query) = Query::parse(&uri) else { return };
    let _ = query.admits("name", "value");
    if let Ok(page) = Page::parse(&query) {
        static IDS: LazyLock<Vec<String>> =
            LazyLock::new(|| (0..=LIST_ROWS_MAX).map(|at| format!("{at:08}")).collect());
        let links = Links::new(Some("http://h"), &HeaderMap::new(), "");
        let rows = IDS.iter().map(|id| (id.as_str(), ()));
        let shown = page.envelope("rows", "/rows", &links, rows, |()| serde_json::Value::Null);
        assert!(shown["rows"].as_array().is_some_and(|rows| rows.len() <= LIST_ROWS_MAX));
    }
}

/// What a pattern without wildcards admits is itself.
fn access_rule(bytes: &[u8]) {
    let Some((pattern, path)) = std::str::from_utf8(bytes).ok().and_then(|text| text.split_once('\n')) else { return };
    let rule = AccessRule { service: "s".into(), method: "GET".into(), path: pattern.to_owned() };
    let admits = rule.admits("s", "GET", path);
    if !pattern.contains(['*', '{']) {
        assert_eq!(admits, pattern == path);
    }
    if pattern == "**" {
        assert!(admits);
    }
}
