//! A listener: an accept loop with a bound on its connections, over TCP with TCP_NODELAY, with TLS where
//! a certificate is configured. Each says in the log who may reach it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{ACCEPT_PAUSE, BACKLOG, CONNECTIONS_MAX, HANDSHAKE_TIMEOUT, READ_BUFFER_BYTES};
use crate::serve::connection::{self, Peer, Service};
use crate::serve::tls::TlsFiles;

/// A listener could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {name}: {source}")]
pub(crate) struct ListenError {
    name: &'static str,
    address: SocketAddr,
    source: std::io::Error,
}

/// A bound address.
pub(crate) struct Listener {
    name: &'static str,
    socket: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<TlsFiles>>,
}

impl Listener {
    /// Binds `address`; port 0 takes a free one.
    pub(crate) fn bind(
        name: &'static str,
        address: SocketAddr,
        tls: Option<Arc<TlsFiles>>,
    ) -> Result<Self, ListenError> {
        let bind = || {
            let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
            // A restart must not wait for the old connections' TIME_WAIT.
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            let socket = socket.listen(BACKLOG)?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let (socket, address) = bind().map_err(|source| ListenError { name, address, source })?;
        Ok(Self { name, socket, address, tls })
    }

    /// What is served.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Where clients on this host, or on the address, find it: `http://127.0.0.1:8080`.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("{scheme}://{address}")
    }

    /// Who may reach it.
    pub(crate) fn reach(&self) -> String {
        let ip = self.address.ip().to_canonical();
        let clear = if self.tls.is_none() { ", unencrypted" } else { "" };
        if ip.is_loopback() {
            "this host only".to_owned()
        } else if ip.is_unspecified() {
            format!("every host that can route here, on port {}{clear}", self.address.port())
        } else {
            format!("every host that can route to {}{clear}", self.address)
        }
    }

    /// Accepts connections until `stop`, each in a task of `tasks`.
    pub(crate) async fn serve<S: Service>(self, service: Arc<S>, stop: CancellationToken, tasks: TaskTracker) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = accept(&self.socket, &slots) => accepted,
            };
            let (stream, peer, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(listener = self.name, %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (service, stop, tls) = (service.clone(), stop.clone(), self.tls.clone());
            tasks.spawn(async move {
                secure_and_serve(stream, peer, tls, service, stop).await;
                drop(slot);
            });
        }
    }
}

type Slot = tokio::sync::OwnedSemaphorePermit;

/// Takes a slot first, so that a connection which cannot be served waits in the kernel.
async fn accept(socket: &TcpListener, slots: &Arc<Semaphore>) -> std::io::Result<(TcpStream, SocketAddr, Slot)> {
    let slot = slots.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = socket.accept().await?;
    // Without it a kept-alive answer of two writes waits 40 ms for the client's delayed acknowledgement.
    stream.set_nodelay(true)?;
    Ok((stream, peer, slot))
}

async fn secure_and_serve<S: Service>(
    stream: TcpStream,
    address: SocketAddr,
    tls: Option<Arc<TlsFiles>>,
    service: Arc<S>,
    stop: CancellationToken,
) {
    let peer = Peer { address: Some(address), is_secure: tls.is_some() };
    let Some(tls) = tls else {
        return connection::serve(stream, peer, service, stop).await;
    };
    let handshake = async {
        let mut stream = stream;
        // A host whose operator forgot it is told what is wrong.
        if tls.is_mutual() && !speaks_tls(&stream).await? {
            refuse(&mut stream).await?;
            return Err(std::io::Error::other("it was not TLS"));
        }
        tls.acceptor().accept(stream).await
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => connection::serve(stream, peer, service, stop).await,
        Ok(Err(error)) => tracing::debug!(peer = %address, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(peer = %address, "TLS handshake timed out"),
    }
}

/// What a TLS connection begins with: a record that bears a handshake.
const TLS_HANDSHAKE: u8 = 22;

/// The answer to HTTP where TLS is spoken.
const UPGRADE_REQUIRED: &[u8] =
    b"HTTP/1.1 426 Upgrade Required\r\nupgrade: TLS/1.3\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Answers what is no TLS. A call is read as far as it is short: what is left unread cuts the answer off.
async fn refuse(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(UPGRADE_REQUIRED).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(READ_BUFFER_BYTES as u64), &mut tokio::io::sink()).await.map(drop)
}

async fn speaks_tls(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 0 || first[0] == TLS_HANDSHAKE)
}
