//! What a list's query string asks for: filters by value or by part of it, and pages.

use http::Uri;
use serde_json::{Value, json};

use super::{Fault, Links};
use crate::limits::LIST_ROWS_MAX;

/// A query string's pairs in order.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

/// Suffixes of a filter's name that ask for a part of the value: name, whether case is ignored, and test.
type Comparator = (&'static str, bool, fn(&str, &str) -> bool);

const COMPARATORS: &[Comparator] = &[
    ("__contains", false, |text, part| text.contains(part)),
    ("__icontains", true, |text, part| text.contains(part)),
    ("__startswith", false, |text, part| text.starts_with(part)),
    ("__istartswith", true, |text, part| text.starts_with(part)),
    ("__endswith", false, |text, part| text.ends_with(part)),
    ("__iendswith", true, |text, part| text.ends_with(part)),
];

impl Query {
    /// Parses a request's query string.
    pub fn parse(uri: &Uri) -> Result<Self, Fault> {
        let parsed = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        parsed.map(|pairs| Self(pairs.0)).map_err(|_| Fault::invalid("The query string is malformed."))
    }

    /// The first value of a name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Whether a switch is on: present with any value but `0`, `false`, `no`, `off`.
    pub fn switch(&self, name: &str) -> bool {
        let is_off = |value: &str| ["0", "false", "no", "off"].contains(&value.to_ascii_lowercase().as_str());
        self.get(name).is_some_and(|value| !is_off(value))
    }

    /// Whether a row with this field passes every filter on it: equal, or by one of the comparators
    /// `contains`, `icontains`, `startswith`, `istartswith`, `endswith`, `iendswith`.
    pub fn admits(&self, field: &str, value: &str) -> bool {
        self.0.iter().all(|(name, wanted)| {
            let Some(suffix) = name.strip_prefix(field) else { return true };
            if suffix.is_empty() {
                return wanted == value;
            }
            match COMPARATORS.iter().find(|(known, _, _)| *known == suffix) {
                Some((_, true, test)) => test(&value.to_lowercase(), &wanted.to_lowercase()),
                Some((_, false, test)) => test(value, wanted),
                None => true,
            }
        })
    }

    /// As [`Query::admits`] for a field that may be null, which only an absent or empty filter admits.
    pub fn admits_option(&self, field: &str, value: Option<&str>) -> bool {
        self.admits(field, value.unwrap_or(""))
    }

    /// As [`Query::admits`] for a switch: any of OpenStack's spellings of true and false.
    pub fn admits_bool(&self, field: &str, value: bool) -> bool {
        self.get(field).is_none() || self.switch(field) == value
    }
}

/// Which rows of a list, sorted by id, one answer shows.
#[derive(Debug, Clone)]
pub struct Page {
    marker: Option<String>,
    limit: usize,
    stated_limit: bool,
}

impl Page {
    /// From `limit` and `marker`. A `limit` that is no positive number is refused; one above
    /// [`LIST_ROWS_MAX`] is cut to it.
    pub fn parse(query: &Query) -> Result<Self, Fault> {
        let limit = match query.get("limit") {
            None => None,
            Some(text) => match text.parse::<usize>() {
                Ok(limit) if limit > 0 => Some(limit),
                _ => return Err(Fault::invalid("Invalid limit: a positive number is expected.")),
            },
        };
        Ok(Self {
            marker: query.get("marker").map(str::to_owned),
            limit: limit.unwrap_or(LIST_ROWS_MAX).min(LIST_ROWS_MAX),
            stated_limit: limit.is_some(),
        })
    }

    /// With at most so many rows, where no fewer were asked for.
    #[must_use]
    pub fn at_most(mut self, limit: usize) -> Self {
        self.limit = self.limit.min(limit);
        self
    }

    /// Cuts `rows` (which come sorted by id, each with it) to the page and shows it in Keystone's envelope:
    /// `{"<plural>":[…],"links":{"self","next","previous"}}`, with `"truncated":true` where a limit of ours cut it.
    pub fn envelope<'a, R>(
        &self,
        plural: &str,
        path: &str,
        links: &Links,
        rows: impl Iterator<Item = (&'a str, R)>,
        view: impl Fn(R) -> Value,
    ) -> Value {
        let behind = |id: &str| self.marker.as_deref().is_none_or(|marker| id > marker);
        let mut rows = rows.filter(|(id, _)| behind(id));
        let mut last = "";
        let shown: Vec<_> =
            rows.by_ref().take(self.limit).inspect(|(id, _)| last = id).map(|(_, row)| view(row)).collect();
        let cut = rows.next().is_some();
        let next = cut.then(|| links.to(&format!("{path}?limit={}&marker={last}", self.limit)));
        let mut envelope = json!({"links": {"self": links.to(path), "next": next, "previous": null}});
        envelope[plural] = Value::Array(shown);
        if cut && !self.stated_limit {
            envelope["truncated"] = true.into();
        }
        envelope
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn query(text: &str) -> Query {
        Query::parse(&format!("/x?{text}").parse().expect("uri")).expect("query")
    }

    #[test]
    fn filters_compare_as_their_suffix_says() {
        for (text, value, want) in [
            ("", "demo", true),
            ("name=demo", "demo", true),
            ("name=Demo", "demo", false),
            ("name__icontains=EM", "demo", true),
            ("name__contains=EM", "demo", false),
            ("name__startswith=de&name__endswith=mo", "demo", true),
            ("name__startswith=de&name__endswith=xx", "demo", false),
            ("names=other", "demo", true),
        ] {
            assert_eq!(query(text).admits("name", value), want, "{text}");
        }
        assert!(query("enabled=True").admits_bool("enabled", true) && !query("enabled=0").admits_bool("enabled", true));
        assert!(query("effective").switch("effective") && !query("effective=False").switch("effective"));
    }

    #[test]
    fn a_page_begins_behind_its_marker_and_says_where_the_next_one_is() {
        let links = Links::new(Some("http://h"), &HeaderMap::new(), "");
        let shown = |text: &str| {
            let page = Page::parse(&query(text)).expect("page");
            page.envelope("xs", "/xs", &links, ["a", "b", "c"].into_iter().map(|id| (id, id)), Value::from)
        };
        assert_eq!(shown("limit=2")["xs"], json!(["a", "b"]));
        assert_eq!(shown("limit=2")["links"]["next"], "http://h/xs?limit=2&marker=b");
        assert_eq!(shown("limit=2&marker=b")["xs"], json!(["c"]));
        assert_eq!(shown("marker=zzz")["xs"], json!([]));
        assert_eq!(shown("")["links"]["next"], Value::Null);
        for text in ["limit=0", "limit=-1", "limit=x"] {
            assert!(Page::parse(&query(text)).is_err(), "{text}");
        }
    }
}
