//! Who may do what in identity: upstream's rules by upstream's names. What is not in this table is denied.
//!
//! Shapes of the rules: reads are for admins, readers of the system, readers of the domain that the thing is in,
//! and mostly whoever it belongs to; writes are for admins, and for managers inside their domain. An admin of any
//! project is an admin of the cloud, as everywhere in OpenStack.

use anello_api::rest::Check::{self, All, Any, Authenticated, Public, Role, Same, System, TargetIn};
use anello_api::rest::{Aliases, Policy, Rule};

use crate::error::{Error, Result};

const ADMIN: Check = Role("admin");
const SYSTEM_READER: Check = All(&[Role("reader"), System]);
const ADMIN_OR_SYSTEM_READER: Check = Any(&[ADMIN, SYSTEM_READER]);

/// Of the thing's own domain, which handlers give as `domain_id`.
const DOMAIN_READER: Check = All(&[Role("reader"), Same("domain_id", "domain_id")]);
const DOMAIN_MANAGER: Check = All(&[Role("manager"), Same("domain_id", "domain_id")]);
const READERS: Check = Any(&[ADMIN, SYSTEM_READER, DOMAIN_READER]);
const MANAGERS: Check = Any(&[ADMIN, DOMAIN_MANAGER]);

/// Whoever it belongs to, which handlers give as `user_id`.
const OWNER: Check = Same("user_id", "user_id");
const READERS_OR_OWNER: Check = Any(&[ADMIN, SYSTEM_READER, DOMAIN_READER, OWNER]);
const ADMIN_OR_OWNER: Check = Any(&[ADMIN, OWNER]);
const ADMIN_SYSTEM_READER_OR_OWNER: Check = Any(&[ADMIN, SYSTEM_READER, OWNER]);
const SERVICE_OR_ADMIN: Check = Any(&[ADMIN, Role("service")]);

/// A project's members see it; a domain's scope sees all in it.
const PROJECT_READERS: Check = Any(&[ADMIN, SYSTEM_READER, DOMAIN_READER, Same("project_id", "project_id")]);
const DOMAIN_SEEN: Check =
    Any(&[ADMIN, SYSTEM_READER, Same("domain_id", "domain_id"), Same("project_domain_id", "domain_id")]);

/// A domain's manager grants, inside the domain, what is not above him. Handlers give the domains of actor and
/// scope, and the role's name.
const GRANTERS: Check = Any(&[
    ADMIN,
    All(&[
        Role("manager"),
        Same("domain_id", "actor_domain_id"),
        Same("domain_id", "domain_id"),
        TargetIn("role_name", &["manager", "member", "reader"]),
    ]),
]);
const GRANT_READERS: Check = Any(&[
    ADMIN,
    SYSTEM_READER,
    All(&[Role("reader"), Same("domain_id", "actor_domain_id"), Same("domain_id", "domain_id")]),
]);
const ROLE_READERS: Check =
    Any(&[ADMIN, SYSTEM_READER, All(&[Role("manager"), Same("domain_id", "caller_domain_id")])]);

const fn rule(name: &'static str, check: Check) -> Rule {
    Rule { name, check }
}

/// The two ends of a trust, which handlers give as `trustor_user_id` and `trustee_user_id`.
const TRUSTOR: Check = Same("user_id", "trustor_user_id");
const TRUSTEE: Check = Same("user_id", "trustee_user_id");

/// A limit is seen in its project, and in its domain.
const LIMIT_READERS: Check =
    Any(&[ADMIN, SYSTEM_READER, Same("project_id", "project_id"), Same("domain_id", "domain_id")]);

