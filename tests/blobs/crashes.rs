//! Crashes, uploads that break off, and folders that cannot be used.

use std::fs;

use crate::common::{Http, Process, Setup};
use crate::rig::{add, content, files, get, hash, state};

/// An upload of which the node has written a part.
fn half_an_upload(node: &Process, temp: &std::path::Path) -> Http {
    let mut http = node.http();
    http.send_head("POST", "/api/v1/blobs", "content-length: 10000000\r\n").unwrap();
    http.send(&content(9, 5_000_000)).unwrap();
    crate::rig::until("a part is on disk", || !files(temp).is_empty());
    http
}

#[test]
fn after_kill_9_in_the_middle_of_an_upload_the_store_opens_and_has_what_it_had() {
    let folder = tempfile::tempdir().unwrap();
    let temp = folder.path().join("blobs/temp");
    let setup = Setup::node("n", folder.path());
    let node = setup.serve();
    let bytes = content(1, 3_000_000);
    let small = content(2, 100);
    let answered = [add(&node, &bytes), add(&node, &small)];
    let _http = half_an_upload(&node, &temp);
    node.kill();
    assert_eq!(files(&temp).len(), 1);

    let node = setup.serve();
    assert_eq!(files(&temp), [""; 0], "what the upload has left is gone");
    assert!(get(&node, &answered[0]).body == bytes);
    assert!(get(&node, &answered[1]).body == small);
    assert_eq!(state(&node, &hash(&content(9, 10_000_000))), "absent");
    add(&node, &content(9, 10_000_000));
    // A clean stop keeps them as well.
    node.stop();
    let node = setup.serve();
    assert!(get(&node, &answered[0]).body == bytes);
}

#[test]
fn files_of_blobs_that_the_index_does_not_know_are_gone_after_a_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("blobs/data");
    let setup = Setup::node("n", folder.path());
    let node = setup.serve();
    let bytes = content(1, 6_000_000);
    let kept = add(&node, &bytes);
    node.kill();
    let of_kept = files(&data).len();
    // What a crash leaves between moving a blob to its place, or the first bytes of a fetch, and the index.
    let unknown = hash(b"unknown");
    for part in ["data", "obao4", "sizes4", "bitfield"] {
        fs::write(data.join(format!("{unknown}.{part}")), [1; 100_000]).unwrap();
    }
    let node = setup.serve();
    let left = files(&data);
    assert_eq!(left.len(), of_kept, "{left:?}");
    assert!(get(&node, &kept).body == bytes);
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let temp = folder.path().join("blobs/temp");
    let node = Setup::node("n", folder.path()).serve();
    let going_on = half_an_upload(&node, &temp);
    let broken = half_an_upload(&node, &temp);
    crate::rig::until("both are on disk", || files(&temp).len() == 2);
    drop(broken);
    node.line_with("removed what an upload that broke off has left");
    assert_eq!(files(&temp).len(), 1, "the other upload goes on");
    let mut http = going_on;
    http.send(&content(10, 5_000_000)).unwrap();
    let answer = http.answer("POST").unwrap();
    assert_eq!(answer.status, 201, "{answer:?}");
    assert_eq!(files(&temp), [""; 0]);
}

#[test]
fn a_folder_of_blobs_that_cannot_be_opened_is_named_with_what_to_do() {
    for (what, spoil) in [("cannot be used", "blobs"), ("cannot be opened", "blobs/blobs.db")] {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::node("n", folder.path());
        fs::create_dir_all(folder.path().join(spoil).parent().unwrap()).unwrap();
        fs::write(folder.path().join(spoil), "this is something else").unwrap();
        let ended = setup.run();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.all());
        let named = folder.path().join("blobs");
        assert!(ended.err.contains(named.to_str().unwrap()), "{}", ended.err);
        assert!(ended.err.contains(what), "{}", ended.err);
        assert!(ended.err.to_lowercase().contains("move"), "{}", ended.err);
        let left = fs::read(folder.path().join(spoil)).unwrap();
        assert_eq!(left, b"this is something else");
    }
}

#[test]
fn of_a_thousand_small_uploads_at_once_every_answered_one_is_there_after_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::node("n", folder.path());
    let node = setup.serve();
    let sent: Vec<Vec<u8>> = (0..1_000).map(|seed| content(seed, 1 + seed as usize * 37)).collect();
    let gate = std::sync::Barrier::new(sent.len());
    std::thread::scope(|scope| {
        for bytes in &sent {
            let (node, gate) = (&node, &gate);
            scope.spawn(move || {
                gate.wait();
                let answer = node.http().exchange("POST", "/api/v1/blobs", "", bytes).unwrap();
                assert_eq!(answer.status, 201, "{answer:?}");
                assert_eq!(answer.json()["hash"], hash(bytes));
            });
        }
    });
    node.kill();
    let node = setup.serve();
    for bytes in &sent {
        assert!(get(&node, &hash(bytes)).body == *bytes, "{} bytes", bytes.len());
    }
}
