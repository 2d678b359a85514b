//! What a service's audit is told of requests that are to change something.

use std::net::IpAddr;
use std::sync::Arc;

use http::StatusCode;

use super::{Fault, Reply, Service};

/// Where a request comes from; the listener puts it into the request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub IpAddr);

/// A request that was to change something, and how it ended. It bears nothing of the request's body.
pub struct Audited<'a, C> {
    /// Name of the rule that guards it.
    pub rule: &'static str,
    /// The names in the path.
    pub params: &'a [(String, String)],
    /// Who made it, where somebody is known.
    pub caller: Option<&'a C>,
    /// Where it came from, where that is known.
    pub peer: Option<IpAddr>,
    /// Id of the request.
    pub request_id: &'a str,
    /// Status of the answer.
    pub status: StatusCode,
    /// Id of what it made or changed, as far as the answer shows one.
    pub shown_id: Option<&'a str>,
}

/// What the audit is told of a change, however it ends.
pub(super) struct Trail<S: Service> {
    pub(super) service: Arc<S>,
    pub(super) rule: &'static str,
    pub(super) peer: Option<IpAddr>,
    pub(super) request_id: String,
}

impl<S: Service> Trail<S> {
    pub(super) fn note(&self, params: &[(String, String)], caller: Option<&S::Caller>, result: &Result<Reply, Fault>) {
        self.service.audit(&Audited {
            rule: self.rule,
            params,
            caller,
            peer: self.peer,
            request_id: &self.request_id,
            status: result.as_ref().map_or_else(|fault| fault.status, Reply::status),
            shown_id: result.as_ref().ok().and_then(Reply::shown_id),
        });
    }
}
