//! Large objects: static ones with a list of segments, dynamic ones with a prefix.

use super::door::{Cloud, md5_hex, pattern};

const PUT_LIST: &str = "PUT /v1/AUTH_sea/c/big?multipart-manifest=put";

/// Segments `s/s/0` to `s/s/2` of 300,000 bytes each; gives the whole.
async fn with_segments() -> (Cloud, Vec<u8>) {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/s", &[], "").await.is(201);
    let whole = pattern(900_000).to_vec();
    for (at, segment) in whole.chunks(300_000).enumerate() {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/s/s/{at}"), &[], segment.to_vec()).await.is(201);
    }
    (cloud, whole)
}

fn list(whole: &[u8]) -> String {
    let item = |(at, segment): (usize, &[u8])| serde_json::json!({"path": format!("/s/s/{at}"), "etag": md5_hex(segment), "size_bytes": segment.len()});
    serde_json::Value::Array(whole.chunks(300_000).enumerate().map(item).collect()).to_string()
}

fn etag(whole: &[u8]) -> String {
    format!("\"{}\"", md5_hex(whole.chunks(300_000).map(md5_hex).collect::<String>().as_bytes()))
}

#[tokio::test]
async fn a_static_large_object_is_its_segments() {
    let (cloud, whole) = with_segments().await;
    let put =
        cloud.ask("owner", PUT_LIST, &[("content-type", "a/b"), ("x-object-meta-a", "1")], list(&whole)).await.is(201);
    assert_eq!(put.header("etag"), Some(etag(&whole).as_str()));
    let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/big", &[], "").await.is(200);
    assert!(get.body == whole);
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea/c/big", &[], "").await.is(200);
    for (name, want) in [
        ("content-length", "900000"),
        ("etag", etag(&whole).as_str()),
        ("x-static-large-object", "True"),
        ("content-type", "a/b"),
        ("x-object-meta-a", "1"),
    ] {
        assert_eq!(head.header(name), Some(want), "{name}");
        assert_eq!(get.header(name), Some(want), "{name}");
    }
    for (range, start, end) in [("bytes=299999-300000", 299_999, 300_001), ("bytes=-5", 899_995, 900_000)] {
        let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/big", &[("range", range)], "").await.is(206);
        assert!(get.body == whole[start..end], "{range}");
    }
    cloud.ask("owner", "GET /v1/AUTH_sea/c/big", &[("if-none-match", &etag(&whole))], "").await.is(304);
    let listed = cloud.ask("owner", "GET /v1/AUTH_sea/c?format=json", &[], "").await.json();
    assert_eq!(listed[0]["bytes"], 900_000);
    assert_eq!(listed[0]["slo_etag"], etag(&whole));
    assert_eq!(listed[0]["hash"], head.header("x-manifest-etag").expect("it is a manifest"));
    let manifest = cloud.ask("owner", "GET /v1/AUTH_sea/c/big?multipart-manifest=get", &[], "").await.is(200).json();
    assert_eq!((&manifest[1]["name"], &manifest[1]["bytes"]), (&"/s/s/1".into(), &300_000.into()));
    let raw = cloud.ask("owner", "GET /v1/AUTH_sea/c/big?multipart-manifest=get&format=raw", &[], "").await.json();
    assert_eq!(raw, serde_json::from_str::<serde_json::Value>(&list(&whole)).expect("JSON"));
}

#[tokio::test]
async fn metadata_of_a_manifest_change_and_it_stays_one() {
    let (cloud, whole) = with_segments().await;
    cloud.ask("owner", PUT_LIST, &[], list(&whole)).await.is(201);
    cloud.ask("owner", "POST /v1/AUTH_sea/c/big", &[("x-object-meta-b", "2")], "").await.is(202);
    let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/big", &[], "").await.is(200);
    assert!(get.body == whole && get.header("x-object-meta-b") == Some("2"));
    let to = [("destination", "c/flat")];
    cloud.ask("owner", "COPY /v1/AUTH_sea/c/big", &to, "").await.is(201);
    let flat = cloud.ask("owner", "GET /v1/AUTH_sea/c/flat", &[], "").await.is(200);
    assert!(flat.body == whole && flat.header("x-static-large-object").is_none());
    let to = [("destination", "c/twin")];
    cloud.ask("owner", "COPY /v1/AUTH_sea/c/big?multipart-manifest=get", &to, "").await.is(201);
    let twin = cloud.ask("owner", "GET /v1/AUTH_sea/c/twin", &[], "").await.is(200);
    assert!(twin.body == whole && twin.header("x-static-large-object") == Some("True"));
}

