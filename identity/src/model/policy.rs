//! Policies that services fetch from here, and what each is for. They rule nothing in this room.

use serde::{Deserialize, Serialize};

use super::{Extra, kept};

/// A document in whatever form its service reads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// 32 hex digits.
    pub(crate) id: String,
    /// MIME type of the blob.
    pub(crate) kind: String,
    /// The document: text, or JSON.
    pub(crate) blob: serde_json::Value,
    /// Attributes not known here.
    pub(crate) extra: Extra,
}

/// What a policy is for: an endpoint, a service, or a service in a region. Each has one policy at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PolicyAssociation {
    /// The endpoint.
    pub(crate) endpoint_id: Option<String>,
    /// The service.
    pub(crate) service_id: Option<String>,
    /// The region.
    pub(crate) region_id: Option<String>,
    /// The policy.
    pub(crate) policy_id: String,
}

impl PolicyAssociation {
    /// Its id: one per thing that a policy can be for.
    pub(crate) fn key(&self) -> String {
        let part = |it: &Option<String>| it.clone().unwrap_or_default();
        format!("{}|{}|{}", part(&self.endpoint_id), part(&self.service_id), part(&self.region_id))
    }
}

kept!(Policy, Policy, policies, id: |it| it.id.clone());
kept!(PolicyAssociation, PolicyAssociation, policy_associations, id: PolicyAssociation::key);
