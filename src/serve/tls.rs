//! TLS of the listeners: certificate and key from PEM files, read again on SIGHUP. A reload that fails
//! leaves the certificate that was in use, connections that stand keep theirs. HTTP/1.1 only.
//!
//! Clients are met with TLS 1.2 and 1.3. Hosts among themselves speak 1.3, and each shows the other a certificate.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::config::{ClusterTls, Tls};

/// Why the files do not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("TLS certificate and key: {0}")]
    Rustls(#[from] rustls::Error),
    #[error("{path}: {source}")]
    Authorities { path: PathBuf, source: VerifierBuilderError },
}

/// The files and what was last read from them.
pub(crate) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    /// Where who calls must show a certificate too: by whom it must be issued.
    authorities: Option<PathBuf>,
    // Never held across an await; the only lock here.
    current: RwLock<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    acceptor: TlsAcceptor,
    client: Option<Arc<ClientConfig>>,
}

impl TlsFiles {
    /// Those of the listeners for clients; `None` where none are configured.
    pub(crate) fn of_doors(config: &Tls) -> Result<Option<Arc<Self>>, TlsError> {
        let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else { return Ok(None) };
        Self::open(certificate, key, None).map(Some)
    }

    /// Those by which hosts know each other.
    pub(crate) fn of_nodes(config: &ClusterTls) -> Result<Option<Arc<Self>>, TlsError> {
        let (Some(certificate), Some(key), Some(ca)) = (&config.certificate, &config.key, &config.ca) else {
            return Ok(None);
        };
        Self::open(certificate, key, Some(ca)).map(Some)
    }

    fn open(certificate: &Path, key: &Path, authorities: Option<&Path>) -> Result<Arc<Self>, TlsError> {
        let current = RwLock::new(load(certificate, key, authorities)?);
        let (certificate, key, authorities) = (certificate.into(), key.into(), authorities.map(Path::to_owned));
        Ok(Arc::new(Self { certificate, key, authorities, current }))
    }

    fn current(&self) -> Loaded {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What accepts a new connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.current().acceptor
    }

    /// What makes a new connection to another host; `None` for the listeners of clients.
    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.current().client
    }

    /// Whether both ends show certificates.
    pub(crate) fn is_mutual(&self) -> bool {
        self.authorities.is_some()
    }

    /// Reads the files again.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let next = load(&self.certificate, &self.key, self.authorities.as_deref())?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl fmt::Display for TlsFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.certificate.display().fmt(f)
    }
}

fn load(certificate: &Path, key: &Path, authorities: Option<&Path>) -> Result<Loaded, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let (mut server, client) = match authorities {
        Some(path) => {
            let (server, client) = mutual(provider, path, chain, secret)?;
            (server, Some(Arc::new(client)))
        }
        None => {
            let server = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
            (server.with_no_client_auth().with_single_cert(chain, secret)?, None)
        }
    };
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(server)), client })
}

/// Both ends of a connection between hosts.
fn mutual(
    provider: Arc<CryptoProvider>,
    path: &Path,
    chain: Vec<CertificateDer<'static>>,
    secret: PrivateKeyDer<'static>,
) -> Result<(ServerConfig, ClientConfig), TlsError> {
    let mut roots = RootCertStore::empty();
    for authority in certificates(path)? {
        roots.add(authority).map_err(|error| wrong(path, error.to_string()))?;
    }
    let roots = Arc::new(roots);
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider)).build();
    let verifier = verifier.map_err(|source| TlsError::Authorities { path: path.to_owned(), source })?;
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain.clone(), secret.clone_key())?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, secret)?;
    Ok((server, client))
}

/// The certificates of a file, of which there is one at least.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(path, error.to_string()))?;
    if found.is_empty() { Err(wrong(path, "no certificate in it".to_owned())) } else { Ok(found) }
}

fn wrong(path: &Path, reason: String) -> TlsError {
    TlsError::File { path: path.to_owned(), reason }
}
