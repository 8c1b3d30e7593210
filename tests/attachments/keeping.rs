//! One node: what keeps a blob, and what does not.

use crate::common::Setup;
use crate::rig::{add, ask, content, files, get, send, state, status, until};
use crate::{delete, forgetful, naming, references};
use serde_json::Value;

#[test]
fn a_blob_stays_as_long_as_a_document_names_it_and_goes_after_that() {
    let folder = tempfile::tempdir().unwrap();
    let node = forgetful(&Setup::node("n", folder.path())).serve();
    let bytes = content(1, 3_000_000);
    let [named, stray] = [&bytes, &content(2, 50_000)].map(|bytes| add(&node, bytes));
    assert_eq!(node.put("maps/1", &naming(&[&named])).0, 201);
    assert_eq!(node.put("maps/2", &naming(&[&named, &named])).0, 201);
    until("the other one is gone", || state(&node, &stray) == "absent");
    let files = || files(&folder.path().join("blobs/data")).len();
    until("and its file", || files() == 1);
    let line = node.line_with("Dropped blobs");
    assert!(line.contains("blobs=1") && line.contains("bytes=50000"), "{line}");
    let now = status(&node, &named);
    assert_eq!((&now["references"], &now["collected_after"]), (&2.into(), &Value::Null), "{now}");
    assert_eq!(now["pinned"], false);

    delete(&node, "maps/1");
    until("one document is left", || references(&node, &named) == 1);
    assert!(get(&node, &named).body == bytes);
    // A document that is changed names other ones.
    assert_eq!(node.put("maps/2", &naming(&[])).0, 200);
    until("nothing names it", || status(&node, &named)["collected_after"].is_string());
    until("it is gone", || state(&node, &named) == "absent");
    until("and its files", || files() == 0);
    assert_eq!(get(&node, &named).status, 404);
    // It can come back.
    assert_eq!(add(&node, &bytes), named);
    assert!(!node.stop().all().contains(" WARN "));
}

#[test]
fn a_blob_that_is_sent_again_begins_its_time_anew() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).set("PEAT_BLOB_GRACE_SECS", "20").serve();
    let hash = add(&node, b"sent twice");
    // To the second.
    let time = |hash: &str| status(&node, hash)["collected_after"].as_str().unwrap()[..19].to_owned();
    // A blob that has just come stays for the whole time from now on. Until it is noticed that nothing refers to
    // the other one, so does that; it is asked for last.
    let whole = || {
        let new = add(&node, b"new");
        let whole = time(&new);
        assert_eq!(ask(&node, "DELETE", &format!("/{new}"), "").status, 204);
        whole
    };
    until("some of its time has gone", || whole() > time(&hash));
    let (begun, whole) = (time(&hash), whole());
    assert_eq!(send(&node, b"sent twice").status, 200);
    assert!(time(&hash) >= whole && whole > begun, "{begun}, {whole}, {}", time(&hash));
}

#[test]
fn a_grace_time_of_nothing_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let node = Setup::node("n", folder.path()).set("PEAT_BLOB_GRACE_SECS", "0").serve();
    let hash = add(&node, b"kept");
    let now = status(&node, &hash);
    assert_eq!((&now["references"], &now["collected_after"]), (&0.into(), &Value::Null), "{now}");
}

#[test]
fn a_pinned_blob_stays_until_it_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let setup = forgetful(&Setup::node("n", folder.path())).set("PEAT_BLOB_POLICY", "archive=pinned");
    let node = setup.serve();
    let pinned = add(&node, b"pinned");
    assert_eq!(node.put("archive/1", &naming(&[&pinned])).0, 201);
    until("it is pinned", || status(&node, &pinned)["pinned"] == true);
    delete(&node, "archive/1");
    until("nothing names it", || references(&node, &pinned) == 0);
    // Whatever came after it has gone.
    let stray = add(&node, b"stray");
    until("another one is gone", || state(&node, &stray) == "absent");
    assert_eq!(state(&node, &pinned), "complete");
    assert_eq!(status(&node, &pinned)["collected_after"], Value::Null);
    // Also after a restart, with other policies.
    node.stop();
    let node = setup.unset("PEAT_BLOB_POLICY").serve();
    let stray = add(&node, b"stray");
    until("another one is gone", || state(&node, &stray) == "absent");
    assert_eq!(state(&node, &pinned), "complete");
    assert_eq!(ask(&node, "DELETE", &format!("/{pinned}"), "").status, 204);
    assert_eq!(status(&node, &pinned)["pinned"], false);
}

#[test]
fn after_every_kill_9_blobs_that_documents_name_are_there_and_others_go() {
    let folder = tempfile::tempdir().unwrap();
    let setup = forgetful(&Setup::node("n", folder.path()));
    let bytes = |round: u64| content(round, 40_000 + round as usize);
    let mut kept = Vec::new();
    let mut gone = Vec::new();
    for round in 0..6 {
        let node = setup.serve();
        let [named, stray, left] = [0, 100, 200].map(|kind| add(&node, &bytes(kind + round)));
        assert_eq!(node.put(&format!("maps/{round}"), &naming(&[&named])).0, 201);
        assert_eq!(node.put(&format!("left/{round}"), &naming(&[&left])).0, 201);
        delete(&node, &format!("left/{round}"));
        if round % 2 == 0 {
            // While blobs of the last round are dropped.
            until("one is gone", || gone.iter().chain([&stray]).any(|hash| state(&node, hash) == "absent"));
        }
        kept.push(named);
        gone.extend([stray, left]);
        node.kill();
    }
    let node = setup.serve();
    until("all others are gone", || gone.iter().all(|hash| state(&node, hash) == "absent"));
    for (round, hash) in kept.iter().enumerate() {
        assert!(get(&node, hash).body == bytes(round as u64), "{round}");
        assert_eq!(references(&node, hash), 1);
    }
    until("their files, too", || files(&folder.path().join("blobs/data")).len() == kept.len());
}
