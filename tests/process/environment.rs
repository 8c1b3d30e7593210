//! Wrong variables and wrong words: status 64, and every mistake with its name and an example.

use crate::common::{Ended, Setup, secret_text};

/// A secret that is refused for its length, and that must not be shown for it.
const SHORT_SECRET: &str = "c2hvcnQtc2VjcmV0";

struct Wrong {
    variable: &'static str,
    value: &'static str,
    problem: &'static str,
    example: &'static str,
}

const WRONG: &[Wrong] = &[
    Wrong {
        variable: "PEAT_FORMATION_SECRET",
        value: SHORT_SECRET,
        problem: "it is 12 bytes after base64; at least 16 are needed",
        example: "openssl rand -base64 32",
    },
    Wrong {
        variable: "HOSTNAME",
        value: "has space",
        problem: "' ' at position 4",
        example: "HOSTNAME=vehicle-7",
    },
    Wrong {
        variable: "PEAT_CLUSTER",
        value: "a/b",
        problem: "\"a/b\" has a slash",
        example: "PEAT_CLUSTER=alpha",
    },
    Wrong {
        variable: "PEAT_DISCOVERY",
        value: "static,carrier-pigeon",
        problem: "\"carrier-pigeon\" is none of",
        example: "PEAT_DISCOVERY=mdns",
    },
    Wrong {
        variable: "PEAT_K8S_LABEL_SELECTOR",
        value: "app=peat mesh",
        problem: "\"peat mesh\" is no label value",
        example: "PEAT_K8S_LABEL_SELECTOR=app=peat-mesh",
    },
    Wrong {
        variable: "PEAT_K8S_NAMESPACE",
        value: "Fleet",
        problem: "\"Fleet\" is no name of a namespace",
        example: "PEAT_K8S_NAMESPACE=peat",
    },
    Wrong {
        variable: "PEAT_STATIC_PEERS",
        value: "nobody",
        problem: "\"nobody\" has no @",
        example: "PEAT_STATIC_PEERS=vehicle-7@10.0.0.7:11204",
    },
    Wrong {
        variable: "PEAT_BROKER_BIND",
        value: "localhost",
        problem: "\"localhost\" is not an IP address",
        example: "PEAT_BROKER_BIND=0.0.0.0",
    },
    Wrong {
        variable: "PEAT_BROKER_PORT",
        value: "70000",
        problem: "\"70000\" is not a port from 0 to 65535",
        example: "PEAT_BROKER_PORT=8081",
    },
    Wrong {
        variable: "PEAT_IROH_BIND_PORT",
        value: "-1",
        problem: "\"-1\" is not a port from 0 to 65535",
        example: "PEAT_IROH_BIND_PORT=11204",
    },
    Wrong {
        variable: "PEAT_BLOB_POLICY",
        value: "maps=now",
        problem: "\"now\" is none of lazy, eager, pinned",
        example: "PEAT_BLOB_POLICY=maps=eager",
    },
    Wrong {
        variable: "PEAT_BLOB_GRACE_SECS",
        value: "7d",
        problem: "\"7d\" is not a number from 0",
        example: "PEAT_BLOB_GRACE_SECS=604800",
    },
    Wrong {
        variable: "PEAT_LOG_FORMAT",
        value: "xml",
        problem: "\"xml\" is neither text nor json",
        example: "PEAT_LOG_FORMAT=json",
    },
    Wrong {
        variable: "RUST_LOG",
        value: "peat_mesh=loud",
        problem: "\"peat_mesh=loud\"",
        example: "RUST_LOG=info,peat_mesh=debug",
    },
];

fn right() -> (tempfile::TempDir, Setup) {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::node("n", &folder.path().join("data"));
    (folder, setup)
}

/// The mistakes as the node lists them, one a line.
fn mistakes(ended: &Ended) -> Vec<&str> {
    assert_eq!(ended.status.code(), Some(64), "{}", ended.all());
    assert_eq!(ended.out, "", "a node that does not start has no log");
    let mut lines = ended.err.lines();
    assert_eq!(lines.next(), Some("peat-mesh-node cannot start with this environment:"));
    lines.collect()
}

