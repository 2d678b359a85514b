//! A token as Keystone shows it.

use serde_json::{Value, json};

use super::{Authority, catalog};
use crate::directory::View;
use crate::model::Domain;
use crate::time::{iso, iso_z};

/// `{"token":{…}}`. Unscoped tokens have neither roles nor catalog.
pub(crate) fn token_view(view: &View, authority: &Authority, with_catalog: bool) -> Value {
    let payload = &authority.payload;
    let mut token = json!({
        "methods": payload.methods.iter().map(|method| method.word()).collect::<Vec<_>>(),
        "user": {
            "id": authority.user.id,
            "name": authority.user.name,
            "domain": domain_view(&authority.user_domain),
            "password_expires_at": crate::compliance::expires_at_us(&authority.user).map(iso),
        },
        "audit_ids": payload.audit_ids,
        "expires_at": iso_z(payload.expires_at_us),
        "issued_at": iso_z(authority.issued_at_us),
    });
    let mut is_scoped = true;
    if let Some((project, domain)) = &authority.project {
        // One that acts as a domain is in none. Clients look into the object, and find nothing there.
        let of = if project.is_domain() { json!({"id": null, "name": null}) } else { domain_view(domain) };
        token["project"] = json!({"id": project.id, "name": project.name, "domain": of});
        token["is_domain"] = project.is_domain().into();
    } else if let Some(domain) = &authority.domain {
        token["domain"] = domain_view(domain);
    } else if authority.caller.system {
        token["system"] = json!({"all": true});
    } else {
        is_scoped = false;
    }
    if is_scoped {
        token["roles"] = authority.roles.iter().map(|role| json!({"id": role.id, "name": role.name})).collect();
        if with_catalog {
            token["catalog"] = catalog(view, authority);
        }
    }
    if let Some(credential) = &authority.application_credential {
        token["application_credential"] = json!({
            "id": credential.id,
            "name": credential.name,
            "restricted": !credential.unrestricted,
            "expires_at": credential.expires_at_us.map(iso),
        });
    }
    if let Some(rules) = &authority.caller.access_rules {
        let rules = rules.iter().map(|it| json!({"service": it.service, "method": it.method, "path": it.path}));
        token["application_credential"]["access_rules"] = rules.collect();
    }
    if let Some(trust) = &authority.trust {
        token["OS-TRUST:trust"] = json!({
            "id": trust.id,
            "impersonation": trust.impersonation,
            "trustor_user": {"id": trust.trustor_user_id},
            "trustee_user": {"id": trust.trustee_user_id},
        });
    }
    json!({ "token": token })
}

fn domain_view(domain: &Domain) -> Value {
    json!({"id": domain.id, "name": domain.name})
}
