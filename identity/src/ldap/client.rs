//! Speaks with one directory. A search has a connection of a pool to itself, because servers keep no two paged searches
//! apart on one; each bind as a user has a connection of its own, since a bind changes whose it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Semaphore;

use super::Settings;
use crate::error::{Error, Result};
use crate::limits::{LDAP_ENTRIES_MAX, LDAP_SEARCHES_MAX, LDAP_TIMEOUT};

/// LDAP's code for a wrong password.
const INVALID_CREDENTIALS: u32 = 49;

/// A directory.
pub(crate) struct Client {
    settings: Settings,
    /// Searches at the same time.
    places: Semaphore,
    /// Connections that no search uses, bound as the configured user.
    idle: Mutex<Vec<Ldap>>,
    /// When it is to be read, or read again; at once where nobody has tried yet.
    due: Mutex<Option<Instant>>,
}

fn failed(error: impl std::fmt::Display) -> Error {
    tracing::warn!(%error, "a directory of users can't be asked");
    Error::Busy
}

impl Client {
    /// A client; nothing is connected yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, places: Semaphore::new(LDAP_SEARCHES_MAX), idle: Mutex::default(), due: Mutex::default() }
    }

    /// What it was made with.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it is time to read it.
    pub(crate) fn is_due(&self) -> bool {
        self.due.lock().unwrap_or_else(PoisonError::into_inner).is_none_or(|due| due <= Instant::now())
    }

    /// Leaves it alone for a while.
    pub(crate) fn rest(&self, time: Duration) {
        *self.due.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    async fn connect(&self) -> Result<Ldap> {
        let mut options = LdapConnSettings::new().set_conn_timeout(LDAP_TIMEOUT);
        options = options.set_starttls(self.settings.flag("use_tls"));
        if self.settings.text("tls_req_cert") == Some("never") {
            options = options.set_no_tls_verify(true);
        }
        if let Some(path) = self.settings.text("tls_cacertfile") {
            options = options.set_config(Arc::new(trusting(path)?));
        }
        let url = self.settings.text("url").unwrap_or_default();
        let (connection, ldap) = LdapConnAsync::with_settings(options, url).await.map_err(failed)?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!(%error, "a connection to a directory of users has ended");
            }
        });
        Ok(ldap)
    }

    /// A connection that is bound as the configured user, or as nobody: one that is idle, or a new one.
    async fn searching(&self) -> Result<Ldap> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut ldap) = idle else { break };
            if !ldap.is_closed() {
                return Ok(ldap);
            }
        }
        let mut ldap = self.connect().await?;
        if let Some(user) = self.settings.text("user") {
            let password = self.settings.text("password").unwrap_or_default();
            let bound = ldap.with_timeout(LDAP_TIMEOUT).simple_bind(user, password).await;
            bound.and_then(ldap3::LdapResult::success).map_err(failed)?;
        }
        Ok(ldap)
    }

    /// Entries below a place. A connection that a search failed on, or was dropped on, is not used again.
    pub(crate) async fn search(&self, base: &str, scope: Scope, filter: &str) -> Result<Vec<SearchEntry>> {
        let _place = self.places.acquire().await.map_err(failed)?;
        let mut ldap = self.searching().await?;
        let entries = self.search_on(&mut ldap, base, scope, filter).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(ldap);
        Ok(entries)
    }

    /// The cut at [`LDAP_ENTRIES_MAX`] is an error: half a directory is worse than an old one.
    async fn search_on(&self, ldap: &mut Ldap, base: &str, scope: Scope, filter: &str) -> Result<Vec<SearchEntry>> {
        let page = i32::try_from(self.settings.number("page_size")).unwrap_or(0);
        let mut adapters: Vec<Box<dyn Adapter<_, _>>> = vec![Box::new(EntriesOnly::new())];
        if page > 0 {
            adapters.push(Box::new(PagedResults::new(page)));
        }
        let ldap = ldap.with_timeout(LDAP_TIMEOUT);
        let mut stream = ldap.streaming_search_with(adapters, base, scope, filter, vec!["*"]).await.map_err(failed)?;
        let mut entries = Vec::new();
        while let Some(entry) = stream.next().await.map_err(failed)? {
            if entries.len() == LDAP_ENTRIES_MAX {
                return Err(Error::Internal(format!("a directory has more than {LDAP_ENTRIES_MAX} entries")));
            }
            entries.push(SearchEntry::construct(entry));
        }
        stream.finish().await.success().map_err(failed)?;
        Ok(entries)
    }

    /// Whether the password is the one of an entry. An empty one never is: directories take it for no log-in at all,
    /// and say yes.
    pub(crate) async fn is_password(&self, dn: &str, password: &str) -> Result<bool> {
        if password.is_empty() || dn.is_empty() {
            return Ok(false);
        }
        let mut ldap = self.connect().await?;
        let bound = ldap.with_timeout(LDAP_TIMEOUT).simple_bind(dn, password).await.map_err(failed)?;
        let answer = match bound.rc {
            0 => Ok(true),
            INVALID_CREDENTIALS => Ok(false),
            _ => Err(failed(bound)),
        };
        let _ = ldap.unbind().await;
        answer
    }
}

/// TLS that trusts the certificates of a file alone.
fn trusting(path: &str) -> Result<rustls::ClientConfig> {
    let wrong = |error: &dyn std::fmt::Display| Error::Invalid(format!("tls_cacertfile {path}: {error}"));
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        let certificate = certificate.map_err(|error| wrong(&error))?;
        roots.add(certificate).map_err(|error| wrong(&error))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Ok(builder.map_err(|error| wrong(&error))?.with_root_certificates(roots).with_no_client_auth())
}
