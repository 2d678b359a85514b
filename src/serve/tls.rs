//! TLS of the listeners: certificate and key from PEM files, read again on SIGHUP. A reload that fails
//! leaves the certificate that was in use. TLS 1.2 and 1.3 as rustls has them; HTTP/1.1 only.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// Why the files do not serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("{path}: {reason}")]
    File { path: PathBuf, reason: String },
    #[error("TLS certificate and key: {0}")]
    Rustls(#[from] rustls::Error),
}

/// The files and what was last read from them.
pub(crate) struct TlsFiles {
    certificate: PathBuf,
    key: PathBuf,
    // Never held across an await; the only lock here.
    current: RwLock<TlsAcceptor>,
}

impl TlsFiles {
    /// Reads the configured files; `None` where none are configured.
    pub(crate) fn open(config: &Tls) -> Result<Option<Arc<Self>>, TlsError> {
        let (Some(certificate), Some(key)) = (&config.certificate, &config.key) else { return Ok(None) };
        let current = RwLock::new(load(certificate, key)?);
        Ok(Some(Arc::new(Self { certificate: certificate.clone(), key: key.clone(), current })))
    }

    /// What accepts a new connection.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Reads the files again; connections that stand keep what they have.
    pub(crate) fn reload(&self) -> Result<(), TlsError> {
        let next = load(&self.certificate, &self.key)?;
        *self.current.write().unwrap_or_else(std::sync::PoisonError::into_inner) = next;
        Ok(())
    }
}

fn load(certificate: &Path, key: &Path) -> Result<TlsAcceptor, TlsError> {
    let wrong = |path: &Path, reason: String| TlsError::File { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| wrong(certificate, error.to_string()))?;
    if chain.is_empty() {
        return Err(wrong(certificate, "no certificate in it".to_owned()));
    }
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| wrong(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, secret)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
