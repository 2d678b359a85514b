//! One seed from its beginning to its checks.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::time::Duration;

use super::chance;
use super::trace::{self, Trace};
use super::workload::Workload;
use super::world::World;
use crate::limits::SHARD_ROWS_MAX;
use crate::store::{DaemonOptions, ReplicationOptions, ShardingOptions};

thread_local! {
    /// What panicked first, also in tasks that nobody waits for.
    static PANICKED: RefCell<Option<String>> = const { RefCell::new(None) };
}

static HOOK: Once = Once::new();

/// What became of a seed.
pub(crate) struct Report {
    pub(crate) trace: Trace,
    /// Time simulated.
    pub(crate) took: Duration,
    /// Operations whose histories were checked, or what is wrong.
    pub(crate) outcome: Result<u64, String>,
}

/// Simulates a seed.
pub(crate) fn simulate(seed: u64) -> Report {
    HOOK.call_once(note_panics);
    PANICKED.set(None);
    let _seeded = chance::begin(seed);
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().expect("a runtime");
    let disks = if seed % 4 == 2 { 2 } else { 1 };
    let (trace, took, outcome) = {
        let _within = runtime.enter();
        trace::begin();
        let begun = tokio::time::Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(live(disks))));
        let outcome = outcome.unwrap_or_else(|_| Err("it panicked".to_owned()));
        (trace::end(), begun.elapsed(), outcome)
    };
    drop(runtime);
    let outcome = PANICKED.take().map_or(outcome, |panic| Err(format!("a panic: {panic}")));
    Report { trace, took, outcome }
}

fn note_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if chance::is_simulated() {
            PANICKED.with_borrow_mut(|panicked| {
                panicked.get_or_insert_with(|| info.to_string());
            });
        } else {
            usual(info);
        }
    }));
}

/// Hosts with so many disks each.
async fn live(disks: usize) -> Result<u64, String> {
    let (hosts, cut) = *chance::pick(&[(3, "ec 2+1"), (3, "ec 1+2"), (4, "ec 2+1"), (4, "ec 2+2"), (5, "ec 3+2")]);
    let replication = ReplicationOptions {
        interval: Duration::from_millis(chance::within(500..=8000)),
        settle: Duration::from_secs(*chance::pick(&[0, 2, 15])),
        ..ReplicationOptions::default()
    };
    // So few rows that what clients write is split, again and again.
    let sharding = ShardingOptions {
        rows_max: *chance::pick(&[SHARD_ROWS_MAX, 1, 2]),
        interval: Duration::from_millis(chance::within(200..=8000)),
        grace: Duration::from_secs(chance::within(1..=20)),
        ..ShardingOptions::default()
    };
    let daemons = DaemonOptions { replication, sharding, ..DaemonOptions::default() };
    let mut world = World::form(hosts, disks, cut, daemons).await;
    let workload = Workload::new(world.doors.clone());
    let clients = async { workload.run().await };
    let faults = async {
        world.go_wrong(chance::within(2..=8)).await;
        workload.stop();
    };
    tokio::join!(clients, faults);
    world.recover().await?;
    let at_last = world.settle(&workload).await;
    let at_last = at_last?;
    workload.check(&at_last)
}
