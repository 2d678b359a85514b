//! What services there are and where.

use serde::{Deserialize, Serialize};

use super::{Extra, kept};

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// 32 hex digits.
    pub id: String,
    /// `object-store` and the like.
    pub kind: String,
    /// For people.
    pub name: Option<String>,
    /// For people.
    pub description: Option<String>,
    /// A disabled service is not in the catalog.
    pub enabled: bool,
    /// Attributes not known here.
    pub extra: Extra,
}

/// Who an endpoint is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interface {
    /// Everybody.
    Public,
    /// Services.
    Internal,
    /// Operators.
    Admin,
}

impl Interface {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Public, Self::Internal, Self::Admin];

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Internal => "internal",
            Self::Admin => "admin",
        }
    }

    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interface| interface.word() == word)
    }
}

/// An address of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    /// 32 hex digits.
    pub id: String,
    /// The service.
    pub service_id: String,
    /// Who it is for.
    pub interface: Interface,
    /// Address, with `%(project_id)s` and the like in it.
    pub url: String,
    /// Region that it is in.
    pub region_id: Option<String>,
    /// A disabled endpoint is not in the catalog.
    pub enabled: bool,
    /// Attributes not known here.
    pub extra: Extra,
}

/// A place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Chosen by whoever made it, or 32 hex digits.
    pub id: String,
    /// For people.
    pub description: String,
    /// The region that it lies in.
    pub parent_region_id: Option<String>,
    /// Attributes not known here.
    pub extra: Extra,
}

kept!(Service, Service, services, id: |it| it.id.clone());
kept!(Endpoint, Endpoint, endpoints, id: |it| it.id.clone());
kept!(Region, Region, regions, id: |it| it.id.clone());
