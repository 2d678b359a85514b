//! `anello identity`: the keys that tokens are made with.

use clap::{Args, Subcommand};

use super::Server;
use super::client::Client;
use crate::Outcome;

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Move the keys of tokens on by one. Tokens stay valid through the next rotation, so rotate no more often than
    /// tokens live (an hour)
    RotateKeys(RotateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RotateArgs {
    #[command(flatten)]
    server: Server,
}

/// Runs a command.
pub(super) fn run(command: &IdentityCommand) -> Outcome {
    let IdentityCommand::RotateKeys(args) = command;
    Client::new(&args.server)?.call("POST", "/identity-keys/rotate", None)?;
    Ok(())
}
