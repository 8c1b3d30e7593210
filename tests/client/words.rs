//! Wrong words, and nodes that are not there.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

use crate::common::Lines;
use crate::rig::{LOOKING, Play, Scripted, blob, command, hash, node};

#[test]
fn a_node_that_does_not_run_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "x").unwrap();
    // Taken, so that nobody else gets it, and nobody listens.
    let port = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    port.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    let at = port.local_addr().unwrap().as_socket().unwrap();
    let hash = hash(b"x");
    for words in [&["put", "file", "file"][..], &["get", &hash], &["ls"], &["rm", &hash]] {
        let done = blob(at, folder.path(), words);
        let said = done.failed(1);
        assert!(said.contains(&format!("no node answers at http://{at}")), "{words:?}: {said}");
        assert!(said.contains("--node") && said.lines().count() == 1, "{words:?}: {said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_is_no_node_is_not_taken_for_one() {
    let folder = tempfile::tempdir().unwrap();
    let page = b"HTTP/1.1 404 Not Found\r\ncontent-length: 14\r\n\r\n<h1>Sorry</h1>".to_vec();
    let other = Scripted::start(vec![Play::Close(page)]);
    let done = blob(other.address, folder.path(), &["ls"]);
    assert!(done.failed(1).contains("as no peat-mesh-node does"), "{}", done.err);
}

#[test]
fn an_unknown_blob_is_told_in_the_words_of_the_node_and_leaves_nothing() {
    let (_data, node) = node();
    let folder = tempfile::tempdir().unwrap();
    let unknown = hash(b"unknown");
    let done = blob(node.broker(), folder.path(), &["get", &unknown]);
    assert!(done.failed(1).contains(&unknown) && done.err.contains("is not here"), "{}", done.err);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn while_nothing_comes_it_is_said_that_the_node_looks_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Scripted::start(vec![Play::Hold(Vec::new())]);
    let mut child = command(node.address, folder.path(), &["get", &hash(b"x")]).spawn().unwrap();
    let lines = Lines::follow(child.stderr.take().unwrap());
    assert!(lines.find(0, |line| line.contains(LOOKING)).is_some(), "{}", lines.text());
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn wrong_words_end_with_status_2_and_say_what_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let at = "127.0.0.1:1".parse().unwrap();
    let hash = hash(b"x");
    for (words, said) in [
        (&[][..], "Usage: peat-mesh-node blob"),
        (&["nonsense"], "nonsense"),
        (&["put"], "<FILE>"),
        (&["get"], "<HASH>"),
        (&["get", "abc"], "64 hex digits"),
        (&["get", &hash, &hash], "unexpected argument"),
        (&["rm"], "<HASH>"),
        (&["ls", "--node", "https://a:1"], "without TLS"),
        (&["ls", "--node", "http://a:1/path"], "has no path"),
    ] {
        let done = blob(at, folder.path(), words);
        assert!(done.failed(2).contains(said), "{words:?}: {}", done.err);
    }
    for (variable, value) in
        [("PEAT_BROKER_PORT", "many"), ("PEAT_BROKER_BIND", "here"), ("PEAT_BROKER_PORT", "0")]
    {
        let output = command(at, folder.path(), &["ls"]).env(variable, value).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(variable) && said.contains("--node"), "{said}");
    }
    let help = blob(at, folder.path(), &["--help"]);
    for word in ["put", "get", "ls", "rm", "--node", "PEAT_BROKER_PORT", "Exit status"] {
        assert!(help.well().contains(word), "{word}");
    }
}
