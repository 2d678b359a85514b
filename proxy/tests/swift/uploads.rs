//! How uploads end: framing, checks, and what is left of one that breaks off.

use std::io;

use bytes::Bytes;
use futures::stream;
use http::Request;
use http_body::Frame;
use http_body_util::StreamBody;

use super::door::{Cloud, md5_hex, pattern};

#[tokio::test]
async fn uploads_are_checked_before_they_are_stored() {
    let cloud = Cloud::with_container().await;
    let md5 = md5_hex(b"data");
    let quoted = format!("\"{}\"", md5.to_uppercase());
    for (headers, want) in [
        (&[("etag", "0123")][..], 422),
        (&[("content-length", "5368709123")], 413),
        (&[("content-length", "x")], 400),
        (&[("content-length", "5")], 499),
        (&[("if-none-match", "\"abc\"")], 400),
    ] {
        cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", headers, "data").await.is(want);
        cloud.ask("owner", "HEAD /v1/AUTH_sea/c/o", &[], "").await.is(404);
    }
    for headers in [&[("etag", md5.as_str())][..], &[("etag", quoted.as_str())], &[("transfer-encoding", "chunked")]] {
        cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", headers, "data").await.is(201);
        cloud.ask("owner", "DELETE /v1/AUTH_sea/c/o", &[], "").await.is(204);
    }
    let unframed = Request::put("/v1/AUTH_sea/c/o").header("x-auth-token", "owner");
    cloud.send(unframed.body(http_body_util::Empty::new()).expect("a request")).await.is(411);
}

#[tokio::test]
async fn an_upload_that_breaks_off_leaves_what_was_there() {
    let cloud = Cloud::with_container().await;
    cloud.ask("owner", "PUT /v1/AUTH_sea/c/o", &[], "before").await.is(201);
    let chunks = [Ok(Frame::data(pattern(2_000_000))), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
    let body = StreamBody::new(stream::iter(chunks));
    let request = Request::put("/v1/AUTH_sea/c/o").header("x-auth-token", "owner").header("content-length", "4000000");
    cloud.send(request.body(body).expect("a request")).await.is(499);
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[], "").await.is(200).text(), "before");
    let head = cloud.ask("owner", "HEAD /v1/AUTH_sea/c", &[], "").await;
    assert_eq!(head.header("x-container-bytes-used"), Some("6"));
}

#[tokio::test]
async fn many_small_chunks_make_one_object() {
    let cloud = Cloud::with_container().await;
    let data = pattern(700_001);
    let chunks: Vec<_> =
        data.chunks(997).map(|chunk| Ok::<_, io::Error>(Frame::data(Bytes::copy_from_slice(chunk)))).collect();
    let body = StreamBody::new(stream::iter(chunks));
    let request =
        Request::put("/v1/AUTH_sea/c/o").header("x-auth-token", "owner").header("transfer-encoding", "chunked");
    let put = cloud.send(request.body(body).expect("a request")).await.is(201);
    assert_eq!(put.header("etag"), Some(md5_hex(&data).as_str()));
    assert!(cloud.ask("owner", "GET /v1/AUTH_sea/c/o", &[], "").await.body == data);
}
