//! `anello policy`: the storage policies of a running store. Containers are given one when they are made: by Swift's
//! `X-Storage-Policy`, or S3's storage class.

use clap::Subcommand;
use serde_json::{Value, json};

use crate::cluster::{At, change};
use crate::{Outcome, status, terminal};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the storage policies
    List {
        #[command(flatten)]
        at: At,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a storage policy
    Add {
        #[command(flatten)]
        at: At,
        /// Its name: what clients ask for
        name: String,
        /// How objects are kept: `replication 3`, or `ec 4+2` for four fragments of which any two more may be lost
        kind: String,
    },
    /// Have new containers get this policy where they name none
    Default {
        #[command(flatten)]
        at: At,
        /// Its name
        name: String,
    },
    /// Have no new container get this policy
    Deprecate {
        #[command(flatten)]
        at: At,
        /// Its name
        name: String,
    },
}

/// Runs `anello policy`.
pub(crate) fn run(command: PolicyCommand) -> Outcome {
    match command {
        PolicyCommand::List { at, json } => list(&at, json),
        PolicyCommand::Add { at, name, kind } => {
            change(&at, "/policies/add", &json!({ "name": name, "kind": kind }), true)
        }
        PolicyCommand::Default { at, name } => change(&at, "/policies/default", &json!({ "name": name }), true),
        PolicyCommand::Deprecate { at, name } => change(&at, "/policies/deprecate", &json!({ "name": name }), true),
    }
}

fn list(at: &At, json: bool) -> Outcome {
    let status: Value = serde_json::from_str(&status::ask(at.config()?.home(), "/status")?)?;
    let policies = &status["store"]["policies"];
    if json {
        terminal::say(format_args!("{policies:#}"));
        return Ok(());
    }
    for policy in policies.as_array().into_iter().flatten() {
        let text = |key: &str| policy[key].as_str().unwrap_or_default().to_owned();
        let is = |key: &str, shown: &'static str| if policy[key] == true { shown } else { "" };
        let (default, deprecated) = (is("is_default", "  default"), is("is_deprecated", "  deprecated"));
        terminal::say(format_args!("{:2}  {:20} {}{default}{deprecated}", policy["index"], text("name"), text("kind")));
    }
    Ok(())
}
