//! What services there are and where.

use serde::{Deserialize, Serialize};

use super::{Extra, kept};

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    /// 32 hex digits.
    pub(crate) id: String,
    /// `object-store` and the like.
    pub(crate) kind: String,
    /// For people.
    pub(crate) name: Option<String>,
    /// For people.
    pub(crate) description: Option<String>,
    /// A disabled service is not in the catalog.
    pub(crate) enabled: bool,
    /// Attributes not known here.
    pub(crate) extra: Extra,
}

/// Who an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Interface {
    /// Everybody.
    Public,
    /// Services.
    Internal,
    /// Operators.
    Admin,
}

impl Interface {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::Public, Self::Internal, Self::Admin];

    /// Its word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }

    /// From its word.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interface| interface.word() == word)
    }
}

/// An address of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Endpoint {
    /// 32 hex digits.
    pub(crate) id: String,
    /// The service.
    pub(crate) service_id: String,
    /// Who it is for.
    pub(crate) interface: Interface,
    /// Address, with `%(project_id)s` and the like in it.
    pub(crate) url: String,
    /// Region that it is in.
    pub(crate) region_id: Option<String>,
    /// A disabled endpoint is not in the catalog.
    pub(crate) enabled: bool,
    /// Attributes not known here.
    pub(crate) extra: Extra,
}

/// A place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Region {
    /// Chosen by whoever made it, or 32 hex digits.
    pub(crate) id: String,
    /// For people.
    pub(crate) description: String,
    /// The region that it lies in.
    pub(crate) parent_region_id: Option<String>,
    /// Attributes not known here.
    pub(crate) extra: Extra,
}

kept!(Service, Service, services, id: |it| it.id.clone());
kept!(Endpoint, Endpoint, endpoints, id: |it| it.id.clone());
kept!(Region, Region, regions, id: |it| it.id.clone());
