//! The secret and owner of an access key, from the parts that Keystone shows: the credential (its id is the SHA-256 of
//! the access key), its user and project with their domains, and the roles that he has there. The same holds as where
//! identity is asked in process: whatever is disabled, ended, gone or not understood makes the key good for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::try_join;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::RemoteIdentity;
use super::answers::Known;
use super::limits::REDELEGATIONS_MAX;
use super::token::seconds;
use crate::identity::{Caller, IdentityError, SigningKey};

type Result<T> = std::result::Result<T, IdentityError>;

/// Kind of the credentials that sign requests.
const EC2: &str = "ec2";

#[derive(Deserialize)]
struct Credential {
    #[serde(rename = "type")]
    kind: String,
    blob: Value,
    user_id: String,
    project_id: Option<String>,
}

/// What the credential keeps. A key that was made with less than a log-in names that.
#[derive(Deserialize)]
struct Blob {
    access: String,
    secret: String,
    trust_id: Option<String>,
    app_cred_id: Option<String>,
    access_token_id: Option<String>,
}

#[derive(Deserialize)]
struct User {
    id: String,
    name: String,
    domain_id: String,
    enabled: bool,
}

#[derive(Deserialize)]
struct Project {
    id: String,
    name: String,
    /// Null where the project acts as a domain, and is its own.
    domain_id: Option<String>,
    enabled: bool,
}

#[derive(Deserialize)]
struct Domain {
    enabled: bool,
}

#[derive(Deserialize)]
struct Assignment {
    role: Role,
}

#[derive(Deserialize)]
struct Role {
    id: String,
    name: Option<String>,
}

#[derive(Deserialize)]
struct ApplicationCredential {
    user_id: Option<String>,
    project_id: String,
    roles: Vec<Role>,
    expires_at: Option<String>,
    access_rules: Option<Value>,
}

#[derive(Deserialize)]
struct Trust {
    trustor_user_id: String,
    trustee_user_id: String,
    project_id: Option<String>,
    roles: Vec<Role>,
    expires_at: Option<String>,
    redelegated_trust_id: Option<String>,
}

#[derive(Deserialize)]
struct Inference {
    prior_role: Role,
    implies: Vec<Role>,
}

/// The part of a path that an id is: what a user has written into a credential leads nowhere else.
fn part(id: &str) -> String {
    utf8_percent_encode(id, NON_ALPHANUMERIC).to_string()
}

/// The path of an access key's credential.
pub(super) fn credential_path(access: &str) -> String {
    format!("/credentials/{}", hex::encode(Sha256::digest(access.as_bytes())))
}

/// Roles by id, with their names.
type Roles = BTreeMap<String, String>;

impl RemoteIdentity {
    /// The secret and owner of an access key, and when what it was made with ends.
    pub(super) async fn ask_for_key(&self, access: &str) -> Result<Known<SigningKey>> {
        let credential: Credential = self.there(&credential_path(access), "credential").await?;
        let blob = blob(&credential).filter(|blob| blob.access == access && blob.access_token_id.is_none());
        let (Some(blob), Some(project_id)) = (blob, &credential.project_id) else {
            return Err(IdentityError::NotValid);
        };
        let (user, project, held) = try_join!(
            self.enabled_user(&credential.user_id),
            self.enabled_project(project_id),
            self.roles(&credential.user_id, project_id),
        )?;
        let (roles, ends_at) = match (&blob.app_cred_id, &blob.trust_id) {
            (None, None) => (held, u64::MAX),
            (Some(id), None) => self.of_application_credential(id, &user, &project, held).await?,
            (None, Some(id)) => self.of_trust(id, &user, &project, held).await?,
            (Some(_), Some(_)) => return Err(IdentityError::NotValid),
        };
        if roles.is_empty() {
            return Err(IdentityError::NotValid);
        }
        let caller = Caller {
            user_id: user.id,
            user_name: user.name,
            user_domain_id: user.domain_id,
            project_domain_id: Some(project.domain_id.unwrap_or_else(|| project.id.clone())),
            project_id: Some(project.id),
            project_name: Some(project.name),
            roles: roles.into_values().collect(),
            expires_at: ends_at,
            ..Caller::default()
        };
        Ok(Known { value: SigningKey { secret: blob.secret, caller: Arc::new(caller) }, ends_at })
    }

    /// What is below a name in the answer; not valid where there is no such thing.
    async fn there<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<T> {
        let mut answer = self.ask(path, None).await?.ok_or(IdentityError::NotValid)?;
        let thing = answer.get_mut(name).map(Value::take).unwrap_or_default();
        serde_json::from_value(thing).map_err(|error| self.not_understood(path, &error))
    }

