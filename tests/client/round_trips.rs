//! What goes in comes out again.

use std::fs;

use serde_json::{Value, json};

use crate::common::Pair;
use crate::rig::{blob, blob_with_input, content, hash, node};

#[test]
fn files_that_are_put_are_got_again_byte_for_byte() {
    let (folder, node) = node();
    let (at, folder) = (node.broker(), folder.path());
    for (name, size) in [("empty", 0), ("a name with spaces", 1), ("small", 16 * 1024), ("large", 5_000_000)]
    {
        let bytes = content(size as u64 + 1, size);
        fs::write(folder.join(name), &bytes).unwrap();
        let hash = hash(&bytes);
        assert_eq!(blob(at, folder, &["put", name]).well(), format!("{hash}  {name}\n"));
        assert_eq!(blob(at, folder, &["get", &hash, "-o", "again"]).well(), "");
        assert!(fs::read(folder.join("again")).unwrap() == bytes, "{name}");
        // Without a name it is the hash.
        blob(at, folder, &["get", &hash]).well();
        assert!(fs::read(folder.join(&hash)).unwrap() == bytes, "{name}");
        assert!(!folder.join("again.part").exists());
    }
}

#[test]
fn standard_input_goes_in_and_standard_output_comes_out() {
    let (folder, node) = node();
    let (at, folder) = (node.broker(), folder.path());
    for size in [0, 3_000_000] {
        let bytes = content(7, size);
        let hash = hash(&bytes);
        let put = blob_with_input(at, folder, &["put", "-"], &bytes);
        assert_eq!(put.well(), format!("{hash}  -\n"));
        let got = blob(at, folder, &["get", &hash, "-o", "-"]);
        assert_eq!((got.code, got.err.as_str()), (Some(0), ""));
        assert!(got.out == bytes, "{size} bytes");
        // What is no file is written to, and not replaced.
        blob(at, folder, &["get", &hash, "-o", "/dev/null"]).well();
    }
    assert!(!fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn several_files_are_put_and_those_that_cannot_be_are_named() {
    let (folder, node) = node();
    let (at, folder) = (node.broker(), folder.path());
    for name in ["a", "b"] {
        fs::write(folder.join(name), name).unwrap();
    }
    let done = blob(at, folder, &["put", "a", "nowhere", ".", "b"]);
    assert_eq!(done.code, Some(1));
    let wanted = format!("{}  a\n{}  b\n", hash(b"a"), hash(b"b"));
    assert_eq!(String::from_utf8_lossy(&done.out), wanted);
    let lines: Vec<_> = done.err.lines().collect();
    assert_eq!(lines.len(), 2, "{}", done.err);
    assert!(lines[0].contains("nowhere: No such file"), "{}", done.err);
    assert!(lines[1].contains(".: this is a folder"), "{}", done.err);
}

#[test]
fn what_is_on_the_node_is_listed_and_removed() {
    let (folder, node) = node();
    let (at, folder) = (node.broker(), folder.path());
    let none = blob(at, folder, &["ls"]);
    assert_eq!((none.code, none.out.len()), (Some(0), 0));
    assert!(none.err.contains("no blob"), "{}", none.err);
    let list = |words: &[&str]| -> Value { serde_json::from_str(blob(at, folder, words).well()).unwrap() };
    assert_eq!(list(&["ls", "--json"]), json!([]));

    let mut hashes: Vec<String> = [&b"one"[..], b"three"]
        .map(|bytes| {
            let put = blob_with_input(at, folder, &["put", "-"], bytes);
            put.well().split(' ').next().unwrap().to_owned()
        })
        .into();
    let one = hash(b"one");
    let sizes = |hash: &str| if hash == one { 3 } else { 5 };
    hashes.sort();
    let lines: String = hashes.iter().map(|hash| format!("{hash}  {:>15}\n", sizes(hash))).collect();
    assert_eq!(blob(at, folder, &["ls"]).well(), lines);
    let all: Vec<Value> = hashes.iter().map(|hash| json!({"hash": hash, "size": sizes(hash)})).collect();
    assert_eq!(list(&["ls", "--json"]), Value::from(all));

    let unknown = hash(b"unknown");
    let removed = blob(at, folder, &["rm", &hashes[0], &unknown, &hashes[1]]);
    assert!(removed.failed(1).contains(&format!("blob {unknown} is not on this node")), "{}", removed.err);
    assert_eq!(removed.err.lines().count(), 1);
    assert_eq!(list(&["ls", "--json"]), json!([]));
}

#[test]
fn a_file_put_on_one_node_is_got_from_another() {
    let pair = Pair::new();
    let (alice, bob) = pair.serve();
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(3, 2_000_000);
    let put = blob_with_input(alice.broker(), folder.path(), &["put", "-"], &bytes);
    let hash = put.well().split(' ').next().unwrap();
    let there = format!("http://{}", bob.broker());
    blob(alice.broker(), folder.path(), &["get", hash, "-o", "map", "--node", &there]).well();
    assert!(fs::read(folder.path().join("map")).unwrap() == bytes);
    let listed = blob(alice.broker(), folder.path(), &["--node", &there, "ls"]);
    assert_eq!(listed.well(), format!("{hash}  {:>15}\n", bytes.len()));
}
