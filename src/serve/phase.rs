//! Where the server is in its life. Until it is ready every door answers 503; while it drains, requests
//! that run are finished and `/readyz` says 503, so that a load balancer turns away.

use std::sync::atomic::{AtomicU8, Ordering};

/// A server's phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Devices are being opened.
    Starting = 0,
    /// The doors are open, and another host's identity has not answered yet.
    WaitingForIdentity = 1,
    /// All of it serves.
    Ready = 2,
    /// Ending: no new connections.
    Draining = 3,
}

impl Phase {
    /// As `/readyz` and `anello status` show it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::WaitingForIdentity => "waiting for identity",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// The phase, shared.
#[derive(Debug, Default)]
pub(crate) struct CurrentPhase(AtomicU8);

impl CurrentPhase {
    pub(crate) fn get(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::WaitingForIdentity,
            2 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    pub(crate) fn set(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }
}
