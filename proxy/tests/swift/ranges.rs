//! Parts of objects.

use super::door::{Cloud, pattern};

#[tokio::test]
async fn one_range_is_a_part() {
    let cloud = Cloud::with_container().await;
    let data = pattern(500_000);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], data.clone()).await.is(201);
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=65535-65536", 65_535, 65_537),
        ("bytes=-10", 499_990, 500_000),
        ("bytes=499990-", 499_990, 500_000),
        ("bytes=100000-900000", 100_000, 500_000),
        ("bytes=-900000", 0, 500_000),
    ] {
        let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[("range", range)], "").await.is(206);
        assert!(get.body == data.slice(start..end), "{range}");
        assert_eq!(get.header("content-range"), Some(format!("bytes {start}-{}/500000", end - 1).as_str()));
        assert_eq!(get.header("content-length"), Some((end - start).to_string().as_str()));
        assert_eq!(get.header("accept-ranges"), Some("bytes"));
    }
    let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[("range", "bytes=500000-")], "").await.is(416);
    assert_eq!(get.header("content-range"), Some("bytes */500000"));
    cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[("range", "lines=1-2")], "").await.is(200);
    cloud.ask("owner", "HEAD /v1/AUTH_sea/c/o", &[("range", "bytes=0-0")], "").await.is(200);
    cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[("range", "bytes=0-0"), ("if-range", "\"x\"")], "").await.is(200);
}

#[tokio::test]
async fn several_ranges_are_a_multipart_answer() {
    let cloud = Cloud::with_container().await;
    let data = pattern(500_000);
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[("content-type", "a/b")], data.clone()).await.is(201);
    let get = cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[("range", "bytes=0-9,400000-400004,-5")], "").await.is(206);
    let boundary = get.header("content-type").and_then(|text| text.strip_prefix("multipart/byteranges;boundary="));
    let boundary = boundary.expect("a boundary");
    let mut want = Vec::new();
    for (gap, start, end) in [("", 0, 10), ("\r\n", 400_000, 400_005), ("\r\n", 499_995, 500_000)] {
        let head = format!(
            "{gap}--{boundary}\r\nContent-Type: a/b\r\nContent-Range: bytes {start}-{}/500000\r\n\r\n",
            end - 1
        );
        want.extend_from_slice(head.as_bytes());
        want.extend_from_slice(&data[start..end]);
    }
    want.extend_from_slice(format!("\r\n--{boundary}--").as_bytes());
    assert!(get.body == want);
    assert_eq!(get.header("content-length"), Some(want.len().to_string().as_str()));
}
