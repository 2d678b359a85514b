//! The body of `POST /v3/auth/tokens`, parsed.

use std::net::IpAddr;

use anello_api::rest::{Fault, Fields};
use serde_json::Value;

use crate::limits::{ID_CHARS_MAX, NAME_CHARS_MAX, PASSCODE_CHARS_MAX, PASSWORD_CHARS_MAX};

/// A thing named by its id, or by name and domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Id(String),
    Name { name: String, domain: Domainly },
}

/// A domain named by its id or its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Domainly {
    Id(String),
    Name(String),
}

/// How the client shows who he is. No `Debug`: it carries secrets.
pub(crate) enum Proof {
    Password { user: Named, password: String },
    Token(String),
    ApplicationCredential { credential: CredentialNamed, secret: String },
    Totp { user: Named, passcode: String },
}

impl Proof {
    /// Whom the proof names, in a form that is the same for the same words. Nothing where it needs no guessing.
    pub(crate) fn names(&self) -> Option<String> {
        let named = |user: &Named| match user {
            Named::Id(id) => format!("user {id}"),
            Named::Name { name, domain } => format!("user {name} of {domain:?}"),
        };
        match self {
            Self::Password { user, .. } | Self::Totp { user, .. } => Some(named(user)),
            Self::Token(_) => None,
            Self::ApplicationCredential { credential: CredentialNamed::Id(id), .. } => Some(format!("credential {id}")),
            Self::ApplicationCredential { credential: CredentialNamed::Name { name, user }, .. } => {
                Some(format!("credential {name} of {}", named(user)))
            }
        }
    }
}

/// An application credential named by its id, or by its name and its owner.
pub(crate) enum CredentialNamed {
    Id(String),
    Name { name: String, user: Named },
}

/// What the token is to be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ScopeWanted {
    /// Nothing was said: the user's default project, or nothing.
    Default,
    Unscoped,
    Project(Named),
    Domain(Domainly),
    System,
    Trust(String),
}

/// A log-in.
pub(crate) struct LoginRequest {
    pub(crate) proofs: Vec<Proof>,
    pub(crate) scope: ScopeWanted,
    /// What was given before, from the header `Openstack-Auth-Receipt`.
    pub(crate) receipt: Option<String>,
    /// Where it comes from, as far as that is known.
    pub(crate) peer: Option<IpAddr>,
}

impl LoginRequest {
    /// From the body; 400 where it is malformed, 401 where it asks for a method that is not offered.
    pub(crate) fn parse(body: Value) -> Result<Self, Fault> {
        let mut auth = Fields::of(body, "auth")?;
        let scope = scope(auth.value("scope"))?;
        let identity = auth.value("identity").ok_or_else(|| auth.wrong("identity", "is required"))?;
        let mut identity = Fields::bare(identity, "auth.identity")?;
        let methods = identity.list("methods")?.filter(|methods| !methods.is_empty());
        let methods = methods.ok_or_else(|| identity.wrong("methods", "is required and not empty"))?;
        let mut proofs = Vec::new();
        let mut seen = Vec::new();
        for method in methods {
            let name = method.as_str().ok_or_else(|| identity.wrong("methods", "holds what is no string"))?;
            // A method that stands twice is asked once.
            if seen.iter().any(|known| known == name) {
                continue;
            }
            proofs.push(proof(name, &mut identity)?);
            seen.push(name.to_owned());
        }
        Ok(Self { proofs, scope, receipt: None, peer: None })
    }
}

fn proof(method: &str, identity: &mut Fields) -> Result<Proof, Fault> {
    let mut body = |name| identity.value(name).ok_or_else(|| identity.wrong(name, "is required"));
    match method {
        "password" => {
            let mut fields = Fields::of(body("password")?, "user")?;
            let password = fields.text("password", PASSWORD_CHARS_MAX)?;
            let password = password.ok_or_else(|| fields.wrong("password", "is required"))?;
            Ok(Proof::Password { user: named(&mut fields)?, password })
        }
        "totp" => {
            let mut fields = Fields::of(body("totp")?, "user")?;
            let passcode = fields.required("passcode", PASSCODE_CHARS_MAX)?;
            Ok(Proof::Totp { user: named(&mut fields)?, passcode })
        }
        "token" => {
            let mut fields = Fields::bare(body("token")?, "token")?;
            Ok(Proof::Token(fields.required("id", anello_api::limits::TOKEN_BYTES_MAX)?))
        }
        "application_credential" => {
            let mut fields = Fields::bare(body("application_credential")?, "application_credential")?;
            let secret = fields.required("secret", PASSWORD_CHARS_MAX)?;
            let credential = match fields.text("id", ID_CHARS_MAX)? {
                Some(id) => CredentialNamed::Id(id),
                None => {
                    let name = fields.required("name", NAME_CHARS_MAX)?;
                    let user = fields.value("user").ok_or_else(|| fields.wrong("user", "is required with a name"))?;
                    CredentialNamed::Name { name, user: named(&mut Fields::bare(user, "user")?)? }
                }
            };
            Ok(Proof::ApplicationCredential { credential, secret })
        }
        _ => {
            Err(Fault::of(anello_base::Class::Unauthenticated, "Attempted to authenticate with an unsupported method."))
        }
    }
}

fn named(fields: &mut Fields) -> Result<Named, Fault> {
    if let Some(id) = fields.text("id", ID_CHARS_MAX)? {
        return Ok(Named::Id(id));
    }
    let name = fields.required("name", NAME_CHARS_MAX)?;
    let domain = fields.value("domain").ok_or_else(|| fields.wrong("domain", "is required with a name"))?;
    Ok(Named::Name { name, domain: domainly(domain)? })
}

fn domainly(value: Value) -> Result<Domainly, Fault> {
    let mut fields = Fields::bare(value, "domain")?;
    match fields.text("id", ID_CHARS_MAX)? {
        Some(id) => Ok(Domainly::Id(id)),
        None => Ok(Domainly::Name(fields.required("name", NAME_CHARS_MAX)?)),
    }
}

fn scope(value: Option<Value>) -> Result<ScopeWanted, Fault> {
    let Some(value) = value else { return Ok(ScopeWanted::Default) };
    if value == "unscoped" {
        return Ok(ScopeWanted::Unscoped);
    }
    let mut fields = Fields::bare(value, "scope")?;
    let mut scopes = Vec::new();
    if fields.has("unscoped") {
        scopes.push(ScopeWanted::Unscoped);
    }
    if let Some(project) = fields.value("project") {
        scopes.push(ScopeWanted::Project(named(&mut Fields::bare(project, "project")?)?));
    }
    if let Some(domain) = fields.value("domain") {
        scopes.push(ScopeWanted::Domain(domainly(domain)?));
    }
    if let Some(system) = fields.value("system") {
        if system != serde_json::json!({"all": true}) {
            return Err(fields.wrong("system", "is not {\"all\": true}"));
        }
        scopes.push(ScopeWanted::System);
    }
    if let Some(trust) = fields.value("OS-TRUST:trust") {
        let mut trust = Fields::bare(trust, "OS-TRUST:trust")?;
        scopes.push(ScopeWanted::Trust(trust.required("id", ID_CHARS_MAX)?));
    }
    match (scopes.pop(), scopes.is_empty()) {
        (Some(scope), true) => Ok(scope),
        _ => Err(Fault::invalid("The scope must name exactly one of project, domain, system, trust, or unscoped.")),
    }
}
