//! The image and the compose file: built, and run on bridge networks that lead nowhere.
//!
//! Needs a Docker engine with both base images; says so in one line where these are missing.

#![cfg(all(feature = "node", target_os = "linux"))]
#![allow(clippy::unwrap_used)]

#[path = "../common/process.rs"]
mod common;
mod engine;

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use common::secret_text;
use engine::{Container, Thing, argument, docker, image, root, run, run_image, unique};

const SIZE_MAX: u64 = 90_000_000;

#[test]
fn the_image_is_small_and_says_what_it_is() {
    let Some(image) = image() else { return };
    let all: Value = serde_json::from_str(&docker(&["image", "inspect", image]).unwrap()).unwrap();
    let size = all[0]["Size"].as_u64().unwrap();
    println!("the image has {size} bytes");
    assert!(size < SIZE_MAX, "the image has {size} bytes");

    let config = &all[0]["Config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/usr/bin/tini", "--", "/usr/local/bin/peat-mesh-node"]));
    assert_eq!(config["StopSignal"], "SIGTERM");
    assert_eq!(config["Volumes"], json!({"/data": {}}));
    assert_eq!(config["ExposedPorts"], json!({"8081/tcp": {}, "11204/udp": {}}));
    let variables: BTreeSet<&str> =
        config["Env"].as_array().unwrap().iter().map(|pair| pair.as_str().unwrap()).collect();
    assert!(variables.contains("PEAT_BROKER_BIND=0.0.0.0"), "{variables:?}");
    assert!(variables.contains("PEAT_DATA_DIR=/data"), "{variables:?}");

    let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].clone();
    assert_eq!(label("title"), "peat-mesh-node");
    assert_eq!(label("description"), env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(label("source"), env!("CARGO_PKG_REPOSITORY"));
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("revision"), "unknown");
}

#[test]
fn the_image_has_no_way_to_become_root_and_a_true_list_of_packages() {
    let Some(image) = image() else { return };
    let shell = |script: &str| {
        let (status, printed) = run_image(image, &["--entrypoint=sh"], &["-c", script]);
        assert_eq!(status, Some(0), "{script}: {printed}");
        printed
    };
    assert_eq!(shell("id -u; id -un; id -g; id -gn"), "65532\npeat\n65532\npeat");
    assert_eq!(shell("find / -xdev -type f -perm /6000 2>/dev/null || true"), "");
    assert_eq!(shell("find / -xdev -user 65532 2>/dev/null || true"), "/data");
    // What was removed is not in the list, and what a node needs is there.
    let packages = shell("dpkg-query --show --showformat '${Package} ${Status}\\n'");
    let is_there = |name: &str| packages.lines().any(|line| line == format!("{name} install ok installed"));
    for name in ["tini", "ca-certificates", "curl", "coreutils", "grep", "libc6", "libgcc-s1"] {
        assert!(is_there(name), "{name} is not in\n{packages}");
    }
    for name in ["apt", "perl-base", "login"] {
        assert!(!packages.contains(&format!("{name} ")), "{name} is in\n{packages}");
    }
    shell("! command -v perl && ! command -v apt-get && cat /etc/os-release && sleep 0");
    // Every library is there that something wants.
    let wanted = "for file in /usr/bin/* /usr/sbin/* /usr/local/bin/*; do ldd \"$file\" 2>/dev/null; done";
    assert!(!shell(wanted).contains("not found"), "{}", shell(wanted));
}

