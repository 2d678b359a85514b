//! Uploads in parts.

use std::time::{Duration, Instant};

use anello_proxy::object::names;
use anello_proxy::object::reaper::Reaper;
use anello_proxy::object::sweeper::{Sweeper, Swept};
use anello_proxy::s3::S3Config;
use anello_storage::{ListQuery, ObjectPath, Precondition};
use bytes::Bytes;
use futures::StreamExt;

use crate::client::{Answer, Call, Client, pattern};

const PART: usize = 5 << 20;

async fn begin(client: &Client, key: &str, headers: &[(&str, &str)]) -> String {
    let call = headers
        .iter()
        .fold(Call::new("POST", format!("/photos/{key}?uploads")), |call, (name, value)| call.header(name, value));
    client.send(call).await.expect(200).element("UploadId").expect("an id")
}

async fn part(client: &Client, key: &str, id: &str, number: u32, body: Bytes) -> String {
    let uri = format!("/photos/{key}?partNumber={number}&uploadId={id}");
    client.put(&uri, body).await.expect(200).header("etag").expect("a tag").to_owned()
}

async fn complete(client: &Client, key: &str, id: &str, parts: &[(u32, &str)]) -> Answer {
    let part =
        |(number, etag): &(u32, &str)| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    let xml: String = parts.iter().map(part).collect();
    let xml = format!("<CompleteMultipartUpload>{xml}</CompleteMultipartUpload>");
    client.send(Call::new("POST", format!("/photos/{key}?uploadId={id}")).body(xml)).await
}

