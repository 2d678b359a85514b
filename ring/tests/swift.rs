//! Swift's own code reads our ring files as we do, and we read its. The environment variable
//! `ANELLO_TEST_PYTHON` names a Python that can import `swift` (2.38); `./dev test` sets it.

mod clusters;

use anello_ring::{Rebalanced, Ring};
use clusters::{Cluster, device, rebalance};
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// Prints the primaries of every partition of the ring file in its first argument, as Swift finds them.
const PRINT_PRIMARIES: &str = r#"
import sys
from swift.common import utils
utils.HASH_PATH_SUFFIX = b'x'
from swift.common.ring import Ring
ring = Ring(sys.argv[1])
assert ring.version == int(sys.argv[2]) or sys.argv[2] == '-1', ring.version
for part in range(ring.partition_count):
    print(*(node['id'] for node in ring.get_part_nodes(part)))
    more = [node['id'] for node in ring.get_more_nodes(part)] if part < 8 else []
    assert len(more) == len(set(more))
print(ring.replica_count, len([dev for dev in ring.devs if dev]))
"#;

/// Makes a ring with Swift's builder: arguments are the file, part power and replicas.
const MAKE_RING: &str = r#"
import sys
from swift.common.ring import RingBuilder
path, power, replicas = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
builder = RingBuilder(power, replicas, 1)
for number in range(24):
    host = number // 3
    builder.add_dev({'id': number, 'region': 1 + host // 6, 'zone': 1 + host // 2, 'ip': '10.0.0.%d' % host,
                     'port': 6200, 'replication_ip': '10.1.0.%d' % host, 'replication_port': 6300,
                     'device': 'sd%s' % 'abc'[number % 3], 'weight': 100.0 + number, 'meta': 'disk %d' % number})
builder.rebalance(seed=3)
builder.pretend_min_part_hours_passed()
builder.remove_dev(5)
builder.rebalance(seed=4)
builder.get_ring().save(path)
"#;

/// The Python to use; without the variable the test says that it did not run.
fn python(test: &str) -> Option<std::ffi::OsString> {
    let python = std::env::var_os("ANELLO_TEST_PYTHON").filter(|path| !path.is_empty());
    if python.is_none() {
        eprintln!("SKIPPED {test}: ANELLO_TEST_PYTHON names no Python that can import swift");
    }
    python
}

fn run(python: &std::ffi::OsStr, program: &str, arguments: &[&str]) -> String {
    let output = Command::new(python).arg("-c").arg(program).args(arguments).output().expect("Python starts");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", python.display());
    String::from_utf8(output.stdout).expect("digits")
}

/// Compares what Swift reads from `path` with `ring`, partition by partition.
fn check(python: &std::ffi::OsStr, path: &Path, ring: &Ring) {
    let version = ring.version().map_or("-1".to_owned(), |version| version.to_string());
    let printed = run(python, PRINT_PRIMARIES, &[path.to_str().expect("plain"), &version]);
    let mut lines = printed.lines();
    for partition in ring.partitions() {
        let ours: Vec<String> = ring.primaries(partition).iter().map(ToString::to_string).collect();
        assert_eq!(lines.next(), Some(ours.join(" ").as_str()), "partition {partition}");
    }
    let summary = format!("{:?} {}", ring.replicas(), ring.devices().count());
    assert_eq!(lines.collect::<Vec<_>>(), [summary]);
}

#[test]
fn swift_reads_our_ring_files_as_we_do() {
    let Some(python) = python("swift_reads_our_ring_files_as_we_do") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for replicas in [1.0, 2.0, 2.5, 3.0, 3.25] {
        let mut builder = Cluster { power: 10, ..Cluster::even(2, 2, 2, 3, replicas) }.balanced();
        builder.remove(anello_ring::DeviceId(4)).expect("it is there");
        builder.add(device(1, 1, 2, 70, 2.0)).expect("a new disk");
        let Rebalanced { moved, .. } = rebalance(&mut builder, 2);
        assert!(moved > 0);
        let path = folder.path().join("object.ring.gz");
        let ring = builder.ring().expect("it was rebalanced");
        ring.write(File::create(&path).expect("writable")).expect("there is space");
        check(&python, &path, &ring);
    }
}

#[test]
fn we_read_swifts_ring_files_as_it_does() {
    let Some(python) = python("we_read_swifts_ring_files_as_it_does") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (power, replicas) in [("10", "3"), ("8", "2.5"), ("4", "1")] {
        let path = folder.path().join("object.ring.gz");
        run(&python, MAKE_RING, &[path.to_str().expect("plain"), power, replicas]);
        let ring = Ring::read(File::open(&path).expect("just made")).expect("a ring file of Swift's");
        ring.validate().expect("Swift assigns everything");
        check(&python, &path, &ring);
        let device = ring.device(anello_ring::DeviceId(7)).expect("it is there");
        assert_eq!(device.to_string(), "d7r1z2-10.0.0.2:6200R10.1.0.2:6300/sdb_disk 7");
        // Written again by us, Swift reads the same.
        ring.write(File::create(&path).expect("writable")).expect("there is space");
        check(&python, &path, &ring);
    }
}
