//! Access logs: what is recorded, and where it is delivered. Time is what the daemon is told it is.

use std::time::Duration;

use anello_base::Timestamp;
use anello_proxy::object::access_logs::Deliverer;

use crate::client::{Call, Client};

fn logging(target: &str) -> String {
    format!("<BucketLoggingStatus><LoggingEnabled>{target}</LoggingEnabled></BucketLoggingStatus>")
}

fn target(bucket: &str, prefix: &str, format: &str) -> String {
    logging(&format!("<TargetBucket>{bucket}</TargetBucket><TargetPrefix>{prefix}</TargetPrefix>{format}"))
}

/// `photos`, which is logged to `logs`.
async fn logged(format: &str) -> (Client, Deliverer) {
    let client = Client::with_bucket().await;
    client.put("/logs", "").await.expect(200);
    client.put("/photos?logging", target("logs", "log/", format)).await.expect(200);
    let deliverer = Deliverer::new(client.store.clone(), "us-east-1");
    (client, deliverer)
}

/// After so many seconds.
fn after(client: &Client, seconds: u64) -> Timestamp {
    client.store.clock().wall().plus(Duration::from_secs(seconds))
}

/// Names and lines of all log objects.
async fn delivered(client: &Client) -> (Vec<String>, Vec<String>) {
    let listed = client.get("/logs?list-type=2").await.expect(200).text();
    let names: Vec<String> =
        listed.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())).collect();
    let mut lines = Vec::new();
    for name in &names {
        let text = client.get(&format!("/logs/{name}")).await.expect(200).text();
        lines.extend(text.lines().map(str::to_owned));
    }
    (names, lines)
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_recorded_and_delivered() {
    let (client, deliverer) = logged("").await;
    client.send(Call::new("PUT", "/photos/a%20b").header("user-agent", "ua \"1\"").body("three")).await.expect(200);
    client.get("/photos/a%20b").await.expect(200);
    client.send(Call::new("GET", "/photos/absent?versionId=null").anonymous()).await.expect(403);
    client.get("/photos/absent").await.expect(404);
    client.get("/photos?list-type=2").await.expect(200);
    assert_eq!(deliverer.step(after(&client, 0)).await.expect("looks"), 0, "records wait for others");
    assert_eq!(deliverer.step(after(&client, 120)).await.expect("delivers"), 5);
    let (names, lines) = delivered(&client).await;
    assert!(
        names.len() == 1 && names[0].starts_with("log/20") && names[0].len() == "log/2026-01-01-00-00-00-".len() + 16,
        "{names:?}"
    );
    let wants = [
        ("REST.PUT.OBJECT a%20b \"PUT /photos/a%20b HTTP/1.1\" 200 - - 5 ", "\"ua _1_\""),
        ("REST.GET.OBJECT a%20b \"GET /photos/a%20b HTTP/1.1\" 200 - 5 5 ", "SigV4 - AuthHeader localhost:9000"),
        ("REST.GET.OBJECT absent \"GET /photos/absent?versionId=null HTTP/1.1\" 403 AccessDenied ", " null "),
        ("REST.GET.OBJECT absent \"GET /photos/absent HTTP/1.1\" 404 NoSuchKey ", "arn:aws:iam::sea:user/"),
        ("REST.GET.BUCKET - \"GET /photos?list-type=2 HTTP/1.1\" 200 - ", "sea photos ["),
    ];
    assert_eq!(lines.len(), wants.len(), "{lines:#?}");
    for (line, (one, other)) in lines.iter().zip(wants) {
        assert!(line.contains(one) && line.contains(other), "{one} {other}: {line}");
    }
    assert_eq!(deliverer.step(after(&client, 240)).await.expect("looks"), 0, "each once");
    client.put("/photos?logging", "<BucketLoggingStatus/>").await.expect(200);
    client.get("/photos/a%20b").await.expect(200);
    // The request that ends it is the last one.
    assert_eq!(deliverer.step(after(&client, 360)).await.expect("delivers"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_objects_are_named_as_the_bucket_says() {
    for (source, is_midnight) in [("EventTime", true), ("DeliveryTime", false)] {
        let format = format!(
            "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>{source}</PartitionDateSource>\
             </PartitionedPrefix></TargetObjectKeyFormat>"
        );
        let (client, deliverer) = logged(&format).await;
        let shown = client.get("/photos?logging").await.expect(200).text();
        assert!(shown.contains(&format), "{shown}");
        assert_eq!(deliverer.step(after(&client, 120)).await.expect("delivers"), 1);
        let (names, _) = delivered(&client).await;
        assert!(names[0].starts_with("log/sea/us-east-1/photos/20"), "{names:?}");
        assert!(!is_midnight || names[0].contains("-00-00-00-"), "{names:?}");
    }
}

/// Without this two hosts would deliver every record, or none after one died.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_one_hosts_to_deliver() {
    let (client, deliverer) = logged("").await;
    client.get("/photos").await.expect(200);
    let other = Deliverer::new(client.store.clone(), "us-east-1");
    let then = after(&client, 120);
    let (one, other) = tokio::join!(deliverer.step(then), other.step(then));
    assert_eq!(one.expect("steps") + other.expect("steps"), 1);
    assert_eq!(delivered(&client).await.1.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_make_no_sense_are_refused() {
    let client = Client::with_bucket().await;
    assert!(!client.get("/photos?logging").await.expect(200).text().contains("LoggingEnabled"));
    client.put("/photos?logging", "<BucketLoggingStatus/>").await.expect(200);
    client.send(Call::new("PUT", "/land").signed_by("bob")).await.expect(200);
    for to in ["photos", "absent", "land"] {
        client.put("/photos?logging", target(to, "", "")).await.expect_error(400, "InvalidTargetBucketForLogging");
    }
    client.put("/logs", "").await.expect(200);
    let wrong = "<TargetObjectKeyFormat><PartitionedPrefix><PartitionDateSource>Noon</PartitionDateSource>\
                 </PartitionedPrefix></TargetObjectKeyFormat>";
    client.put("/photos?logging", target("logs", "", wrong)).await.expect_error(400, "MalformedXML");
    let put = Call::new("PUT", "/photos?logging").body(target("logs", "", ""));
    client.send(put.signed_by("rita")).await.expect_error(403, "AccessDenied");
}

/// What there is not is said, and what changes nothing is taken.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_pays_and_nothing_is_accelerated() {
    let client = Client::with_bucket().await;
    let payer =
        |payer: &str| format!("<RequestPaymentConfiguration><Payer>{payer}</Payer></RequestPaymentConfiguration>");
    client.put("/photos?requestPayment", payer("BucketOwner")).await.expect(200);
    client.put("/photos?requestPayment", payer("Requester")).await.expect_error(501, "NotImplemented");
    client.put("/photos?requestPayment", payer("Nobody")).await.expect_error(400, "MalformedXML");
    assert_eq!(client.get("/photos?requestPayment").await.element("Payer").as_deref(), Some("BucketOwner"));
    let status = |status: &str| format!("<AccelerateConfiguration><Status>{status}</Status></AccelerateConfiguration>");
    client.put("/photos?accelerate", status("Suspended")).await.expect(200);
    client.put("/photos?accelerate", status("Enabled")).await.expect_error(501, "NotImplemented");
}
