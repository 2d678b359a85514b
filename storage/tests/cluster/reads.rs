//! Reads while a replica is slow, or has missed something.

use std::time::Duration;

use anello_storage::Precondition;
use anello_storage::store::IfMissing;

use crate::network::{Cluster, path, pattern, put};
use crate::replication::idle;

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

/// Each change is acknowledged by two of three hosts, and every two that are left know all of them together.
#[tokio::test(flavor = "multi_thread")]
async fn what_each_of_two_hosts_has_missed_of_a_container_or_account_the_other_knows() {
    let cluster = Cluster::form_with(3, idle()).await;
    let stores = &cluster.stores;
    stores[0].change_policies(|policies| policies.with("other", "replication 3".parse()?)).await.expect("a policy");
    crate::replication::eventually("the policy is known", || stores.iter().all(|it| it.policies().get(1).is_some()))
        .await;
    let item = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let steps = [item("acl", "everybody"), item("color", "red"), item("acl", "")];
    for (step, items) in steps.into_iter().enumerate() {
        let (missing, through) = (step % 3, (step + 1) % 3);
        cluster.cut(missing);
        let policy = u32::from(step == 0);
        let update = stores[through].container_update("AUTH_a", "new", items.clone(), policy, IfMissing::Create).await;
        update.expect("a majority takes it");
        stores[through].account_update("AUTH_a", items, IfMissing::Create).await.expect("a majority takes it");
        cluster.heal();
    }
    for missing in 0..3 {
        cluster.cut(missing);
        let through = &stores[(missing + 1) % 3];
        let container = through.container("AUTH_a", "new").await.expect("reads").expect("is there");
        assert_eq!((container.policy, &container.metadata), (1, &item("color", "red")), "without host {missing}");
        let account = through.account("AUTH_a").await.expect("reads").expect("is there");
        assert_eq!(account.metadata, item("color", "red"), "without host {missing}");
        cluster.heal();
    }
    cluster.close().await;
}
