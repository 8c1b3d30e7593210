//! Two processes with one name and one secret: a mistake of the operator that must not stay unseen.

use serde_json::{Value, json};

use crate::common::{Process, Setup};

fn identity_check(node: &Process) -> (u16, Value) {
    let (status, ready) = node.get("/api/v1/ready");
    let checks = ready["checks"].as_array().unwrap();
    let check = checks.iter().find(|check| check["name"] == "identity").unwrap();
    (status, check.clone())
}

fn check_one_of_them_says_so(twins: &[Process; 2]) {
    let is_told = |twin: &&Process| identity_check(twin).1["ok"] == json!(false);
    let told: Vec<&Process> = twins.iter().filter(is_told).collect();
    assert!(!told.is_empty(), "{:?}", twins.each_ref().map(identity_check));
    for twin in told {
        let (status, check) = identity_check(twin);
        assert_eq!(status, 503);
        assert!(check["detail"].as_str().unwrap().contains("HOSTNAME"), "{check}");
        let line = twin.line_with("another process runs with this node's name and secret");
        assert!(line.contains("WARN") && line.contains("HOSTNAME"), "{line}");
    }
}

#[test]
fn of_two_nodes_with_one_name_that_dial_a_third_one_says_so() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let third = Setup::node("third", folders[2].path()).serve();
    let first = Setup::node("twin", folders[0].path()).peers(&[third.entry()]).serve();
    first.connected_to("third");
    let second = Setup::node("twin", folders[1].path()).peers(&[third.entry()]).serve();
    first.line_with("another process runs with this node's name and secret");
    check_one_of_them_says_so(&[first, second]);
    assert_eq!(identity_check(&third).1["ok"], json!(true));
}

#[test]
fn of_two_nodes_with_one_name_of_which_a_third_dials_one_that_one_says_so() {
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let first = Setup::node("twin", folders[0].path()).serve();
    let third = Setup::node("third", folders[2].path()).peers(&[first.entry()]).serve();
    third.connected_to("twin");
    let second = Setup::node("twin", folders[1].path()).peers(&[third.entry()]).serve();
    first.line_with("another process runs with this node's name and secret");
    check_one_of_them_says_so(&[first, second]);
}
