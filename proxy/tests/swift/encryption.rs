//! Encryption at rest: what clients see stays as it is, and what is on the device tells nothing.

use std::path::Path;

use anello_proxy::swift::SwiftConfig;
use anello_storage::Store;

use super::door::{Answer, Cloud, md5_hex, pattern, store};

const SECRET: &[(Option<&str>, u8)] = &[(None, 1)];

async fn sealed() -> Cloud {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path()).await;
    with_container(Cloud::of(directory, &store, SwiftConfig::default(), SECRET)).await
}

async fn with_container(cloud: Cloud) -> Cloud {
    cloud.ask("owner", "PUT /v1/AUTH_sea/c", &[], "").await.is(201);
    cloud
}

/// A door to the same store with other secrets.
fn again(cloud: &Cloud, secrets: &[(Option<&str>, u8)]) -> Cloud {
    let store: Store = cloud.store.clone().into();
    Cloud::of(tempfile::tempdir().expect("a directory"), &store, SwiftConfig::default(), secrets)
}

/// Those of the wanted bytes that any file below a directory holds; they are taken away.
fn found(directory: &Path, wanted: &mut Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(self::found(&path, wanted));
            continue;
        }
        // Most of a volume was never written.
        let (bytes, zeros) = (std::fs::read(&path).expect("a file"), [0; 4096]);
        let written: Vec<u8> =
            bytes.chunks(zeros.len()).filter(|page| **page != zeros[..page.len()]).flatten().copied().collect();
        found.extend(wanted.extract_if(.., |bytes| memchr::memmem::find(&written, bytes).is_some()));
    }
    found
}

/// Bytes that are nowhere else, in every block of them.
fn marked(mark: &str, length: usize) -> String {
    mark.repeat(length.div_ceil(mark.len()))[..length].to_owned()
}

#[tokio::test]
async fn nothing_of_what_is_written_is_on_the_device() {
    let write = async |cloud: &Cloud| {
        let small = marked("plain-small-", 1000);
        let large = marked("plain-large-", 3 << 20);
        let headers = [("x-object-meta-color", "plain-metadata"), ("content-disposition", "plain-disposition")];
        cloud.ask("owner", "PUT /v1/AUTH_sea/c/small", &headers, small.clone()).await.is(201);
        cloud.ask("owner", "PUT /v1/AUTH_sea/c/large", &headers, large.clone()).await.is(201);
        cloud.ask("owner", "POST /v1/AUTH_sea/c/large", &[("x-object-meta-size", "plain-posted")], "").await.is(202);
        let manifest = r#"[{"path":"c/large"},{"data":"cGxhaW4taW5saW5l"}]"#;
        cloud.ask("owner", "PUT /v1/AUTH_sea/c/whole?multipart-manifest=put", &[], manifest).await.is(201);
        cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-versions-enabled", "true")], "").await.is(204);
        for body in ["plain-version-1", "plain-version-2"] {
            cloud.ask("owner", "PUT /v1/AUTH_sea/c/version", &[], body).await.is(201);
        }
        cloud.ask("owner", "PUT /v1/AUTH_sea/c/version", &[], large.clone()).await.is(201);
        cloud.ask("owner", "DELETE /v1/AUTH_sea/c/version", &[], "").await.is(204);
        cloud.store.close().await.expect("closes");
        let digest = md5_hex(small.as_bytes());
        let large_digest = md5_hex(large.as_bytes());
        let raw = |digest: &str| hex::decode(digest).expect("digits");
        let texts = [
            "plain-small-",
            "plain-large-",
            "plain-metadata",
            "plain-disposition",
            "plain-posted",
            "plain-version-1",
            "plain-version-2",
            "cGxhaW4taW5saW5l",
            &digest,
            &large_digest,
        ];
        let mut wanted: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        wanted.extend([raw(&digest), raw(&large_digest)]);
        found(cloud.directory.path(), &mut wanted)
    };
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path()).await;
    let open = with_container(Cloud::of(directory, &store, SwiftConfig::default(), &[])).await;
    assert!(write(&open).await.len() >= 8, "where nothing is sealed this test finds it");
    let found = write(&sealed().await).await;
    assert!(found.is_empty(), "{:?}", found.iter().map(|it| String::from_utf8_lossy(it)).collect::<Vec<_>>());
}

