//! Unpacks an archive: each file becomes an object, and containers are made where they are missing.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;

use async_compression::tokio::bufread::{BzDecoder, GzipDecoder};
use futures::TryStreamExt;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::super::{Chunks, Incoming, Next, piped, subrequest};
use super::line;
use super::tar::{Entry, Tar, TarError};
use crate::swift::fault::Fault;
use crate::swift::limits::{BULK_CONTAINERS_MAX, BULK_FAILURES_MAX, FILE_BYTES_MAX, TAR_CHUNK_BYTES};
use crate::swift::reply;
use crate::swift::report::Report;
use crate::swift::target::Target;

/// Headers of an archive that are its files'.
const OF_FILES: [&str; 4] = ["content-type", "x-delete-after", "x-delete-at", "x-detect-content-type"];

/// How an archive is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Bzip2,
}

impl Packing {
    /// As the query names it.
    pub(super) fn of(name: &str) -> Result<Self, Fault> {
        match name.to_ascii_lowercase().trim_matches('.') {
            "tar" => Ok(Self::None),
            "tar.gz" => Ok(Self::Gzip),
            "tar.bz2" => Ok(Self::Bzip2),
            _ => Err(Fault::invalid("Unsupported archive format")),
        }
    }

    fn open(self, body: Incoming) -> Pin<Box<dyn AsyncRead + Send>> {
        let stream = body.into_data_stream().map_err(io::Error::other);
        let reader = StreamReader::new(Box::pin(stream));
        match self {
            Self::None => Box::pin(reader),
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(reader);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
            Self::Bzip2 => {
                let mut decoder = BzDecoder::new(reader);
                decoder.multiple_members(true);
                Box::pin(decoder)
            }
        }
    }
}

/// The work as it goes on.
struct Extraction {
    next: Next,
    parts: Parts,
    account: String,
    /// What stands before the files' names.
    base: String,
    containers: HashSet<String>,
    made: usize,
    created: u64,
    errors: Vec<(String, String)>,
    general: StatusCode,
}

/// Why all of it ends.
enum End {
    Tar(TarError),
    Refused(Fault),
}

impl From<TarError> for End {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}

/// Unpacks the body into what the request's path names.
pub(super) async fn run(next: Next, parts: Parts, body: Incoming, target: Target, packing: Packing) -> Report {
    let (account, base) = match target {
        Target::Account(account) => (account, String::new()),
        Target::Container(account, container) => (account, format!("{container}/")),
        Target::Object(path) => (path.account, format!("{}/{}/", path.container, path.object.trim_end_matches('/'))),
        Target::Info | Target::Health => (String::new(), String::new()),
    };
    let mut work = Extraction {
        next,
        parts,
        account,
        base,
        containers: HashSet::new(),
        made: 0,
        created: 0,
        errors: Vec::new(),
        general: StatusCode::BAD_REQUEST,
    };
    let ended = work.files(Tar::new(packing.open(body))).await;
    let (status, detail) = match ended {
        Err(End::Tar(error)) => (StatusCode::BAD_REQUEST, format!("Invalid Tar File: {error}")),
        Err(End::Refused(fault)) => (fault.status_code(), fault.detail().to_owned()),
        Ok(()) if !work.errors.is_empty() => (work.general, String::new()),
        Ok(()) if work.created == 0 => (StatusCode::BAD_REQUEST, "Invalid Tar File: No Valid Files".into()),
        Ok(()) => (StatusCode::CREATED, String::new()),
    };
    let counts = vec![("Number Files Created", work.created)];
    Report { counts, status, detail, errors: work.errors, ..Report::default() }
}

impl Extraction {
    async fn files<R: AsyncRead + Unpin + Send>(&mut self, mut tar: Tar<R>) -> Result<(), End> {
        while let Some(entry) = tar.next().await? {
            if self.errors.len() >= BULK_FAILURES_MAX {
                return Ok(());
            }
            let left = match self.name_of(&entry) {
                Some(name) => self.file(&mut tar, &entry, &name).await?,
                None => entry.size,
            };
            skip(&mut tar, left).await?;
        }
        Ok(())
    }

    /// Container and object of a file; `None` where it becomes none.
    fn name_of(&mut self, entry: &Entry) -> Option<String> {
        let name = std::str::from_utf8(&entry.name).ok().filter(|name| !name.contains('\0'));
        let Some(name) = name.filter(|_| entry.is_file) else {
            if entry.is_file {
                let name = String::from_utf8_lossy(&entry.name).into_owned();
                self.errors.push((reply::quoted(&name), line(StatusCode::PRECONDITION_FAILED)));
            }
            return None;
        };
        let name = name.strip_prefix("./").unwrap_or(name).trim_start_matches('/');
        let name = format!("{}{name}", self.base);
        // What lies in no directory would be in no container.
        name.split_once('/').is_some_and(|(_, object)| !object.is_empty()).then_some(name)
    }

