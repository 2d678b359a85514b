//! The real storage code of several hosts in one thread, under one seed: time, chance, network and disks are
//! simulated, and whatever a seed brings about it brings about again. `docs/adr/0020-simulation.md` says what is real,
//! what is not, and how to add a fault.

pub(crate) mod chance;
mod changes;
mod checks;
mod faults;
mod fragments;
mod host;
#[path = "../../tests/cluster/linearizability.rs"]
mod linearizability;
mod network;
mod run;
mod seeds;
pub(crate) mod trace;
mod workload;
mod world;