#[test]
fn the_image_is_the_program() {
    let Some(image) = image() else { return };
    let (status, secret) = run_image(image, &[], &["secret"]);
    assert_eq!((status, secret.len()), (Some(0), 44), "{secret}");
    let (status, printed) = run_image(image, &[], &["--version"]);
    assert_eq!((status, printed), (Some(0), format!("peat-mesh-node {}", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_wrong_environment_ends_the_container_with_status_64() {
    let Some(image) = image() else { return };
    let (status, printed) = run_image(image, &["--env=PEAT_BROKER_PORT=many", "--env=HOSTNAME=a b"], &[]);
    assert_eq!(status, Some(64), "{printed}");
    for variable in ["PEAT_FORMATION_SECRET", "PEAT_BROKER_PORT", "HOSTNAME"] {
        assert!(printed.contains(variable), "{variable} is not in\n{printed}");
    }
}

#[test]
fn three_containers_share_documents_and_keep_them_with_their_identity() {
    let Some(image) = image() else { return };
    let network = Thing::network();
    let volumes = [Thing::volume(), Thing::volume(), Thing::volume()];
    let start = |index: usize, host: &str| Container::start(image, host, &network, &volumes[index], &[]);
    let (one, two, three) = (start(0, "one"), start(1, "two"), start(2, "three"));
    for (node, peers) in [(&one, ["two", "three"]), (&two, ["one", "three"]), (&three, ["one", "two"])] {
        peers.iter().for_each(|peer| node.connected_to(peer));
    }
    let value = json!({"hello": "mesh"});
    let (status, answer) = one.http("PUT", "documents/notes/first", &value.to_string());
    assert_eq!(status, 201, "{answer}");
    two.until_document("notes/first", &value);
    three.until_document("notes/first", &value);

    // Without its container a node is its volume, its name and the secret.
    let device = one.device();
    assert_eq!(one.stop(), "0");
    let while_away = json!({"hello": "one"});
    assert_eq!(two.http("PUT", "documents/notes/second", &while_away.to_string()).0, 201);
    assert_eq!(two.stop(), "0");
    assert_eq!(three.stop(), "0");
    let one = start(0, "one");
    one.line_with("Broker listening");
    one.until_document("notes/first", &value);
    assert_eq!(one.device(), device);
    let two = start(1, "two");
    one.connected_to("two");
    one.until_document("notes/second", &while_away);
    assert_ne!(two.device(), device);
}

#[test]
fn the_health_check_follows_the_port_and_the_address() {
    let Some(image) = image() else { return };
    let (network, volume) = (Thing::network(), Thing::volume());
    for address in ["0.0.0.0", "127.0.0.1", "::"] {
        let address = format!("--env=PEAT_BROKER_BIND={address}");
        let more = ["--env=PEAT_BROKER_PORT=9000", address.as_str()];
        let node = Container::start(image, "one", &network, &volume, &more);
        node.until("healthy", |node| node.inspect("{{.State.Health.Status}}") == "healthy");
    }
}

#[test]
fn an_image_for_an_air_gap_needs_no_network() {
    let Some(_) = image() else { return };
    // Both stages are in the engine's cache by now; what is built on top of them gets no network.
    for (stage, argument) in [("crates", "BUILDER_IMAGE"), ("packages", "RUNTIME_IMAGE")] {
        let tag = format!("peat-mesh-node:test-{stage}");
        let words =
            ["build", "--network=host", "--target", stage, "-t", &tag, "-f", "deploy/Dockerfile", "."];
        docker(&words).unwrap();
        let base = format!("{argument}={tag}");
        let offline = ["build", "--network=none", "--build-arg", &base, "--build-arg=CARGO_NET_OFFLINE=true"];
        let rest = ["--quiet", "--target", stage, "-f", "deploy/Dockerfile", "."];
        let built = docker(&[&offline[..], &rest].concat()).unwrap();
        // Another tag may hold the same image; then it stays.
        let _ = (docker(&["image", "rm", &built]), docker(&["image", "rm", &tag]));
    }
}

/// What is left of `compose up` is taken down.
struct Composed {
    words: Vec<String>,
}

impl Composed {
    fn run(&self, more: &[&str]) -> Result<String, String> {
        let words: Vec<&str> = self.words.iter().map(String::as_str).chain(more.iter().copied()).collect();
        run("env", &words)
    }
}

impl Drop for Composed {
    fn drop(&mut self) {
        let _ = self.run(&["down", "--volumes", "--timeout=30"]);
    }
}

#[test]
fn the_compose_file_makes_three_nodes_that_share_documents() {
    let Some(_) = image() else { return };
    let tools = [&["docker", "compose"][..], &["docker-compose"][..]];
    let Some(tool) = tools.iter().find(|tool| run("env", &[tool, &["version"][..]].concat()).is_ok()) else {
        return println!("skipped: there is neither `docker compose` nor docker-compose");
    };
    // On a network that leads nowhere, which also means: no ports of this machine are taken.
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed.yaml");
    fs::write(&closed, "networks:\n  mesh:\n    internal: true\n").unwrap();
    let file = root().join("deploy/compose.yaml");
    let variables = [
        format!("PEAT_FORMATION_SECRET={}", secret_text(2)),
        format!("PEAT_IMAGE={}", engine::TAG),
        format!("COMPOSE_PROJECT_NAME={}", unique("compose")),
    ];
    let files = ["-f", file.to_str().unwrap(), "-f", closed.to_str().unwrap()];
    let words = variables.iter().map(String::as_str).chain(tool.iter().copied()).chain(files);
    let composed = Composed { words: words.map(str::to_owned).collect() };
    composed.run(&["up", "--detach", "--no-build"]).unwrap();

    let nodes = ["one", "two", "three"]
        .map(|service| Container::follow(composed.run(&["ps", "--quiet", service]).unwrap()));
    for node in &nodes {
        assert_eq!(node.inspect("{{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}"), "true [ALL]");
        let binding = node.inspect("{{json .HostConfig.PortBindings}}");
        assert!(binding.contains("\"127.0.0.1\"") && !binding.contains("11204"), "{binding}");
    }
    nodes[0].connected_to("two");
    nodes[0].connected_to("three");
    let value = json!({"hello": "compose"});
    assert_eq!(nodes[0].http("PUT", "documents/notes/first", &value.to_string()).0, 201);
    nodes[1].until_document("notes/first", &value);
    nodes[2].until_document("notes/first", &value);
}

#[test]
fn the_defaults_of_the_dockerfile_are_what_the_workspace_needs() {
    // rust:1.93-bookworm
    let builder = argument("BUILDER_IMAGE");
    let version = builder.split([':', '-']).nth(1).unwrap();
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    assert!(minor(version) >= minor(env!("CARGO_PKG_RUST_VERSION")), "{builder}");
    assert_eq!(argument("VERSION"), env!("CARGO_PKG_VERSION"));
}
