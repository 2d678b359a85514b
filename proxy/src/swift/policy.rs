//! Who may do what: every method of every resource names its rule here, and what is not named is not
//! offered (405). The rules themselves are in [`super::access`].

/// What kind of thing a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// `/info` and `/healthcheck`.
    Service,
    /// An account.
    Account,
    /// A container.
    Container,
    /// An object.
    Object,
}

/// What a caller must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Nothing: no data are shown.
    Open,
    /// Owner or reader of the account.
    AccountRead,
    /// Owner of the account.
    Owner,
    /// Reseller admin.
    ResellerAdmin,
    /// Owner or reader of the account, or the container's read list grants listings.
    ContainerRead,
    /// Owner or reader of the account, or the container's read list.
    ObjectRead,
    /// Owner of the account, or the container's write list.
    ObjectWrite,
    /// Owner or reader of the account: a version that is named by its id.
    VersionRead,
    /// Owner of the account: the deletion of such a version.
    VersionDelete,
}

/// Every method that is offered, and its rule. COPY reads its source by the rule named here; its
/// destination is held to that of PUT. Where a version is named, `version::rule` makes the rule stricter.
const TABLE: &[(Resource, &str, Rule)] = &[
    (Resource::Service, "GET", Rule::Open),
    (Resource::Service, "HEAD", Rule::Open),
    (Resource::Service, "OPTIONS", Rule::Open),
    (Resource::Account, "GET", Rule::AccountRead),
    (Resource::Account, "HEAD", Rule::AccountRead),
    (Resource::Account, "PUT", Rule::Owner),
    (Resource::Account, "POST", Rule::Owner),
    (Resource::Account, "DELETE", Rule::ResellerAdmin),
    (Resource::Account, "OPTIONS", Rule::Open),
    (Resource::Container, "GET", Rule::ContainerRead),
    (Resource::Container, "HEAD", Rule::ContainerRead),
    (Resource::Container, "PUT", Rule::Owner),
    (Resource::Container, "POST", Rule::Owner),
    (Resource::Container, "DELETE", Rule::Owner),
    (Resource::Container, "OPTIONS", Rule::Open),
    (Resource::Object, "GET", Rule::ObjectRead),
    (Resource::Object, "HEAD", Rule::ObjectRead),
    (Resource::Object, "PUT", Rule::ObjectWrite),
    (Resource::Object, "POST", Rule::ObjectWrite),
    (Resource::Object, "DELETE", Rule::ObjectWrite),
    (Resource::Object, "COPY", Rule::ObjectRead),
    (Resource::Object, "OPTIONS", Rule::Open),
];

/// The rule of a method; `None` where it is not offered.
pub(super) fn rule(resource: Resource, method: &str) -> Option<Rule> {
    TABLE.iter().find(|(kind, name, _)| *kind == resource && *name == method).map(|(_, _, rule)| *rule)
}

/// The methods that are offered, as `Allow` lists them.
pub(super) fn allowed(resource: Resource) -> String {
    let names = TABLE.iter().filter(|(kind, ..)| *kind == resource).map(|(_, name, _)| *name);
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_write_is_open_and_what_is_not_named_is_denied() {
        for (resource, method, rule) in TABLE {
            let reads = ["GET", "HEAD", "OPTIONS"].contains(method);
            assert!(reads || !matches!(rule, Rule::Open), "{resource:?} {method} is open to everybody");
        }
        assert_eq!(rule(Resource::Object, "PATCH"), None);
        assert_eq!(rule(Resource::Container, "COPY"), None);
        assert_eq!(allowed(Resource::Object), "GET, HEAD, PUT, POST, DELETE, COPY, OPTIONS");
    }
}