#[tokio::test]
async fn lists_hold_ranges_bytes_and_other_lists() {
    let (cloud, whole) = with_segments().await;
    cloud.ask("owner", PUT_LIST, &[], list(&whole)).await.is(201);
    let outer =
        r#"[{"path": "/c/big", "range": "299998-300001"}, {"data": "aGVsbG8="}, {"path": "s/s/0", "range": "-2"}]"#;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/outer?multipart-manifest=put", &[], outer).await.is(201);
    let want = [&whole[299_998..300_002], b"hello", &whole[299_998..300_000]].concat();
    let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/outer", &[], "").await.is(200);
    assert!(get.body == want);
    let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/outer", &[("range", "bytes=1-2,5-6")], "").await.is(206);
    assert!(get.text_contains(&want[1..3]) && get.text_contains(&want[5..7]));
}

impl super::door::Answer {
    fn text_contains(&self, part: &[u8]) -> bool {
        self.body.windows(part.len()).any(|window| window == part)
    }
}

#[tokio::test]
async fn a_list_that_does_not_fit_is_refused() {
    let (cloud, whole) = with_segments().await;
    for (text, headers, want) in [
        ("nonsense", &[][..], 400),
        (r#"[{"path": "/s/none"}]"#, &[], 400),
        (r#"[{"path": "/s/s/0", "size_bytes": 5}]"#, &[], 400),
        (r#"[{"path": "/s/s/0", "etag": "x"}]"#, &[], 400),
        (r#"[{"path": "/s/s/0", "range": "300000-"}]"#, &[], 400),
        (list(&whole).as_str(), &[("etag", "0123")], 422),
    ] {
        let answer = cloud.ask("owner", PUT_LIST, headers, text.to_owned()).await;
        assert_eq!(answer.status, want, "{text}: {:?}", answer.body);
    }
    cloud.ask("owner", "HEAD /v1/AUTH_sea/c/big", &[], "").await.is(404);
}

#[tokio::test]
async fn a_segment_that_changed_is_never_served_as_if_it_had_not() {
    let (cloud, whole) = with_segments().await;
    cloud.ask("owner", PUT_LIST, &[], list(&whole)).await.is(201);
    cloud.ask("owner", "PUT /v1/AUTH_sea/s/s/0", &[], "other").await.is(201);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/big", &[], "").await.is(409);
    cloud.ask("owner", "HEAD /v1/AUTH_sea/c/big", &[], "").await.is(200);
}

#[tokio::test]
async fn a_manifest_is_no_key_to_what_its_reader_may_not_read() {
    let (cloud, whole) = with_segments().await;
    cloud.ask("owner", PUT_LIST, &[], list(&whole)).await.is(201);
    cloud.ask("owner", "POST /v1/AUTH_sea/c", &[("x-container-read", ".r:*")], "").await.is(204);
    cloud.ask("", "GET /v1/AUTH_sea/c/big", &[], "").await.is(409);
    cloud.ask("owner", "POST /v1/AUTH_sea/s", &[("x-container-read", ".r:*")], "").await.is(204);
    assert!(cloud.ask("", "GET /v1/AUTH_sea/c/big", &[], "").await.is(200).body == whole);
}

#[tokio::test]
async fn deleting_with_segments_deletes_all() {
    let (cloud, whole) = with_segments().await;
    cloud.ask("owner", PUT_LIST, &[], list(&whole)).await.is(201);
    let line = "DELETE /v1/AUTH_sea/c/big?multipart-manifest=delete";
    let report = cloud.ask("owner", line, &[("accept", "application/json")], "").await.is(200).json();
    assert_eq!((&report["Number Deleted"], &report["Response Status"]), (&4.into(), &"200 OK".into()), "{report}");
    cloud.ask("owner", "GET /v1/AUTH_sea/s", &[], "").await.is(204);
    let report = cloud.ask("owner", line, &[("accept", "application/json")], "").await.is(200).json();
    assert_eq!(report["Number Not Found"], 1);
}

#[tokio::test]
async fn a_dynamic_large_object_is_what_has_its_prefix() {
    let (cloud, whole) = with_segments().await;
    let manifest = ("x-object-manifest", "s/s%2F");
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/dyn", &[manifest], "").await.is(201);
    let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/dyn", &[], "").await.is(200);
    assert!(get.body == whole);
    assert_eq!(get.header("x-object-manifest"), Some("s/s%2F"));
    assert_eq!(get.header("etag"), Some(etag(&whole).as_str()));
    let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/dyn", &[("range", "bytes=299999-300000")], "").await.is(206);
    assert!(get.body == whole[299_999..300_001]);
    let raw = cloud.ask("owner", "GET /v1/AUTH_sea/c/dyn?multipart-manifest=get", &[], "").await.is(200);
    assert_eq!(raw.header("content-length"), Some("0"));
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/dyn", &[("x-object-manifest", "nonsense")], "").await.is(400);
    cloud.ask("owner", "POST /v1/AUTH_sea/c/dyn", &[("x-object-meta-a", "1")], "").await.is(202);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/c/dyn", &[], "").await.is(200).text(), "");
}

#[tokio::test]
async fn a_heartbeat_ends_with_the_outcome() {
    let (cloud, whole) = with_segments().await;
    let line = "PUT /v1/AUTH_sea/c/big?multipart-manifest=put&heartbeat=on";
    let json = [("accept", "application/json")];
    let outcome = cloud.ask("owner", line, &json, list(&whole)).await.is(202).json();
    assert_eq!((&outcome["Response Status"], &outcome["Etag"]), (&"201 Created".into(), &etag(&whole).into()));
    let outcome = cloud.ask("owner", line, &json, "nonsense").await.is(202).json();
    assert_eq!(outcome["Response Status"], "400 Bad Request");
}

#[tokio::test]
async fn a_segment_is_read_by_its_number() {
    let (cloud, whole) = with_segments().await;
    cloud.ask("owner", PUT_LIST, &[], list(&whole)).await.is(201);
    for method in ["GET", "HEAD"] {
        let part = cloud.ask("owner", &format!("{method} /v1/AUTH_sea/c/big?part-number=2"), &[], "").await.is(206);
        assert_eq!(part.header("content-range"), Some("bytes 300000-599999/900000"));
        assert_eq!((part.header("x-parts-count"), part.header("content-length")), (Some("3"), Some("300000")));
        assert!(method == "HEAD" || part.body == whole[300_000..600_000]);
    }
    for (number, want) in [("0", 400), ("x", 400), ("4", 416)] {
        cloud.ask("owner", &format!("GET /v1/AUTH_sea/c/big?part-number={number}"), &[], "").await.is(want);
    }
    cloud.ask("owner", "GET /v1/AUTH_sea/s/s/0?part-number=7", &[], "").await.is(200);
}

/// Otherwise what makes an object a manifest comes to stand on plain data, which nobody can read then.
#[tokio::test]
async fn metadata_posted_while_a_manifest_is_replaced_do_not_make_a_manifest_of_plain_data() {
    let (cloud, whole) = with_segments().await;
    for _ in 0..10 {
        cloud.ask("owner", PUT_LIST, &[], list(&whole)).await.is(201);
        let put = cloud.ask("owner", "PUT /v1/AUTH_sea/c/big", &[], "plain");
        let post = cloud.ask("owner", "POST /v1/AUTH_sea/c/big", &[("x-object-meta-a", "1")], "");
        let (put, post) = tokio::join!(put, post);
        put.is(201);
        post.is(202);
        let got = cloud.ask("owner", "GET /v1/AUTH_sea/c/big", &[], "").await.is(200);
        assert_eq!((got.body.as_ref(), got.header("x-static-large-object")), (&b"plain"[..], None));
    }
}
