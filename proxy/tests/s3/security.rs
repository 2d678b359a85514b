//! Who gets in, and who does not.

use std::time::{Duration, SystemTime};

use anello_storage::store::IfMissing;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::client::{Call, Client};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_being_granted() {
    let client = Client::with_bucket().await;
    client.put("/photos/x", "x").await.expect(200);
    let calls = [
        ("GET", "/"),
        ("PUT", "/fresh"),
        ("HEAD", "/photos"),
        ("DELETE", "/photos"),
        ("GET", "/photos"),
        ("GET", "/photos?list-type=2"),
        ("GET", "/photos?versions"),
        ("GET", "/photos?location"),
        ("GET", "/photos?versioning"),
        ("GET", "/photos?acl"),
        ("PUT", "/photos?acl"),
        ("GET", "/photos?tagging"),
        ("PUT", "/photos?tagging"),
        ("DELETE", "/photos?tagging"),
        ("GET", "/photos?uploads"),
        ("POST", "/photos?delete"),
        ("GET", "/photos/x"),
        ("HEAD", "/photos/x"),
        ("PUT", "/photos/x"),
        ("DELETE", "/photos/x"),
        ("GET", "/photos/x?acl"),
        ("PUT", "/photos/x?acl"),
        ("GET", "/photos/x?tagging"),
        ("PUT", "/photos/x?tagging"),
        ("DELETE", "/photos/x?tagging"),
        ("GET", "/photos/x?attributes"),
        ("POST", "/photos/x?uploads"),
        ("PUT", "/photos/x?partNumber=1&uploadId=00000000000000000000000000000000"),
        ("POST", "/photos/x?uploadId=00000000000000000000000000000000"),
        ("GET", "/photos/x?uploadId=00000000000000000000000000000000"),
        ("DELETE", "/photos/x?uploadId=00000000000000000000000000000000"),
    ];
    for (method, uri) in calls {
        let call = Call::new(method, uri).header("x-amz-object-attributes", "ETag");
        assert_eq!(client.send(call.clone().anonymous()).await.status, 403, "anonymous {method} {uri}");
        if !matches!(uri, "/" | "/fresh") {
            assert_eq!(client.send(call.signed_by("bob")).await.status, 403, "bob {method} {uri}");
        }
        if method == "PUT" || method == "POST" || method == "DELETE" {
            let call = Call::new(method, uri).signed_by("rita");
            assert_eq!(client.send(call).await.status, 403, "a reader {method} {uri}");
        }
    }
    let copy = Call::new("PUT", "/other/y").header("x-amz-copy-source", "/photos/x").signed_by("bob");
    client.send(Call::new("PUT", "/other").signed_by("bob")).await.expect(200);
    client.send(copy).await.expect_error(403, "AccessDenied");
    client.send(Call::new("GET", "/photos/x").signed_by("rita")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_that_are_wrong_are_refused_with_their_reason() {
    let client = Client::with_bucket().await;
    client.put("/photos/x", "x").await.expect(200);
    client.send(Call::new("GET", "/photos/x").signed_by("nobody")).await.expect_error(403, "InvalidAccessKeyId");
    let early = SystemTime::now() - Duration::from_secs(1_000);
    client.send(Call::new("GET", "/photos/x").at(early)).await.expect_error(403, "RequestTimeTooSkewed");
    let mut signed = Call::new("GET", "/photos/x");
    signed.sign();
    client.send(signed.clone()).await.expect(200);
    client.send(signed.header("x-amz-meta-unsigned", "1")).await.expect_error(403, "AccessDenied");
    client.send(Call::new("GET", "/photos/x").region("eu-west-9")).await.expect(200);
    let malformed = client.send(Call::new("GET", "/photos/x").region("US")).await;
    let malformed = malformed.expect_error(400, "AuthorizationHeaderMalformed");
    assert_eq!(malformed.element("Region").as_deref(), Some("us-east-1"));
    let mut tampered = Call::new("PUT", "/photos/x").body("one");
    tampered.sign();
    client.send(tampered.body("two")).await.expect_error(400, "XAmzContentSHA256Mismatch");
    assert_eq!(client.get("/photos/x").await.text(), "x");
    for (method, uri) in [("POST", "/photos?delete"), ("PUT", "/photos/x?tagging"), ("PUT", "/fresh")] {
        let mut tampered = Call::new(method, uri).body("<Delete><Object><Key>y</Key></Object></Delete>");
        tampered.sign();
        let tampered = tampered.body("<Delete><Object><Key>x</Key></Object></Delete>");
        client.send(tampered).await.expect_error(400, "XAmzContentSHA256Mismatch");
    }
    assert_eq!(client.get("/photos/x").await.text(), "x");
    let mut moved = Call::new("DELETE", "/photos/x").header("x-amz-expected-bucket-owner", "sea");
    moved.sign();
    let forged = moved.header("x-amz-expected-bucket-owner", "land");
    assert_eq!(client.send(forged).await.status, 403);
    let owner = Call::new("GET", "/photos/x").header("x-amz-expected-bucket-owner", "land");
    client.send(owner).await.expect_error(403, "AccessDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn presigned_urls_work_until_they_end() {
    let client = Client::with_bucket().await;
    client.send(Call::new("PUT", "/photos/p").body("x").presigned(60)).await.expect(200);
    let url = Call::new("GET", "/photos/p?response-content-disposition=attachment").presigned(60);
    let got = client.send(url).await.expect(200);
    assert_eq!((got.text().as_str(), got.header("content-disposition")), ("x", Some("attachment")));
    let early = SystemTime::now() - Duration::from_secs(120);
    client.send(Call::new("GET", "/photos/p").at(early).presigned(60)).await.expect_error(403, "AccessDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_made_through_swift_is_its_owners_bucket() {
    let client = Client::new().await;
    let made = client.store.container_update("AUTH_sea", "Swift_Made", Vec::new(), 0, IfMissing::Create).await;
    made.expect("a container");
    client.put("/Swift_Made/x", "x").await.expect(200);
    assert!(client.get("/").await.expect(200).text().contains("Swift_Made"));
    client.send(Call::new("GET", "/Swift_Made/x").signed_by("bob")).await.expect_error(404, "NoSuchBucket");
    client.send(Call::new("GET", "/Swift_Made/x").anonymous()).await.expect_error(404, "NoSuchBucket");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_systems_own_names_are_no_buckets() {
    let client = Client::with_bucket().await;
    for uri in ["/.multipart/x", "/.s3/buckets", "/..%2Fx/y"] {
        let status = client.get(uri).await.status;
        assert!(status.is_client_error(), "{uri} {status}");
    }
}

/// A GET of `/photos/x` in Signature Version 2, dated by `name`.
fn signed_in_version_2(name: &str, date: &str) -> Call {
    let dates = if name == "date" { format!("{date}\n") } else { format!("\n{name}:{date}\n") };
    let mut mac = Hmac::<Sha1>::new_from_slice(b"secret of alice").expect("any length");
    mac.update(format!("GET\n\n\n{dates}/photos/x").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let call = Call::new("GET", "/photos/x").anonymous().header(name, date);
    call.header("authorization", &format!("AWS alice:{signature}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_version_2_is_as_short_lived_as_others() {
    let client = Client::with_bucket().await;
    client.put("/photos/x", "x").await.expect(200);
    let now = SystemTime::now();
    for name in ["date", "x-amz-date"] {
        let send = |date: String| client.send(signed_in_version_2(name, &date));
        let date = |time| httpdate::fmt_http_date(time);
        send(date(now)).await.expect(200);
        send(date(now).replace("GMT", "+0000")).await.expect(200);
        for time in [now - Duration::from_secs(1_000), now + Duration::from_secs(1_000)] {
            send(date(time)).await.expect_error(403, "RequestTimeTooSkewed");
        }
        send("yesterday".into()).await.expect_error(403, "AccessDenied");
    }
}

/// How long an answer of another host's identity holds is known where it is asked: the door keeps none for longer.
#[tokio::test]
async fn a_key_that_identity_takes_back_ends_at_once_and_one_that_it_cant_be_asked_for_is_503() {
    let client = Client::with_bucket().await;
    let list = || Call::new("GET", "/photos");
    client.put("/photos/a", "content").await.expect(200);
    client.keys.delete("alice");
    client.put("/photos/a", "content").await.expect_error(403, "InvalidAccessKeyId");
    client.send(list()).await.expect_error(403, "InvalidAccessKeyId");
    client.keys.go_down();
    for call in [list().signed_by("bob"), Call::new("GET", "/photos/a").signed_by("bob"), list()] {
        client.send(call).await.expect_error(503, "ServiceUnavailable");
    }
}
