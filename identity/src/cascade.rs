//! What goes with a record that is deleted. Dependents go first: a deletion that was cut short is finished by
//! repeating it, and what a crash leaves behind refers to nothing and counts for nothing.

use futures::future::BoxFuture;

use crate::IdentityRoom;
use crate::directory::Directory;
use crate::error::Result;
use crate::model::{
    AccessRule, Actor, ApplicationCredential, Credential, Endpoint, EndpointFilter, EndpointGroup, Failure, Filtered,
    Grant, Group, Implication, Kept, Limit, Limited, Membership, Policy, PolicyAssociation, Project, RegisteredLimit,
    Role, Scope, Service, Trust, User,
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
            directory.delete_all(|it: &ApplicationCredential| it.user_id == id).await?;
            directory.delete_all(|it: &AccessRule| it.user_id == id).await?;
            directory.delete_all(|it: &Trust| it.trustor_user_id == id || it.trustee_user_id == id).await?;
            directory.delete_all(|it: &Failure| it.user_id == id).await
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
            directory.delete_all(|it: &ApplicationCredential| it.project_id == id).await?;
            directory.delete_all(|it: &Trust| it.project_id == id).await?;
            directory.delete_all(|it: &EndpointFilter| it.project_id == id).await?;
            directory.delete_all(|it: &Limit| it.of == Limited::Project(id.to_owned())).await
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
        Box::pin(async move {
            let endpoints: Vec<String> = {
                let view = directory.view();
                view.endpoints.iter().filter(|it| it.service_id == id).map(|it| it.id.clone()).collect()
            };
            for endpoint in &endpoints {
                Endpoint::delete_dependents(directory, endpoint).await?;
                directory.delete::<Endpoint>(endpoint).await?;
            }
            directory.delete_all(|it: &PolicyAssociation| it.service_id.as_deref() == Some(id)).await?;
            directory.delete_all(|it: &Limit| it.service_id == id).await?;
            directory.delete_all(|it: &RegisteredLimit| it.service_id == id).await
        })
    }
}

impl Cascades for Endpoint {
    fn delete_dependents<'a>(directory: &'a Directory, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let is_it = |it: &EndpointFilter| it.sees == Filtered::Endpoint(id.to_owned());
            directory.delete_all(is_it).await?;
            directory.delete_all(|it: &PolicyAssociation| it.endpoint_id.as_deref() == Some(id)).await
        })
    }
}

impl Cascades for EndpointGroup {
    fn delete_dependents<'a>(directory: &'a Directory, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(directory.delete_all(move |it: &EndpointFilter| it.sees == Filtered::Group(id.to_owned())))
    }
}

impl Cascades for Policy {
    fn delete_dependents<'a>(directory: &'a Directory, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(directory.delete_all(move |it: &PolicyAssociation| it.policy_id == id))
    }
}

/// What a trust was passed on to ends with it.
impl Cascades for Trust {
    fn delete_dependents<'a>(directory: &'a Directory, id: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let below: Vec<String> = {
                let view = directory.view();
                let below = view.trusts.iter().filter(|it| it.redelegated_trust_id.as_deref() == Some(id));
                below.map(|it| it.id.clone()).collect()
            };
            for trust in &below {
                Trust::delete_dependents(directory, trust).await?;
                directory.delete::<Trust>(trust).await?;
            }
            Ok(())
        })
    }
}