    async fn enabled_user(&self, id: &str) -> Result<User> {
        let user: User = self.there(&format!("/users/{}", part(id)), "user").await?;
        self.check_domain(&user.domain_id).await?;
        if user.enabled { Ok(user) } else { Err(IdentityError::NotValid) }
    }

    async fn enabled_project(&self, id: &str) -> Result<Project> {
        let project: Project = self.there(&format!("/projects/{}", part(id)), "project").await?;
        self.check_domain(project.domain_id.as_ref().unwrap_or(&project.id)).await?;
        if project.enabled { Ok(project) } else { Err(IdentityError::NotValid) }
    }

    async fn check_domain(&self, id: &str) -> Result<()> {
        let domain: Domain = self.there(&format!("/domains/{}", part(id)), "domain").await?;
        if domain.enabled { Ok(()) } else { Err(IdentityError::NotValid) }
    }

    /// The roles that a user holds on a project, by groups, inheritance and implication too.
    async fn roles(&self, user_id: &str, project_id: &str) -> Result<Roles> {
        let (user, project) = (part(user_id), part(project_id));
        let query = format!("user.id={user}&scope.project.id={project}&effective=true&include_names=true");
        let lines: Vec<Assignment> = self.there(&format!("/role_assignments?{query}"), "role_assignments").await?;
        Ok(lines.into_iter().filter_map(|line| Some((line.role.id, line.role.name?))).collect())
    }

    /// The roles of those that are held, with what they imply.
    async fn with_implied(&self, roles: &[Role], held: &Roles) -> Result<Roles> {
        let rules: Vec<Inference> = self.there("/role_inferences", "role_inferences").await?;
        let mut open: Vec<&str> = roles.iter().map(|role| role.id.as_str()).collect();
        let mut found = Roles::new();
        while let Some(id) = open.pop() {
            let Some(name) = held.get(id) else { continue };
            if found.insert(id.to_owned(), name.clone()).is_none() {
                let implied = rules.iter().filter(|rule| rule.prior_role.id == id).flat_map(|rule| &rule.implies);
                open.extend(implied.map(|role| role.id.as_str()));
            }
        }
        Ok(found)
    }

    /// What a key may do that was made with an application credential of the user for the project: as much as that. A
    /// signature says nothing of services and paths that access rules could be held against.
    async fn of_application_credential(
        &self,
        id: &str,
        user: &User,
        project: &Project,
        held: Roles,
    ) -> Result<(Roles, u64)> {
        let path = format!("/users/{}/application_credentials/{}", part(&user.id), part(id));
        let credential: ApplicationCredential = self.there(&path, "application_credential").await?;
        let is_own = credential.user_id.is_none_or(|id| id == user.id) && credential.project_id == project.id;
        if !is_own || credential.access_rules.is_some_and(|rules| !rules.is_null()) {
            return Err(IdentityError::NotValid);
        }
        Ok((self.with_implied(&credential.roles, &held).await?, end(credential.expires_at.as_deref())?))
    }

    /// What a key may do that was made with a trust of the user for the project: as much as that lends, while all of
    /// it is still the trustor's, and what the trust was passed on from is there.
    async fn of_trust(&self, id: &str, user: &User, project: &Project, held: Roles) -> Result<(Roles, u64)> {
        let trust = self.trust(id).await?;
        let is_own = trust.trustor_user_id == user.id && trust.project_id.as_ref() == Some(&project.id);
        if !is_own || trust.roles.iter().any(|role| !held.contains_key(&role.id)) {
            return Err(IdentityError::NotValid);
        }
        self.enabled_user(&trust.trustee_user_id).await?;
        let mut seen = BTreeSet::new();
        let mut above = trust.redelegated_trust_id.clone();
        while let Some(id) = above {
            above = self.trust(&id).await?.redelegated_trust_id;
            if !seen.insert(id) || seen.len() > REDELEGATIONS_MAX + 1 {
                return Err(IdentityError::NotValid);
            }
        }
        Ok((self.with_implied(&trust.roles, &held).await?, end(trust.expires_at.as_deref())?))
    }

    async fn trust(&self, id: &str) -> Result<Trust> {
        self.there(&format!("/OS-TRUST/trusts/{}", part(id)), "trust").await
    }
}

/// Seconds since 1970. A time that can't be read has passed.
fn end(text: Option<&str>) -> Result<u64> {
    text.map_or(Ok(u64::MAX), |text| seconds(text).ok_or(IdentityError::NotValid))
}

/// The key in a credential, if it is one.
fn blob(credential: &Credential) -> Option<Blob> {
    if !credential.kind.eq_ignore_ascii_case(EC2) {
        return None;
    }
    match &credential.blob {
        Value::String(text) => serde_json::from_str(text).ok(),
        object => Blob::deserialize(object).ok(),
    }
}