fn check_named(line: &str, wrong: &Wrong) {
    assert!(line.starts_with(&format!("  {}: ", wrong.variable)), "{line}");
    assert!(line.contains(wrong.problem), "{line}");
    let (_, example) = line.split_once("Example: ").unwrap_or_else(|| panic!("no example: {line}"));
    assert!(example.contains(wrong.example), "{line}");
}

#[test]
fn each_wrong_variable_is_named_with_its_problem_and_an_example() {
    for wrong in WRONG {
        let (folder, setup) = right();
        let ended = setup.set(wrong.variable, wrong.value).run();
        let lines = mistakes(&ended);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        check_named(lines[0], wrong);
        assert!(!folder.path().join("data").exists(), "nothing is made before all is right");
    }
}

#[test]
fn all_wrong_variables_are_named_at_once() {
    // A cluster can only be judged together with a right host name.
    let wrong: Vec<&Wrong> = WRONG.iter().filter(|wrong| wrong.variable != "PEAT_CLUSTER").collect();
    let (_folder, right) = right();
    let all = wrong.iter().fold(right, |setup, wrong| setup.set(wrong.variable, wrong.value));
    let ended = all.run();
    let lines = mistakes(&ended);
    assert_eq!(lines.len(), wrong.len(), "{lines:#?}");
    for wrong in wrong {
        let own = format!("  {}: ", wrong.variable);
        let line = lines.iter().find(|line| line.starts_with(&own));
        check_named(line.unwrap_or_else(|| panic!("{own} is not in {lines:#?}")), wrong);
    }
}

#[test]
fn every_mistake_in_a_list_of_peers_is_named() {
    let (_folder, right) = right();
    let ended = right.set("PEAT_STATIC_PEERS", "nobody,good@10.0.0.1:1,b@10.0.0.1:0,c@ho st:1").run();
    let lines = mistakes(&ended);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    assert!(lines.iter().all(|line| line.starts_with("  PEAT_STATIC_PEERS: ")), "{lines:#?}");
}

#[test]
fn static_discovery_without_a_list_is_refused() {
    let (_folder, right) = right();
    let ended = right.unset("PEAT_STATIC_PEERS").run();
    assert!(mistakes(&ended)[0].contains("PEAT_DISCOVERY asks for static"), "{}", ended.err);
}

#[test]
fn a_node_outside_of_kubernetes_that_nobody_told_how_to_find_peers_says_what_to_do() {
    let (_folder, right) = right();
    let ended = right.unset("PEAT_DISCOVERY").set("PEAT_BROKER_PORT", "http").run();
    let lines = mistakes(&ended);
    assert_eq!(lines.len(), 2, "with the other mistakes: {lines:#?}");
    assert!(
        lines[0].starts_with("  PEAT_DISCOVERY: it is not set, and its default, kubernetes,"),
        "{lines:#?}"
    );
    assert!(lines[0].contains("KUBERNETES_SERVICE_HOST is not set"), "{lines:#?}");
    assert!(lines[0].contains("Example: PEAT_DISCOVERY=mdns"), "{lines:#?}");
}

#[test]
fn a_relay_that_cannot_be_used_is_refused_and_not_left_out_silently() {
    let (_folder, right) = right();
    let ended = right.set("PEAT_IROH_RELAY_URLS", "relay.example").run();
    let lines = mistakes(&ended);
    assert!(lines[0].starts_with("  PEAT_IROH_RELAY_URLS: \"relay.example\" is not a URL"), "{lines:#?}");
}

#[test]
fn a_missing_secret_is_answered_with_how_to_make_one() {
    for arguments in [&[][..], &["run"], &["identity"]] {
        let (_folder, right) = right();
        let ended = right.unset("PEAT_FORMATION_SECRET").arguments(arguments).run();
        let lines = mistakes(&ended);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(lines[0].starts_with("  PEAT_FORMATION_SECRET: it is not set."), "{lines:#?}");
        assert!(lines[0].contains("peat-mesh-node secret"), "{lines:#?}");
    }
}

#[test]
fn a_refused_secret_is_never_shown() {
    for secret in [SHORT_SECRET, "not base64 but a pass phrase"] {
        let (_folder, right) = right();
        let ended = right.set("PEAT_FORMATION_SECRET", secret).run();
        mistakes(&ended);
        assert!(!ended.all().contains(secret), "{}", ended.all());
        assert!(!ended.all().contains("short-secret"), "{}", ended.all());
    }
}

