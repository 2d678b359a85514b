//! `anello key`: access keys for S3.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, ManageError, id};
use super::user::DomainArgs;
use super::{role, user};
use crate::{Outcome, terminal};

/// The role that a user who is made here gets on the project that is made here: he may use its account.
const ROLE: &str = "member";

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make an access key, and show it as variables for a shell
    Create(CreateArgs),
    /// Show a user's access keys, without the secrets
    List(UserArgs),
    /// Delete an access key; requests signed with it are refused from then on
    Delete(DeleteArgs),
}

#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    /// User, by name or id
    #[arg(long)]
    user: String,
    #[command(flatten)]
    domain: DomainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    user: UserArgs,
    /// Project whose buckets the key is for, by name or id; may be left out where the user has a role on one only
    #[arg(long)]
    project: Option<String>,
    /// Make the user and the project where they are missing, and let the user use the project
    #[arg(long, requires = "project")]
    create: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The access key
    access: String,
    #[command(flatten)]
    user: UserArgs,
}

/// Runs a command.
pub(super) fn run(command: &KeyCommand) -> Outcome {
    match command {
        KeyCommand::Create(args) => create(args),
        KeyCommand::List(args) => {
            let (client, user_id) = args.found()?;
            let found = client.call("GET", &format!("/identity/v3/users/{user_id}/credentials/OS-EC2"), None)?;
            let keys = found["credentials"].as_array().cloned().unwrap_or_default();
            let public = |mut key: Value| {
                key.as_object_mut().map(|key| key.remove("secret"));
                key
            };
            let keys: Vec<Value> = keys.into_iter().map(public).collect();
            args.domain.server.show(&keys, &["access", "tenant_id"]);
            Ok(())
        }
        KeyCommand::Delete(args) => {
            let (client, user_id) = args.user.found()?;
            let path = format!("/identity/v3/users/{user_id}/credentials/OS-EC2/{}", args.access);
            client.call("DELETE", &path, None)?;
            Ok(())
        }
    }
}

impl UserArgs {
    fn found(&self) -> Result<(Client, String), ManageError> {
        let client = Client::new(&self.domain.server)?;
        let domain_id = client.domain_id(&self.domain.domain)?;
        let user_id = client.id_of("user", &self.user, &domain_id)?;
        Ok((client, user_id))
    }
}

/// The project that the key is for.
fn project_id(client: &Client, args: &CreateArgs, user_id: &str, domain_id: &str) -> Result<String, ManageError> {
    if let Some(project) = &args.project {
        return client.id_of("project", project, domain_id);
    }
    let found = client.call("GET", &format!("/identity/v3/users/{user_id}/projects"), None)?;
    match found["projects"].as_array().map(Vec::as_slice) {
        Some([only]) => Ok(id(only)),
        _ => Err(ManageError::Usage("the user has no role on a project, or on several: give --project".to_owned())),
    }
}

/// Makes what is missing; the password of a user who was made.
fn ensure(client: &Client, args: &CreateArgs, domain_id: &str) -> Result<Option<String>, ManageError> {
    let Some(project) = &args.project else { return Ok(None) };
    let (user_id, password) = user::ensure(client, &args.user.user, domain_id)?;
    let project_id = match client.look("project", project, &[("domain_id", domain_id)])? {
        Some(project) => id(&project),
        None => id(&client.create("project", json!({"name": project, "domain_id": domain_id}))?),
    };
    role::grant(client, "PUT", &project_id, &user_id, ROLE)?;
    Ok(password)
}

fn create(args: &CreateArgs) -> Outcome {
    let server = &args.user.domain.server;
    let client = Client::new(server)?;
    let domain_id = client.domain_id(&args.user.domain.domain)?;
    let password = if args.create { ensure(&client, args, &domain_id)? } else { None };
    let user_id = client.id_of("user", &args.user.user, &domain_id)?;
    let project_id = project_id(&client, args, &user_id, &domain_id)?;
    let path = format!("/identity/v3/users/{user_id}/credentials/OS-EC2");
    let made = client.call("POST", &path, Some(&json!({"tenant_id": project_id})))?;
    let mut key = made["credential"].clone();
    if server.json {
        if let Some(password) = password {
            key["password"] = password.into();
        }
        terminal::say(format_args!("{key:#}"));
        return Ok(());
    }
    let part = |name: &str| key[name].as_str().unwrap_or_default().to_owned();
    if let Some(password) = password {
        terminal::say(format_args!("# user {} was made with the password {password}", args.user.user));
    }
    terminal::say(format_args!("export AWS_ACCESS_KEY_ID='{}'", part("access")));
    terminal::say(format_args!("export AWS_SECRET_ACCESS_KEY='{}'", part("secret")));
    Ok(())
}
