//! A full disk: blobs are refused with a sentence, what is there stays, and space comes back.

use std::process::Command;

use crate::common::{Setup, is_root, within};
use crate::rig::{add, ask, content, files, get, send};

/// A small disk that only the node sees, at the place of its data folder.
const DISK: &str = "mount -t tmpfs -o size=64m tmpfs \"$0\" && exec \"$@\"";

#[test]
fn a_node_whose_disk_is_full_refuses_blobs_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    let words = ["unshare", "-m", "sh", "-c", DISK, disk];
    let tried = Command::new(words[0]).args(&words[1..]).arg("true").output();
    if !is_root() || !tried.is_ok_and(|tried| tried.status.success()) {
        println!("skipped: only root can mount a small disk");
        return;
    }
    let node = Setup::node("n", folder.path()).wrapper(&words).serve();
    let temp = within(&node, &folder.path().join("blobs/temp"));
    let bytes = content(1, 5_000_000);
    let kept = add(&node, &bytes);

    // Of a length that is known, none is written.
    let mut http = node.http();
    http.send_head("POST", "/api/v1/blobs", "content-length: 60000000\r\n").unwrap();
    assert!(http.answer("POST").unwrap().error(507).contains("no space left for blobs"));
    // Of one that is not, what was written is given back.
    let mut http = node.http();
    http.send_head("POST", "/api/v1/blobs", "transfer-encoding: chunked\r\n").unwrap();
    let piece = [&b"100000\r\n"[..], &content(2, 1 << 20), b"\r\n"].concat();
    // The node stops reading before all of it is there.
    let _ = (0..60).try_for_each(|_| http.send(&piece));
    assert!(http.answer("POST").unwrap().error(507).contains("no space left for blobs"));
    node.line_with("removed what an upload that broke off has left");
    assert_eq!(files(&temp), [""; 0]);

    assert!(get(&node, &kept).body == bytes);
    assert_eq!(node.put("c/x", &serde_json::json!({"n": 1})).0, 201);
    let more = add(&node, &content(3, 5_000_000));
    assert_eq!(ask(&node, "DELETE", &format!("/{more}"), "").status, 204);
    assert_eq!(send(&node, &bytes).status, 200);
}
