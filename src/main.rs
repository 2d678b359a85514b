//! The one binary. `main` reads the command line and hands over to the command's own module; the
//! modules of `serve` are the only place that knows all rooms.

mod bench;
mod cli;
mod cluster;
mod config;
mod device;
mod limits;
mod logging;
mod manage;
mod outline;
mod policy;
mod ring;
mod serve;
mod status;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, ConfigCommand};

/// Allocation is a measurable part of a small request; mimalloc costs about half of glibc's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a command ends with: nothing, or an error that is shown with its causes.
pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Status(args) => status::run(&args),
        Command::Device(command) => device::run(&command),
        Command::Ring(command) => ring::run(command),
        Command::Cluster(command) => cluster::run(command),
        Command::Policy(command) => policy::run(command),
        Command::Bench(args) => bench::run(*args),
        Command::Config(ConfigCommand::Print) => config::print(),
        Command::User(command) => manage::run(&manage::Command::User(command)),
        Command::Project(command) => manage::run(&manage::Command::Project(command)),
        Command::Role(command) => manage::run(&manage::Command::Role(command)),
        Command::Key(command) => manage::run(&manage::Command::Key(command)),
        Command::Identity(command) => manage::run(&manage::Command::Identity(command)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::complain(error.as_ref());
            ExitCode::FAILURE
        }
    }
}