#[tokio::test]
async fn ranges_and_conditions_are_those_of_what_was_written() {
    let cloud = sealed().await;
    for length in [0, 1, 65_535, 65_536, 65_537, 300_000, 1 << 20] {
        let (body, line) = (pattern(length), format!("/v1/AUTH_sea/c/o{length}"));
        let etag = md5_hex(&body);
        let put = cloud.ask("owner", &format!("PUT {line}"), &[("x-object-meta-a", "1")], body.clone()).await.is(201);
        assert_eq!(put.header("etag"), Some(&*etag));
        let whole = cloud.ask("owner", &format!("GET {line}"), &[], "").await.is(200);
        assert_eq!(
            (&whole.body, whole.header("etag"), whole.header("x-object-meta-a")),
            (&body, Some(&*etag), Some("1"))
        );
        let head = cloud.ask("owner", &format!("HEAD {line}"), &[("if-match", &etag)], "").await.is(200);
        assert_eq!(head.header("content-length"), Some(&*length.to_string()));
        assert!(head.headers.keys().all(|name| !name.as_str().contains("crypto")));
        cloud.ask("owner", &format!("GET {line}"), &[("if-none-match", &etag)], "").await.is(304);
        for (start, end) in [(0, 0), (5, 70_000), (65_535, 65_536), (131_071, 200_000), (299_999, 299_999)] {
            if start < length {
                let range = format!("bytes={start}-{end}");
                let part = cloud.ask("owner", &format!("GET {line}"), &[("range", &range)], "").await.is(206);
                assert_eq!(part.body, body.slice(start..(end + 1).min(length)), "{range} of {length}");
            }
        }
        cloud.ask("owner", &format!("PUT {line}"), &[("if-none-match", "*")], "x").await.is(412);
    }
    let listing = cloud.ask("owner", "GET /v1/AUTH_sea/c?format=json&prefix=o300000", &[], "").await.json();
    assert_eq!((&listing[0]["hash"], &listing[0]["bytes"]), (&md5_hex(&pattern(300_000)).into(), &300_000.into()));
    let many =
        cloud.ask("owner", "GET /v1/AUTH_sea/c/o300000", &[("range", "bytes=0-9,200000-200009")], "").await.is(206);
    assert!(memchr::memmem::find(&many.body, &pattern(300_000)[200_000..200_010]).is_some());
}

async fn text(cloud: &Cloud, line: &str) -> Answer {
    cloud.ask("owner", line, &[], "").await
}

#[tokio::test]
async fn what_is_made_of_others_is_made_of_sealed_ones() {
    let cloud = sealed().await;
    for (name, body) in [("s/1", "one"), ("s/2", "two")] {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/c/{name}"), &[], body).await.is(201);
    }
    let manifest = format!(r#"[{{"path":"c/s/1","etag":"{}"}},{{"path":"c/s/2","range":"1-2"}}]"#, md5_hex(b"one"));
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/slo?multipart-manifest=put", &[], manifest).await.is(201);
    assert_eq!(text(&cloud, "GET /v1/AUTH_sea/c/slo").await.is(200).text(), "onewo");
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/dlo", &[("x-object-manifest", "c/s/")], "").await.is(201);
    assert_eq!(text(&cloud, "GET /v1/AUTH_sea/c/dlo").await.is(200).text(), "onetwo");
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/link", &[("x-symlink-target", "c/s/2")], "").await.is(201);
    assert_eq!(text(&cloud, "GET /v1/AUTH_sea/c/link").await.is(200).text(), "two");
    cloud.ask("owner", "COPY /v1/AUTH_sea/c/slo", &[("destination", "c/copy")], "").await.is(201);
    let copy = text(&cloud, "GET /v1/AUTH_sea/c/copy").await.is(200);
    assert_eq!((copy.text(), copy.header("etag")), ("onewo", Some(&*md5_hex(b"onewo"))));
    cloud.ask("owner", "POST /v1/AUTH_sea/c/copy", &[("x-object-meta-b", "2")], "").await.is(202);
    let copy = text(&cloud, "HEAD /v1/AUTH_sea/c/copy").await.is(200);
    assert_eq!(copy.header("x-object-meta-b"), Some("2"));
    cloud.ask("owner", "DELETE /v1/AUTH_sea/c/slo?multipart-manifest=delete", &[], "").await.is(200);
    text(&cloud, "GET /v1/AUTH_sea/c/s/1").await.is(404);
}

#[tokio::test]
async fn versions_are_sealed_and_come_back() {
    let cloud = sealed().await;
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-versions-enabled", "true")], "").await.is(204);
    let mut ids = Vec::new();
    for body in [pattern(10), pattern(700_000), pattern(20)] {
        let put = cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], body).await.is(201);
        ids.push(put.header("x-object-version-id").expect("an id").to_owned());
    }
    let of = |id: &str| format!("/v1/AUTH_sea/c/o?version-id={id}");
    let large = cloud.ask("owner", &format!("GET {}", of(&ids[1])), &[("range", "bytes=100000-200000")], "").await;
    assert_eq!(large.is(206).body, pattern(700_000).slice(100_000..200_001));
    let listing = text(&cloud, "GET /v1/AUTH_sea/c?versions&format=json").await.is(200).json();
    assert_eq!(listing[1]["hash"], md5_hex(&pattern(700_000)));
    cloud.ask("owner", &format!("PUT {}", of(&ids[1])), &[], "").await.is(201);
    assert_eq!(text(&cloud, "GET /v1/AUTH_sea/c/o").await.is(200).body, pattern(700_000));
    text(&cloud, &format!("DELETE {}", of(&ids[0]))).await.is(204);
    text(&cloud, &format!("GET {}", of(&ids[0]))).await.is(404);
}

