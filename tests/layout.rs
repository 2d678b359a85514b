//! The layout that DESIGN and ARCHITECTURE promise: one package per folder, imports strictly down the
//! floors, and a first line in every source file that says what it owns.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// The floors from the ground up. A package imports packages of lower floors only; those of one floor
/// never import each other.
const FLOORS: [&[&str]; 6] = [
    &["anello-base"],
    &["anello-ring"],
    &["anello-storage"],
    &["anello-api"],
    &[
        "anello-proxy",
        "anello-identity",
        "anello-image",
        "anello-block",
        "anello-network",
        "anello-compute",
        "anello-orchestration",
        "anello-metering",
        "anello-dashboard",
    ],
    &["anello", "anello-fuzz"],
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().expect("cargo metadata")
}

fn floor(package: &str) -> usize {
    FLOORS
        .iter()
        .position(|floor| floor.contains(&package))
        .unwrap_or_else(|| panic!("{package} stands on no floor: place it in FLOORS"))
}

#[test]
fn imports_go_strictly_down_the_floors() {
    let metadata = metadata();
    let names: Vec<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    for package in &metadata.packages {
        let dependencies = package.dependencies.iter().filter(|it| it.kind != DependencyKind::Development);
        for dependency in dependencies.filter(|it| names.contains(&it.name.as_str())) {
            assert!(
                floor(&dependency.name) < floor(&package.name),
                "{} imports {}, which is not on a lower floor",
                package.name,
                dependency.name
            );
        }
    }
}

#[test]
fn a_package_is_named_after_its_folder() {
    for package in &metadata().packages {
        let folder = package.manifest_path.parent().expect("a folder");
        let expected = if folder.as_std_path() == root() {
            "anello".to_owned()
        } else {
            format!("anello-{}", folder.file_name().expect("a name"))
        };
        assert_eq!(package.name.as_str(), expected, "{folder}");
    }
}

#[test]
fn every_source_file_says_first_what_it_owns() {
    let mut silent = Vec::new();
    let mut long = BTreeMap::new();
    each_source(&root(), &mut |path, text| {
        if !text.starts_with("//! ") {
            silent.push(path.to_owned());
        }
        if text.lines().count() > LINES_MAX {
            long.insert(path.to_owned(), text.lines().count());
        }
    });
    assert!(silent.is_empty(), "these files do not open with `//! `: {silent:#?}");
    assert!(long.is_empty(), "these files are longer than {LINES_MAX} lines: split them by meaning: {long:#?}");
}

/// A file past this is split by meaning.
const LINES_MAX: usize = 700;

/// Visits every `.rs` file of the project, but not what is built or fetched.
fn each_source(folder: &Path, visit: &mut impl FnMut(&Path, &str)) {
    for entry in std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if path.is_dir() {
            if !name.starts_with('.') && name != "target" {
                each_source(&path, visit);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            visit(path.strip_prefix(root()).expect("below the root"), &std::fs::read_to_string(&path).expect("text"));
        }
    }
}
