//! `anello cluster`: one host founds a cluster for a number of hosts, the others join with its token; each is
//! then started with `anello serve`, and the cluster serves once all of them are there.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

use crate::Outcome;
use crate::cli::StatusArgs;
use crate::config::Config;
use crate::serve::home::{Home, Membership};
use crate::{status, terminal};

/// What a token begins with: its kind and version.
const TOKEN_PREFIX: &str = "anello1.";

/// Hosts that may found a cluster together; as many answer each other within seconds.
const HOSTS_MAX: usize = 256;

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Make this host the founder of a cluster, and print the token with which the other hosts join
    Init {
        #[command(flatten)]
        at: At,
        /// How many hosts, this one included, the cluster is to have
        #[arg(long, value_name = "N")]
        hosts: usize,
    },
    /// Print the join token again; the founder's only
    Token {
        #[command(flatten)]
        at: At,
    },
    /// Make this host one of a cluster
    Join {
        #[command(flatten)]
        at: At,
        /// What `anello cluster init` printed. It holds the cluster's secret: whoever has it can read and write all
        #[arg(long, value_name = "TOKEN", env = "ANELLO_JOIN_TOKEN", hide_env_values = true)]
        token: String,
    },
    /// Show the cluster as this host sees it
    Status(StatusArgs),
}

/// Which host.
#[derive(Debug, Args)]
pub(crate) struct At {
    /// The host's configuration file
    #[arg(long, value_name = "FILE", env = "ANELLO_CONFIG")]
    config: Option<PathBuf>,
    /// The host's first data directory, where the file doesn't say
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Why a command was refused.
#[derive(Debug, thiserror::Error)]
enum ClusterError {
    #[error("a cluster is founded for 2 to {HOSTS_MAX} hosts, not {0}; a single one needs no `anello cluster`")]
    Hosts(usize),
    #[error("{} holds a store already; a cluster is founded and joined with empty directories", .0.display())]
    NotEmpty(PathBuf),
    #[error("this host has not founded a cluster")]
    NotFounder,
    #[error("that is not a join token")]
    Token,
}

/// What a host needs to know to join. Secret: no `Debug`.
#[derive(Serialize, Deserialize)]
struct Token {
    id: String,
    secret: String,
    founder: String,
}

impl At {
    fn config(&self) -> Result<Config, crate::config::ConfigError> {
        let mut config = Config::read(self.config.as_deref())?;
        if let Some(data) = &self.data {
            config.data = vec![data.clone()];
        }
        Ok(config)
    }
}

/// Runs `anello cluster`.
pub(crate) fn run(command: ClusterCommand) -> Outcome {
    match command {
        ClusterCommand::Init { at, hosts } => init(&at.config()?, hosts),
        ClusterCommand::Token { at } => {
            let config = at.config()?;
            print_token(&Home::open(config.home())?, &config)
        }
        ClusterCommand::Join { at, token } => join(&at.config()?, &token),
        ClusterCommand::Status(args) => status::run(&args),
    }
}

fn init(config: &Config, hosts: usize) -> Outcome {
    if !(2..=HOSTS_MAX).contains(&hosts) {
        return Err(ClusterError::Hosts(hosts).into());
    }
    require_empty(config.home())?;
    let mut home = Home::open(config.home())?;
    home.update(|cluster| cluster.member = Some(Membership::Founds(hosts)))?;
    print_token(&home, config)
}

fn print_token(home: &Home, config: &Config) -> Outcome {
    let cluster = home.cluster();
    if !matches!(cluster.member, Some(Membership::Founds(_))) {
        return Err(ClusterError::NotFounder.into());
    }
    let token =
        Token { id: cluster.id.clone(), secret: cluster.secret_hex().to_owned(), founder: config.cluster.address() };
    let text = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token)?);
    terminal::say(format_args!("{TOKEN_PREFIX}{text}"));
    Ok(())
}

fn join(config: &Config, token: &str) -> Outcome {
    let text = token.trim().strip_prefix(TOKEN_PREFIX).ok_or(ClusterError::Token)?;
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| ClusterError::Token)?;
    let Token { id, secret, founder } = serde_json::from_slice(&bytes).map_err(|_| ClusterError::Token)?;
    require_empty(config.home())?;
    Home::join(config.home(), id, secret, founder.clone())?;
    terminal::say(format_args!("joined the cluster that {founder} founds; start it with `anello serve`"));
    Ok(())
}

/// What is stored on a single host is not in the cluster's rings.
fn require_empty(home: &Path) -> Result<(), ClusterError> {
    if home.join("superblock").exists() || home.join("rings").exists() {
        return Err(ClusterError::NotEmpty(home.to_owned()));
    }
    Ok(())
}
