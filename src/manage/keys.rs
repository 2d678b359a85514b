//! `anello identity`: the keys that tokens are made with, and where the records are.

use clap::{Args, Subcommand};
use serde_json::json;

use super::Server;
use super::client::Client;
use crate::{Outcome, terminal};

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Move the keys of tokens on by one. Tokens stay valid through the next rotation, so rotate no more often than
    /// tokens live (an hour)
    RotateKeys(RotateArgs),
    /// Copy all records to another back end. From then on nothing can be changed until the server is started with it
    /// (`identity.database` in the configuration file)
    Migrate(MigrateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Where to: `objects`, or the address of a database. `-` reads it from standard input, since it may bear a password
    to: String,
    #[command(flatten)]
    server: Server,
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    server: Server,
}

/// Runs a command.
pub(super) fn run(command: &IdentityCommand) -> Outcome {
    match command {
        IdentityCommand::RotateKeys(args) => {
            Client::new(&args.server)?.call("POST", "/identity-keys/rotate", None)?;
        }
        IdentityCommand::Migrate(args) => {
            let mut to = args.to.clone();
            if to == "-" {
                to.clear();
                std::io::stdin().read_line(&mut to)?;
            }
            let body = json!({"to": to.trim()});
            let done = Client::new(&args.server)?.call("POST", "/identity-records/migrate", Some(&body))?;
            terminal::say(format_args!(
                "{} records were copied; start the server with the other back end",
                done["records"]
            ));
        }
    }
    Ok(())
}
