//! Which endpoints a project sees, where it does not see all of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Endpoint, kept};

/// Endpoints chosen by what they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndpointGroup {
    /// 32 hex digits.
    pub(crate) id: String,
    /// For people.
    pub(crate) name: String,
    /// For people.
    pub(crate) description: Option<String>,
    /// `service_id`, `region_id`, `interface`, `enabled`: what an endpoint must have to belong to it.
    pub(crate) filters: BTreeMap<String, serde_json::Value>,
}

impl EndpointGroup {
    /// Attributes that filters may name.
    pub(crate) const FILTERS: [&str; 4] = ["service_id", "region_id", "interface", "enabled"];

    /// Whether the endpoint belongs to it.
    pub(crate) fn has(&self, endpoint: &Endpoint) -> bool {
        self.filters.iter().all(|(name, wanted)| match name.as_str() {
            "service_id" => *wanted == endpoint.service_id.as_str(),
            "region_id" => wanted.as_str() == endpoint.region_id.as_deref(),
            "interface" => *wanted == endpoint.interface.word(),
            "enabled" => *wanted == endpoint.enabled,
            _ => false,
        })
    }
}

/// What is associated with a project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Filtered {
    /// One endpoint.
    Endpoint(String),
    /// A group of them.
    Group(String),
}

/// A project sees an endpoint, or a group of them. A project with any association sees only what is
/// associated with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct EndpointFilter {
    /// The project.
    pub(crate) project_id: String,
    /// What it sees.
    pub(crate) sees: Filtered,
}

impl EndpointFilter {
    /// Its id: those of a project lie together.
    pub(crate) fn key(&self) -> String {
        match &self.sees {
            Filtered::Endpoint(id) => format!("{}|endpoint:{id}", self.project_id),
            Filtered::Group(id) => format!("{}|group:{id}", self.project_id),
        }
    }
}

kept!(EndpointGroup, EndpointGroup, endpoint_groups, id: |it| it.id.clone());
kept!(EndpointFilter, EndpointFilter, endpoint_filters, id: EndpointFilter::key);
