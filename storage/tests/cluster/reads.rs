//! Reads of whole copies while a replica is slow.

use std::time::Duration;

use anello_storage::Precondition;

use crate::network::{Cluster, path, pattern, put};

/// Far above what another replica takes, and below the time after which a silent one counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);

const SIZE: usize = 3_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_stands_still_holds_no_reader_up_in_the_middle() {
    let cluster = Cluster::form(4).await;
    put(&cluster.stores[0], "o", pattern(SIZE), &Precondition::default()).await.expect("put");
    for paused in 0..4 {
        for reading in (0..4).filter(|reading| *reading != paused) {
            let mut reader = cluster.stores[reading].object_read(&path("o")).await.expect("opens").expect("is there");
            reader.set_range(100_000..2_900_001);
            let mut data = reader.next().await.expect("reads").expect("bytes").to_vec();
            cluster.pause(paused);
            loop {
                let piece = tokio::time::timeout(PATIENCE, reader.next()).await;
                match piece.unwrap_or_else(|_| panic!("host {reading} waits for host {paused}")).expect("reads") {
                    Some(piece) => data.extend_from_slice(&piece),
                    None => break,
                }
            }
            cluster.heal();
            assert!(data == pattern(SIZE)[100_000..2_900_001], "{} bytes", data.len());
        }
    }
    cluster.close().await;
}
