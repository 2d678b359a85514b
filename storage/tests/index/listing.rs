//! Listings against a naive model: filter all names, roll up, cut.

use anello_base::Timestamp;
use anello_storage::index::{Index, Placed};
use anello_storage::key::ObjectPath;
use anello_storage::model::{ListQuery, Listed, ObjectEntry};
use anello_storage::mutation::{Applies, Body, ContainerPut, LogPosition, Mutation, ObjectPut};
use proptest::prelude::*;
use proptest::test_runner::Config;

use crate::workload::{hasher, hashes, location, open};

/// What the index says, as `name` or, rolled up, `name…`.
fn list(index: &Index, query: &ListQuery) -> Vec<String> {
    let listed = index.list_objects(hasher().container("a", "c"), query).expect("lists");
    let show = |listed: Listed<ObjectEntry>| match listed {
        Listed::Entry(entry) => entry.name,
        Listed::Prefix(prefix) => format!("{prefix}…"),
    };
    listed.into_iter().map(show).collect()
}

/// The same from all names in order.
fn naive(names: &[String], query: &ListQuery) -> Vec<String> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (marker, end_marker) = (given(&query.marker), given(&query.end_marker));
    let (low, high) = if query.reverse { (end_marker, marker) } else { (marker, end_marker) };
    let (prefix, delimiter) = match &query.path {
        Some(path) if path.is_empty() => (String::new(), Some("/".to_owned())),
        Some(path) => (format!("{}/", path.trim_end_matches('/')), Some("/".to_owned())),
        None => (query.prefix.clone(), given(&query.delimiter)),
    };
    let is_between =
        |name: &String| low.as_ref().is_none_or(|low| name > low) && high.as_ref().is_none_or(|high| name < high);
    let mut shown: Vec<String> = Vec::new();
    for name in names.iter().filter(|name| name.starts_with(&prefix) && is_between(name)) {
        let place = delimiter.as_ref().and_then(|delimiter| Some((name[prefix.len()..].find(delimiter)?, delimiter)));
        let end = place.map(|(place, delimiter)| prefix.len() + place + delimiter.len());
        match (end, &query.path) {
            (_, Some(_)) if *name == prefix => {}
            (Some(end), Some(_)) if end < name.len() => {}
            (None, _) | (_, Some(_)) => shown.push(name.clone()),
            (Some(end), None) => {
                let rolled = &name[..end];
                let shows = format!("{rolled}…");
                if low.as_deref() != Some(rolled) && shown.last() != Some(&shows) {
                    shown.push(shows);
                }
            }
        }
    }
    if query.reverse {
        shown.reverse();
    }
    shown.truncate(query.limit);
    shown
}

fn put(name: &str, place: usize) -> Placed {
    let path = ObjectPath::new("a", "c", name);
    let put = ObjectPut {
        hashes: hashes(&path),
        path,
        timestamp: Timestamp::from_ticks(1 + place as u64),
        policy: 0,
        size: 1,
        etag: "d41d8cd98f00b204e9800998ecf8427e".to_owned(),
        content_type: "text/plain".to_owned(),
        content: anello_storage::Content::Plain,
        delete_at: None,
        metadata: vec![],
        body: Body::Absent(1),
    };
    Placed { mutation: Mutation::ObjectPut(put), applies: Applies::ALL, location: location(place) }
}

fn fill(index: &Index, names: &[String]) {
    let container = ContainerPut {
        account: "a".to_owned(),
        container: "c".to_owned(),
        account_hash: hasher().account("a"),
        container_hash: hasher().container("a", "c"),
        timestamp: Timestamp::from_ticks(1),
        policy: 0,
        changes: vec![],
    };
    let container = Mutation::ContainerPut(container);
    let mut batch = vec![Placed { mutation: container, applies: Applies::ALL, location: location(0) }];
    batch.extend(names.iter().enumerate().map(|(place, name)| put(name, 1 + place)));
    index.apply(&batch, LogPosition::default()).expect("applies");
}

/// Names out of few letters, so that they share prefixes; `\u{10ffff}` and `é` make successors of bytes
/// that are no text.
fn name() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec!["a", "b", "/", "//", "::", "é", "\u{10ffff}", "0"]);
    prop::collection::vec(part, 1..6).prop_map(|parts| parts.concat())
}

