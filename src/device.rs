//! STUB
use clap::Subcommand;
use std::path::PathBuf;
#[derive(Debug, Subcommand)]
pub(crate) enum DeviceCommand {
    /// Show
    Inspect { dir: PathBuf },
}
pub(crate) fn run(_: DeviceCommand) -> crate::Outcome {
    Ok(())
}
