//! The index against a model: what it says is a function of the set of records in the log, whatever
//! their order, whatever compaction moved or dropped, wherever a crash cut; and listings show exactly
//! what a naive filter over all names shows.

mod listing;
mod model;
mod order;
mod semantics;
mod workload;
