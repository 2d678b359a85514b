//! Lifecycle rules: what is taken, what is told, and what expires as days go by. Time is what the daemon is told it is.

use std::time::Duration;

use anello_base::Timestamp;
use anello_proxy::object::lifecycle::{Done, Lifecycle};
use anello_storage::ListQuery;

use crate::client::{Answer, Call, Client};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// A bucket with rules, and the daemon that carries them out.
struct Scene {
    client: Client,
    daemon: Lifecycle,
}

impl Scene {
    async fn new(keeps_versions: bool) -> Self {
        let client = Client::with_bucket().await;
        if keeps_versions {
            let body = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
            client.put("/photos?versioning", body).await.expect(200);
        }
        let daemon = Lifecycle::new(client.store.clone());
        Self { client, daemon }
    }

    async fn rules(&self, rules: &str) -> Answer {
        self.client.put("/photos?lifecycle", format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>")).await
    }

    /// What the daemon does so many days from now.
    async fn after(&mut self, days: u32) -> Done {
        let then = self.client.store.clock().wall().plus(DAY * days);
        self.daemon.step(then).await.expect("carries rules out")
    }

    async fn keys(&self) -> Vec<String> {
        elements(&self.client.get("/photos?list-type=2").await.expect(200).text(), "Key")
    }

    /// Versions and delete markers: `key` or `-key`.
    async fn versions(&self) -> Vec<String> {
        let text = self.client.get("/photos?versions").await.expect(200).text();
        let shown = text.replace("<DeleteMarker><Key>", "<DeleteMarker><Key>-");
        elements(&shown, "Key")
    }
}

fn elements(text: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    text.split(&open).skip(1).filter_map(|rest| Some(rest.split_once(&close)?.0.to_owned())).collect()
}

fn rule(filter: &str, actions: &str) -> String {
    format!("<Rule><ID>r</ID><Status>Enabled</Status>{filter}{actions}</Rule>")
}

fn days(count: u32) -> String {
    format!("<Expiration><Days>{count}</Days></Expiration>")
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_are_shown_as_they_were_put() {
    let scene = Scene::new(false).await;
    let get = async || scene.client.get("/photos?lifecycle").await;
    get().await.expect_error(404, "NoSuchLifecycleConfiguration");
    let and = "<Filter><And><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan><ObjectSizeLessThan>9</ObjectSizeLessThan>\
               <Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>";
    let noncurrent = "<NoncurrentVersionExpiration><NewerNoncurrentVersions>2</NewerNoncurrentVersions>\
                      <NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration>";
    let abort =
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>4</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
    let date = "<Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>";
    let markers = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    for (filter, actions) in [
        ("<Prefix>logs/</Prefix>", date),
        ("<Prefix></Prefix>", abort),
        ("<Filter></Filter>", markers),
        ("<Filter><Prefix>x</Prefix></Filter>", noncurrent),
        ("<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>", date),
        (and, noncurrent),
    ] {
        scene.rules(&rule(filter, actions)).await.expect(200);
        let shown = get().await.expect(200).text().replace(".000Z", "Z");
        for part in [filter, actions] {
            assert!(shown.contains(part) || part == "<Filter></Filter>", "{part}: {shown}");
        }
    }
    scene.client.send(Call::new("DELETE", "/photos?lifecycle")).await.expect(204);
    get().await.expect_error(404, "NoSuchLifecycleConfiguration");
    scene.client.send(Call::new("DELETE", "/photos?lifecycle")).await.expect(204);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_make_no_sense_are_refused() {
    let scene = Scene::new(false).await;
    let (prefix, one) = ("<Prefix></Prefix>", days(1));
    let tag = "<Tag><Key>k</Key><Value>v</Value></Tag>";
    let abort =
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
    let markers = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    let kept = |kept: u32| {
        format!(
            "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>{kept}\
             </NewerNoncurrentVersions></NoncurrentVersionExpiration>"
        )
    };
    let transition =
        |class: &str| format!("<Transition><Days>1</Days><StorageClass>{class}</StorageClass></Transition>");
    for (rules, code) in [
        (String::new(), "MalformedXML"),
        (rule(prefix, ""), "InvalidRequest"),
        (rule("", &one), "MalformedXML"),
        (rule("<Prefix></Prefix><Filter></Filter>", &one), "MalformedXML"),
        (rule(&format!("<Filter><Prefix>p</Prefix>{tag}</Filter>"), &one), "MalformedXML"),
        (rule(&format!("<Filter><And>{tag}</And></Filter>"), &one), "MalformedXML"),
        (rule(&format!("<Filter><And>{tag}{tag}</And></Filter>"), &one), "InvalidRequest"),
        (rule(prefix, &days(0)), "InvalidArgument"),
        (rule(prefix, "<Expiration></Expiration>"), "MalformedXML"),
        (rule(prefix, "<Expiration><Days>1</Days><Date>2030-01-01T00:00:00Z</Date></Expiration>"), "MalformedXML"),
        (rule(prefix, "<Expiration><Date>2030-01-01T00:00:01Z</Date></Expiration>"), "InvalidArgument"),
        (rule(&format!("<Filter>{tag}</Filter>"), markers), "InvalidRequest"),
        (rule(&format!("<Filter>{tag}</Filter>"), abort), "InvalidRequest"),
        (rule(prefix, &kept(1)), "InvalidRequest"),
        (rule("<Filter></Filter>", &kept(0)), "InvalidArgument"),
        (rule("<Filter></Filter>", &kept(101)), "InvalidArgument"),
        (rule(prefix, &transition("GLACIER")), "InvalidStorageClass"),
        (rule(prefix, &one).replace("Enabled", "enabled"), "MalformedXML"),
        (rule(prefix, &one).replace(">r<", &format!(">{}<", "x".repeat(256))), "InvalidArgument"),
        (format!("{}{}", rule(prefix, &one), rule(prefix, &one)), "InvalidArgument"),
    ] {
        let refused = scene.rules(&rules).await;
        assert_eq!((refused.status.as_u16(), refused.code().as_str()), (400, code), "{rules}");
    }
    let owned = Call::new("PUT", "/photos?lifecycle");
    scene.client.send(owned.clone().anonymous()).await.expect_error(403, "AccessDenied");
    scene.client.send(owned.signed_by("rita")).await.expect_error(403, "AccessDenied");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_tell_when_an_object_expires() {
    let scene = Scene::new(false).await;
    let filter = "<Filter><And><Prefix>a</Prefix><ObjectSizeLessThan>9</ObjectSizeLessThan></And></Filter>";
    scene.rules(&rule(filter, &days(2)).replace(">r<", ">my rule<")).await.expect(200);
    let put = scene.client.put("/photos/a", "x").await.expect(200);
    let told = put.header("x-amz-expiration").expect("it expires").to_owned();
    assert!(told.starts_with("expiry-date=\"") && told.ends_with(" 00:00:00 GMT\", rule-id=\"my%20rule\""), "{told}");
    for call in
        [Call::new("GET", "/photos/a"), Call::new("HEAD", "/photos/a"), Call::new("GET", "/photos/a?partNumber=1")]
    {
        assert_eq!(scene.client.send(call).await.header("x-amz-expiration"), Some(told.as_str()));
    }
    let copy = Call::new("PUT", "/photos/ab").header("x-amz-copy-source", "/photos/a");
    assert!(scene.client.send(copy).await.expect(200).header("x-amz-expiration").is_some());
    for (key, body) in [("b", "x"), ("a", "more than nine")] {
        let put = scene.client.put(&format!("/photos/{key}"), body).await.expect(200);
        assert_eq!(put.header("x-amz-expiration"), None, "{key}");
        assert_eq!(scene.client.get(&format!("/photos/{key}")).await.header("x-amz-expiration"), None, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_expire_by_prefix_tags_and_size() {
    let mut scene = Scene::new(false).await;
    for (key, tags, body) in
        [("a/1", "", "x"), ("b/1", "k=v", "x"), ("b/2", "k=w", "x"), ("c/1", "", "xx"), ("c/2", "", "x")]
    {
        let put = Call::new("PUT", format!("/photos/{key}")).header("x-amz-tagging", tags).body(body);
        scene.client.send(put).await.expect(200);
    }
    let rules = [
        rule("<Filter><Prefix>a/</Prefix></Filter>", &days(3)),
        rule("<Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter>", &days(5)).replace(">r<", ">s<"),
        rule("<Filter><ObjectSizeGreaterThan>1</ObjectSizeGreaterThan></Filter>", &days(5)).replace(">r<", ">t<"),
    ];
    scene.rules(&rules.concat()).await.expect(200);
    assert_eq!(scene.after(2).await, Done { buckets: 1, ..Done::default() });
    assert_eq!(scene.keys().await.len(), 5);
    assert_eq!(scene.after(4).await.expired, 1);
    assert_eq!(scene.keys().await, ["b/1", "b/2", "c/1", "c/2"]);
    assert_eq!(scene.after(4).await, Done::default(), "once a day is enough");
    assert_eq!(scene.after(6).await.expired, 2);
    assert_eq!(scene.keys().await, ["b/2", "c/2"]);
    scene.client.send(Call::new("DELETE", "/photos?lifecycle")).await.expect(204);
    assert_eq!(scene.after(900).await, Done::default());
}

/// Without this what was tagged late would live on for as long again.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_as_old_as_its_data() {
    let mut scene = Scene::new(false).await;
    scene.client.put("/photos/x", "x").await.expect(200);
    let before = scene.client.get("/photos/x").await;
    scene.rules(&rule("<Prefix></Prefix>", &days(2))).await.expect(200);
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    scene.client.put("/photos/x?tagging", tags).await.expect(200);
    let told = scene.client.get("/photos/x").await;
    assert_eq!(before.header("etag"), told.header("etag"));
    assert!(told.header("x-amz-expiration").is_some());
    assert_eq!(scene.after(3).await.expired, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_date_is_for_what_comes_later_too() {
    let mut scene = Scene::new(false).await;
    scene.client.put("/photos/x", "x").await.expect(200);
    let date =
        |year: u32| rule("<Prefix></Prefix>", &format!("<Expiration><Date>{year}-01-01T00:00:00Z</Date></Expiration>"));
    scene.rules(&date(2200)).await.expect(200);
    assert_eq!(scene.after(1).await.expired, 0);
    scene.rules(&date(2020)).await.expect(200);
    assert_eq!(scene.after(1).await.expired, 1, "rules that are put anew are carried out at once");
    scene.client.put("/photos/y", "y").await.expect(200);
    assert_eq!(scene.after(2).await.expired, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_current_version_leaves_a_marker_and_the_marker_goes_last() {
    let mut scene = Scene::new(true).await;
    scene.client.put("/photos/x", "x").await.expect(200);
    let noncurrent = "<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration>";
    scene.rules(&rule("<Prefix></Prefix>", &format!("{}{noncurrent}", days(1)))).await.expect(200);
    assert_eq!(scene.after(2).await.expired, 1);
    assert_eq!(scene.versions().await, ["-x", "x"]);
    assert_eq!(scene.after(3).await.expired, 0, "nothing to mark any more, and the version not long enough behind");
    assert_eq!(scene.after(4).await.expired, 1);
    assert_eq!(scene.versions().await, ["-x"]);
    assert_eq!(scene.after(5).await.expired, 1);
    assert!(scene.versions().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_of_the_noncurrent_stay() {
    let mut scene = Scene::new(true).await;
    for body in ["1", "2", "3", "4", "5"] {
        scene.client.put("/photos/x", body).await.expect(200);
    }
    scene.client.put("/photos/y", "y").await.expect(200);
    let noncurrent = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays>\
                      <NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>";
    scene.rules(&rule("<Filter></Filter>", noncurrent)).await.expect(200);
    assert_eq!(scene.after(0).await.expired, 0);
    assert_eq!(scene.after(2).await.expired, 2);
    assert_eq!(scene.versions().await, ["x", "x", "x", "y"]);
    assert_eq!(scene.client.get("/photos/x").await.text(), "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn lone_markers_go_and_others_stay() {
    let mut scene = Scene::new(true).await;
    for key in ["alone", "behind"] {
        scene.client.put(&format!("/photos/{key}"), key).await.expect(200);
    }
    let version = scene.client.get("/photos/alone").await.header("x-amz-version-id").expect("an id").to_owned();
    for key in ["alone", "behind"] {
        scene.client.send(Call::new("DELETE", format!("/photos/{key}"))).await.expect(204);
    }
    scene.client.send(Call::new("DELETE", format!("/photos/alone?versionId={version}"))).await.expect(204);
    let markers = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    scene.rules(&rule("<Filter></Filter>", markers)).await.expect(200);
    assert_eq!(scene.after(0).await.expired, 1);
    assert_eq!(scene.versions().await, ["-behind", "behind"]);
}

/// Without this rules would take what was to be kept.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_locked_stays() {
    let client = Client::new().await;
    client.send(Call::new("PUT", "/photos").header("x-amz-bucket-object-lock-enabled", "true")).await.expect(200);
    let daemon = Lifecycle::new(client.store.clone());
    let mut scene = Scene { client, daemon };
    for (body, hold) in [("held", "ON"), ("free", "OFF"), ("now", "OFF")] {
        let put = Call::new("PUT", "/photos/x").header("x-amz-object-lock-legal-hold", hold).body(body);
        scene.client.send(put).await.expect(200);
    }
    let noncurrent = "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>";
    scene.rules(&rule("<Filter></Filter>", noncurrent)).await.expect(200);
    assert_eq!(scene.after(2).await.expired, 1);
    assert_eq!(scene.versions().await, ["x", "x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_that_were_forgotten_are_aborted() {
    let mut scene = Scene::new(false).await;
    let begin = async |key: &str| {
        let begun = scene.client.send(Call::new("POST", format!("/photos/{key}?uploads"))).await.expect(200);
        (begun.header("x-amz-abort-rule-id").map(str::to_owned), begun.element("UploadId").expect("an id"))
    };
    let (rule_id, forgotten) = begin("a").await;
    assert_eq!(rule_id, None);
    scene.client.put(&format!("/photos/a?partNumber=1&uploadId={forgotten}"), "x").await.expect(200);
    begin("b").await;
    let abort =
        "<AbortIncompleteMultipartUpload><DaysAfterInitiation>2</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
    scene.rules(&rule("<Filter><Prefix>a</Prefix></Filter>", abort)).await.expect(200);
    let (rule_id, id) = begin("ab").await;
    assert_eq!(rule_id.as_deref(), Some("r"));
    let parts = scene.client.get(&format!("/photos/ab?uploadId={id}")).await.expect(200);
    assert!(parts.header("x-amz-abort-date").is_some());
    scene.client.send(Call::new("DELETE", format!("/photos/ab?uploadId={id}"))).await.expect(204);
    assert_eq!(scene.after(1).await.aborted, 0);
    assert_eq!(scene.after(3).await.aborted, 1);
    let left = scene.client.get("/photos?uploads").await.expect(200).text();
    assert_eq!(elements(&left, "Key"), ["b"]);
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    let parts = scene.client.store.container_list(".multipart", "parts/AUTH_sea/photos", &query).await;
    assert!(parts.expect("lists").is_empty());
}

/// Without this two hosts would go through every bucket, or none after one died.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_one_hosts_until_it_dies() {
    let mut scene = Scene::new(false).await;
    scene.client.put("/photos/x", "x").await.expect(200);
    scene.rules(&rule("<Prefix></Prefix>", &days(1))).await.expect(200);
    let then = scene.client.store.clock().wall().plus(DAY * 3);
    claim(&scene.client, then, "the other's").await;
    assert_eq!(scene.daemon.step(then).await.expect("looks"), Done::default());
    let later = then.plus(Duration::from_secs(601));
    let mut second = Lifecycle::new(scene.client.store.clone());
    let (one, other) = tokio::join!(scene.daemon.step(later), second.step(later));
    let (one, other) = (one.expect("steps"), other.expect("steps"));
    assert_eq!((one.expired + other.expired, one.buckets + other.buckets), (1, 1));
    scene.client.get("/photos/x").await.expect_error(404, "NoSuchKey");
}

/// Claims the bucket as another host does.
async fn claim(client: &Client, at: Timestamp, token: &str) {
    use anello_storage::store::ObjectUpdate;
    use anello_storage::{Listed, ObjectPath};
    let query = ListQuery { limit: 10, ..ListQuery::default() };
    let page = client.store.container_list(".s3", "lifecycle", &query).await.expect("lists");
    let [Listed::Entry(rules)] = page.as_slice() else { panic!("one bucket has rules: {page:?}") };
    let progress = format!(r#"{{"began":{0},"claimed":[{0},"{token}"]}}"#, at.ticks());
    let metadata = vec![("x-object-sysmeta-progress".to_owned(), progress)];
    let change = |_: &_| Ok(ObjectUpdate { content_type: None, delete_at: None, metadata: metadata.clone() });
    let path = ObjectPath::new(".s3", "lifecycle", rules.name.as_str());
    client.store.object_update(&path, change).await.expect("claims");
}
