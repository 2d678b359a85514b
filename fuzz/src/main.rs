//! One target under libFuzzer: the environment's `ANELLO_FUZZ_TARGET` names it, since the arguments are libFuzzer's own.
//! `./dev fuzz` builds this with coverage and runs it.
//!
//! A target panics where what it holds does not. Beside that, here, for all of them: no input makes a parser take much
//! more memory than the input is long. libFuzzer ends what takes too long.

#![no_main]

mod base;
mod ring;

use std::sync::OnceLock;

/// A name, and what is fed.
type Target = (&'static str, fn(&[u8]));

/// What a parser may hold at a time besides [`MEMORY_PER_BYTE`]: buffers of fixed sizes, decompressors' windows, and the
/// mebibyte that serde reserves for a sequence on its own word.
const MEMORY_FIXED: u64 = 16 << 20;

/// Bytes in memory for a byte of input: a node of a JSON tree is 72 bytes, lists double as they grow, and a target holds
/// several forms beside each other.
const MEMORY_PER_BYTE: u64 = 1024;

fn targets() -> impl Iterator<Item = &'static Target> {
    [
        base::TARGETS,
        ring::TARGETS,
        anello_storage::fuzzing::TARGETS,
        anello_api::fuzzing::TARGETS,
        anello_identity::fuzzing::TARGETS,
        anello_proxy::fuzzing::TARGETS,
    ]
    .into_iter()
    .flatten()
}

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

/// Takes the target that is named; where none is, tells their names, which `./dev fuzz` reads.
fn choose() {
    let name = std::env::var("ANELLO_FUZZ_TARGET").unwrap_or_default();
    let Some((_, run)) = targets().find(|(known, _)| *known == name) else {
        targets().for_each(|(name, _)| eprintln!("target {name}"));
        std::process::exit(2);
    };
    RUN.get_or_init(|| *run);
}

libfuzzer_sys::fuzz_target!(init: choose(), |bytes: &[u8]| {
    let run = RUN.get().expect("it is chosen at first");
    let taken = allocation_counter::measure(|| run(bytes)).bytes_max;
    let allowed = MEMORY_FIXED + MEMORY_PER_BYTE * bytes.len() as u64;
    assert!(taken <= allowed, "{taken} bytes of memory for {} of input", bytes.len());
});
