//! `anello identity`: the keys that tokens and the like are made with, and where the records are.

use anello_identity::KeyKind;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::Server;
use super::client::Client;
use crate::{Outcome, terminal};

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Move the keys of one kind on by one: the staged key, which every host knows already, becomes the one that is
    /// used, and the oldest is dropped
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
    /// Which keys
    #[arg(long, default_value = "token")]
    kind: Kind,
    #[command(flatten)]
    server: Server,
}

/// What keys are for.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// Tokens stay valid through the next rotation: rotate no more often than they live (an hour)
    Token,
    /// Credentials (S3 and EC2 keys, secrets of passcodes) and the secrets of domain configurations; all are sealed
    /// anew. One that was cut short is finished by the next. With several hosts, leave a minute between two
    Credential,
    /// Receipts for parts of log-ins stay valid through the next rotation: rotate no more often than they live (five
    /// minutes)
    Receipt,
}

impl From<Kind> for KeyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Token => Self::Token,
            Kind::Credential => Self::Credential,
            Kind::Receipt => Self::Receipt,
        }
    }
}

/// Runs a command.
pub(super) fn run(command: &IdentityCommand) -> Outcome {
    match command {
        IdentityCommand::RotateKeys(args) => {
            let body = json!({"kind": KeyKind::from(args.kind)});
            let done = Client::new(&args.server)?.call("POST", "/identity-keys/rotate", Some(&body))?;
            if matches!(args.kind, Kind::Credential) {
                terminal::say(format_args!("{} records were sealed anew", done["sealed_anew"]));
            }
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
