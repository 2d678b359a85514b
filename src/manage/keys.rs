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
    /// (`identity.database` in the configuration file). With `--domain`, move the users and groups of one domain, while
    /// everybody goes on: what was cut short is finished by the same command
    Migrate(MigrateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Where to: `objects`, or the address of a database. `-` reads it from standard input, since it may bear a password.
    /// With `--domain`, the name of a database in the configuration (`[identity.databases]`), or `main` for where
    /// everything else is
    to: String,
    /// Move the users and groups of this domain alone (its name or id). Nobody changes them meanwhile
    #[arg(long)]
    domain: Option<String>,
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
            let body = json!({"to": to.trim(), "domain": args.domain});
            let done = Client::new(&args.server)?.call("POST", "/identity-records/migrate", Some(&body))?;
            let count = &done["records"];
            terminal::say(match (&args.domain, count.is_null()) {
                (None, _) => format!("{count} records were copied; start the server with the other back end"),
                (Some(domain), false) => format!("{count} users and groups of {domain} are in {} now", to.trim()),
                (Some(domain), true) => format!("the users and groups of {domain} stay in {}", to.trim()),
            });
        }
    }
    Ok(())
}
