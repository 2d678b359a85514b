//! What identity knows: its records, as they are kept. Each is small, whole in itself, and refers to others
//! by id; a reference whose record is gone counts for nothing.
//!
//! Times are microseconds since 1970.

mod access_rule;
mod assignment;
mod catalog;
mod compliance;
mod credential;
mod domain_config;
mod endpoint_group;
mod limit;
mod people;
mod policy;
mod resource;
mod revocation;
mod trust;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

pub(crate) use access_rule::AccessRule;
pub(crate) use assignment::{Actor, Grant, Implication, Membership, Role, Scope};
pub(crate) use catalog::{Endpoint, Interface, Region, Service};
pub(crate) use compliance::Failure;
pub(crate) use credential::{ApplicationCredential, Credential, Delegate, access_id};
pub(crate) use domain_config::{DomainConfig, Moving};
pub(crate) use endpoint_group::{EndpointFilter, EndpointGroup, Filtered};
pub(crate) use limit::{Limit, Limited, RegisteredLimit};
pub(crate) use people::{Group, Password, User};
pub(crate) use policy::{Policy, PolicyAssociation};
pub(crate) use resource::{Domain, Project};
pub(crate) use revocation::{Revocation, Revoked};
pub(crate) use trust::Trust;

use crate::directory::{Table, View};
use crate::records::Kind;

/// Attributes that nobody here knows, kept and shown as they came.
pub(crate) type Extra = Map<String, Value>;

/// A record that the directory keeps.
pub(crate) trait Kept: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Its kind.
    const KIND: Kind;

    /// Whether it has a unique name.
    const NAMED: bool = false;

    /// Its id, unique in its kind.
    fn id(&self) -> String;

    /// Scope (such as a domain's id) and name that no other record of the kind has, where there is such a rule.
    fn unique_name(&self) -> Option<(String, &str)> {
        None
    }

    /// Another id that the record is found by, not always its own alone.
    fn second_id(&self) -> Option<&str> {
        None
    }

    /// Gives the record another name, where it has a unique one: a rename that was not finished is undone.
    fn set_name(&mut self, _name: &str) {}

    /// Its table in a view.
    fn table(view: &View) -> &Table<Self>;

    /// Its table in a view, to be changed.
    fn table_mut(view: &mut View) -> &mut Table<Self>;
}

/// Declares which kind and table a record belongs to; the rest of [`Kept`] follows from its fields.
macro_rules! kept {
    ($record:ty, $kind:ident, $table:ident, id: $id:expr $(, name: $name:expr)? $(, second: $second:expr)?) => {
        impl $crate::model::Kept for $record {
            const KIND: $crate::records::Kind = $crate::records::Kind::$kind;

            fn id(&self) -> String {
                let id: fn(&Self) -> String = $id;
                id(self)
            }

            $(
                const NAMED: bool = true;

                fn unique_name(&self) -> Option<(String, &str)> {
                    let name: fn(&Self) -> (String, &str) = $name;
                    Some(name(self))
                }

                fn set_name(&mut self, name: &str) {
                    self.name = name.to_owned();
                }
            )?

            $(
                fn second_id(&self) -> Option<&str> {
                    let second: fn(&Self) -> Option<&str> = $second;
                    second(self)
                }
            )?

            fn table(view: &$crate::directory::View) -> &$crate::directory::Table<Self> {
                &view.$table
            }

            fn table_mut(view: &mut $crate::directory::View) -> &mut $crate::directory::Table<Self> {
                &mut view.$table
            }
        }
    };
}
pub(crate) use kept;
