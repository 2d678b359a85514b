//! The web site listener's door: a host name is a bucket's, or a container's of Swift's. Visitors are nobody, and they
//! only read.
//!
//! - `<bucket>.<domain>`, and any host that is not below the domain, is the site of that bucket
//!   (PutBucketWebsite).
//! - `<container>.<account>.<domain>` is a static web site of Swift's (`X-Container-Meta-Web-…`), where no bucket has
//!   that name.

use bytes::Bytes;
use http::{Method, Request, Response, header};

use crate::body::Body;
use crate::s3::S3Door;
use crate::swift::{DomainRemapConfig, Middleware, SwiftConfig, SwiftDoor};

/// The door. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WebsiteDoor {
    s3: S3Door,
    swift: Option<SwiftDoor>,
    domain: Option<String>,
}

/// What is configured of Swift for sites: hosts are containers, and containers are sites.
pub fn swift_config(swift: &SwiftConfig, domain: &str) -> SwiftConfig {
    // Links are followed where they are elsewhere.
    let of_reading =
        swift.pipeline.iter().filter(|it| matches!(it, Middleware::Symlink | Middleware::ObjectVersioning));
    let pipeline = [Middleware::DomainRemap, Middleware::Staticweb].into_iter().chain(of_reading.copied());
    SwiftConfig {
        pipeline: pipeline.collect(),
        domain_remap: DomainRemapConfig {
            storage_domain: vec![domain.to_owned()],
            mangle_client_paths: false,
            ..swift.domain_remap.clone()
        },
        ..swift.clone()
    }
}

impl WebsiteDoor {
    /// A door to the sites of a store; to Swift's through `swift`, which is set up as [`swift_config`] has it.
    pub fn new(s3: S3Door, swift: Option<SwiftDoor>, domain: Option<String>) -> Self {
        Self { s3, swift, domain }
    }

    /// Answers one request.
    pub async fn call<B>(&self, mut request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| request.uri().host()).unwrap_or_default().to_ascii_lowercase();
        let name = without_port(&host);
        let below = self.domain.as_deref().and_then(|domain| name.strip_suffix(domain)?.strip_suffix('.'));
        let bucket = below.unwrap_or(name).to_owned();
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        if let (Some(swift), Some(_), true) = (&self.swift, below, is_read)
            && swift.answers(&host, request.uri().path())
            && bucket.contains('.')
            && !self.s3.is_bucket(&bucket).await
        {
            for name in ["x-auth-token", "x-storage-token", "x-service-token", "x-web-mode"] {
                request.headers_mut().remove(name);
            }
            // A query would be a question to the API.
            let path = request.uri().path().to_owned();
            if let Ok(uri) = path.parse() {
                *request.uri_mut() = uri;
            }
            return swift.call(request).await;
        }
        self.s3.visit(&bucket, &request).await
    }
}

/// A host's name.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}
