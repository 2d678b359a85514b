//! What commands say to whoever runs them. Answers go to standard output, complaints to standard error;
//! a reader that has gone away (`anello status | head -1`) is no error.

use std::error::Error;
use std::fmt::Display;
use std::io::Write;

/// Writes one line, or several, to standard output.
pub(crate) fn say(text: impl Display) {
    // A closed pipe has nobody to be told about it.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// Writes a note to standard error.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Shows an error and what caused it, one line.
pub(crate) fn complain(error: &dyn Error) {
    let mut line = format!("anello: {error}");
    let mut cause = error.source();
    while let Some(inner) = cause {
        // Many errors repeat their cause in their own text.
        let text = inner.to_string();
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = inner.source();
    }
    note(line);
}
