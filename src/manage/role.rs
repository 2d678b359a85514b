//! `anello role`.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Server;
use super::client::{Client, ManageError, id};
use super::user::DomainArgs;
use crate::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum RoleCommand {
    /// Show the roles that there are
    List(RoleListArgs),
    /// Give a user a role on a project
    Add(GrantArgs),
    /// Take a role on a project from a user
    Remove(GrantArgs),
    /// Show who holds which role where, with what groups, inheritance and implied roles give
    Holders(RoleListArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RoleListArgs {
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct GrantArgs {
    /// Name or id of the role
    role: String,
    /// User, by name or id
    #[arg(long)]
    user: String,
    /// Project, by name or id
    #[arg(long)]
    project: String,
    #[command(flatten)]
    domain: DomainArgs,
}

/// Runs a command.
pub(super) fn run(command: &RoleCommand) -> Outcome {
    match command {
        RoleCommand::List(args) => {
            let roles = Client::new(&args.server)?.list("roles", &[])?;
            args.server.show(&roles, &["id", "name", "description"]);
        }
        RoleCommand::Add(args) => args.change("PUT")?,
        RoleCommand::Remove(args) => args.change("DELETE")?,
        RoleCommand::Holders(args) => {
            let path = "/identity/v3/role_assignments?effective&include_names";
            let found = Client::new(&args.server)?.call("GET", path, None)?;
            let lines: Vec<Value> = found["role_assignments"].as_array().into_iter().flatten().map(line).collect();
            args.server.show(&lines, &["user", "role", "on", "name"]);
        }
    }
    Ok(())
}

fn line(assignment: &Value) -> Value {
    let scope = &assignment["scope"];
    let named = ["project", "domain"].into_iter().find(|kind| scope[*kind].is_object());
    let (on, name) = named.map_or(("system", Value::Null), |kind| (kind, scope[kind]["name"].clone()));
    json!({"user": assignment["user"]["name"], "role": assignment["role"]["name"], "on": on, "name": name})
}

impl GrantArgs {
    fn change(&self, method: &str) -> Result<(), ManageError> {
        let client = Client::new(&self.domain.server)?;
        let domain_id = client.domain_id(&self.domain.domain)?;
        let user_id = client.id_of("user", &self.user, &domain_id)?;
        let project_id = client.id_of("project", &self.project, &domain_id)?;
        grant(&client, method, &project_id, &user_id, &self.role)
    }
}

/// Gives (`PUT`) or takes (`DELETE`) a role.
pub(super) fn grant(
    client: &Client,
    method: &str,
    project_id: &str,
    user_id: &str,
    role: &str,
) -> Result<(), ManageError> {
    let role_id = id(&client.find("role", role, &[])?);
    let path = format!("/identity/v3/projects/{project_id}/users/{user_id}/roles/{role_id}");
    client.call(method, &path, None).map(|_| ())
}
