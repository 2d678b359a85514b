//! Structured logs on standard error, as text or JSON lines. Nothing on the byte path logs at info; the
//! access log is debug.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;
use crate::config::Log;

/// The filter is not understood.
#[derive(Debug, thiserror::Error)]
#[error("log filter {filter:?}: {source}")]
pub(crate) struct FilterError {
    filter: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Starts logging for the life of the process.
pub(crate) fn start(log: &Log) -> Result<(), FilterError> {
    let filter =
        EnvFilter::try_new(&log.filter).map_err(|source| FilterError { filter: log.filter.clone(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match log.format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
