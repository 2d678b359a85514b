//! What goes with a record that is deleted. Dependents go first: a deletion that was cut short is finished by
//! repeating it, and what a crash leaves behind refers to nothing and counts for nothing.

use futures::future::BoxFuture;

use crate::IdentityRoom;
use crate::directory::Directory;
use crate::error::Result;
use crate::model::{
    Actor, ApplicationCredential, Credential, Endpoint, Grant, Group, Implication, Kept, Membership, Project, Role,
    Scope, Service, User,
};

/// A record that others depend on.
pub(crate) trait Cascades: Kept {
    /// Deletes what depends on the record `id`.
    fn delete_dependents<'a>(directory: &'a Directory, id: &'a str) -> BoxFuture<'a, Result<()>>;
}

impl IdentityRoom {
    /// Deletes a record and what depends on it.
    pub(crate) async fn forget<T: Cascades>(&self, id: &str) -> Result<()> {
        T::delete_dependents(&self.directory, id).await?;
        self.directory.delete::<T>(id).await.map(|_| ())
    }
}

impl Cascades for User {
    fn delete_dependents<'a>(directory: &'a Directory, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            directory.delete_all(|it: &Grant| it.actor == Actor::User(id.to_owned())).await?;
            directory.delete_all(|it: &Membership| it.user_id == id).await?;
            directory.delete_all(|it: &Credential| it.user_id == id).await?;
            directory.delete_all(|it: &ApplicationCredential| it.user_id == id).await
        })
    }
}

impl Cascades for Group {
    fn delete_dependents<'a>(directory: &'a Directory, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            directory.delete_all(|it: &Grant| it.actor == Actor::Group(id.to_owned())).await?;
            directory.delete_all(|it: &Membership| it.group_id == id).await
        })
    }
}

impl Cascades for Project {
    fn delete_dependents<'a>(directory: &'a Directory, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            directory.delete_all(|it: &Grant| it.scope == Scope::Project(id.to_owned())).await?;
            directory.delete_all(|it: &Credential| it.project_id.as_deref() == Some(id)).await?;
            directory.delete_all(|it: &ApplicationCredential| it.project_id == id).await
        })
    }
}

impl Cascades for Role {
    fn delete_dependents<'a>(directory: &'a Directory, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            directory.delete_all(|it: &Grant| it.role_id == id).await?;
            directory.delete_all(|it: &Implication| it.prior_role_id == id || it.implied_role_id == id).await
        })
    }
}

impl Cascades for Service {
    fn delete_dependents<'a>(directory: &'a Directory, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move { directory.delete_all(|it: &Endpoint| it.service_id == id).await })
    }
}