/// Every rule.
pub const RULES: &[Rule] = &[
    // Upstream's building blocks, which an operator's file may name.
    rule("admin_required", ADMIN),
    rule("service_role", Role("service")),
    rule("service_or_admin", SERVICE_OR_ADMIN),
    rule("owner", OWNER),
    rule("admin_or_owner", ADMIN_OR_OWNER),
    rule("admin_and_matching_domain_id", All(&[ADMIN, Same("domain_id", "domain_id")])),
    rule("identity:versions", Public),
    rule("identity:authenticate", Public),
    rule("identity:get_auth_catalog", Authenticated),
    rule("identity:get_auth_projects", Authenticated),
    rule("identity:get_auth_domains", Authenticated),
    rule("identity:get_auth_system", Authenticated),
    rule("identity:validate_token", Any(&[ADMIN, Role("service"), SYSTEM_READER, OWNER])),
    rule("identity:revoke_token", ADMIN_OR_OWNER),
    rule("identity:ec2tokens_validate", SERVICE_OR_ADMIN),
    rule("identity:s3tokens_validate", SERVICE_OR_ADMIN),
    rule("identity:list_domains", READERS),
    rule("identity:get_domain", DOMAIN_SEEN),
    rule("identity:create_domain", ADMIN),
    rule("identity:update_domain", ADMIN),
    rule("identity:delete_domain", ADMIN),
    rule("identity:list_projects", READERS),
    rule("identity:get_project", PROJECT_READERS),
    rule("identity:create_project", MANAGERS),
    rule("identity:update_project", MANAGERS),
    rule("identity:delete_project", MANAGERS),
    rule("identity:list_project_tags", PROJECT_READERS),
    rule("identity:get_project_tag", PROJECT_READERS),
    rule("identity:update_project_tags", MANAGERS),
    rule("identity:create_project_tag", MANAGERS),
    rule("identity:delete_project_tag", MANAGERS),
    rule("identity:delete_project_tags", MANAGERS),
    rule("identity:list_users", READERS),
    rule("identity:get_user", READERS_OR_OWNER),
    rule("identity:create_user", MANAGERS),
    rule("identity:update_user", MANAGERS),
    rule("identity:delete_user", MANAGERS),
    // The password itself is asked for, and is proof enough.
    rule("identity:change_password", Public),
    rule("identity:list_user_projects", READERS_OR_OWNER),
    rule("identity:list_groups_for_user", READERS_OR_OWNER),
    rule("identity:list_groups", READERS),
    rule("identity:get_group", READERS),
    rule("identity:create_group", MANAGERS),
    rule("identity:update_group", MANAGERS),
    rule("identity:delete_group", MANAGERS),
    rule("identity:list_users_in_group", READERS),
    rule("identity:check_user_in_group", GRANT_READERS),
    rule("identity:add_user_to_group", MANAGERS_OF_BOTH),
    rule("identity:remove_user_from_group", MANAGERS_OF_BOTH),
    rule("identity:list_roles", ROLE_READERS),
    rule("identity:get_role", ROLE_READERS),
    rule("identity:create_role", ADMIN),
    rule("identity:update_role", ADMIN),
    rule("identity:delete_role", ADMIN),
    rule("identity:list_implied_roles", ADMIN_OR_SYSTEM_READER),
    rule("identity:get_implied_role", ADMIN_OR_SYSTEM_READER),
    rule("identity:check_implied_role", ADMIN_OR_SYSTEM_READER),
    rule("identity:create_implied_role", ADMIN),
    rule("identity:delete_implied_role", ADMIN),
    rule("identity:list_role_inference_rules", ADMIN_OR_SYSTEM_READER),
    rule("identity:list_role_assignments", READERS),
    rule("identity:list_grants", GRANT_READERS),
    rule("identity:check_grant", GRANT_READERS),
    rule("identity:create_grant", GRANTERS),
    rule("identity:revoke_grant", GRANTERS),
    rule("identity:list_system_grants_for_user", ADMIN_OR_SYSTEM_READER),
    rule("identity:check_system_grant_for_user", ADMIN_OR_SYSTEM_READER),
    rule("identity:create_system_grant_for_user", ADMIN),
    rule("identity:revoke_system_grant_for_user", ADMIN),
    rule("identity:list_services", ADMIN_OR_SYSTEM_READER),
    rule("identity:get_service", ADMIN_OR_SYSTEM_READER),
    rule("identity:create_service", ADMIN),
    rule("identity:update_service", ADMIN),
    rule("identity:delete_service", ADMIN),
    rule("identity:list_endpoints", ADMIN_OR_SYSTEM_READER),
    rule("identity:get_endpoint", ADMIN_OR_SYSTEM_READER),
    rule("identity:create_endpoint", ADMIN),
    rule("identity:update_endpoint", ADMIN),
    rule("identity:delete_endpoint", ADMIN),
    rule("identity:list_regions", Authenticated),
    rule("identity:get_region", Authenticated),
    rule("identity:create_region", ADMIN),
    rule("identity:update_region", ADMIN),
    rule("identity:delete_region", ADMIN),
    rule("identity:list_credentials", ADMIN_SYSTEM_READER_OR_OWNER),
    rule("identity:get_credential", ADMIN_SYSTEM_READER_OR_OWNER),
    rule("identity:create_credential", ADMIN_OR_OWNER),
    rule("identity:update_credential", ADMIN_OR_OWNER),
    rule("identity:delete_credential", ADMIN_OR_OWNER),
    rule("identity:ec2_list_credentials", ADMIN_SYSTEM_READER_OR_OWNER),
    rule("identity:ec2_get_credential", ADMIN_SYSTEM_READER_OR_OWNER),
    rule("identity:ec2_create_credential", ADMIN_OR_OWNER),
    rule("identity:ec2_delete_credential", ADMIN_OR_OWNER),
    rule("identity:list_application_credentials", ADMIN_SYSTEM_READER_OR_OWNER),
    rule("identity:get_application_credential", ADMIN_SYSTEM_READER_OR_OWNER),
    rule("identity:create_application_credential", OWNER),
    rule("identity:delete_application_credential", ADMIN_OR_OWNER),
    rule("identity:create_domain_config", ADMIN),
    rule("identity:get_domain_config", ADMIN_OR_SYSTEM_READER),
    rule("identity:get_domain_config_default", ADMIN_OR_SYSTEM_READER),
    // What a new password must be like is to be known to whoever chooses one.
    rule("identity:get_security_compliance_domain_config", Authenticated),
    rule("identity:update_domain_config", ADMIN),
    rule("identity:delete_domain_config", ADMIN),
    rule("identity:list_access_rules", ADMIN_SYSTEM_READER_OR_OWNER),
    rule("identity:get_access_rule", ADMIN_SYSTEM_READER_OR_OWNER),
    rule("identity:delete_access_rule", ADMIN_OR_OWNER),
    rule("identity:list_trusts", Any(&[ADMIN, SYSTEM_READER, TRUSTOR, TRUSTEE])),
    rule("identity:create_trust", TRUSTOR),
    rule("identity:get_trust", Any(&[ADMIN, SYSTEM_READER, TRUSTOR, TRUSTEE])),
    rule("identity:delete_trust", Any(&[ADMIN, TRUSTOR])),
    rule("identity:list_roles_for_trust", Any(&[ADMIN, SYSTEM_READER, TRUSTOR, TRUSTEE])),
    rule("identity:get_role_for_trust", Any(&[ADMIN, SYSTEM_READER, TRUSTOR, TRUSTEE])),
    rule("identity:list_registered_limits", Authenticated),
    rule("identity:get_registered_limit", Authenticated),
    rule("identity:create_registered_limits", ADMIN),
    rule("identity:update_registered_limit", ADMIN),
    rule("identity:delete_registered_limit", ADMIN),
    rule("identity:get_limit_model", Authenticated),
    // Each sees those that `get_limit` shows him.
    rule("identity:list_limits", Authenticated),
    rule("identity:get_limit", LIMIT_READERS),
    rule("identity:create_limits", ADMIN),
    rule("identity:update_limit", ADMIN),
    rule("identity:delete_limit", ADMIN),
    rule("identity:list_policies", ADMIN_OR_SYSTEM_READER),
    rule("identity:get_policy", ADMIN_OR_SYSTEM_READER),
    rule("identity:create_policy", ADMIN),
    rule("identity:update_policy", ADMIN),
    rule("identity:delete_policy", ADMIN),
    rule("identity:create_policy_association_for_endpoint", ADMIN),
    rule("identity:check_policy_association_for_endpoint", ADMIN_OR_SYSTEM_READER),
    rule("identity:delete_policy_association_for_endpoint", ADMIN),
    rule("identity:create_policy_association_for_service", ADMIN),
    rule("identity:check_policy_association_for_service", ADMIN_OR_SYSTEM_READER),
    rule("identity:delete_policy_association_for_service", ADMIN),
    rule("identity:create_policy_association_for_region_and_service", ADMIN),
    rule("identity:check_policy_association_for_region_and_service", ADMIN_OR_SYSTEM_READER),
    rule("identity:delete_policy_association_for_region_and_service", ADMIN),
    rule("identity:get_policy_for_endpoint", ADMIN_OR_SYSTEM_READER),
    rule("identity:list_endpoints_for_policy", ADMIN_OR_SYSTEM_READER),
    rule("identity:list_endpoint_groups", ADMIN_OR_SYSTEM_READER),
    rule("identity:get_endpoint_group", ADMIN_OR_SYSTEM_READER),
    rule("identity:create_endpoint_group", ADMIN),
    rule("identity:update_endpoint_group", ADMIN),
    rule("identity:delete_endpoint_group", ADMIN),
    rule("identity:list_endpoints_associated_with_endpoint_group", ADMIN_OR_SYSTEM_READER),
    rule("identity:list_projects_associated_with_endpoint_group", ADMIN_OR_SYSTEM_READER),
    rule("identity:get_endpoint_group_in_project", ADMIN_OR_SYSTEM_READER),
    rule("identity:list_endpoint_groups_for_project", ADMIN_OR_SYSTEM_READER),
    rule("identity:add_endpoint_group_to_project", ADMIN),
    rule("identity:remove_endpoint_group_from_project", ADMIN),
    rule("identity:list_projects_for_endpoint", ADMIN_OR_SYSTEM_READER),
    rule("identity:add_endpoint_to_project", ADMIN),
    rule("identity:check_endpoint_in_project", ADMIN_OR_SYSTEM_READER),
    rule("identity:list_endpoints_for_project", ADMIN_OR_SYSTEM_READER),
    rule("identity:remove_endpoint_from_project", ADMIN),
    rule("identity:list_revoke_events", SERVICE_OR_ADMIN),
    // What is not offered is told to whoever is known, and does nothing.
    rule("identity:not_offered", Authenticated),
];

