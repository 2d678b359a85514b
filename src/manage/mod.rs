//! `anello user|project|role|key|identity …`: the common jobs of identity on the machine itself. Each command asks the
//! running server over its control socket, in the words of Keystone's API; who may open the socket is an operator.

mod client;
mod key;
mod keys;
mod project;
mod role;
mod user;

use std::path::PathBuf;

use clap::Args;
use serde_json::Value;

use crate::Outcome;
use crate::terminal;

pub(crate) use key::KeyCommand;
pub(crate) use keys::IdentityCommand;
pub(crate) use project::ProjectCommand;
pub(crate) use role::RoleCommand;
pub(crate) use user::UserCommand;

/// Which server is asked, and how its answer is shown.
#[derive(Debug, Args)]
pub(crate) struct Server {
    /// The server's first data directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The server's configuration file, to find its data directory
    #[arg(long, value_name = "FILE", env = "ANELLO_CONFIG")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A command of any kind.
pub(crate) enum Command {
    User(UserCommand),
    Project(ProjectCommand),
    Role(RoleCommand),
    Key(KeyCommand),
    Identity(IdentityCommand),
}

/// Runs a command.
pub(crate) fn run(command: &Command) -> Outcome {
    match command {
        Command::User(command) => user::run(command),
        Command::Project(command) => project::run(command),
        Command::Role(command) => role::run(command),
        Command::Key(command) => key::run(command),
        Command::Identity(command) => keys::run(command),
    }
}

impl Server {
    /// Shows things, a line for each with these fields, or as JSON.
    fn show(&self, things: &[Value], fields: &[&str]) {
        if self.json {
            terminal::say(format_args!("{:#}", Value::Array(things.to_vec())));
            return;
        }
        let cell = |thing: &Value, field: &str| match &thing[field] {
            Value::String(text) => text.clone(),
            Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        let rows: Vec<Vec<String>> =
            things.iter().map(|thing| fields.iter().map(|field| cell(thing, field)).collect()).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..fields.len()).map(width).collect();
        for row in &rows {
            let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            terminal::say(cells.join("  ").trim_end());
        }
    }
}
