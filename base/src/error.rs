//! The classes of failure. An error type of any package maps each of its cases to one class; a door
//! maps each class to its protocol's code. Nothing between the two knows a status number.

/// What a failure means to whoever asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request is malformed or breaks a stated rule.
    Invalid,
    /// No identity was shown, or the one shown is not accepted.
    Unauthenticated,
    /// The identity is known and may not do this.
    Forbidden,
    /// The thing asked for is not there.
    Missing,
    /// The thing is in a state that excludes the request.
    Conflict,
    /// A stated precondition of the request does not hold.
    Precondition,
    /// The request exceeds a named limit.
    TooLarge,
    /// Try again: a queue is full or a peer is slow.
    Busy,
    /// No space is left, or the device accepts no writes.
    Full,
    /// Stored bytes do not match their checksum.
    Corrupt,
    /// Understood, and not offered by this server.
    Unsupported,
    /// A defect or an I/O error of ours.
    Internal,
}

/// An error's text with what caused it: hyper's own says only that something failed.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
