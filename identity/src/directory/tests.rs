//! Names stay unique and records whole, whatever write a process is killed before; and snapshots show nothing that the
//! records do not say.

use std::collections::HashSet;
use std::sync::Arc;

use anello_base::Timestamp;

use super::Directory;
use crate::error::Error;
use crate::limits::SNAPSHOT_RECORDS_MIN;
use crate::model::{Credential, Extra, Group};
use crate::records::{Copied, Kind, MemoryRecords, Records};

fn group(id: &str, name: &str) -> Group {
    let (domain_id, description) = ("default".to_owned(), String::new());
    Group { id: id.to_owned(), name: name.to_owned(), domain_id, description, extra: Extra::new() }
}

async fn open(records: &MemoryRecords) -> Directory {
    let directory = Directory::new(Arc::new(records.clone()));
    directory.refresh().await.expect("the records are readable");
    directory
}

fn names(directory: &Directory) -> Vec<String> {
    directory.view().groups.iter().map(|group| group.name.clone()).collect()
}

async fn rename(directory: &Directory, id: &str, name: &str) -> crate::error::Result<Arc<Group>> {
    let set = |group: &mut Group| {
        name.clone_into(&mut group.name);
        Ok(())
    };
    directory.update::<Group>(id, set).await
}

#[tokio::test]
async fn a_name_is_given_once_and_again_after_it_is_free() {
    let records = MemoryRecords::default();
    let directory = open(&records).await;
    directory.create(group("1", "one")).await.expect("free");
    assert!(matches!(directory.create(group("2", "one")).await, Err(Error::NameTaken { .. })));
    directory.create(group("2", "two")).await.expect("free");
    assert!(matches!(rename(&directory, "2", "one").await, Err(Error::NameTaken { .. })));
    rename(&directory, "1", "uno").await.expect("free");
    rename(&directory, "2", "one").await.expect("given back");
    directory.delete::<Group>("1").await.expect("there");
    directory.create(group("3", "uno")).await.expect("given back");
    for directory in [directory, open(&records).await] {
        assert_eq!(names(&directory), ["one", "uno"]);
        assert_eq!(directory.view().groups.by_name("default", "uno").map(|it| it.id.clone()).as_deref(), Some("3"));
    }
}

#[tokio::test]
async fn a_creation_that_is_killed_anywhere_leaves_all_or_nothing() {
    for writes in 0..3 {
        let records = MemoryRecords::default();
        let directory = open(&records).await;
        records.stop_after(Some(writes));
        assert!(directory.create(group("1", "one")).await.is_err(), "{writes} writes are not enough");
        records.stop_after(None);
        let directory = open(&records).await;
        let there = names(&directory).len();
        assert_eq!(there, usize::from(writes == 2), "killed after {writes} writes");
        match directory.create(group("2", "one")).await {
            Ok(_) => assert_eq!(there, 0, "killed after {writes} writes"),
            Err(error) => assert!(matches!(error, Error::NameTaken { .. }) && there == 1, "{writes}: {error}"),
        }
        assert_eq!(names(&open(&records).await), ["one"]);
    }
}

#[tokio::test]
async fn a_rename_that_is_killed_anywhere_leaves_one_name_and_frees_the_other() {
    for writes in 0..4 {
        let records = MemoryRecords::default();
        open(&records).await.create(group("1", "old")).await.expect("free");
        let directory = open(&records).await;
        records.stop_after(Some(writes));
        let _ = rename(&directory, "1", "new").await;
        records.stop_after(None);
        let directory = open(&records).await;
        let now = names(&directory);
        assert_eq!(now, [if writes < 2 { "old" } else { "new" }], "killed after {writes} writes");
        let (own, other) = if writes < 2 { ("old", "new") } else { ("new", "old") };
        assert!(matches!(directory.create(group("2", own)).await, Err(Error::NameTaken { .. })), "{writes}");
        directory.create(group("3", other)).await.expect("the other name is free");
        assert_eq!(names(&open(&records).await).len(), 2, "killed after {writes} writes");
    }
}

#[tokio::test]
async fn a_deletion_that_is_killed_anywhere_gives_the_name_back() {
    for writes in 0..2 {
        let records = MemoryRecords::default();
        open(&records).await.create(group("1", "one")).await.expect("free");
        let directory = open(&records).await;
        records.stop_after(Some(writes));
        let _ = directory.delete::<Group>("1").await;
        records.stop_after(None);
        let directory = open(&records).await;
        if writes == 0 {
            directory.delete::<Group>("1").await.expect("still there");
        }
        assert!(names(&directory).is_empty());
        directory.create(group("2", "one")).await.expect("free");
    }
}