    /// Writes one file; tells how many of its bytes have not been read.
    async fn file<R: AsyncRead + Unpin + Send>(
        &mut self,
        tar: &mut Tar<R>,
        entry: &Entry,
        name: &str,
    ) -> Result<u64, End> {
        let quoted = reply::quoted(name);
        if entry.size > FILE_BYTES_MAX {
            self.errors.push((quoted, line(StatusCode::PAYLOAD_TOO_LARGE)));
            return Ok(entry.size);
        }
        let container = name.split('/').next().unwrap_or("");
        let refused = self.container(container).await?;
        let (body, chunks) = piped();
        let request = self.request(entry, &quoted, body)?;
        let (response, left) = futures::join!(self.next.clone().run(request), feed(tar, entry.size, chunks));
        let (status, left) = (response.status(), left?);
        if status.is_success() {
            self.created += 1;
            return Ok(left);
        }
        self.errors.extend(refused);
        self.errors.push((quoted, line(status)));
        if status == StatusCode::UNAUTHORIZED {
            return Err(End::Refused(Fault::status(status)));
        }
        if status.is_server_error() {
            self.general = StatusCode::BAD_GATEWAY;
        }
        Ok(left)
    }

    fn request(&self, entry: &Entry, quoted: &str, body: Incoming) -> Result<Request<Incoming>, End> {
        let uri = format!("/v1/{}/{quoted}", reply::quoted(&self.account));
        let mut request = subrequest(&self.parts, Method::PUT, &uri).map_err(End::Refused)?;
        let headers = request.headers_mut();
        // What is said of the archive holds for each file.
        for (name, value) in &self.parts.headers {
            let is_files = OF_FILES.contains(&name.as_str()) || name.as_str().starts_with("x-object-meta-");
            if is_files {
                headers.append(name, value.clone());
            }
        }
        headers.insert("content-length", HeaderValue::from(entry.size));
        for (name, value) in &entry.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()))
            {
                headers.insert(name, value);
            }
        }
        *request.body_mut() = body;
        Ok(request)
    }

    /// Makes a container that no file has needed yet; what is wrong with it counts only where the file fails too, for
    /// somebody may write who makes no containers.
    async fn container(&mut self, container: &str) -> Result<Option<(String, String)>, End> {
        if !self.containers.insert(container.to_owned()) {
            return Ok(None);
        }
        let path = format!("/v1/{}/{}", reply::quoted(&self.account), reply::quoted(container));
        let ask = |method| subrequest(&self.parts, method, &path).map_err(End::Refused);
        if self.next.clone().run(ask(Method::HEAD)?).await.status().is_success() {
            return Ok(None);
        }
        let mut request = ask(Method::PUT)?;
        request.headers_mut().insert("content-length", HeaderValue::from(0));
        let status = self.next.clone().run(request).await.status();
        match status {
            StatusCode::UNAUTHORIZED => Err(End::Refused(Fault::status(status))),
            status if status.is_success() => {
                self.made += 1;
                if self.made > BULK_CONTAINERS_MAX {
                    let detail = format!("More than {BULK_CONTAINERS_MAX} containers to create from tar.");
                    return Err(End::Refused(Fault::invalid(detail)));
                }
                Ok(None)
            }
            status => Ok(Some((path, line(status)))),
        }
    }
}

/// Gives a file's data on, as long as somebody takes them; tells how many bytes are left.
async fn feed<R: AsyncRead + Unpin>(tar: &mut Tar<R>, size: u64, chunks: Chunks) -> Result<u64, TarError> {
    let mut left = size;
    while left > 0 {
        let data = tar.data(left.min(TAR_CHUNK_BYTES as u64) as usize).await?;
        left -= data.len() as u64;
        if !chunks.send(data.into()).await {
            return Ok(left);
        }
    }
    chunks.end().await;
    Ok(left)
}

async fn skip<R: AsyncRead + Unpin>(tar: &mut Tar<R>, mut left: u64) -> Result<(), TarError> {
    while left > 0 {
        left -= tar.data(left.min(TAR_CHUNK_BYTES as u64) as usize).await?.len() as u64;
    }
    Ok(())
}
