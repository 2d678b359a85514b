//! `anello device`: what an operator does with a device that no server has open. The work is the
//! engine's; here it is asked for, its progress is shown, and its findings are told.

use std::io::IsTerminal;
use std::path::PathBuf;

use anello_storage::device::DeviceOptions;
use anello_storage::device::inspect::{inspect, rebuild_index, verify};
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::Outcome;
use crate::outline::outline;
use crate::terminal;

#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Show the superblock, the volumes, the records by kind, and what is in quarantine
    Inspect(DeviceArgs),
    /// Read every record and every object, check all checksums, compare log and index. Changes nothing;
    /// ends with 1 where it finds a problem
    Verify(DeviceArgs),
    /// Delete the index and make it anew from the log
    RebuildIndex(DeviceArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DeviceArgs {
    /// Directory of the device
    directory: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs a command of `anello device`.
pub(crate) fn run(command: &DeviceCommand) -> Outcome {
    let options = DeviceOptions::default();
    match command {
        DeviceCommand::Inspect(args) => {
            let found = watched("inspecting", |progress| inspect(&args.directory, progress))?;
            args.tell("device", &found)
        }
        DeviceCommand::Verify(args) => {
            let found = watched("verifying", |progress| verify(&args.directory, &options, progress))?;
            args.tell("verification", &found)?;
            match found.problem_count {
                0 => Ok(()),
                problems => Err(format!("{problems} problems on {}", args.directory.display()).into()),
            }
        }
        DeviceCommand::RebuildIndex(args) => {
            let done = watched("rebuilding", |progress| rebuild_index(&args.directory, &options, progress))?;
            args.tell("rebuilt", &done)
        }
    }
}

impl DeviceArgs {
    fn tell(&self, name: &str, found: &impl Serialize) -> Outcome {
        let value = serde_json::to_value(found)?;
        if self.json {
            terminal::say(format_args!("{value:#}"));
        } else {
            terminal::say(outline(name, &value).trim_end());
        }
        Ok(())
    }
}

/// Does the work under a bar of bytes, where somebody looks at it.
fn watched<T>(
    what: &'static str,
    work: impl FnOnce(&mut dyn FnMut(u64, u64)) -> anello_storage::Result<T>,
) -> anello_storage::Result<T> {
    let shown = std::io::stderr().is_terminal();
    let draw = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template("{msg:>10} {wide_bar} {bytes}/{total_bytes} {eta}");
    let bar = ProgressBar::with_draw_target(None, draw)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        .with_message(what);
    let outcome = work(&mut |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    });
    bar.finish_and_clear();
    outcome
}
