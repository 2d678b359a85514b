//! `anello user`.

use std::io::Read;

use clap::{Args, Subcommand};
use rand::RngExt;
use serde_json::json;

use super::Server;
use super::client::{Client, ManageError, id};
use crate::{Outcome, terminal};

/// Characters of a password that is made here: 24 letters and digits are 142 bits.
const PASSWORD_CHARACTERS: usize = 24;

/// A password from standard input; longer ones are refused by the server anyway.
const PASSWORD_BYTES_MAX: u64 = 16 * 1024;

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Show users
    List(DomainArgs),
    /// Make a user; shows the password that was made for him
    Create(UserArgs),
    /// Give a user another password; shows it where it was made here
    SetPassword(UserArgs),
    /// Let a disabled user log in again
    Enable(NameArgs),
    /// Let a user not log in any more, and end his tokens
    Disable(NameArgs),
    /// Delete a user with his roles and keys
    Delete(NameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DomainArgs {
    /// Domain, by name or id
    #[arg(long, default_value = "Default")]
    pub(super) domain: String,
    #[command(flatten)]
    pub(super) server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Name or id
    pub(super) name: String,
    #[command(flatten)]
    pub(super) domain: DomainArgs,
}

#[derive(Debug, Args)]
pub(crate) struct UserArgs {
    #[command(flatten)]
    user: NameArgs,
    /// Read the password from standard input instead of making one (the command line is seen by others)
    #[arg(long)]
    password_stdin: bool,
}

/// Runs a command.
pub(super) fn run(command: &UserCommand) -> Outcome {
    match command {
        UserCommand::List(args) => {
            let client = Client::new(&args.server)?;
            let domain_id = client.domain_id(&args.domain)?;
            args.server.show(&client.list("users", &[("domain_id", &domain_id)])?, &["id", "name", "enabled"]);
            Ok(())
        }
        UserCommand::Create(args) => create(args),
        UserCommand::SetPassword(args) => set_password(args),
        UserCommand::Enable(args) => enable(args, true),
        UserCommand::Disable(args) => enable(args, false),
        UserCommand::Delete(args) => {
            let client = Client::new(&args.domain.server)?;
            let path = args.path(&client)?;
            client.call("DELETE", &path, None)?;
            Ok(())
        }
    }
}

impl NameArgs {
    fn path(&self, client: &Client) -> Result<String, ManageError> {
        let domain_id = client.domain_id(&self.domain.domain)?;
        Ok(format!("/identity/v3/users/{}", client.id_of("user", &self.name, &domain_id)?))
    }
}

impl UserArgs {
    /// The password, and whether it was made here.
    fn password(&self) -> Result<(String, bool), ManageError> {
        if !self.password_stdin {
            return Ok((generated(), true));
        }
        let mut text = String::new();
        let read = std::io::stdin().lock().take(PASSWORD_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| ManageError::Usage(format!("the password cannot be read: {error}")))?;
        Ok((text.trim_end_matches(['\r', '\n']).to_owned(), false))
    }
}

/// A password that nobody guesses.
pub(super) fn generated() -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(PASSWORD_CHARACTERS).map(char::from).collect()
}

fn create(args: &UserArgs) -> Outcome {
    let server = &args.user.domain.server;
    let client = Client::new(server)?;
    let domain_id = client.domain_id(&args.user.domain.domain)?;
    let (password, is_made) = args.password()?;
    let fields = json!({"name": args.user.name, "domain_id": domain_id, "password": password});
    let mut user = client.create("user", fields)?;
    if is_made {
        user["password"] = password.into();
    }
    server.show(&[user], if is_made { &["id", "name", "password"] } else { &["id", "name"] });
    Ok(())
}

fn set_password(args: &UserArgs) -> Outcome {
    let client = Client::new(&args.user.domain.server)?;
    let path = args.user.path(&client)?;
    let (password, is_made) = args.password()?;
    client.call("PATCH", &path, Some(&json!({"user": {"password": password}})))?;
    if is_made {
        terminal::say(password);
    }
    Ok(())
}

fn enable(args: &NameArgs, enabled: bool) -> Outcome {
    let client = Client::new(&args.domain.server)?;
    let path = args.path(&client)?;
    client.call("PATCH", &path, Some(&json!({"user": {"enabled": enabled}})))?;
    Ok(())
}

/// The user of a name, who is made where he is missing; with his password where he was made now.
pub(super) fn ensure(client: &Client, name: &str, domain_id: &str) -> Result<(String, Option<String>), ManageError> {
    if let Some(user) = client.look("user", name, &[("domain_id", domain_id)])? {
        return Ok((id(&user), None));
    }
    let password = generated();
    let user = client.create("user", json!({"name": name, "domain_id": domain_id, "password": password}))?;
    Ok((id(&user), Some(password)))
}
