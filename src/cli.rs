//! The command line. What an option does stands here, once; the configuration file has the same names.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::bench::BenchArgs;
use crate::cluster::ClusterCommand;
use crate::config::Role;
use crate::device::DeviceCommand;
use crate::manage::{IdentityCommand, KeyCommand, ProjectCommand, RoleCommand, UserCommand};
use crate::policy::PolicyCommand;
use crate::ring::RingCommand;

/// A storage-centric cloud in one binary.
#[derive(Debug, Parser)]
#[command(name = "anello", version, about, disable_help_subcommand = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the store: Swift and Keystone on one port, S3 on another
    Serve(ServeArgs),
    /// Show a running server's devices, daemons and backlog
    Status(StatusArgs),
    /// Look into a device of a server that is not running
    #[command(subcommand)]
    Device(DeviceCommand),
    /// Make and change rings
    #[command(subcommand)]
    Ring(RingCommand),
    /// Make several hosts one store
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// How many copies of an object there are, or how it is cut into fragments
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Put load on an S3 or Swift endpoint and measure it
    Bench(Box<BenchArgs>),
    /// The configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Users of a running server
    #[command(subcommand)]
    User(UserCommand),
    /// Projects of a running server
    #[command(subcommand)]
    Project(ProjectCommand),
    /// Who may do what where on a running server
    #[command(subcommand)]
    Role(RoleCommand),
    /// Access keys for S3 on a running server
    #[command(subcommand)]
    Key(KeyCommand),
    /// Identity's own affairs on a running server
    #[command(subcommand)]
    Identity(IdentityCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print the default configuration with its documentation; `serve --config` takes it as it is
    Print,
}

/// Options of `anello serve`; each overrides the configuration file.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ServeArgs {
    /// Configuration file (TOML); see `anello config print`
    #[arg(long, value_name = "FILE", env = "ANELLO_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Directory of a device; several are several devices. The first also keeps the cluster's identity
    /// and credentials
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Vec<PathBuf>,
    /// What this host does; several may be given, and without any it does all
    #[arg(long, value_name = "ROLE", value_delimiter = ',')]
    pub(crate) role: Vec<Role>,
    /// Where Swift and Keystone are served
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<std::net::SocketAddr>,
    /// Where S3 is served
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) s3_listen: Option<std::net::SocketAddr>,
    /// Where web sites are served; without it they are not
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) website_listen: Option<std::net::SocketAddr>,
    /// Form of the log on standard error
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// What is logged: a level, or directives such as `info,anello=debug`
    #[arg(long, value_name = "FILTER", env = "ANELLO_LOG")]
    pub(crate) log: Option<String>,
}

/// Form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Options of `anello status`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StatusArgs {
    /// The server's first data directory
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// The server's configuration file, to find its data directory
    #[arg(long, value_name = "FILE", env = "ANELLO_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
