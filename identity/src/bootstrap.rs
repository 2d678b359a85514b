//! The first start: an admin, his project and key, the roles, and the catalog. Idempotent: each step makes what
//! is not there and leaves alone what is, so that a start that was cut short is finished by the next one.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::IdentityRoom;
use crate::auth::{EC2, now_us};
use crate::error::{Error, Result};
use crate::model::{
    Actor, Credential, Domain, Endpoint, Extra, Grant, Implication, Interface, Kept, Password, Project, Region, Role,
    Scope, Service, User,
};

/// Id of the domain that is always there.
pub const DEFAULT_DOMAIN_ID: &str = "default";

/// Roles that are always there, each with what it is for.
const ROLES: &[(&str, &str)] = &[
    ("admin", "May do everything"),
    ("manager", "May manage what is in his project or domain"),
    ("member", "May use what is in his project"),
    ("reader", "May see what is in his project"),
    ("service", "For the services among themselves"),
    ("ResellerAdmin", "May use every account of the object store"),
    ("swiftoperator", "May use the account of his project in the object store"),
];

/// Who holds the first role holds the second.
const IMPLIED: &[(&str, &str)] = &[("admin", "manager"), ("manager", "member"), ("member", "reader")];

/// A service for the catalog, as it is really served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogEntry {
    /// `object-store`.
    pub kind: String,
    /// `swift`.
    pub name: String,
    /// `http://127.0.0.1:8080/v1/AUTH_%(project_id)s`; the same for the public, internal and admin interface.
    pub url: String,
}

/// What the first start is told.
#[derive(Clone)]
pub struct Bootstrap {
    /// Password of the user `admin`, if that user is not there yet.
    pub admin_password: String,
    /// Id of the region of the catalog's entries.
    pub region: String,
    /// Services that are served. An entry that is there with another address is given this one.
    pub catalog: Vec<CatalogEntry>,
}

impl std::fmt::Debug for Bootstrap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bootstrap")
            .field("region", &self.region)
            .field("catalog", &self.catalog)
            .finish_non_exhaustive()
    }
}

/// What is there after the first start.
#[derive(Clone)]
pub struct Bootstrapped {
    /// Whether the user `admin` was made now, with the password that was given.
    pub created: bool,
    /// Id of the project `admin`.
    pub project_id: String,
    /// Id of the user `admin`.
    pub user_id: String,
    /// Access key of an EC2 key of that user on that project.
    pub access: String,
    /// Its secret key.
    pub secret: String,
}

impl std::fmt::Debug for Bootstrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("Bootstrapped");
        shown.field("created", &self.created).field("project_id", &self.project_id).field("user_id", &self.user_id);
        shown.finish_non_exhaustive()
    }
}

impl IdentityRoom {
    /// Makes what every cloud has, where it is not there: the domain `Default`, the roles, the user and project
    /// `admin` with an EC2 key, the region, and the catalog.
    pub async fn bootstrap(&self, bootstrap: &Bootstrap) -> Result<Bootstrapped> {
        self.ensure(domain(), |view| view.domains.get(DEFAULT_DOMAIN_ID).cloned()).await?;
        for (name, description) in ROLES {
            self.ensure(role(name, description), |view| view.roles.by_name("", name).cloned()).await?;
        }
        for (prior, implied) in IMPLIED {
            let implication =
                Implication { prior_role_id: self.role_id(prior)?, implied_role_id: self.role_id(implied)? };
            self.ensure_put(implication).await?;
        }
        let found = |view: &crate::directory::View| view.projects.by_name(DEFAULT_DOMAIN_ID, "admin").cloned();
        let project = self.ensure(project(), found).await?;
        let (user, created) = self.ensure_admin(&bootstrap.admin_password).await?;
        for scope in [Scope::Project(project.id.clone()), Scope::System] {
            let (actor, role_id) = (Actor::User(user.id.clone()), self.role_id("admin")?);
            // A grant that an operator took away from the project's admin later comes back with the next
            // start: a cloud without an admin could not be repaired.
            self.ensure_put(Grant { actor, scope, role_id, inherited: false }).await?;
        }
        self.publish(&bootstrap.region, &bootstrap.catalog).await?;
        let (access, secret) = self.ensure_key(&user.id, &project.id).await?;
        Ok(Bootstrapped { created, project_id: project.id.clone(), user_id: user.id.clone(), access, secret })
    }

    /// The record that `find` finds, or `new`.
    async fn ensure<T: Kept>(
        &self,
        new: T,
        find: impl Fn(&crate::directory::View) -> Option<Arc<T>> + Send,
    ) -> Result<Arc<T>> {
        let found = find(&self.directory.view());
        match found {
            Some(record) => Ok(record),
            None => self.directory.create(new).await,
        }
    }