async fn stored_parts(client: &Client) -> usize {
    let query = ListQuery { limit: 1_000, ..ListQuery::default() };
    client.store.container_list(".multipart", "parts/AUTH_sea/photos", &query).await.map_or(0, |rows| rows.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_become_one_object_and_their_space_comes_back() {
    let client = Client::with_bucket().await;
    let id = begin(&client, "big", &[("x-amz-meta-a", "1"), ("content-type", "video/x")]).await;
    let data = pattern(2 * PART + 1_000);
    let first = part(&client, "big", &id, 1, data.slice(..PART)).await;
    part(&client, "big", &id, 3, Bytes::from_static(b"replaced below")).await;
    let second = part(&client, "big", &id, 3, data.slice(PART..2 * PART)).await;
    let third = part(&client, "big", &id, 10_000, data.slice(2 * PART..)).await;
    part(&client, "big", &id, 20, Bytes::from_static(b"left out")).await;
    let listed = client.get(&format!("/photos/big?uploadId={id}")).await.expect(200).text();
    assert_eq!(listed.matches("<Part>").count(), 4, "{listed}");
    assert!(client.get("/photos?uploads").await.expect(200).text().contains(&id));
    client.get("/photos/big").await.expect_error(404, "NoSuchKey");

    let parts = [(1, first.as_str()), (3, &second), (10_000, &third)];
    let done = complete(&client, "big", &id, &parts).await.expect(200);
    let etag = done.element("ETag").expect("a tag");
    assert!(etag.trim_matches('"').ends_with("-3"), "{etag}");
    assert_eq!(complete(&client, "big", &id, &parts).await.expect(200).element("ETag"), Some(etag));
    assert_eq!(stored_parts(&client).await, 3, "what was not listed is gone");
    assert!(!client.get("/photos?uploads").await.expect(200).text().contains(&id));

    let got = client.get("/photos/big").await.expect(200);
    assert_eq!((got.body.len(), got.body == data), (data.len(), true));
    assert_eq!((got.header("x-amz-meta-a"), got.header("content-type")), (Some("1"), Some("video/x")));
    let range = format!("bytes={}-{}", PART - 5, 2 * PART + 4);
    let got = client.send(Call::new("GET", "/photos/big").header("range", &range)).await.expect(206);
    assert_eq!(got.body, data.slice(PART - 5..2 * PART + 5));
    let got = client.get("/photos/big?partNumber=3").await.expect(206);
    assert_eq!((got.body.as_ref(), got.header("x-amz-mp-parts-count")), (&data[2 * PART..], Some("3")));

    client.put("/photos/big", "small now").await.expect(200);
    let mut reaper = Reaper::with_grace(client.store.clone(), Duration::from_secs(60));
    let now = Instant::now();
    assert_eq!(reaper.step(now).await.expect("a step").waiting, 1, "a download may be under way");
    assert_eq!(reaper.step(now + Duration::from_secs(61)).await.expect("a step").parts, 3);
    assert_eq!(stored_parts(&client).await, 0);
    assert_eq!(reaper.step(now + Duration::from_secs(120)).await.expect("a step"), Default::default());
    assert_eq!(client.get("/photos/big").await.text(), "small now");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_that_are_wrong_are_refused_and_the_upload_stays() {
    let client = Client::with_bucket().await;
    let id = begin(&client, "k", &[]).await;
    let first = part(&client, "k", &id, 1, pattern(PART)).await;
    let small = part(&client, "k", &id, 2, pattern(10)).await;
    let third = part(&client, "k", &id, 3, pattern(10)).await;
    let try_it = |parts: Vec<(u32, String)>| {
        let (client, id) = (&client, &id);
        async move {
            let parts: Vec<_> = parts.iter().map(|(number, etag)| (*number, etag.as_str())).collect();
            complete(client, "k", id, &parts).await
        }
    };
    try_it(vec![]).await.expect_error(400, "MalformedXML");
    try_it(vec![(2, small.clone()), (1, first.clone())]).await.expect_error(400, "InvalidPartOrder");
    try_it(vec![(1, first.clone()), (1, first.clone())]).await.expect_error(400, "InvalidPartOrder");
    try_it(vec![(1, small.clone())]).await.expect_error(400, "InvalidPart");
    try_it(vec![(4, first.clone())]).await.expect_error(400, "InvalidPart");
    try_it(vec![(2, small.clone()), (3, third.clone())]).await.expect_error(400, "EntityTooSmall");
    let put = Call::new("PUT", format!("/photos/k?partNumber=10001&uploadId={id}")).body("x");
    client.send(put).await.expect_error(400, "InvalidArgument");
    client.put("/photos/k", "in the way").await.expect(200);
    let xml = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{first}</ETag></Part></CompleteMultipartUpload>"
    );
    let call = Call::new("POST", format!("/photos/k?uploadId={id}")).header("if-none-match", "*").body(xml);
    client.send(call).await.expect_error(412, "PreconditionFailed");
    try_it(vec![(1, first), (2, small)]).await.expect(200);
    assert_eq!(client.get("/photos/k").await.body.len(), PART + 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_completions_at_once_both_leave_one_whole_object() {
    let client = Client::with_bucket().await;
    let id = begin(&client, "k", &[]).await;
    let first = part(&client, "k", &id, 1, pattern(PART)).await;
    let list = [(1, first.as_str())];
    let calls = (0..8).map(|_| complete(&client, "k", &id, &list));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().any(|answer| answer.status == 200));
    for answer in &answers {
        assert!(answer.status == 200 || answer.code() == "OperationAborted", "{}", answer.text());
    }
    let mut reaper = Reaper::with_grace(client.store.clone(), Duration::ZERO);
    reaper.step(Instant::now()).await.expect("a step");
    assert_eq!(client.get("/photos/k").await.expect(200).body, pattern(PART));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_upload_leaves_nothing() {
    let client = Client::with_bucket().await;
    let id = begin(&client, "k", &[]).await;
    let etag = part(&client, "k", &id, 1, pattern(10)).await;
    let uri = format!("/photos/k?uploadId={id}");
    client.send(Call::new("DELETE", uri.as_str())).await.expect(204);
    assert_eq!(stored_parts(&client).await, 0);
    client.send(Call::new("DELETE", uri.as_str())).await.expect_error(404, "NoSuchUpload");
    complete(&client, "k", &id, &[(1, &etag)]).await.expect_error(404, "NoSuchUpload");
    client.put(&format!("/photos/k?partNumber=1&uploadId={id}"), "x").await.expect_error(404, "NoSuchUpload");
    client.get(&uri).await.expect_error(404, "NoSuchUpload");
    client.get("/photos/k").await.expect_error(404, "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_a_crash_left_behind_are_found_and_no_others() {
    let client = Client::with_bucket().await;
    let done = begin(&client, "done", &[]).await;
    let etag = part(&client, "done", &done, 1, pattern(10)).await;
    complete(&client, "done", &done, &[(1, &etag)]).await.expect(200);
    let open = begin(&client, "open", &[]).await;
    part(&client, "open", &open, 1, pattern(10)).await;
    let lost = begin(&client, "lost", &[]).await;
    part(&client, "lost", &lost, 1, pattern(10)).await;
    let record = ObjectPath::new(".multipart", "uploads/AUTH_sea/photos", names::record("lost", Some(&lost)));
    client.store.object_delete(&record, &Precondition::default()).await.expect("the record goes").expect("was there");

    let mut sweeper = Sweeper::at_once(client.store.clone());
    let now = Instant::now();
    assert_eq!(sweeper.round(now).await.expect("a round"), Swept { found: 1, deleted: 0 });
    assert_eq!(sweeper.round(now + Duration::from_secs(10)).await.expect("a round"), Swept { found: 1, deleted: 0 });
    assert_eq!(sweeper.round(now + Duration::from_secs(3600)).await.expect("a round"), Swept { found: 1, deleted: 1 });
    assert_eq!(sweeper.round(now + Duration::from_secs(7200)).await.expect("a round"), Swept::default());
    assert_eq!(client.get("/photos/done").await.expect(200).body, pattern(10));
    assert_eq!(stored_parts(&client).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_of_parts_join() {
    let client = Client::with_bucket().await;
    let data = pattern(PART + 77);
    let crc = |data: &[u8]| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(crc32fast::hash(data).to_be_bytes())
    };
    for (kind, want) in [("FULL_OBJECT", Some(crc(&data))), ("COMPOSITE", None)] {
        let headers = [("x-amz-checksum-algorithm", "CRC32"), ("x-amz-checksum-type", kind)];
        let id = begin(&client, "k", &headers).await;
        let put = |number: u32, body: Bytes, stated: String| {
            let uri = format!("/photos/k?partNumber={number}&uploadId={id}");
            client.send(Call::new("PUT", uri).header("x-amz-checksum-crc32", &stated).body(body))
        };
        let tail = data.slice(PART..);
        put(2, tail.clone(), crc(b"other")).await.expect_error(400, "BadDigest");
        let first = put(1, data.slice(..PART), crc(&data[..PART])).await.expect(200);
        let second = put(2, tail.clone(), crc(&tail)).await.expect(200);
        let tag = |answer: &Answer| answer.header("etag").expect("a tag").to_owned();
        let done = complete(&client, "k", &id, &[(1, &tag(&first)), (2, &tag(&second))]).await.expect(200);
        let shown = done.element("ChecksumCRC32").expect("a checksum");
        match want {
            Some(want) => assert_eq!(shown, want),
            None => assert!(shown.ends_with("-2"), "{shown}"),
        }
        let head = Call::new("HEAD", "/photos/k").header("x-amz-checksum-mode", "ENABLED");
        let head = client.send(head).await.expect(200);
        assert_eq!(
            (head.header("x-amz-checksum-crc32"), head.header("x-amz-checksum-type")),
            (Some(shown.as_str()), Some(kind))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_copied_from_ranges_of_objects() {
    let client = Client::with_bucket().await;
    client.put("/photos/from", pattern(PART + 100)).await.expect(200);
    let id = begin(&client, "to", &[]).await;
    let copy = |number: u32, range: &str| {
        let uri = format!("/photos/to?partNumber={number}&uploadId={id}");
        let call = Call::new("PUT", uri).header("x-amz-copy-source", "photos/from");
        client.send(call.header("x-amz-copy-source-range", range))
    };
    let first = copy(1, &format!("bytes=100-{}", PART + 99)).await.expect(200).element("ETag").expect("a tag");
    let second = copy(2, "bytes=0-99").await.expect(200).element("ETag").expect("a tag");
    copy(3, &format!("bytes=0-{}", PART + 100)).await.expect_error(400, "InvalidArgument");
    complete(&client, "to", &id, &[(1, &first), (2, &second)]).await.expect(200);
    let want = [&pattern(PART + 100)[100..], &pattern(PART + 100)[..100]].concat();
    assert_eq!(client.get("/photos/to").await.body, want);
    let copied = Call::new("PUT", "/photos/whole").header("x-amz-copy-source", "photos/to");
    client.send(copied).await.expect(200);
    let whole = client.get("/photos/whole").await.expect(200);
    assert_eq!(whole.body, want);
    assert!(!whole.header("etag").expect("a tag").contains('-'), "a copy is one piece");
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_list_by_key_and_roll_up() {
    let client = Client::with_bucket().await;
    let mut ids = Vec::new();
    for key in ["a", "b/1", "b/2", "c"] {
        ids.push(begin(&client, key, &[]).await);
    }
    let page = client.get("/photos?delimiter=%2F&uploads").await.expect(200).text();
    assert!(page.contains("<Prefix>b/</Prefix>") && page.contains(&ids[0]) && !page.contains(&ids[1]), "{page}");
    let mut seen = Vec::new();
    let mut uri = "/photos?max-uploads=1&uploads".to_owned();
    loop {
        let page = client.get(&uri).await.expect(200);
        seen.extend(page.element("UploadId"));
        if page.element("IsTruncated").as_deref() != Some("true") {
            break;
        }
        let (key, id) =
            (page.element("NextKeyMarker").expect("a key"), page.element("NextUploadIdMarker").expect("an id"));
        let key = key.replace('/', "%2F");
        uri = format!("/photos?key-marker={key}&max-uploads=1&upload-id-marker={id}&uploads");
    }
    assert_eq!(seen, ids);
    client.send(Call::new("DELETE", "/photos")).await.expect(204);
    client.send(Call::new("PUT", "/photos")).await.expect(200);
    assert!(!client.get("/photos?uploads").await.expect(200).text().contains("<UploadId>"));
}

/// Numbers of the parts of a page, and the marker of the next one.
async fn page(client: &Client, id: &str, marker: &str, limit: usize) -> (Vec<String>, Option<String>) {
    let uri = format!("/photos/k?max-parts={limit}&part-number-marker={marker}&uploadId={id}");
    let listed = client.get(&uri).await.expect(200);
    let text = listed.text();
    let numbers = text.split("<PartNumber>").skip(1).map(|rest| rest.split('<').next().unwrap_or_default().to_owned());
    let is_truncated = listed.element("IsTruncated").as_deref() == Some("true");
    (numbers.collect(), listed.element("NextPartNumberMarker").filter(|_| is_truncated))
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_parts_go_on_behind_their_marker_and_show_the_latest_of_each_number() {
    let client = Client::with_bucket().await;
    let id = begin(&client, "k", &[]).await;
    let mut latest = String::new();
    for number in [1, 2, 5, 9, 10_000] {
        for upload in 0..4 {
            latest = part(&client, "k", &id, number, format!("{number} {upload}").into()).await;
        }
    }
    for (marker, limit, want, next) in [
        ("0", 2, &["1", "2"][..], Some("2")),
        ("2", 2, &["5", "9"], Some("9")),
        ("9", 2, &["10000"], None),
        ("3", 3, &["5", "9", "10000"], None),
        ("10000", 2, &[], None),
        ("0", 5, &["1", "2", "5", "9", "10000"], None),
    ] {
        let (numbers, marker_of_next) = page(&client, &id, marker, limit).await;
        assert_eq!(
            (numbers, marker_of_next.as_deref()),
            (want.iter().map(|n| (*n).to_owned()).collect(), next),
            "{marker}"
        );
    }
    let last = client.get(&format!("/photos/k?part-number-marker=9&uploadId={id}")).await.text();
    assert!(last.contains(latest.trim_matches('"')), "{latest} is not in {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_parts_are_listed_page_by_page_and_become_one_object() {
    let client = Client::with_config(S3Config { part_bytes_min: 0, ..S3Config::default() }).await;
    client.send(Call::new("PUT", "/photos")).await.expect(200);
    let id = begin(&client, "k", &[]).await;
    let body = |number: u32| Bytes::from(format!("{number},"));
    let upload = |number| part(&client, "k", &id, number, body(number));
    let etags: Vec<String> = futures::stream::iter((1..=10_000).map(upload)).buffered(64).collect().await;

    let (mut marker, mut seen) = (Some("0".to_owned()), 0);
    let mut slowest = Duration::ZERO;
    while let Some(after) = marker {
        let start = Instant::now();
        let (numbers, next) = page(&client, &id, &after, 1_000).await;
        slowest = slowest.max(start.elapsed());
        assert_eq!(numbers.first().map(String::as_str), Some((seen + 1).to_string().as_str()));
        (seen, marker) = (seen + numbers.len(), next);
    }
    assert_eq!(seen, 10_000);
    let list: Vec<(u32, &str)> = (1..).zip(etags.iter().map(String::as_str)).collect();
    let start = Instant::now();
    let done = complete(&client, "k", &id, &list).await.expect(200);
    eprintln!("slowest page of 1,000 of 10,000 parts: {slowest:?}, completing them: {:?}", start.elapsed());
    assert!(done.element("ETag").expect("a tag").trim_matches('"').ends_with("-10000"));
    let want: Vec<u8> = (1..=10_000).flat_map(body).collect();
    assert!(client.get("/photos/k").await.expect(200).body == want);
    let got = client.send(Call::new("GET", "/photos/k").header("range", "bytes=-6")).await.expect(206);
    assert_eq!(got.body.as_ref(), b"10000,");
    assert_eq!(client.get("/photos/k?partNumber=9999").await.expect(206).text(), "9999,");
}

/// Otherwise each step's objects wait only from when those of the step before are gone, and space comes back
/// more slowly than it is given up.
#[tokio::test(flavor = "multi_thread")]
async fn all_that_was_replaced_waits_its_time_at_once() {
    let client = Client::with_config(S3Config { part_bytes_min: 0, ..S3Config::default() }).await;
    client.send(Call::new("PUT", "/photos")).await.expect(200);
    for number in 0..150 {
        let key = format!("k{number}");
        let id = begin(&client, &key, &[]).await;
        let etag = part(&client, &key, &id, 1, Bytes::from_static(b"x")).await;
        complete(&client, &key, &id, &[(1, &etag)]).await.expect(200);
        client.send(Call::new("DELETE", format!("/photos/{key}"))).await.expect(204);
    }
    let mut reaper = Reaper::with_grace(client.store.clone(), Duration::from_secs(60));
    let now = Instant::now();
    assert_eq!(reaper.step(now).await.expect("a step").waiting, 150);
    let mut parts = 0;
    for _ in 0..3 {
        parts += reaper.step(now + Duration::from_secs(61)).await.expect("a step").parts;
    }
    assert_eq!((parts, stored_parts(&client).await), (150, 0));
}