fn query() -> impl Strategy<Value = ListQuery> {
    let text = || prop::option::weighted(0.4, prop_oneof![name(), Just(String::new())]);
    let prefix = prop_oneof![2 => Just(String::new()), 2 => name()];
    let delimiter = prop::option::of(prop::sample::select(vec!["/", "::", "a", "", "b/", "\u{10ffff}"]));
    let limit = prop_oneof![Just(0), Just(1), Just(2), 3..60_usize, Just(10_000)];
    let path = prop::option::weighted(0.25, prop_oneof![name(), Just(String::new()), Just("/".to_owned())]);
    (prefix, delimiter, text(), text(), any::<bool>(), limit, path).prop_map(
        |(prefix, delimiter, marker, end_marker, reverse, limit, path)| ListQuery {
            prefix,
            delimiter: delimiter.map(str::to_owned),
            marker,
            end_marker,
            reverse,
            limit,
            path,
        },
    )
}

proptest! {
    #![proptest_config(Config { cases: 48, failure_persistence: None, max_shrink_iters: 300, ..Config::default() })]

    /// Without this a listing leaves out, repeats or misplaces names.
    #[test]
    fn a_listing_shows_what_the_naive_model_shows(
        names in prop::collection::btree_set(name(), 0..60),
        crowd in 0..60_usize,
        queries in prop::collection::vec(query(), 200),
        is_flushed in any::<bool>(),
    ) {
        let mut names: Vec<_> = names.into_iter().collect();
        // Enough below one prefix that it is passed by a seek.
        names.extend((0..crowd).map(|number| format!("a/{number:03}")));
        names.sort();
        names.dedup();
        let dir = tempfile::tempdir().expect("directory");
        let (index, _) = open(dir.path());
        fill(&index, &names);
        if is_flushed {
            index.flush().expect("flushes");
        }
        for query in &queries {
            prop_assert_eq!(list(&index, query), naive(&names, query), "{:?}", query);
        }
    }
}

/// Without this the next page of a listing skips names or repeats them.
#[test]
fn pages_put_together_are_the_whole_listing() {
    let names = ["a", "a/1", "a/2", "b", "c/", "c/x/1", "c/x/2", "d/1", "e"].map(str::to_owned);
    let dir = tempfile::tempdir().expect("directory");
    let (index, _) = open(dir.path());
    fill(&index, &names);
    for (delimiter, reverse) in [(None, false), (None, true), (Some("/"), false), (Some("/"), true)] {
        let query = ListQuery { delimiter: delimiter.map(str::to_owned), reverse, limit: 100, ..ListQuery::default() };
        let whole = list(&index, &query);
        for limit in 1..4 {
            let (mut pages, mut marker) = (Vec::new(), None);
            loop {
                let page = list(&index, &ListQuery { limit, marker: marker.clone(), ..query.clone() });
                let Some(last) = page.last() else { break };
                marker = Some(last.trim_end_matches('…').to_owned());
                pages.extend(page);
            }
            assert_eq!(pages, whole, "{delimiter:?} {reverse} {limit}");
        }
    }
}

/// Without this `path` shows a pseudo-directory's contents wrongly to clients that walk a tree.
#[test]
fn path_shows_one_level() {
    let names = ["a", "a/", "a/b", "a/b/", "a/b/c", "a/d/e", "f/g", "h"].map(str::to_owned);
    let dir = tempfile::tempdir().expect("directory");
    let (index, _) = open(dir.path());
    fill(&index, &names);
    for (path, want) in [
        ("", &["a", "a/", "h"][..]),
        ("a", &["a/b", "a/b/"]),
        ("a/", &["a/b", "a/b/"]),
        ("a/b", &["a/b/c"]),
        ("f", &["f/g"]),
        ("x", &[]),
    ] {
        let query = ListQuery { path: Some(path.to_owned()), limit: 100, ..ListQuery::default() };
        assert_eq!(list(&index, &query), want, "{path:?}");
        let reversed: Vec<_> = want.iter().rev().copied().collect();
        assert_eq!(list(&index, &ListQuery { reverse: true, ..query }), reversed, "{path:?}");
    }
}