#[test]
fn a_node_at_work_never_shows_its_secret() {
    let (_folder, right) = right();
    let node = right.set("RUST_LOG", "trace").serve();
    assert_eq!(node.put("c/x", &serde_json::json!({"a": 1})).0, 201);
    let printed = node.stop().all();
    assert!(printed.contains("Mesh stopped"), "{printed}");
    assert!(!printed.contains(&secret_text(1)), "the log has the secret");
    assert!(!printed.contains(&"01".repeat(16)) && !printed.contains("1, 1, 1, 1"), "the log has its bytes");
}

#[test]
fn a_variable_that_is_set_to_nothing_counts_as_not_set() {
    let (_folder, right) = right();
    let node = right.set("PEAT_CLUSTER", "").set("PEAT_LOG_FORMAT", " ").set("RUST_LOG", "").serve();
    node.line_with("Mesh started node_id=n ");
}

#[test]
fn a_cluster_is_put_before_the_name() {
    let (_folder, right) = right();
    let node = right.set("PEAT_CLUSTER", "alpha").serve();
    node.line_with("Mesh started node_id=alpha/n ");
    assert_eq!(node.get("/api/v1/health").1["node_id"], "alpha/n");
}

#[test]
fn a_new_secret_is_one_line_and_never_the_same() {
    let secrets = [(); 2].map(|()| {
        let ended = Setup::empty().arguments(&["secret"]).run();
        assert!(ended.status.success() && ended.err.is_empty(), "{}", ended.all());
        assert_eq!(ended.out.lines().count(), 1, "{}", ended.out);
        assert!(peat_mesh::identity::FormationSecret::parse(&ended.out).is_ok(), "{}", ended.out);
        ended.out
    });
    assert_ne!(secrets[0], secrets[1]);
}

#[test]
fn identity_says_who_the_node_would_be() {
    let (_folder, right) = right();
    let ended = right.clone().arguments(&["identity"]).run();
    assert!(ended.status.success() && ended.err.is_empty(), "{}", ended.all());
    let words: Vec<Vec<&str>> = ended.out.lines().map(|line| line.split_whitespace().collect()).collect();
    let node = right.serve();
    let shown = node.get("/api/v1/node").1;
    for (line, field) in words.iter().zip(["node_id", "device_id", "endpoint_id"]) {
        assert_eq!(line[..], [field, shown[field].as_str().unwrap()], "{}", ended.out);
    }
    assert_eq!(words.len(), 3, "{}", ended.out);
}

#[test]
fn help_names_every_variable_and_every_command() {
    let ended = Setup::empty().arguments(&["--help"]).run();
    assert!(ended.status.success() && ended.err.is_empty(), "{}", ended.all());
    let variables = WRONG.iter().map(|wrong| wrong.variable);
    let blobs = ["PEAT_BLOB_MAX_BYTES", "PEAT_BLOB_BANDWIDTH"];
    let others = ["PEAT_DATA_DIR", "PEAT_MDNS_INTERFACES", "run", "demo", "secret", "identity"];
    for word in variables.chain(blobs).chain(others) {
        assert!(ended.out.contains(&format!("\n  {word} ")), "{word} is not in\n{}", ended.out);
    }
    assert!(ended.out.lines().all(|line| line.chars().count() <= 110), "{}", ended.out);
}

#[test]
fn the_version_is_the_program_and_its_number() {
    let ended = Setup::empty().arguments(&["--version"]).run();
    assert!(ended.status.success() && ended.err.is_empty(), "{}", ended.all());
    assert_eq!(ended.out, format!("peat-mesh-node {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_unknown_command_is_refused_with_the_usage() {
    for argument in ["nonsense", "--nonsense"] {
        let ended = Setup::empty().arguments(&[argument]).run();
        assert_eq!(ended.status.code(), Some(64), "{}", ended.all());
        assert!(ended.err.contains(argument) && ended.err.contains("--help"), "{}", ended.err);
        assert_eq!(ended.out, "");
    }
}
