//! `anello cluster`: one host founds a cluster for a number of hosts, the others join with its token; each is
//! then started with `anello serve`, and the cluster serves once all of them are there. Hosts that join later are taken
//! in while it serves; others are drained and removed.

use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::Outcome;
use crate::cli::StatusArgs;
use crate::config::Config;
use crate::serve::home::{Cluster, Home, Membership};
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
    /// Print a token with which further hosts join by way of this one
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
    /// Show how many copies of everything are where they should be
    Dispersion {
        #[command(flatten)]
        at: At,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have a host's data move to the others, while it goes on serving
    Drain {
        #[command(flatten)]
        at: At,
        /// The host's name
        host: String,
        /// Wait for a change that is under way, then until the host keeps nothing more, and show how it goes
        #[arg(long)]
        wait: bool,
    },
    /// Leave out a host that is drained, or one that is lost
    Remove {
        #[command(flatten)]
        at: At,
        /// The host's name
        host: String,
        /// It will not come back: what it kept is made again from the other replicas
        #[arg(long)]
        lost: bool,
        /// Wait until that is done, and show how it goes
        #[arg(long)]
        wait: bool,
    },
}

/// How long a change of the map may take to be agreed on by hosts that are busy; what then moves is not waited for.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(120);

/// From one look at a change to the next.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(500);

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
    #[error("this host is not one of several")]
    NotMember,
    #[error("that is not a join token")]
    Token,
    #[error("{0}")]
    Refused(String),
}

/// What a host needs to know to join. Secret: no `Debug`.
#[derive(Serialize, Deserialize)]
struct Token {
    id: String,
    secret: String,
    founder: String,
}

impl At {
    pub(crate) fn config(&self) -> Result<Config, crate::config::ConfigError> {
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
            print_token(&Home::look(config.home())?.ok_or(ClusterError::NotMember)?, &config)
        }
        ClusterCommand::Join { at, token } => join(&at.config()?, &token),
        ClusterCommand::Status(args) => status::run(&args),
        ClusterCommand::Dispersion { at, json } => dispersion(&at.config()?, json),
        ClusterCommand::Drain { at, host, wait } => {
            change(&at, "/cluster/drain", &json!({ "host": host }), wait)?;
            if wait { follow(&at, |status| replicas(status, &host) == Some(0)) } else { Ok(()) }
        }
        ClusterCommand::Remove { at, host, lost, wait } => {
            change(&at, "/cluster/remove", &json!({ "host": host, "lost": lost }), wait)?;
            if wait { follow(&at, |status| replicas(status, &host).is_none()) } else { Ok(()) }
        }
    }
}

/// Asks the running server for a change of what all hosts agree on; where one is under way already, `wait`s for that.
pub(crate) fn change(at: &At, path: &str, wanted: &Value, wait: bool) -> Outcome {
    let config = at.config()?;
    loop {
        match status::exchange(config.home(), "POST", path, Some(&wanted.to_string()), CHANGE_TIMEOUT)? {
            (200, _) => return Ok(()),
            (503, _) if wait => std::thread::sleep(FOLLOW_INTERVAL),
            (_, answer) => {
                let message = serde_json::from_str::<Value>(&answer).ok();
                let message = message.as_ref().and_then(|fault| fault["error"]["message"].as_str());
                return Err(ClusterError::Refused(message.unwrap_or(answer.trim()).to_owned()).into());
            }
        }
    }
}

/// Replicas that a host keeps or is to keep; `None` where the map does not know it.
fn replicas(status: &Value, host: &str) -> Option<u64> {
    let hosts = status["hosts"].as_array()?;
    hosts.iter().find(|known| known["name"] == host).and_then(|known| known["replicas"].as_u64())
}

/// Shows how the change goes until it is over and `is_done`.
fn follow(at: &At, is_done: impl Fn(&Value) -> bool) -> Outcome {
    let config = at.config()?;
    let mut said = String::new();
    loop {
        let (_, answer) = status::exchange(config.home(), "GET", "/status", None, CHANGE_TIMEOUT)?;
        let status: Value = serde_json::from_str(&answer)?;
        let cluster = &status["store"]["cluster"];
        let now = format!("map {}: {}", cluster["epoch"], cluster["change"].as_str().unwrap_or("no change under way"));
        if now != said {
            eprintln!("{now}");
            said = now;
        }
        if cluster["is_settled"] == true && is_done(cluster) {
            return Ok(());
        }
        std::thread::sleep(FOLLOW_INTERVAL);
    }
}

fn dispersion(config: &Config, json: bool) -> Outcome {
    let report: Value = serde_json::from_str(&status::ask(config.home(), "/dispersion")?)?;
    if json {
        terminal::say(format_args!("{report:#}"));
    } else {
        terminal::say(dispersion_table(&report).trim_end());
    }
    Ok(())
}

fn dispersion_table(report: &Value) -> String {
    let mut text = format!(
        "{:<32}{:>12}{:>12}{:>12}{:>10}{:>12}  lacking copies: partitions\n",
        "ring", "partitions", "copies", "in place", "", "misplaced"
    );
    for ring in report["rings"].as_array().into_iter().flatten() {
        let number = |key: &str| ring[key].as_u64().unwrap_or_default();
        let name = [ring["ring"].as_str(), ring["policy"].as_str()].into_iter().flatten().collect::<Vec<_>>().join(" ");
        let (copies, found) = (number("copies"), number("found"));
        let share = if copies == 0 { 100.0 } else { found as f64 * 100.0 / copies as f64 };
        let lacking = ring["lacking"].as_object().into_iter().flatten();
        let lacking = lacking.map(|(copies, partitions)| format!("{copies}: {partitions}")).collect::<Vec<_>>();
        let (partitions, misplaced, lacking) = (number("partitions"), number("misplaced"), lacking.join(", "));
        let line = format!("{name:<32}{partitions:>12}{copies:>12}{found:>12}{share:>8.2} %{misplaced:>12}  {lacking}");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for device in report["silent"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        text.push_str(&format!("device {device} does not answer: what it keeps counts as lacking\n"));
    }
    text
}

fn init(config: &Config, hosts: usize) -> Outcome {
    if !(2..=HOSTS_MAX).contains(&hosts) {
        return Err(ClusterError::Hosts(hosts).into());
    }
    require_empty(config.home())?;
    let mut home = Home::open(config.home())?;
    home.update(|cluster| cluster.member = Some(Membership::Founds(hosts)))?;
    print_token(home.cluster(), config)
}

fn print_token(cluster: &Cluster, config: &Config) -> Outcome {
    if cluster.member.is_none() {
        return Err(ClusterError::NotMember.into());
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
    terminal::say(format_args!("joined the cluster of {founder}; start this host with `anello serve`"));
    Ok(())
}

/// What is stored on a single host is not in the cluster's rings.
fn require_empty(home: &Path) -> Result<(), ClusterError> {
    if home.join("superblock").exists() || home.join("rings").exists() {
        return Err(ClusterError::NotEmpty(home.to_owned()));
    }
    Ok(())
}
