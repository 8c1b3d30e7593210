//! House rules that a reviewer should not have to look for.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(under: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(under).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, ending, found);
        } else if name.ends_with(ending) {
            found.push(path);
        }
    }
}

fn all(ending: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(root(), ending, &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        (path.strip_prefix(root()).unwrap().to_owned(), text)
    };
    found.into_iter().map(read).collect()
}

/// The rooms that only `node` and `service` join.
const ROOMS: [&str; 6] = ["discovery", "connection", "store", "blob", "broker", "client"];

#[test]
fn rooms_do_not_import_each_other() {
    let mut broken = Vec::new();
    for (path, text) in all(".rs") {
        let shown = path.display().to_string();
        let Some(inside) = shown.strip_prefix("src/") else { continue };
        let own = inside.split(['/', '.']).next().unwrap();
        if !ROOMS.contains(&own) {
            continue;
        }
        for other in ROOMS.iter().chain(&["node", "service"]).filter(|other| **other != own) {
            if text.contains(&format!("crate::{other}::")) || text.contains(&format!("crate::{other};")) {
                broken.push(format!("{shown} imports {other}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_core_has_no_runtime_no_sockets_and_no_disk() {
    let manifest = fs::read_to_string(root().join("crates/peat-mesh-core/Cargo.toml")).unwrap();
    for name in ["tokio", "iroh", "redb", "axum", "mdns"] {
        assert!(!manifest.contains(name), "the core's Cargo.toml names {name}");
    }
    for (path, text) in all(".rs").iter().filter(|(path, _)| path.starts_with("crates/peat-mesh-core/src")) {
        let is_test = path.to_string_lossy().contains("tests");
        for banned in
            ["std::fs", "std::net::Tcp", "std::net::Udp", "SystemTime::now", "Instant::now", "thread::spawn"]
        {
            assert!(is_test || !text.contains(banned), "{} uses {banned}", path.display());
        }
    }
}

#[test]
fn no_file_grows_past_what_one_noun_needs() {
    const LINES_MAX: usize = 400;
    let long: Vec<String> = all(".rs")
        .iter()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > LINES_MAX)
        .map(|(path, lines)| format!("{} has {lines} lines", path.display()))
        .collect();
    assert!(long.is_empty(), "look for the second noun in these: {long:#?}");
}

#[test]
fn no_channel_is_unbounded_and_nothing_is_left_to_do() {
    for (path, text) in all(".rs") {
        if path.ends_with("tests/tidy.rs") {
            continue;
        }
        for banned in ["unbounded_channel", "mpsc::unbounded", "todo!(", "unimplemented!(", "dbg!("] {
            assert!(!text.contains(banned), "{} has {banned}", path.display());
        }
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for (path, text) in all(".md") {
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap();
            let is_local = !target.is_empty() && !target.contains("://") && !target.starts_with("mailto:");
            let folder = root().join(path.parent().unwrap());
            if is_local && !folder.join(target).exists() {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn no_second_tls_provider_can_be_compiled_in() {
    // Optional dependencies that no feature of ours turns on are not in the lock file, so this holds for every
    // set of features. Two providers panic at the first use of TLS, which would be in a cluster.
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    for name in ["aws-lc-rs", "aws-lc-sys", "openssl", "openssl-sys", "native-tls"] {
        assert!(!lock.contains(&format!("\nname = \"{name}\"\n")), "Cargo.lock has {name} beside ring");
    }
    assert!(lock.contains("\nname = \"ring\"\n"));
}