    /// A record that is known by its id.
    async fn ensure_put<T: Kept>(&self, record: T) -> Result<()> {
        match self.directory.get::<T>(&record.id()) {
            Some(_) => Ok(()),
            None => self.directory.put(record).await.map(|_| ()),
        }
    }

    fn role_id(&self, name: &str) -> Result<String> {
        let found = self.directory.view().roles.by_name("", name).map(|role| role.id.clone());
        found.ok_or_else(|| Error::Missing { what: "role", id: name.to_owned() })
    }

    async fn ensure_admin(&self, password: &str) -> Result<(Arc<User>, bool)> {
        let found = self.directory.view().users.by_name(DEFAULT_DOMAIN_ID, "admin").cloned();
        if let Some(user) = found {
            return Ok((user, false));
        }
        let hash = self.hasher.hash(password.to_owned()).await?;
        let user = User {
            id: anello_base::id::hex_id(),
            name: "admin".to_owned(),
            domain_id: DEFAULT_DOMAIN_ID.to_owned(),
            default_project_id: None,
            description: None,
            enabled: true,
            password: Some(Password { hash, set_at_us: now_us(), expires_at_us: None, self_service: true }),
            password_history: Vec::new(),
            last_active_day: Some(crate::compliance::today(now_us())),
            options: Extra::new(),
            extra: Extra::new(),
            dn: None,
        };
        Ok((self.directory.create(user).await?, true))
    }

    /// Enters services into the catalog; one that is there with another address is given this one.
    pub async fn publish(&self, region: &str, catalog: &[CatalogEntry]) -> Result<()> {
        let new =
            Region { id: region.to_owned(), description: String::new(), parent_region_id: None, extra: Extra::new() };
        self.ensure(new, |view| view.regions.get(region).cloned()).await?;
        for entry in catalog {
            let new = Service {
                id: anello_base::id::hex_id(),
                kind: entry.kind.clone(),
                name: Some(entry.name.clone()),
                description: None,
                enabled: true,
                extra: Extra::new(),
            };
            let is_it = |it: &&Arc<Service>| it.kind == entry.kind;
            let service = self.ensure(new, |view| view.services.iter().find(is_it).cloned()).await?;
            for interface in Interface::ALL {
                self.ensure_endpoint(&service.id, interface, region, &entry.url).await?;
            }
        }
        Ok(())
    }

    async fn ensure_endpoint(&self, service_id: &str, interface: Interface, region: &str, url: &str) -> Result<()> {
        let new = Endpoint {
            id: anello_base::id::hex_id(),
            service_id: service_id.to_owned(),
            interface,
            url: url.to_owned(),
            region_id: Some(region.to_owned()),
            enabled: true,
            extra: Extra::new(),
        };
        let is_it = |it: &&Arc<Endpoint>| {
            it.service_id == service_id && it.interface == interface && it.region_id.as_deref() == Some(region)
        };
        let endpoint = self.ensure(new, |view| view.endpoints.iter().find(is_it).cloned()).await?;
        if endpoint.url != url {
            let change = |it: &mut Endpoint| {
                url.clone_into(&mut it.url);
                Ok(())
            };
            self.directory.update(&endpoint.id, change).await?;
        }
        Ok(())
    }

    async fn ensure_key(&self, user_id: &str, project_id: &str) -> Result<(String, String)> {
        let is_it = |it: &&Arc<Credential>| {
            let is_own = it.user_id == user_id && it.project_id.as_deref() == Some(project_id);
            it.kind == EC2 && is_own && it.delegate.is_none()
        };
        let found = self.directory.view().credentials.iter().find(is_it).cloned();
        let blob = match found.and_then(|credential| self.signing_keys.ec2_blob(&credential)) {
            Some(blob) => blob,
            None => self.new_ec2_key(user_id, project_id, None).await?.0,
        };
        Ok((blob.access, blob.secret))
    }
}

fn domain() -> Domain {
    Domain {
        id: DEFAULT_DOMAIN_ID.to_owned(),
        name: "Default".to_owned(),
        description: "The default domain".to_owned(),
        enabled: true,
        tags: BTreeSet::new(),
        options: Extra::new(),
        extra: Extra::new(),
    }
}

fn role(name: &str, description: &str) -> Role {
    Role {
        id: anello_base::id::hex_id(),
        name: name.to_owned(),
        domain_id: None,
        description: Some(description.to_owned()),
        options: Extra::new(),
        extra: Extra::new(),
    }
}

fn project() -> Project {
    Project {
        id: anello_base::id::hex_id(),
        name: "admin".to_owned(),
        domain_id: DEFAULT_DOMAIN_ID.to_owned(),
        parent_id: None,
        description: "Project of the cloud's admin".to_owned(),
        enabled: true,
        tags: Default::default(),
        options: Extra::new(),
        extra: Extra::new(),
    }
}
