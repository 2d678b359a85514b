//! S3's access lists: who gets in by them, where they count, and what is refused. `alice` owns the bucket, `bob` is of
//! another project, `rita` only reads alice's.

use anello_proxy::s3::{ObjectOwnership, S3Config};
use anello_storage::store::IfMissing;

use crate::client::{Call, Client};

/// A bucket of alice's where lists count.
async fn with_lists() -> Client {
    let config = S3Config { object_ownership: ObjectOwnership::ObjectWriter, ..S3Config::default() };
    let client = Client::with_config(config).await;
    client.put("/photos", "").await.expect(200);
    client.put("/photos/x", "x").await.expect(200);
    client
}

fn as_bob(method: &str, uri: &str) -> Call {
    Call::new(method, uri).signed_by("bob")
}

fn nobody(method: &str, uri: &str) -> Call {
    Call::new(method, uri).anonymous()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_buckets_list_is_for_the_bucket_and_an_objects_for_the_object() {
    let client = with_lists().await;
    client.send(Call::new("PUT", "/photos?acl").header("x-amz-acl", "public-read-write")).await.expect(200);
    client.send(nobody("GET", "/photos?list-type=2")).await.expect(200);
    client.send(nobody("GET", "/photos/x")).await.expect_error(403, "AccessDenied");
    client.send(nobody("GET", "/photos/absent")).await.expect_error(404, "NoSuchKey");
    client.send(nobody("PUT", "/photos/y").body("y")).await.expect(200);
    client.send(nobody("GET", "/photos?acl")).await.expect_error(403, "AccessDenied");
    client.send(Call::new("PUT", "/photos/x?acl").header("x-amz-acl", "authenticated-read")).await.expect(200);
    client.send(nobody("GET", "/photos/x")).await.expect_error(403, "AccessDenied");
    client.send(as_bob("GET", "/photos/x")).await.expect(200);
    client.send(as_bob("HEAD", "/photos/x")).await.expect(200);
    client.send(as_bob("GET", "/photos/x?tagging")).await.expect_error(403, "AccessDenied");
    client.send(Call::new("PUT", "/photos?acl").header("x-amz-acl", "private")).await.expect(200);
    client.send(as_bob("GET", "/photos/absent")).await.expect_error(403, "AccessDenied");
    client.send(as_bob("PUT", "/photos/x").body("y")).await.expect_error(403, "AccessDenied");
    client.send(nobody("GET", "/photos?list-type=2")).await.expect_error(403, "AccessDenied");
    client.send(as_bob("GET", "/photos/x")).await.expect(200);
    client.put("/photos/x", "a new one is private").await.expect(200);
    client.send(as_bob("GET", "/photos/x")).await.expect_error(403, "AccessDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_shown_as_they_were_put() {
    let client = with_lists().await;
    let grants = |text: &str| text.matches("<Grant>").count();
    let shown = client.get("/photos?acl").await.expect(200).text();
    assert!(shown.contains("FULL_CONTROL") && grants(&shown) == 1, "{shown}");
    let put = Call::new("PUT", "/photos?acl")
        .header("x-amz-grant-read", "uri=\"http://acs.amazonaws.com/groups/global/AllUsers\", id=\"land\"")
        .header("x-amz-grant-write-acp", "id=land");
    client.send(put).await.expect(200);
    let shown = client.send(as_bob("GET", "/photos?acl")).await;
    shown.expect_error(403, "AccessDenied");
    let shown = client.get("/photos?acl").await.expect(200).text();
    for part in ["AllUsers", "<ID>land</ID>", "WRITE_ACP"] {
        assert!(shown.contains(part), "{part} {shown}");
    }
    assert!(grants(&shown) == 3 && !shown.contains("FULL_CONTROL"), "{shown}");
    let owner = "<Owner><ID>sea</ID></Owner>";
    let policy = |owner: &str, grants: &str| {
        format!(
            "<AccessControlPolicy xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\">{owner}\
             <AccessControlList>{grants}</AccessControlList></AccessControlPolicy>"
        )
    };
    let grant =
        "<Grant><Grantee xsi:type=\"CanonicalUser\"><ID>land</ID></Grantee><Permission>READ_ACP</Permission></Grant>";
    client.send(as_bob("PUT", "/photos?acl").body(policy(owner, grant))).await.expect(200);
    let shown = client.send(as_bob("GET", "/photos?acl")).await.expect(200).text();
    assert!(shown.contains("READ_ACP") && grants(&shown) == 1, "{shown}");
    client.send(as_bob("PUT", "/photos?acl").body(policy(owner, grant))).await.expect_error(403, "AccessDenied");
    client.put("/photos?acl", policy(owner, "")).await.expect(200);
    assert_eq!(grants(&client.get("/photos?acl").await.expect(200).text()), 0);
    for (body, code) in [
        (policy("", grant), "MalformedACLError"),
        (policy(owner, &grant.replace("READ_ACP", "ALL")), "MalformedACLError"),
        (policy(owner, &grant.replace("land", "_foo")), "InvalidArgument"),
    ] {
        client.put("/photos?acl", body).await.expect_error(400, code);
    }
    client.put("/photos?acl", policy("<Owner><ID>land</ID></Owner>", grant)).await.expect_error(403, "AccessDenied");
    let both = Call::new("PUT", "/photos?acl").header("x-amz-acl", "private").header("x-amz-grant-read", "id=land");
    client.send(both).await.expect_error(400, "InvalidRequest");
    let by_email = Call::new("PUT", "/photos?acl").header("x-amz-grant-read", "emailAddress=\"a@example.com\"");
    client.send(by_email).await.expect_error(400, "UnresolvableGrantByEmailAddress");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_of_writing_takes_a_list() {
    let client = with_lists().await;
    let open = |method: &str, uri: &str| Call::new(method, uri).header("x-amz-acl", "public-read");
    client.send(open("PUT", "/photos/put").body("1")).await.expect(200);
    client.send(open("PUT", "/photos/copied").header("x-amz-copy-source", "/photos/x")).await.expect(200);
    let upload =
        client.send(open("POST", "/photos/parts?uploads")).await.expect(200).element("UploadId").expect("an id");
    let uri = format!("/photos/parts?partNumber=1&uploadId={upload}");
    let etag = client.put(&uri, "part").await.expect(200).header("etag").expect("a tag").to_owned();
    let list = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part></CompleteMultipartUpload>"
    );
    client.send(Call::new("POST", format!("/photos/parts?uploadId={upload}")).body(list)).await.expect(200);
    for key in ["put", "copied", "parts"] {
        client.send(nobody("GET", &format!("/photos/{key}"))).await.expect(200);
    }
    client.send(Call::new("PUT", "/photos/again").header("x-amz-copy-source", "/photos/put")).await.expect(200);
    client.send(nobody("GET", "/photos/again")).await.expect_error(403, "AccessDenied");
    client.send(Call::new("PUT", "/open").header("x-amz-acl", "public-read")).await.expect(200);
    client.send(nobody("GET", "/open")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_whose_the_bucket_says() {
    let client = with_lists().await;
    let policy = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": ["s3:PutObject", "s3:PutObjectAcl"],
        "Resource": "arn:aws:s3:::photos/*"}]}"#;
    client.put("/photos?policy", policy).await.expect(204);
    for (ownership, given, want) in [
        ("ObjectWriter", "", "land"),
        ("ObjectWriter", "bucket-owner-full-control", "land"),
        ("BucketOwnerPreferred", "", "land"),
        ("BucketOwnerPreferred", "bucket-owner-full-control", "sea"),
        ("BucketOwnerEnforced", "", "sea"),
        ("BucketOwnerEnforced", "bucket-owner-full-control", "sea"),
    ] {
        let controls = format!(
            "<OwnershipControls><Rule><ObjectOwnership>{ownership}</ObjectOwnership></Rule></OwnershipControls>"
        );
        client.put("/photos?ownershipControls", controls).await.expect(200);
        let put = as_bob("PUT", "/photos/bobs").body("b");
        let put = if given.is_empty() { put } else { put.header("x-amz-acl", given) };
        client.send(put).await.expect(200);
        let shown = client.get("/photos/bobs?acl").await.expect(200);
        let owner =
            shown.text().split_once("<Owner>").and_then(|(_, rest)| rest.split_once("<ID>")).expect("one").1.to_owned();
        assert!(owner.starts_with(want), "{ownership} {given}: {}", shown.text());
        assert_eq!(
            client.send(as_bob("GET", "/photos/bobs")).await.status == 200,
            want == "land",
            "{ownership} {given}"
        );
        client.get("/photos/bobs").await.expect(200);
    }
}

/// Without this somebody who is used to Amazon's default would open what he believes is closed.
#[tokio::test(flavor = "multi_thread")]
async fn by_default_no_lists_are_taken_and_none_count() {
    let client = Client::with_bucket().await;
    client.put("/photos/x", "x").await.expect(200);
    let refused = "AccessControlListNotSupported";
    for (uri, acl) in [("/photos?acl", "private"), ("/photos/x?acl", "public-read"), ("/photos/y", "private")] {
        client.send(Call::new("PUT", uri).header("x-amz-acl", acl)).await.expect_error(400, refused);
    }
    let full = Call::new("PUT", "/photos/y").header("x-amz-acl", "bucket-owner-full-control");
    client.send(full).await.expect(200);
    let new = Call::new("PUT", "/open").header("x-amz-acl", "public-read");
    client.send(new.clone()).await.expect_error(400, "InvalidBucketAclWithObjectOwnership");
    assert!(client.get("/photos?ownershipControls").await.expect(200).text().contains("BucketOwnerEnforced"));
    client.send(new.header("x-amz-object-ownership", "ObjectWriter")).await.expect(200);
    client.send(nobody("GET", "/open")).await.expect(200);
    let controls =
        "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership></Rule></OwnershipControls>";
    client.put("/open?ownershipControls", controls).await.expect_error(400, "InvalidBucketAclWithObjectOwnership");
    client.send(Call::new("PUT", "/open/x").header("x-amz-acl", "public-read").body("x")).await.expect(200);
    client.send(nobody("GET", "/open/x")).await.expect(200);
    client.send(Call::new("PUT", "/open?acl").header("x-amz-acl", "private")).await.expect(200);
    client.put("/open?ownershipControls", controls).await.expect(200);
    client.send(nobody("GET", "/open/x")).await.expect_error(403, "AccessDenied");
    client.send(Call::new("DELETE", "/open?ownershipControls")).await.expect(204);
    client.get("/open?ownershipControls").await.expect_error(404, "OwnershipControlsNotFoundError");
    client.send(nobody("GET", "/open/x")).await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn public_access_is_blocked_whoever_gives_it() {
    let client = with_lists().await;
    let block = |new: bool, old: bool| {
        format!(
            "<PublicAccessBlockConfiguration><BlockPublicAcls>{new}</BlockPublicAcls><IgnorePublicAcls>{old}\
             </IgnorePublicAcls></PublicAccessBlockConfiguration>"
        )
    };
    client.send(Call::new("PUT", "/photos?acl").header("x-amz-acl", "public-read")).await.expect(200);
    client.send(Call::new("PUT", "/photos/x?acl").header("x-amz-acl", "public-read")).await.expect(200);
    assert_eq!(client.get("/photos?policyStatus").await.expect(200).element("IsPublic").as_deref(), Some("true"));
    client.put("/photos?publicAccessBlock", block(false, true)).await.expect(200);
    for uri in ["/photos", "/photos/x"] {
        client.send(nobody("GET", uri)).await.expect_error(403, "AccessDenied");
        client.send(as_bob("GET", uri)).await.expect_error(403, "AccessDenied");
    }
    client.put("/photos?publicAccessBlock", block(true, false)).await.expect(200);
    client.send(nobody("GET", "/photos/x")).await.expect(200);
    for uri in ["/photos?acl", "/photos/x?acl", "/photos/new"] {
        let put = Call::new("PUT", uri).header("x-amz-acl", "public-read");
        client.send(put).await.expect_error(403, "AccessDenied");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_has_a_list_of_its_own() {
    let client = with_lists().await;
    client
        .put("/photos?versioning", "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>")
        .await
        .expect(200);
    let put = client.put("/photos/v", "1").await.expect(200);
    let first = put.header("x-amz-version-id").expect("an id").to_owned();
    client.put("/photos/v", "2").await.expect(200);
    let uri = format!("/photos/v?acl&versionId={first}");
    client.send(Call::new("PUT", uri.clone()).header("x-amz-acl", "public-read")).await.expect(200);
    client.send(nobody("GET", &format!("/photos/v?versionId={first}"))).await.expect(200);
    client.send(nobody("GET", "/photos/v")).await.expect_error(403, "AccessDenied");
    assert!(client.get(&uri).await.expect(200).text().contains("AllUsers"));
}

/// Without this a policy's denial could be got around by a list.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_policy_denies_no_list_gives() {
    let client = with_lists().await;
    client.send(Call::new("PUT", "/photos/x?acl").header("x-amz-acl", "public-read")).await.expect(200);
    let policy = r#"{"Statement": [{"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::land:root"}, "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::photos/*"}]}"#;
    client.put("/photos?policy", policy).await.expect(204);
    client.send(as_bob("GET", "/photos/x")).await.expect_error(403, "AccessDenied");
    client.send(nobody("GET", "/photos/x")).await.expect(200);
}

/// What Swift's lists give counts here too, whatever the setting of ownership.
#[tokio::test(flavor = "multi_thread")]
async fn swifts_lists_count_for_both_doors() {
    let client = Client::with_bucket().await;
    client.put("/photos/x", "x").await.expect(200);
    let lists = vec![
        ("x-container-read".to_owned(), ".r:*,.rlistings".to_owned()),
        ("x-container-write".to_owned(), "*:*".to_owned()),
    ];
    client.store.container_update("AUTH_sea", "photos", lists, 0, IfMissing::Fail).await.expect("sets lists");
    client.send(nobody("GET", "/photos/x")).await.expect(200);
    client.send(nobody("GET", "/photos?list-type=2")).await.expect(200);
    client.send(nobody("PUT", "/photos/x").body("y")).await.expect_error(403, "AccessDenied");
    client.send(as_bob("PUT", "/photos/x").body("y")).await.expect(200);
    let acl = client.get("/photos?acl").await.expect(200).text();
    assert!(acl.contains("AllUsers") && acl.contains("FULL_CONTROL"), "{acl}");
    let named = nobody("GET", "/photos/x?response-content-type=text%2Fhtml");
    client.send(named).await.expect_error(400, "InvalidRequest");
}