const MANAGERS_OF_BOTH: Check =
    Any(&[ADMIN, All(&[Role("manager"), Same("domain_id", "actor_domain_id"), Same("domain_id", "domain_id")])]);

/// Upstream's names for attributes of targets, in an operator's file, by the names that handlers give.
const ALIASES: Aliases = &[
    ("target.user.id", &["user_id"]),
    ("target.user.domain_id", &["actor_domain_id", "domain_id"]),
    ("target.group.domain_id", &["actor_domain_id", "domain_id"]),
    ("target.project.id", &["project_id"]),
    ("target.project.domain_id", &["domain_id"]),
    ("target.domain.id", &["domain_id"]),
    ("target.domain_id", &["domain_id"]),
    ("target.role.name", &["role_name"]),
    ("target.token.user_id", &["user_id"]),
    ("target.credential.user_id", &["user_id"]),
    ("target.limit.project_id", &["project_id"]),
    ("target.limit.project.domain_id", &["domain_id"]),
    ("target.limit.domain.id", &["domain_id"]),
    ("target.limit.domain_id", &["domain_id"]),
    ("target.trust.trustor_user_id", &["trustor_user_id"]),
    ("target.trust.trustee_user_id", &["trustee_user_id"]),
];

/// The rules, with an operator's over them.
pub(crate) fn with_overrides(yaml: Option<&str>) -> Result<Policy> {
    let policy = Policy::new(RULES).with_aliases(ALIASES);
    match yaml {
        None => Ok(policy),
        Some(yaml) => policy.with_overrides(yaml, "identity:").map_err(|error| Error::Invalid(error.to_string())),
    }
}
