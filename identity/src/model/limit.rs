//! Unified limits: how much of a resource projects and domains may have, by default and by exception.

use serde::{Deserialize, Serialize};

use super::kept;

/// How much of a service's resource everybody may have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RegisteredLimit {
    /// 32 hex digits.
    pub(crate) id: String,
    /// The service.
    pub(crate) service_id: String,
    /// The region that it is for, if not all.
    pub(crate) region_id: Option<String>,
    /// Name of the resource; one limit per service, region and resource.
    pub(crate) resource_name: String,
    /// How much; −1 is no limit.
    pub(crate) default_limit: i64,
    /// For people.
    pub(crate) description: Option<String>,
}

/// Who a limit is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Limited {
    /// A project.
    Project(String),
    /// A domain.
    Domain(String),
}

/// How much of a resource a project or domain may have, in the place of the registered limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// 32 hex digits.
    pub(crate) id: String,
    /// Who.
    pub(crate) of: Limited,
    /// The service.
    pub(crate) service_id: String,
    /// The region that it is for, if not all.
    pub(crate) region_id: Option<String>,
    /// Name of the resource.
    pub(crate) resource_name: String,
    /// How much; −1 is no limit.
    pub(crate) resource_limit: i64,
    /// For people.
    pub(crate) description: Option<String>,
}

kept!(RegisteredLimit, RegisteredLimit, registered_limits, id: |it| it.id.clone());
kept!(Limit, Limit, limits, id: |it| it.id.clone());
