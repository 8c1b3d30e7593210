//! Transfers that break off, parts that earlier runs have left, and content that is not what it should be.

use std::fs;
use std::io::Read;
use std::process::{Child, Command};
use std::time::Instant;

use crate::common::PATIENCE;
use crate::rig::{
    Done, Play, Scripted, blob, command, content, hash, node, refusal, rest, until_long, whole,
};

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

/// Waits until a process hears of a signal by itself, instead of being ended by it.
fn until_it_catches(child: &Child, signal: u32) {
    let start = Instant::now();
    let caught = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(mask.trim(), 16).unwrap() >> (signal - 1) & 1 == 1
    };
    while !caught() {
        assert!(start.elapsed() < PATIENCE, "it never catches signal {signal}");
        std::thread::yield_now();
    }
}

#[test]
fn a_get_into_a_pipe_is_stopped_when_nobody_reads_from_it() {
    const SIGINT: u32 = 2;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let bytes = content(1, 1_000_000);
    let hash = hash(&bytes);
    assert!(Command::new("mkfifo").arg(folder.join("pipe")).status().unwrap().success());
    // Nobody has opened it.
    let node = Scripted::start(vec![Play::Close(whole(&bytes, bytes.len()))]);
    let child = command(node.address, folder, &["get", &hash, "-o", "pipe"]).spawn().unwrap();
    until_it_catches(&child, SIGINT);
    signal(&child, "INT");
    assert!(Done::new(child.wait_with_output().unwrap()).failed(1).contains("stopped"));
    // Somebody has, and reads no more than the beginning.
    let child = command(node.address, folder, &["get", &hash, "-o", "pipe"]).spawn().unwrap();
    let mut pipe = fs::File::open(folder.join("pipe")).unwrap();
    pipe.read_exact(&mut [0; 1000]).unwrap();
    signal(&child, "INT");
    assert!(Done::new(child.wait_with_output().unwrap()).failed(1).contains("stopped"));
}

#[test]
fn a_get_goes_on_where_an_earlier_one_has_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let bytes = content(1, 100_000);
    let hash = hash(&bytes);
    let node = Scripted::start(vec![Play::Hold(whole(&bytes, 40_000)), Play::Close(rest(&bytes, 40_000))]);
    let mut child = command(node.address, folder, &["get", &hash, "-o", "map"]).spawn().unwrap();
    let part = folder.join("map.part");
    until_long(&mut child, &part, 40_000);
    assert!(!node.request().contains("range:"));
    // Another one does not write into the same file.
    let second = blob(node.address, folder, &["get", &hash, "-o", "map"]);
    assert!(second.failed(1).contains("another process is getting this file"), "{}", second.err);
    signal(&child, "INT");
    let stopped = Done::new(child.wait_with_output().unwrap());
    assert!(stopped.failed(1).contains("40000 bytes are in"), "{}", stopped.err);
    assert!(stopped.err.contains("map.part; the same command goes on from there"), "{}", stopped.err);
    assert!(!folder.join("map").exists());

    blob(node.address, folder, &["get", &hash, "-o", "map"]).well();
    let request = node.request();
    assert!(request.contains("range: bytes=40000-\r\n"), "{request}");
    assert!(request.contains(&format!("if-range: \"{hash}\"\r\n")), "{request}");
    assert!(fs::read(folder.join("map")).unwrap() == bytes);
    assert!(!part.exists());
}

#[test]
fn a_transfer_that_breaks_is_tried_again_from_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(1, 100_000);
    let hash = hash(&bytes);
    for output in ["map", "-"] {
        let plays = [whole(&bytes, 40_000), refusal(502, "the peer broke off"), rest(&bytes, 40_000)];
        let node = Scripted::start(plays.map(Play::Close).into());
        let done = blob(node.address, folder.path(), &["get", &hash, "-o", output]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        let lines: Vec<_> = done.err.lines().collect();
        assert_eq!(lines.len(), 2, "{}", done.err);
        assert!(lines[0].contains("broke") && lines[0].contains("Trying again in 1 s"), "{}", done.err);
        assert!(lines[1].contains("the peer broke off. Trying again in"), "{}", done.err);
        let got = if output == "-" { done.out } else { fs::read(folder.path().join("map")).unwrap() };
        assert!(got == bytes);
    }
}

#[test]
fn a_part_that_was_altered_is_found_out_and_got_again() {
    let (folder, node) = node();
    let (at, folder) = (node.broker(), folder.path());
    let bytes = content(1, 100_000);
    let hash = hash(&bytes);
    fs::write(folder.join("map"), &bytes).unwrap();
    blob(at, folder, &["put", "map"]).well();
    let mut altered = bytes[..40_000].to_vec();
    altered[7] ^= 1;
    let mut altered_whole = bytes.clone();
    altered_whole[99_999] ^= 1;
    let too_long = [&bytes[..], b"x"].concat();
    for part in [altered, altered_whole, too_long] {
        fs::write(folder.join("again.part"), &part).unwrap();
        let done = blob(at, folder, &["get", &hash, "-o", "again"]);
        assert_eq!(done.code, Some(0), "{}", done.err);
        assert!(done.err.contains("was altered; beginning again"), "{}", done.err);
        assert!(fs::read(folder.join("again")).unwrap() == bytes);
        assert!(!folder.join("again.part").exists());
    }
    // One that is right is used, without the node when it is whole.
    fs::write(folder.join("again.part"), &bytes[..40_000]).unwrap();
    blob(at, folder, &["get", &hash, "-o", "again"]).well();
    node.stop();
    fs::write(folder.join("again.part"), &bytes).unwrap();
    blob(at, folder, &["get", &hash, "-o", "again"]).well();
}

#[test]
fn content_with_another_hash_never_gets_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = content(1, 1000);
    let mut wrong = bytes.clone();
    wrong[500] ^= 1;
    let hash = hash(&bytes);
    let plays = [whole(&wrong, 1000), whole(&bytes, 1000)];
    let node = Scripted::start(plays.map(Play::Close).into());
    let done = blob(node.address, folder.path(), &["get", &hash, "-o", "map"]);
    assert_eq!(done.code, Some(0), "{}", done.err);
    assert!(done.err.contains("another hash, so it was thrown away"), "{}", done.err);
    assert!(fs::read(folder.path().join("map")).unwrap() == bytes);
    // What is out cannot be taken back.
    let node = Scripted::start(vec![Play::Close(whole(&wrong, 1000))]);
    let done = blob(node.address, folder.path(), &["get", &hash, "-o", "-"]);
    assert_eq!(done.code, Some(1));
    assert!(done.err.contains("Do not use it"), "{}", done.err);
}

#[test]
fn what_the_node_refuses_is_said_in_its_words() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("map"), "content").unwrap();
    let none = hash(b"none");
    for (words, status, sentence) in [
        (&["put", "map"][..], 507, "the disk has no space left for blobs"),
        (&["get", &none], 404, "no connected node has it"),
        (&["rm", &none], 409, "it is being fetched at the moment"),
        (&["ls"], 400, "that cannot be understood"),
    ] {
        let node = Scripted::start(vec![Play::Close(refusal(status, sentence))]);
        let done = blob(node.address, folder.path(), words);
        assert!(done.failed(1).contains(sentence), "{words:?}: {}", done.err);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a get of nothing leaves nothing");
}
