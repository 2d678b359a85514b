//! TLS as clients meet it: boto3 over https, which sends bodies in unsigned chunks with a checksum in the
//! trailer. The environment variable `ANELLO_TEST_PYTHON` names a Python that can import `boto3`; `./dev
//! test` sets it.

mod harness;

use std::path::Path;
use std::process::{Command, Stdio};

use harness::{Server, request};

/// Puts and gets objects of the sizes that take different ways; the arguments are the endpoint and the key.
const CLIENT: &str = r#"
import io, os, sys
import boto3
from boto3.s3.transfer import TransferConfig

s3 = boto3.client("s3", endpoint_url=sys.argv[1], aws_access_key_id=sys.argv[2], aws_secret_access_key=sys.argv[3],
                  region_name="us-east-1")
sent = []
s3.meta.events.register("before-send.s3", lambda request, **_: sent.append(dict(request.headers.items())))

def header(name):
    value = {key.lower(): value for key, value in sent[-1].items()}.get(name)
    return value.decode() if isinstance(value, bytes) else value

s3.create_bucket(Bucket="tls")
for size in [0, 1, 65536, 300_000, 3_000_001]:
    data = os.urandom(size)
    s3.put_object(Bucket="tls", Key=str(size), Body=data)
    assert header("x-amz-content-sha256") == "STREAMING-UNSIGNED-PAYLOAD-TRAILER", header("x-amz-content-sha256")
    assert header("x-amz-trailer") == "x-amz-checksum-crc32", header("x-amz-trailer")
    got = s3.get_object(Bucket="tls", Key=str(size), ChecksumMode="ENABLED")
    assert got["Body"].read() == data and got["ChecksumCRC32"], size
data = os.urandom(12 * 1024 * 1024)
parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
s3.upload_fileobj(io.BytesIO(data), "tls", "parts", Config=parts)
back = io.BytesIO()
s3.download_fileobj("tls", "parts", back, Config=parts)
assert back.getvalue() == data
print(len(s3.list_objects_v2(Bucket="tls")["Contents"]))
"#;

/// A server with a certificate of its own, which lies in `certificate.pem` of `root`.
fn start(root: &Path) -> Server {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (certificate, key) = (root.join("certificate.pem"), root.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    let config = root.join("anello.toml");
    std::fs::write(&config, format!("[tls]\ncertificate = {certificate:?}\nkey = {key:?}\n")).expect("written");
    let data = root.join("data");
    let mut command = Command::new(env!("CARGO_BIN_EXE_anello"));
    command.arg("serve").arg("--config").arg(&config).arg("--data").arg(&data);
    command.args(["--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0"]).stdout(Stdio::null());
    Server::start_with(&data, command)
}

#[test]
fn boto3_puts_and_gets_over_https() {
    let root = tempfile::tempdir().expect("temporary directory");
    let server = start(root.path());
    assert!(request(&server.s3, "GET", "/", &[], b"").is_err(), "a request without TLS was answered");
    let Some(python) = std::env::var_os("ANELLO_TEST_PYTHON").filter(|path| !path.is_empty()) else {
        eprintln!("SKIPPED: ANELLO_TEST_PYTHON names no Python that can import boto3");
        return;
    };
    let variables = std::fs::read_to_string(root.path().join("data/credentials/s3.env")).expect("s3.env");
    let variable = |name: &str| {
        let line = variables.lines().find_map(|line| line.strip_prefix(&format!("export {name}='")));
        line.and_then(|rest| rest.strip_suffix('\'')).unwrap_or_else(|| panic!("{name} is not in s3.env"))
    };
    assert_eq!(variable("AWS_ENDPOINT_URL"), format!("https://{}", server.s3));
    let mut client = Command::new(python);
    client.args(["-c", CLIENT]);
    client.args(["AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(variable));
    client.env("AWS_CA_BUNDLE", root.path().join("certificate.pem")).env("AWS_EC2_METADATA_DISABLED", "true");
    let output = client.output().expect("Python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "6");
}
