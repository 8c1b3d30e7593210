//! Starting: who the node is, where its data goes, and what it says when it cannot have what it needs.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;

use serde_json::json;

use crate::common::{Setup, is_root};

fn device_id(setup: &Setup) -> String {
    let node = setup.serve();
    let line = node.line_with("Mesh started");
    let (_, id) = line.split_once("device_id=").unwrap();
    let id = id.to_owned();
    node.stop();
    id
}

#[test]
fn the_device_id_survives_restarts_and_belongs_to_secret_and_name() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::node("one", folder.path());
    let first = device_id(&setup);
    assert_eq!(first, device_id(&setup), "after a restart");
    let elsewhere = tempfile::tempdir().unwrap();
    assert_eq!(first, device_id(&Setup::node("one", elsewhere.path())), "without its data");
    assert_ne!(first, device_id(&setup.clone().set("HOSTNAME", "two")), "another name");
    assert_ne!(first, device_id(&setup.clone().set("PEAT_CLUSTER", "alpha")), "another cluster");
    let other = crate::common::secret_text(2);
    assert_ne!(first, device_id(&setup.set("PEAT_FORMATION_SECRET", &other)), "another secret");
}

#[test]
fn without_a_data_folder_the_state_folder_is_used_and_one_line_says_so() {
    if is_root() || Path::new("/data").exists() {
        println!("skipped: this user could write to /data, where no test may leave anything");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let state = home.path().join("state");
    let setup = Setup::node("n", home.path()).unset("PEAT_DATA_DIR");
    let with_state = setup.clone().set("XDG_STATE_HOME", state.to_str().unwrap());
    for (setup, folder) in [
        (with_state, state.join("peat-mesh")),
        (setup.set("HOME", home.path().to_str().unwrap()), home.path().join(".local/state/peat-mesh")),
    ] {
        let ended = setup.serve().stop();
        let lines: Vec<&str> = ended.out.lines().filter(|line| line.contains("PEAT_DATA_DIR")).collect();
        assert_eq!(lines.len(), 1, "{}", ended.out);
        assert!(lines[0].contains(folder.to_str().unwrap()), "{}", lines[0]);
        assert!(folder.join("automerge/documents.redb").exists());
    }
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    let ended = Setup::node("n", &file.join("data")).run();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.all());
    assert!(ended.err.contains(file.to_str().unwrap()), "{}", ended.err);
    assert!(ended.err.contains("PEAT_DATA_DIR"), "{}", ended.err);
}

#[test]
fn a_second_process_on_the_same_data_folder_is_refused_and_the_first_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::node("n", folder.path());
    let first = setup.serve();
    assert_eq!(first.put("c/before", &json!({"n": 1})).0, 201);
    let ended = setup.run();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.all());
    let file = folder.path().join("automerge/documents.redb");
    assert!(ended.err.contains(&format!("{} is in use", file.display())), "{}", ended.err);
    assert!(!ended.out.contains("Mesh started"), "{}", ended.out);
    assert_eq!(first.put("c/after", &json!({"n": 2})).0, 201);
    assert_eq!(first.document("c/before"), Some(json!({"n": 1})));
    first.stop();
}

#[test]
fn a_damaged_store_is_refused_named_and_left_byte_for_byte_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::node("n", folder.path());
    let node = setup.serve();
    for number in 0..50 {
        assert_eq!(node.put(&format!("c/{number}"), &json!({"n": number})).0, 201);
    }
    node.stop();
    let file = folder.path().join("automerge/documents.redb");
    let whole = fs::read(&file).unwrap();
    let middle = whole.len() / 2;
    let scribbled = [&whole[..4096], &vec![0xa5; whole.len() - 4096]].concat();
    let damages = [
        ("empty", Vec::new()),
        ("cut in half", whole[..middle].to_vec()),
        ("another file", b"this is no store at all".repeat(1000)),
        ("its first page overwritten", [&[0xff; 4096], &whole[4096..]].concat()),
        ("all but its first page overwritten", scribbled),
    ];
    for (what, damaged) in damages {
        fs::write(&file, &damaged).unwrap();
        let ended = setup.run();
        assert_eq!(ended.status.code(), Some(1), "{what}: {}", ended.all());
        // The last line: a broken page may make the storage engine panic first, and that is printed too.
        let last = ended.err.lines().last().unwrap();
        assert!(last.contains(&format!("{} is damaged", file.display())), "{what}: {}", ended.err);
        assert!(last.contains("restore a backup"), "{what}: {}", ended.err);
        assert!(fs::read(&file).unwrap() == damaged, "{what}: the file was changed");
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(setup.serve().document("c/49"), Some(json!({"n": 49})));
}

#[test]
fn a_tcp_port_in_use_is_named_with_its_variable() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let ended = Setup::node("n", folder.path()).set("PEAT_BROKER_PORT", &port).run();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.all());
    assert!(ended.err.contains(&format!("TCP port {port} of 127.0.0.1")), "{}", ended.err);
    assert!(ended.err.contains("PEAT_BROKER_PORT"), "{}", ended.err);
}

#[test]
fn a_udp_port_in_use_is_named_with_its_variable() {
    let taken = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    let ended = Setup::node("n", folder.path()).set("PEAT_IROH_BIND_PORT", &port).run();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.all());
    assert!(ended.err.contains(&format!("UDP port {port} ")), "{}", ended.err);
    assert!(ended.err.contains("PEAT_IROH_BIND_PORT"), "{}", ended.err);
}
