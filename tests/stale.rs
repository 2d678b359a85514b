//! What a client is told where too few hosts answer to know what is newest: the header `X-Backend-May-Be-Stale`, of both
//! doors. The environment variable `ANELLO_TEST_PYTHON` names a Python that can import `boto3`; `./dev test` sets it.

mod harness;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use harness::host::{self, Host};
use harness::{Answer, Server};

const HEADER: &str = "x-backend-may-be-stale";

/// Makes a bucket and an object where the last argument is `put`, and prints what the header says in the answers to GET and
/// HEAD of the object, and to HEAD of the bucket.
const BOTO: &str = r#"
import sys, boto3, botocore.config
s3 = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3],
                  region_name="us-east-1", config=botocore.config.Config(retries={"max_attempts": 0}))
if sys.argv[4] == "put":
    s3.create_bucket(Bucket="bucket")
    s3.put_object(Bucket="bucket", Key="o", Body=b"content")
def says(answer):
    return answer["ResponseMetadata"]["HTTPHeaders"].get("x-backend-may-be-stale", "fresh")
got = s3.get_object(Bucket="bucket", Key="o")
assert got["Body"].read() == b"content"
print(says(got), says(s3.head_object(Bucket="bucket", Key="o")), says(s3.head_bucket(Bucket="bucket")))
"#;

fn boto(home: &Path, s3: &str, what: &str) -> Option<String> {
    let Some(python) = std::env::var_os("ANELLO_TEST_PYTHON").filter(|path| !path.is_empty()) else {
        eprintln!("SKIPPED in part: ANELLO_TEST_PYTHON names no Python that can import boto3");
        return None;
    };
    let text = std::fs::read_to_string(home.join("credentials/s3.env")).expect("s3.env");
    let variable = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")));
        line.and_then(|rest| rest.strip_suffix('\'')).expect("a variable").to_owned()
    };
    let mut client = Command::new(python);
    client.args(["-c", BOTO, &format!("http://{s3}")]);
    client
        .args(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(variable))
        .arg(what)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    let output = client.output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn says(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header(HEADER))
}

#[test]
fn what_a_minority_answers_for_says_so_at_both_doors() {
    let root = tempfile::tempdir().expect("temporary directory");
    let hosts: Vec<Host> = (0..3).map(|number| Host::new(root.path(), number, "")).collect();
    host::found(&hosts);
    let mut servers: Vec<Server> = host::start(&hosts);
    let admin = servers[0].log_in();
    assert_eq!(admin.swift("PUT", "/c", b"").expect("an answer").status, 201);
    assert_eq!(admin.swift("PUT", "/c/o", b"content").expect("an answer").status, 201);
    let reads = [("GET", "/c/o", 200), ("HEAD", "/c/o", 200), ("HEAD", "/c", 204), ("HEAD", "", 204)];
    let ask = |method, path| admin.swift(method, path, b"").expect("an answer");
    for (method, path, status) in reads {
        assert_eq!(says(&ask(method, path)), (status, None), "{method} {path}");
    }
    assert_eq!(boto(&hosts[0].data, &servers[0].s3, "put").unwrap_or("fresh fresh fresh".into()), "fresh fresh fresh");

    servers.truncate(1);
    for (method, path, status) in reads {
        assert_eq!(says(&ask(method, path)), (status, Some("true")), "{method} {path}");
    }
    assert_eq!(boto(&hosts[0].data, &servers[0].s3, "get").unwrap_or("true true true".into()), "true true true");
    // What can't be known at all is no answer, and no answer is stale.
    for (method, path) in [("GET", "/c"), ("GET", ""), ("GET", "/c/none"), ("HEAD", "/none"), ("PUT", "/c/p")] {
        assert_eq!(says(&ask(method, path)).0, 503, "{method} {path}");
    }

    servers.push(hosts[1].start());
    let deadline = Instant::now() + Duration::from_secs(60);
    while reads.iter().any(|(method, path, _)| ask(method, path).header(HEADER).is_some()) {
        assert!(Instant::now() < deadline, "two of three are a majority");
        std::thread::sleep(Duration::from_millis(200));
    }
}
