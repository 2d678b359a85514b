//! Who a request comes from and what vouches for it; it goes with the request through the layers.

use std::net::IpAddr;
use std::sync::Arc;

use anello_api::identity::Caller;
use http::Request;

use crate::swift::policy::Rule;
use crate::swift::sync::Synced;
use crate::swift::tempauth::Member;

/// Who asks, and from where.
#[derive(Debug, Clone, Default)]
pub(in crate::swift) struct Origin {
    /// Whoever is named by a valid token.
    pub(in crate::swift) party: Option<Party>,
    /// What a signature in the request lets it do, in the place of its sender's rights.
    pub(in crate::swift) pass: Option<Pass>,
    /// What another cluster copies here, where its signature says so.
    pub(in crate::swift) synced: Option<Synced>,
    /// The address that it comes from, where it comes over a network.
    pub(in crate::swift) peer: Option<IpAddr>,
}

impl Origin {
    /// That of a request.
    pub(in crate::swift) fn of<B>(request: &Request<B>) -> Self {
        request.extensions().get::<Self>().cloned().unwrap_or_default()
    }
}

/// Whoever is known by a token.
#[derive(Debug, Clone)]
pub(in crate::swift) enum Party {
    /// By one of identity's.
    Keystone {
        /// Whose it is.
        caller: Arc<Caller>,
        /// The service that vouches for the request, where one does.
        service: Option<Arc<Caller>>,
    },
    /// By one of tempauth's.
    Member(Arc<Member>),
}

/// What a signature opens: the objects of an account, or of one of its containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::swift) struct Pass {
    /// The account.
    pub(in crate::swift) account: String,
    /// The container, where it is good for one alone.
    pub(in crate::swift) container: Option<String>,
}

impl Pass {
    /// Whether it lets a request through. It is good for objects and their listings, and never makes an owner.
    pub(in crate::swift) fn admits(&self, rule: Rule, account: &str, container: Option<&str>) -> bool {
        let is_for_objects = matches!(rule, Rule::ContainerRead | Rule::ObjectRead | Rule::ObjectWrite);
        let is_within = self.container.is_none() || self.container.as_deref() == container;
        is_for_objects && self.account == account && container.is_some() && is_within
    }
}
