//! Buckets, objects, listings, copies, conditions, checksums.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use anello_storage::Policies;

use crate::client::{Call, Client, pattern};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_comes_back_with_all_that_was_said_of_it() {
    let client = Client::with_bucket().await;
    for size in [0, 1, 4096, 300_000, 3_000_000] {
        let put = Call::new("PUT", format!("/photos/a/{size}"))
            .header("content-type", "image/x")
            .header("cache-control", "no-store")
            .header("x-amz-meta-color", "blue")
            .header("x-amz-tagging", "k=v&l=w")
            .body(pattern(size));
        let etag = client.send(put).await.expect(200).header("etag").expect("a tag").to_owned();
        let got = client.get(&format!("/photos/a/{size}")).await.expect(200);
        assert_eq!(got.body, pattern(size));
        for (name, value) in [
            ("etag", etag.as_str()),
            ("content-type", "image/x"),
            ("cache-control", "no-store"),
            ("x-amz-meta-color", "blue"),
            ("x-amz-tagging-count", "2"),
            ("accept-ranges", "bytes"),
            ("content-length", &size.to_string()),
        ] {
            assert_eq!(got.header(name), Some(value), "{name} of {size}");
        }
        assert!(got.header("last-modified").is_some() && got.header("x-amz-request-id").is_some());
        let head = client.send(Call::new("HEAD", format!("/photos/a/{size}"))).await.expect(200);
        assert_eq!(head.header("etag"), Some(etag.as_str()));
    }
    client.get("/photos/none").await.expect_error(404, "NoSuchKey");
    client.get("/nobucket/none").await.expect_error(404, "NoSuchBucket");
    client.send(Call::new("DELETE", "/photos/a/1")).await.expect(204);
    client.send(Call::new("DELETE", "/photos/a/1")).await.expect(204);
    client.get("/photos/a/1").await.expect_error(404, "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_cut_as_clients_expect() {
    let client = Client::with_bucket().await;
    client.put("/photos/r", pattern(1_000)).await.expect(200);
    for (range, want, shown) in [
        ("bytes=0-9", 0..10, "bytes 0-9/1000"),
        ("bytes=990-", 990..1000, "bytes 990-999/1000"),
        ("bytes=-1", 999..1000, "bytes 999-999/1000"),
        ("bytes=5-5000", 5..1000, "bytes 5-999/1000"),
    ] {
        let got = client.send(Call::new("GET", "/photos/r").header("range", range)).await.expect(206);
        assert_eq!((got.body.as_ref(), got.header("content-range")), (&pattern(1_000)[want], Some(shown)), "{range}");
        let head = client.send(Call::new("HEAD", "/photos/r").header("range", range)).await.expect(206);
        assert_eq!(head.header("content-range"), Some(shown));
    }
    for malformed in ["bytes=5-2", "bytes=x", "bytes=-", "lines=1-2", "bytes=0-1,4-5"] {
        let presigned = Call::new("GET", "/photos/r").presigned(60).header("range", malformed);
        let got = client.send(presigned).await.expect(200);
        assert_eq!((got.body.as_ref(), got.header("content-range")), (&pattern(1_000)[..], None), "{malformed}");
        // Where `s3s` checks a signature that covers the header, the header has to stay, and is refused.
        for method in ["GET", "HEAD"].into_iter().filter(|_| crate::HAS_LANE) {
            client.send(Call::new(method, "/photos/r").header("range", malformed)).await.expect(200);
        }
    }
    let beyond = client.send(Call::new("GET", "/photos/r").header("range", "bytes=1000-")).await;
    assert_eq!(beyond.expect_error(416, "InvalidRange").header("content-range"), Some("bytes */1000"));
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_hold_on_reading_and_writing() {
    let client = Client::with_bucket().await;
    let etag = client.put("/photos/c", "one").await.expect(200).header("etag").expect("a tag").to_owned();
    let get = |name: &str, value: &str| client.send(Call::new("GET", "/photos/c").header(name, value));
    get("if-match", &etag).await.expect(200);
    get("if-match", "\"other\"").await.expect_error(412, "PreconditionFailed");
    let unmodified = get("if-none-match", &etag).await.expect(304);
    assert!(unmodified.body.is_empty() && unmodified.header("etag") == Some(etag.as_str()));
    get("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT").await.expect(304);
    get("if-unmodified-since", "Sat, 01 Jan 2000 00:00:00 GMT").await.expect_error(412, "PreconditionFailed");

    let put = |path: &str, name: &str, value: &str| client.send(Call::new("PUT", path).header(name, value).body("two"));
    put("/photos/c", "if-none-match", "*").await.expect_error(412, "PreconditionFailed");
    put("/photos/new", "if-none-match", "*").await.expect(200);
    put("/photos/c", "if-match", "\"other\"").await.expect_error(412, "PreconditionFailed");
    put("/photos/none", "if-match", &etag).await.expect_error(404, "NoSuchKey");
    put("/photos/c", "if-match", &etag).await.expect(200);
    client
        .send(Call::new("DELETE", "/photos/c").header("if-match", &etag))
        .await
        .expect_error(412, "PreconditionFailed");
    assert_eq!(client.get("/photos/c").await.text(), "two");
}

#[tokio::test(flavor = "multi_thread")]
async fn checksums_are_verified_kept_and_shown() {
    let client = Client::with_bucket().await;
    for (name, value) in [
        ("x-amz-checksum-crc32", "y/Q5Jg=="),
        ("x-amz-checksum-crc32c", "4waSgw=="),
        ("x-amz-checksum-crc64nvme", "rosUhgp5mIg="),
        ("x-amz-checksum-sha1", "98O8HYCOBHMq32eZZczDTKeuNEE="),
        ("x-amz-checksum-sha256", "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="),
    ] {
        let put = |body: &'static str| client.send(Call::new("PUT", "/photos/s").header(name, value).body(body));
        put("12345678X").await.expect_error(400, "BadDigest");
        put("123456789").await.expect(200);
        let got = client.send(Call::new("GET", "/photos/s").header("x-amz-checksum-mode", "ENABLED")).await.expect(200);
        assert_eq!((got.header(name), got.header("x-amz-checksum-type")), (Some(value), Some("FULL_OBJECT")));
        assert_eq!(client.get("/photos/s").await.header(name), None, "shown only when asked for");
    }
    let md5 = |text: &str| client.send(Call::new("PUT", "/photos/m").header("content-md5", text).body("123456789"));
    md5("JfnnlDI7RThNGfD3SI5EBg==").await.expect_error(400, "BadDigest");
    md5("nonsense").await.expect_error(400, "InvalidDigest");
    client.get("/photos/m").await.expect_error(404, "NoSuchKey");
    md5("JfnnlDI7RTiF9RgfG2JNCw==").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn streamed_signatures_and_trailers_are_verified() {
    let client = Client::with_bucket().await;
    let data = pattern(200_000);
    let crc = STANDARD.encode(crc32fast::hash(&data).to_be_bytes());
    let put = |key: &str| Call::new("PUT", format!("/photos/{key}")).body(data.clone());
    client.send(put("plain").chunked(65_536, None)).await.expect(200);
    client.send(put("trailer").chunked(65_536, Some(("x-amz-checksum-crc32", &crc)))).await.expect(200);
    for key in ["plain", "trailer"] {
        let got = client
            .send(Call::new("GET", format!("/photos/{key}")).header("x-amz-checksum-mode", "ENABLED"))
            .await
            .expect(200);
        assert_eq!(got.body, data);
        assert_eq!(got.header("content-encoding"), None, "the transfer's encoding is not the object's");
        assert_eq!(got.header("x-amz-checksum-crc32"), (key == "trailer").then_some(crc.as_str()));
    }
    let wrong = put("wrong").chunked(65_536, Some(("x-amz-checksum-crc32", "AAAAAA==")));
    client.send(wrong).await.expect_error(400, "BadDigest");
    client.get("/photos/wrong").await.expect_error(404, "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_page_through_every_name_once() {
    let client = Client::with_bucket().await;
    for key in ["a", "b/1", "b/2", "c/1", "d%20e", "z"] {
        client.put(&format!("/photos/{key}"), "x").await.expect(200);
    }
    let all = client.get("/photos?list-type=2&encoding-type=url").await.expect(200).text();
    for key in ["a", "b/1", "b/2", "c/1", "d%20e", "z"] {
        assert!(all.contains(&format!("<Key>{key}</Key>")), "{key}: {all}");
    }
    let mut seen = Vec::new();
    let mut token = None;
    loop {
        let mut uri = "/photos?delimiter=%2F&list-type=2&max-keys=1".to_owned();
        if let Some(token) = &token {
            uri = format!("/photos?continuation-token={token}&delimiter=%2F&list-type=2&max-keys=1");
        }
        let page = client.get(&uri).await.expect(200);
        assert_eq!(page.element("KeyCount").as_deref(), Some("1"));
        seen.push(page.element("Key").or_else(|| page.element("CommonPrefixes")).expect("an entry"));
        token = page.element("NextContinuationToken");
        if page.element("IsTruncated").as_deref() == Some("false") {
            break;
        }
    }
    assert_eq!(seen, ["a", "<Prefix>b/</Prefix>", "<Prefix>c/</Prefix>", "d e", "z"]);
    let page = client.get("/photos?marker=b%2F1&max-keys=2&prefix=b").await.expect(200);
    assert_eq!((page.element("Key").as_deref(), page.element("IsTruncated").as_deref()), (Some("b/2"), Some("false")));
    assert!(!client.get("/photos?list-type=2&max-keys=0").await.expect(200).text().contains("<Key>"));
    client.get("/photos?list-type=2&max-keys=-1").await.expect_error(400, "InvalidArgument");
    client.get("/photos?continuation-token=%21&list-type=2").await.expect_error(400, "InvalidArgument");
    client.get("/none?list-type=2").await.expect_error(404, "NoSuchBucket");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_takes_data_and_as_told_metadata() {
    let client = Client::with_bucket().await;
    let put = Call::new("PUT", "/photos/from")
        .header("x-amz-meta-a", "1")
        .header("content-type", "text/a")
        .header("x-amz-tagging", "t=1")
        .header("x-amz-checksum-crc32", "y/Q5Jg==")
        .body("123456789");
    client.send(put).await.expect(200);
    let copy = |to: &str| Call::new("PUT", format!("/photos/{to}")).header("x-amz-copy-source", "/photos/from");
    let copied = client.send(copy("kept")).await.expect(200);
    assert_eq!(copied.element("ChecksumCRC32").as_deref(), Some("y/Q5Jg=="));
    let replace = copy("replaced").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-b", "2");
    client.send(replace).await.expect(200);
    let (kept, replaced) = (client.get("/photos/kept").await, client.get("/photos/replaced").await);
    assert_eq!((kept.text(), replaced.text()), ("123456789".into(), "123456789".into()));
    assert_eq!((kept.header("x-amz-meta-a"), kept.header("content-type")), (Some("1"), Some("text/a")));
    assert_eq!((replaced.header("x-amz-meta-a"), replaced.header("x-amz-meta-b")), (None, Some("2")));
    assert_eq!((kept.header("x-amz-tagging-count"), replaced.header("x-amz-tagging-count")), (Some("1"), Some("1")));

    client.send(copy("from")).await.expect_error(400, "InvalidRequest");
    let itself = copy("from").header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-c", "3");
    client.send(itself).await.expect(200);
    let from = client.send(Call::new("GET", "/photos/from").header("x-amz-checksum-mode", "ENABLED")).await.expect(200);
    assert_eq!((from.header("x-amz-meta-a"), from.header("x-amz-meta-c")), (None, Some("3")));
    assert_eq!((from.text(), from.header("x-amz-checksum-crc32")), ("123456789".into(), Some("y/Q5Jg==")));
    client.send(copy("x").header("x-amz-copy-source-if-match", "\"no\"")).await.expect_error(412, "PreconditionFailed");
    let missing = Call::new("PUT", "/photos/x").header("x-amz-copy-source", "/photos/none");
    client.send(missing).await.expect_error(404, "NoSuchKey");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_deleted_at_once() {
    let client = Client::with_bucket().await;
    for key in ["1", "2", "3"] {
        client.put(&format!("/photos/{key}"), "x").await.expect(200);
    }
    let delete = |xml: &'static str| client.send(Call::new("POST", "/photos?delete").body(xml));
    let answer =
        delete("<Delete><Object><Key>1</Key></Object><Object><Key>none</Key></Object></Delete>").await.expect(200);
    assert_eq!(answer.text().matches("<Deleted>").count(), 2);
    let quiet = delete("<Delete><Quiet>true</Quiet><Object><Key>2</Key></Object></Delete>").await.expect(200);
    assert!(!quiet.text().contains("<Deleted>"));
    delete("<Delete></Delete>").await.expect_error(400, "MalformedXML");
    delete("not xml").await.expect_error(400, "MalformedXML");
    client.get("/photos/1").await.expect_error(404, "NoSuchKey");
    client.get("/photos/3").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn buckets_come_and_go() {
    let client = Client::new().await;
    for name in ["ab", "Upper", "a..b", "192.168.1.1", "under_score"] {
        client.send(Call::new("PUT", format!("/{name}"))).await.expect_error(400, "InvalidBucketName");
    }
    client.send(Call::new("HEAD", "/photos")).await.expect(404);
    client.send(Call::new("PUT", "/photos")).await.expect(200);
    client.send(Call::new("PUT", "/photos")).await.expect_error(409, "BucketAlreadyOwnedByYou");
    client.send(Call::new("PUT", "/photos").signed_by("bob")).await.expect_error(409, "BucketAlreadyExists");
    let head = client.send(Call::new("HEAD", "/photos")).await.expect(200);
    assert_eq!(head.header("x-amz-bucket-region"), Some("us-east-1"));
    assert!(client.get("/").await.expect(200).text().contains("<Name>photos</Name>"));
    assert!(!client.send(Call::new("GET", "/").signed_by("bob")).await.expect(200).text().contains("photos"));
    client.get("/photos?location").await.expect(200);
    assert!(!client.get("/photos?versioning").await.expect(200).text().contains("Status"));
    client.put("/photos/x", "x").await.expect(200);
    client.send(Call::new("DELETE", "/photos")).await.expect_error(409, "BucketNotEmpty");
    client.send(Call::new("DELETE", "/photos/x")).await.expect(204);
    client.send(Call::new("DELETE", "/photos")).await.expect(204);
    client.get("/photos?list-type=2").await.expect_error(404, "NoSuchBucket");
    client.send(Call::new("PUT", "/photos").signed_by("bob")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_objects_and_buckets_are_kept() {
    let client = Client::with_bucket().await;
    client.put("/photos/t", "x").await.expect(200);
    let tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>ü</Value></Tag></TagSet></Tagging>";
    client.get("/photos?tagging").await.expect_error(404, "NoSuchTagSet");
    for uri in ["/photos/t?tagging", "/photos?tagging"] {
        client.put(uri, tags).await;
        let got = client.get(uri).await.expect(200).text();
        assert!(got.contains("<Key>a b</Key><Value>ü</Value>"), "{got}");
        client.send(Call::new("DELETE", uri)).await.expect(204);
    }
    assert!(!client.get("/photos/t?tagging").await.expect(200).text().contains("<Key>"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_offered_says_so() {
    let client = Client::with_bucket().await;
    for (setting, code) in [
        ("encryption", "ServerSideEncryptionConfigurationNotFoundError"),
        ("replication", "ReplicationConfigurationNotFoundError"),
    ] {
        let uri = format!("/photos?{setting}");
        client.get(uri.as_str()).await.expect_error(404, code);
        client.send(Call::new("PUT", uri.as_str()).body("<X/>")).await.expect_error(501, "NotImplemented");
        client.send(Call::new("DELETE", uri.as_str())).await.expect(204);
    }
    let put = |name: &str, value: &str| client.send(Call::new("PUT", "/photos/x").header(name, value).body("x"));
    put("x-amz-server-side-encryption", "AES256").await.expect_error(501, "NotImplemented");
    put("x-amz-storage-class", "GLACIER").await.expect_error(400, "InvalidStorageClass");
    put("x-amz-acl", "public-read").await.expect_error(400, "AccessControlListNotSupported");
    client.get("/photos/x").await.expect_error(404, "NoSuchKey");
}

/// A change of metadata is one step, like a conditional write: otherwise what belongs to a version's data
/// comes to stand on another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_metadata_never_brings_back_an_earlier_version() {
    let client = Client::with_bucket().await;
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    let tag = || client.send(Call::new("PUT", "/photos/k?tagging").body(tags));
    let copy = || {
        let call = Call::new("PUT", "/photos/k").header("x-amz-copy-source", "/photos/k");
        client.send(call.header("x-amz-metadata-directive", "REPLACE").header("x-amz-meta-copied", "yes"))
    };
    let put = |round: usize| {
        let round = round.to_string();
        let checksum = STANDARD.encode(crc32fast::hash(round.as_bytes()).to_be_bytes());
        let call = Call::new("PUT", "/photos/k").header("x-amz-checksum-crc32", &checksum);
        client.send(call.header("x-amz-meta-round", &round).body(round))
    };
    put(0).await.expect(200);
    for round in 1..50 {
        let (written, tagged, copied) = tokio::join!(put(round), tag(), copy());
        for answer in [written, tagged, copied] {
            answer.expect(200);
        }
        let got = client.send(Call::new("GET", "/photos/k").header("x-amz-checksum-mode", "ENABLED")).await.expect(200);
        let body = got.text();
        assert!(got.header("x-amz-checksum-crc32").is_some(), "the checksum of another version's data: {got:?}");
        assert!(got.header("x-amz-meta-round").is_none_or(|round| round == body), "{body}: {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_has_the_storage_class_that_it_was_made_with() {
    let client = Client::with_bucket().await;
    let add = |policies: &Policies| policies.with("STANDARD_IA", "replication 2".parse()?);
    client.store.change_policies(add).await.expect("a policy");
    let class = "x-amz-storage-class";
    client.send(Call::new("PUT", "/rare").header(class, "STANDARD_IA")).await.expect(200);
    let placed = "<CreateBucketConfiguration><LocationConstraint>:standard_ia</LocationConstraint>\
                  </CreateBucketConfiguration>";
    client.send(Call::new("PUT", "/placed").body(placed)).await.expect(200);
    client.send(Call::new("PUT", "/none").header(class, "GLACIER")).await.expect_error(400, "InvalidStorageClass");
    for (bucket, shown) in [("rare", Some("STANDARD_IA")), ("placed", Some("STANDARD_IA")), ("photos", None)] {
        let key = format!("/{bucket}/k");
        client.put(&key, pattern(100)).await.expect(200);
        for (wanted, accepted) in [("STANDARD", true), ("STANDARD_IA", shown.is_some()), ("GLACIER", false)] {
            let put = client.send(Call::new("PUT", &key).header(class, wanted).body(pattern(100))).await;
            if accepted {
                put.expect(200)
            } else {
                put.expect_error(400, "InvalidStorageClass")
            };
        }
        for method in ["GET", "HEAD"] {
            assert_eq!(client.send(Call::new(method, &key)).await.expect(200).header(class), shown, "{bucket}");
        }
        let listed = client.get(&format!("/{bucket}?list-type=2")).await.expect(200);
        assert_eq!(listed.element("StorageClass").as_deref(), Some(shown.unwrap_or("STANDARD")));
    }
}

/// Without this a quota would hold for those who come through Swift alone.
#[tokio::test(flavor = "multi_thread")]
async fn quotas_hold_for_both_doors() {
    let client = Client::with_bucket().await;
    let settings = vec![("x-container-meta-quota-bytes".to_owned(), "10".to_owned())];
    let store = &client.store;
    store
        .container_update("AUTH_sea", "photos", settings, 0, anello_storage::store::IfMissing::Fail)
        .await
        .expect("sets");
    client.put("/photos/a", "12345678").await.expect(200);
    client.put("/photos/b", "123").await.expect_error(403, "QuotaExceeded");
    let copy = Call::new("PUT", "/photos/c").header("x-amz-copy-source", "/photos/a");
    client.send(copy).await.expect_error(403, "QuotaExceeded");
    client.put("/photos/b", "12").await.expect(200);
    client.put("/other", "").await.expect(200);
    client.put("/other/x", "more than ten bytes").await.expect(200);
}
