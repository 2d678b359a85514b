//! Archives that are unpacked, and lists of what to delete.

use bytes::Bytes;
use serde_json::json;

use super::door::Cloud;

const AS_JSON: (&str, &str) = ("accept", "application/json");

/// An archive with these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, data) in files {
        let mut block = [0_u8; 512];
        block[..name.len()].copy_from_slice(name.as_bytes());
        block[124..135].copy_from_slice(format!("{:011o}", data.len()).as_bytes());
        block[148..156].fill(b' ');
        block[156] = b'0';
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend(block);
        archive.extend(*data);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.extend([0; 1024]);
    archive
}

#[tokio::test]
async fn an_archives_files_become_objects() {
    let cloud = Cloud::new().await;
    let large = vec![7; 300_000];
    let files: [(&str, &[u8]); 4] = [("top", b"x"), ("./one/a.txt", b"hello"), ("one/large", &large), ("two/b", b"")];
    let all = archive(&files);
    let headers = [AS_JSON, ("x-object-meta-from", "tar")];
    let report = cloud.ask("owner", "PUT /v1/AUTH_sea?extract-archive=tar", &headers, all.clone()).await.is(200);
    let want = json!({"Number Files Created": 3, "Response Status": "201 Created", "Response Body": "", "Errors": []});
    assert_eq!(report.json(), want);
    let stored = cloud.ask("owner", "GET /v1/AUTH_sea/one/a.txt", &[], "").await.is(200);
    assert_eq!((stored.text(), stored.header("x-object-meta-from")), ("hello", Some("tar")));
    assert_eq!(stored.header("content-type"), Some("text/plain"));
    assert_eq!(cloud.ask("owner", "GET /v1/AUTH_sea/one/large", &[], "").await.body, Bytes::from(vec![7; 300_000]));
    cloud.ask("owner", "PUT /v1/AUTH_sea/one/below?extract-archive=tar", &[], all).await.is(200);
    cloud.ask("owner", "HEAD /v1/AUTH_sea/one/below/two/b", &[], "").await.is(200);

    let nobody = cloud.ask("", "PUT /v1/AUTH_sea?extract-archive=tar", &[AS_JSON], archive(&files)).await.is(200);
    assert_eq!(nobody.json()["Response Status"], "401 Unauthorized");
    let broken = cloud.ask("owner", "PUT /v1/AUTH_sea?extract-archive=tar.gz", &[AS_JSON], "no gzip").await.is(200);
    let broken = broken.json();
    assert_eq!(broken["Response Status"], "400 Bad Request");
    assert!(broken["Response Body"].as_str().is_some_and(|text| text.starts_with("Invalid Tar File")), "{broken}");
    cloud.ask("owner", "PUT /v1/AUTH_sea?extract-archive=zip", &[], "").await.is(400);
    let cut = archive(&files)[..2000].to_vec();
    let cut = cloud.ask("owner", "PUT /v1/AUTH_sea/cut?extract-archive=tar", &[AS_JSON], cut).await.is(200).json();
    assert_eq!(cut["Response Status"], "400 Bad Request");
    cloud.ask("owner", "HEAD /v1/AUTH_sea/cut/one/large", &[], "").await.is(404);
}

#[tokio::test]
async fn a_list_is_deleted_objects_before_containers() {
    let cloud = Cloud::with_container().await;
    for name in ["a", "b%20%E2%98%83", "d/e"] {
        cloud.ask("owner", &format!("PUT /v1/AUTH_sea/c/{name}"), &[], "").await.is(201);
    }
    let list = "c\n/c/a\nc/b%20%E2%98%83\r\n\n/c/none\n/c/d/e";
    let denied = cloud.ask("stranger", "POST /v1/AUTH_sea?bulk-delete", &[AS_JSON], list).await.is(200).json();
    assert_eq!((&denied["Number Deleted"], denied["Errors"].as_array().map(Vec::len)), (&json!(0), Some(5)));
    let report = cloud.ask("owner", "POST /v1/AUTH_sea?bulk-delete", &[AS_JSON], list).await.is(200);
    let want = json!({"Number Deleted": 4, "Number Not Found": 1, "Response Status": "200 OK", "Response Body": "",
                      "Errors": []});
    assert_eq!(report.json(), want);
    cloud.ask("owner", "HEAD /v1/AUTH_sea/c", &[], "").await.is(404);

    let empty = cloud.ask("owner", "POST /v1/AUTH_sea?bulk-delete", &[], "\n").await.is(200);
    assert!(empty.text().contains("Response Status: 400 Bad Request"), "{}", empty.text());
    let many = "c/o\n".repeat(10_001);
    let many = cloud.ask("owner", "POST /v1/AUTH_sea?bulk-delete", &[AS_JSON], many).await.is(200).json();
    assert_eq!(many["Response Status"], "413 Payload Too Large");
    cloud.ask("owner", "POST /v1/AUTH_sea?bulk-delete", &[("content-type", "text/html")], "c").await.is(406);
    let xml = cloud.ask("owner", "DELETE /v1/AUTH_sea?bulk-delete", &[("accept", "text/xml")], "none").await.is(200);
    assert!(xml.text().contains("<number_not_found>1</number_not_found>"), "{}", xml.text());
}