#[tokio::test]
async fn of_two_who_want_a_name_one_gets_it_also_on_two_hosts() {
    let records = MemoryRecords::default();
    let (here, there) = (open(&records).await, open(&records).await);
    let (one, two) = tokio::join!(here.create(group("1", "one")), there.create(group("2", "one")));
    assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1);
    assert_eq!(names(&open(&records).await), ["one"]);
}

#[tokio::test]
async fn what_another_host_wrote_is_seen_after_a_refresh() {
    let records = MemoryRecords::default();
    let (here, there) = (open(&records).await, open(&records).await);
    here.create(group("1", "one")).await.expect("free");
    here.create(group("2", "two")).await.expect("free");
    there.refresh().await.expect("readable");
    assert_eq!(names(&there), ["one", "two"]);
    rename(&here, "1", "uno").await.expect("free");
    here.delete::<Group>("2").await.expect("there");
    rename(&there, "1", "eins").await.expect("what was changed meanwhile is read again");
    there.refresh().await.expect("readable");
    here.refresh().await.expect("readable");
    assert_eq!((names(&here), names(&there)), (vec!["eins".to_owned()], vec!["eins".to_owned()]));
}

/// Many enough for a snapshot.
const MANY: usize = SNAPSHOT_RECORDS_MIN + 10;

async fn many(records: &MemoryRecords) -> Directory {
    let directory = open(records).await;
    for number in 0..MANY {
        directory.create(group(&format!("{number:04}"), &format!("name {number}"))).await.expect("free");
    }
    directory.keep_snapshots(true).await.expect("written");
    directory
}

/// Opens a directory; how many records were read one by one for it?
async fn reads_of_a_start(records: &MemoryRecords) -> (Directory, usize) {
    let before = records.reads();
    let directory = open(records).await;
    (directory, records.reads() - before)
}

fn shown(directory: &Directory) -> Vec<(String, String)> {
    directory.view().groups.iter().map(|group| (group.id.clone(), group.name.clone())).collect()
}

#[tokio::test]
async fn a_start_reads_one_by_one_only_what_changed_since_the_snapshot() {
    let records = MemoryRecords::default();
    let before = many(&records).await;
    assert_eq!(records.snapshot(Kind::Group).len(), MANY);
    assert!(records.snapshot(Kind::User).is_empty(), "few records need none");
    let (after, reads) = reads_of_a_start(&records).await;
    assert_eq!((shown(&after), reads), (shown(&before), 0));
    rename(&before, "0001", "another name").await.expect("free");
    before.delete::<Group>("0002").await.expect("there");
    before.create(group("new", "new")).await.expect("free");
    let (after, reads) = reads_of_a_start(&records).await;
    assert_eq!((shown(&after), reads), (shown(&before), 2));
    assert!(after.get::<Group>("0002").is_none(), "a snapshot brings back nobody");
}

#[tokio::test]
async fn a_snapshot_that_is_damaged_or_old_shows_nothing_that_is_not_there() {
    let records = MemoryRecords::default();
    let before = many(&records).await;
    let good = records.snapshot(Kind::Group);
    let mut damaged = good.clone();
    for (copy, other) in damaged.iter_mut().zip(good.iter().skip(1)).step_by(2) {
        copy.data = other.data.clone();
    }
    // Of another time, of another id, twice, and of nobody.
    damaged[1].version.timestamp = Timestamp::ZERO;
    damaged[3].id = "0004".to_owned();
    damaged.push(good[5].clone());
    damaged.push(Copied { id: "nobody".to_owned(), ..good[7].clone() });
    records.set_snapshot(Kind::Group, damaged);
    let (after, reads) = reads_of_a_start(&records).await;
    assert_eq!(shown(&after), shown(&before));
    assert_eq!(reads, MANY / 2 + 2);
    records.set_snapshot(Kind::Group, Vec::new());
    let (after, reads) = reads_of_a_start(&records).await;
    assert_eq!((shown(&after), reads), (shown(&before), MANY));
}