#[tokio::test]
async fn what_was_written_before_is_read_as_it_is() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = store(directory.path()).await;
    let before = with_container(Cloud::of(directory, &store, SwiftConfig::default(), &[])).await;
    before.ask("owner", "PUT /v1/AUTH_sea/c/old", &[("x-object-meta-a", "1")], "old").await.is(201);
    let after = again(&before, SECRET);
    let old = text(&after, "GET /v1/AUTH_sea/c/old").await.is(200);
    assert_eq!((old.text(), old.header("x-object-meta-a")), ("old", Some("1")));
    after.ask("owner", "POST /v1/AUTH_sea/c/old", &[("x-object-meta-a", "2")], "").await.is(202);
    let old = text(&after, "GET /v1/AUTH_sea/c/old").await.is(200);
    assert_eq!((old.text(), old.header("x-object-meta-a")), ("old", Some("2")));
    after.ask("owner", "PUT /v1/AUTH_sea/c/new", &[], "new").await.is(201);
    let mut config = SwiftConfig::default();
    config.encryption.disable_encryption = true;
    let disabled = Cloud::of(tempfile::tempdir().expect("a directory"), &store, config, SECRET);
    assert!(!disabled.store.is_sealing());
    assert_eq!(text(&disabled, "GET /v1/AUTH_sea/c/new").await.is(200).text(), "new");
    let etag = md5_hex(b"new");
    disabled.ask("owner", "PUT /v1/AUTH_sea/c/new", &[("if-match", &etag)], "open").await.is(201);
    assert_eq!(text(&before, "GET /v1/AUTH_sea/c/new").await.is(200).text(), "open");
}

/// Without this a new secret would cost what the old one sealed, or a lost one would be answered with garbage.
#[tokio::test]
async fn secrets_are_rotated_and_a_lost_one_is_told() {
    let cloud = sealed().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/first", &[("x-object-meta-a", "1")], "first").await.is(201);
    let rotated = again(&cloud, &[(None, 1), (Some("2026"), 2)]);
    rotated.ask("owner", "PUT /v1/AUTH_sea/c/second", &[], "second").await.is(201);
    rotated.ask("owner", "POST /v1/AUTH_sea/c/first", &[("x-object-meta-a", "2")], "").await.is(202);
    let first = text(&rotated, "GET /v1/AUTH_sea/c/first").await.is(200);
    assert_eq!((first.text(), first.header("x-object-meta-a")), ("first", Some("2")));
    assert_eq!(text(&rotated, "GET /v1/AUTH_sea/c/second").await.is(200).text(), "second");

    let lost = again(&cloud, &[(Some("2026"), 2)]);
    assert_eq!(text(&lost, "GET /v1/AUTH_sea/c/second").await.is(200).text(), "second");
    let refused = text(&lost, "GET /v1/AUTH_sea/c/first").await.is(500);
    assert!(refused.text().contains("Error retrieving encryption keys"), "{}", refused.text());
    text(&lost, "HEAD /v1/AUTH_sea/c/first").await.is(500);
    let rows = text(&lost, "GET /v1/AUTH_sea/c?format=json").await.is(200).json();
    assert_eq!((&rows[0]["hash"], &rows[1]["hash"]), (&"<unknown>".into(), &md5_hex(b"second").into()));
    let none = again(&cloud, &[]);
    text(&none, "GET /v1/AUTH_sea/c/second").await.is(500);
    let wrong = again(&cloud, &[(None, 9)]);
    text(&wrong, "GET /v1/AUTH_sea/c/first").await.is(500);
    text(&lost, "DELETE /v1/AUTH_sea/c/first").await.is(204);
    text(&lost, "GET /v1/AUTH_sea/c/first").await.is(404);
}
