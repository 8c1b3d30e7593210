//! A full disk: writes are refused with a sentence, reads go on, and all is well when there is space again.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{Process, Setup, check_nothing_is_missing, is_root, within};

/// A small disk that only the node sees, at the place of its data folder.
const DISK: &str = "mount -t tmpfs -o size=8m tmpfs \"$0\" && exec \"$@\"";

fn can_have_a_disk(folder: &Path) -> Result<(), String> {
    if !is_root() {
        return Err("only root can mount a small disk".to_owned());
    }
    let folder = folder.to_str().unwrap();
    let tried = Command::new("unshare").args(["-m", "sh", "-c", DISK, folder, "true"]).output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(problem) => Err(format!("unshare: {problem}")),
    }
}

/// Takes all the space that is left.
fn fill(node: &Process, folder: &Path) {
    let mut filler = File::create(within(node, &folder.join("filler"))).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while filler.write_all(&vec![0; size]).is_ok() {}
    }
}

#[test]
fn a_node_whose_disk_is_full_refuses_writes_goes_on_reading_and_recovers_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    if let Err(why) = can_have_a_disk(folder.path()) {
        println!("skipped: {why}");
        return;
    }
    let disk = folder.path().to_str().unwrap();
    let node = Setup::node("n", folder.path()).wrapper(&["unshare", "-m", "sh", "-c", DISK, disk]).serve();
    let mut answered = std::collections::BTreeMap::new();
    let mut http = node.http();
    let mut put = |id: String| {
        let value = json!({"id": id, "text": "x".repeat(4000)});
        let path = format!("/api/v1/documents/load/{id}");
        let (status, answer) = http.request("PUT", &path, Some(&value)).unwrap();
        if status < 300 {
            answered.insert(id, value);
        }
        (status, answer)
    };
    for number in 0..20 {
        assert_eq!(put(format!("before-{number}")).0, 201);
    }

    fill(&node, folder.path());
    let check = |(status, answer): &(u16, Value)| {
        assert!(matches!(status, 507 | 503), "{status} {answer}");
        assert_eq!(answer["status"], json!(status));
        assert!(answer["error"].as_str().unwrap().contains("space"), "{answer}");
    };
    let refusal = (0..10_000).map(|number| put(format!("while-{number}"))).find(|(status, _)| *status >= 300);
    check(&refusal.expect("the disk never was full"));
    for number in 0..5 {
        check(&put(format!("refused-{number}")));
    }
    assert!(node.document("load/before-7").is_some());
    let (status, ready) = node.get("/api/v1/ready");
    assert_eq!((status, &ready["checks"][0]["ok"]), (503, &json!(false)), "{ready}");
    node.line_with("Writing fails, nothing more is acknowledged until it works again");

    fs::remove_file(within(&node, &folder.path().join("filler"))).unwrap();
    for number in 0..20 {
        let (status, answer) = put(format!("after-{number}"));
        assert_eq!(status, 201, "{answer}");
    }
    node.line_with("Writing works again");
    assert_eq!(node.get("/api/v1/ready").0, 200);
    assert!(answered.keys().all(|id| !id.starts_with("refused")));
    check_nothing_is_missing(&node, &answered);
    assert_eq!(node.collection("load").len(), answered.len(), "what was refused is not there");

    // The same on a restart, from a copy: the disk goes with the process.
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("automerge")).unwrap();
    for file in ["automerge/documents.redb", "automerge/documents.wal"] {
        fs::copy(within(&node, &folder.path().join(file)), copy.path().join(file)).unwrap();
    }
    let again = Setup::node("n", copy.path()).serve();
    check_nothing_is_missing(&again, &answered);
}
