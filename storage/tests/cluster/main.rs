//! Several hosts in one process: each with its own devices and its own store, calls between them by hand over a
//! network that can be cut.

mod erasure;
mod growth;
mod histories;
mod linearizability;
mod network;
mod reads;
mod replication;
mod sharding;
mod writes;
