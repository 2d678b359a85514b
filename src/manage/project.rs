//! `anello project`.

use clap::{Args, Subcommand};
use serde_json::json;

use super::client::Client;
use super::user::{DomainArgs, NameArgs};
use crate::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum ProjectCommand {
    /// Show projects
    List(DomainArgs),
    /// Make a project
    Create(ProjectArgs),
    /// Delete a project with the roles and keys on it; what is stored in it stays until its account is deleted
    Delete(NameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ProjectArgs {
    #[command(flatten)]
    project: NameArgs,
    /// For people
    #[arg(long, default_value = "")]
    description: String,
}

/// Runs a command.
pub(super) fn run(command: &ProjectCommand) -> Outcome {
    match command {
        ProjectCommand::List(args) => {
            let client = Client::new(&args.server)?;
            let domain_id = client.domain_id(&args.domain)?;
            let projects = client.list("projects", &[("domain_id", &domain_id)])?;
            args.server.show(&projects, &["id", "name", "enabled", "description"]);
        }
        ProjectCommand::Create(args) => {
            let domain = &args.project.domain;
            let client = Client::new(&domain.server)?;
            let domain_id = client.domain_id(&domain.domain)?;
            let fields = json!({"name": args.project.name, "domain_id": domain_id, "description": args.description});
            domain.server.show(&[client.create("project", fields)?], &["id", "name"]);
        }
        ProjectCommand::Delete(args) => {
            let client = Client::new(&args.domain.server)?;
            let domain_id = client.domain_id(&args.domain.domain)?;
            let id = client.id_of("project", &args.name, &domain_id)?;
            client.call("DELETE", &format!("/identity/v3/projects/{id}"), None)?;
        }
    }
    Ok(())
}
