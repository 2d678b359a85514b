//! Tests of the device as a whole: on the machine's disk with each backend, and on the simulated one,
//! which loses power. The index is a model in memory ([`model`]), so that thousands of starts are cheap
//! and a start can find the index as it was at its last flush.

mod codec;
mod crash;
mod device;
mod faults;
mod flip;
mod model;
pub(crate) mod sample;
mod simulation;