#[tokio::test]
async fn a_snapshot_is_written_again_once_enough_has_changed() {
    let records = MemoryRecords::default();
    let directory = many(&records).await;
    let describe = async |count: usize, text: &str| {
        for number in 0..count {
            let set = |group: &mut Group| {
                text.clone_into(&mut group.description);
                Ok(())
            };
            directory.update::<Group>(&format!("{number:04}"), set).await.expect("there");
        }
    };
    describe(SNAPSHOT_RECORDS_MIN - 1, "one").await;
    directory.keep_snapshots(false).await.expect("nothing to do");
    assert_eq!(reads_of_a_start(&records).await.1, SNAPSHOT_RECORDS_MIN - 1);
    describe(1, "two").await;
    directory.keep_snapshots(false).await.expect("written");
    assert_eq!(reads_of_a_start(&records).await.1, 0);
}

#[tokio::test]
async fn what_the_snapshot_has_and_nobody_confirmed_is_settled_as_without_it() {
    let records = MemoryRecords::default();
    let directory = many(&records).await;
    // Killed between the record and its claim, and in the middle of a rename; then a snapshot of just that.
    records.stop_after(Some(2));
    assert!(directory.create(group("half", "half")).await.is_err());
    records.stop_after(Some(1));
    assert!(rename(&directory, "0001", "another name").await.is_err());
    records.stop_after(None);
    let mut copies = Vec::new();
    for (id, version) in records.versions(Kind::Group).await.expect("listed") {
        let (_, data) = records.get(Kind::Group, &id).await.expect("readable").expect("there");
        copies.push(Copied { id, version, data });
    }
    records.set_snapshot(Kind::Group, copies);
    let after = open(&records).await;
    assert_eq!(after.get::<Group>("half").map(|it| it.name.clone()).as_deref(), Some("half"));
    assert_eq!(after.get::<Group>("0001").map(|it| it.name.clone()).as_deref(), Some("name 1"));
    let names: HashSet<String> = names(&after).into_iter().collect();
    assert_eq!(names.len(), MANY + 1);
}

#[tokio::test]
async fn a_refresh_lists_only_the_kinds_that_were_written() {
    let records = MemoryRecords::default();
    let (here, there) = (open(&records).await, open(&records).await);
    let lists = async |directory: &Directory| {
        let before = records.lists();
        directory.refresh().await.expect("readable");
        records.lists() - before
    };
    assert_eq!(lists(&there).await, 0, "nothing was written");
    here.create(group("1", "one")).await.expect("free");
    assert_eq!(lists(&there).await, 2, "groups, and names for the new one");
    assert_eq!((names(&there), lists(&there).await), (vec!["one".to_owned()], 0));
    rename(&here, "1", "uno").await.expect("free");
    assert_eq!((lists(&there).await, names(&there)), (2, vec!["uno".to_owned()]));
    here.delete::<Group>("1").await.expect("there");
    assert_eq!((lists(&there).await, names(&there).len()), (1, 0));
}

fn credential(id: &str, moved_to: Option<&str>) -> Credential {
    Credential {
        id: id.to_owned(),
        kind: "ec2".to_owned(),
        user_id: "user".to_owned(),
        project_id: None,
        sealed_blob: String::new(),
        moved_to: moved_to.map(str::to_owned),
        delegate: None,
        extra: Extra::new(),
    }
}

#[tokio::test]
async fn a_record_is_found_by_its_second_id_as_it_is_now_on_every_host() {
    let records = MemoryRecords::default();
    let (here, there) = (open(&records).await, open(&records).await);
    let found = async |second: &str| {
        there.refresh().await.expect("readable");
        let ids = [&here, &there].map(|it| it.view().credentials.by_second_id(second).map(|it| it.id.clone()));
        assert_eq!(ids[0], ids[1]);
        ids[0].clone()
    };
    for (id, moved_to) in [("1", None), ("3", Some("x")), ("2", Some("x"))] {
        here.create(credential(id, moved_to)).await.expect("free");
    }
    assert_eq!((found("x").await.as_deref(), found("1").await, found("").await), (Some("2"), None, None));
    let set = |it: &mut Credential| {
        it.moved_to = Some("y".to_owned());
        Ok(())
    };
    here.update("2", set).await.expect("there");
    assert_eq!((found("x").await.as_deref(), found("y").await.as_deref()), (Some("3"), Some("2")));
    here.delete::<Credential>("3").await.expect("there");
    assert_eq!((found("x").await, found("y").await.as_deref()), (None, Some("2")));
}
