//! Docker as the tests need it: one image, built once, and things that are gone when they go out of scope.
//!
//! Requests go through `curl` inside the containers, so the networks need no way to this machine or beyond.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use serde_json::Value;

use crate::common::{Lines, PATIENCE, secret_text};

/// The tag of the image under test. Another build takes it over, so that images do not pile up.
pub(crate) const TAG: &str = "peat-mesh-node:test";
/// What a node is allowed: nothing, and to write to its volume only.
const HARDENED: [&str; 4] =
    ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--health-interval=1s"];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn output(program: &str, words: &[&str]) -> std::io::Result<Output> {
    Command::new(program).args(words).current_dir(root()).stdin(Stdio::null()).output()
}

/// Runs a command to its end; what it printed, or why it failed.
pub(crate) fn run(program: &str, words: &[&str]) -> Result<String, String> {
    let shown = format!("{program} {}", words.join(" "));
    let output = output(program, words).map_err(|problem| format!("{shown}: {problem}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{shown}: {}\n{}{}", output.status, text(&output.stdout), text(&output.stderr))),
    }
}

pub(crate) fn docker(words: &[&str]) -> Result<String, String> {
    run("docker", words)
}

/// Runs the image to its end with these options and arguments; its status and all that it printed.
pub(crate) fn run_image(image: &str, options: &[&str], arguments: &[&str]) -> (Option<i32>, String) {
    let words = [&["run", "--rm", "--network=none"], options, &[image], arguments].concat();
    let output = output("docker", &words).unwrap();
    let all = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&all).trim().to_owned())
}

/// A default of the Dockerfile's arguments.
pub(crate) fn argument(name: &str) -> String {
    let file = std::fs::read_to_string(root().join("deploy/Dockerfile")).unwrap();
    let value = file.lines().find_map(|line| line.strip_prefix(&format!("ARG {name}=")));
    value.unwrap_or_else(|| panic!("deploy/Dockerfile has no ARG {name}")).to_owned()
}

/// Why there can be no image here, or nothing.
fn missing() -> Option<String> {
    if docker(&["version"]).is_err() {
        return Some("no Docker engine answers (`docker version` says why)".to_owned());
    }
    let bases = ["BUILDER_IMAGE", "RUNTIME_IMAGE"].map(argument);
    let gone: Vec<&str> = bases
        .iter()
        .map(String::as_str)
        .filter(|base| docker(&["image", "inspect", base]).is_err())
        .collect();
    let why = format!(
        "base images {} are not here; pull them, or run tests/container/base-images.sh (needs root and debootstrap)",
        gone.join(" and ")
    );
    (!gone.is_empty()).then_some(why)
}

/// The id of the image, or `None` after a line that says why there can be none.
pub(crate) fn image() -> Option<&'static str> {
    /// Why it is skipped, or what became of the build.
    static IMAGE: OnceLock<Result<Result<String, String>, String>> = OnceLock::new();
    let image = IMAGE.get_or_init(|| match missing() {
        Some(why) => Err(why),
        None => Ok(build()),
    });
    match image {
        Ok(Ok(id)) => Some(id),
        Ok(Err(why)) => panic!("{why}"),
        Err(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

fn build() -> Result<String, String> {
    // The host's network, since a bridge is not always set up to reach a mirror or a proxy.
    let words = ["build", "--network=host", "--force-rm", "-t", TAG, "-f", "deploy/Dockerfile", "."];
    docker(&words)?;
    docker(&["image", "inspect", "-f", "{{.Id}}", TAG])
}

/// A name that nothing else on this machine has.
pub(crate) fn unique(what: &str) -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("peat-test-{}-{}-{what}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A network or volume.
pub(crate) struct Thing {
    kind: &'static str,
    pub(crate) name: String,
}

impl Thing {
    pub(crate) fn network() -> Self {
        let name = unique("net");
        docker(&["network", "create", "--internal", &name]).unwrap();
        Self { kind: "network", name }
    }

    pub(crate) fn volume() -> Self {
        let name = unique("data");
        docker(&["volume", "create", &name]).unwrap();
        Self { kind: "volume", name }
    }
}

impl Drop for Thing {
    fn drop(&mut self) {
        let _ = docker(&[self.kind, "rm", "--force", &self.name])
            // `network rm` has no --force in older versions.
            .or_else(|_| docker(&[self.kind, "rm", &self.name]));
    }
}

/// A container with a node, followed through its log.
pub(crate) struct Container {
    id: String,
    log: Lines,
    follower: Child,
}

impl Container {
    /// Starts a node by its host name, with all three as static peers.
    pub(crate) fn start(image: &str, host: &str, network: &Thing, volume: &Thing, more: &[&str]) -> Self {
        let volume = format!("--volume={}:/data", volume.name);
        let network = format!("--network={}", network.name);
        let (hostname, alias) = (format!("--hostname={host}"), format!("--network-alias={host}"));
        let secret = format!("PEAT_FORMATION_SECRET={}", secret_text(1));
        let words = [
            &["run", "--detach", &volume, &network, &hostname, &alias][..],
            &HARDENED,
            &["--env", &secret, "--env=PEAT_DISCOVERY=static"],
            &["--env=PEAT_STATIC_PEERS=one@one:11204,two@two:11204,three@three:11204"],
            more,
            &[image],
        ];
        Self::follow(docker(&words.concat()).unwrap())
    }

    /// Follows one that somebody else has started.
    pub(crate) fn follow(id: String) -> Self {
        let mut command = Command::new("docker");
        command
            .args(["logs", "--follow", &id])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut follower = command.spawn().unwrap();
        let log = Lines::follow(follower.stdout.take().unwrap());
        Self { id, log, follower }
    }

    pub(crate) fn line_with(&self, text: &str) -> String {
        let line = self.log.find(0, |line| line.contains(text));
        line.unwrap_or_else(|| panic!("{text:?} never came in\n{}", self.log.text()))
    }

    pub(crate) fn connected_to(&self, peer: &str) {
        self.line_with(&format!("Peer connected to Iroh peer={peer} "));
    }

    /// A request to the node's API, with its status and answer.
    pub(crate) fn http(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let url = format!("http://127.0.0.1:8081/api/v1/{path}");
        let words = ["exec", &self.id, "curl", "-sS", "-X", method, "-w", "\n%{http_code}"];
        let rest = ["-H", "content-type: application/json", "--data-raw", body, &url];
        let answer = docker(&[&words[..], &rest].concat()).unwrap();
        let (body, status) = answer.rsplit_once('\n').unwrap();
        (status.parse().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
    }

    pub(crate) fn inspect(&self, what: &str) -> String {
        docker(&["inspect", "--format", what, &self.id]).unwrap()
    }

    /// Asks again and again, since the engine has no event to wait for.
    pub(crate) fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "never {what}\n{}", self.log.text());
        }
    }

    pub(crate) fn until_document(&self, doc: &str, value: &Value) {
        let path = format!("documents/{doc}");
        self.until(&format!("{doc} = {value}"), |node| node.http("GET", &path, "").1["document"] == *value);
    }

    pub(crate) fn device(&self) -> Value {
        let (status, node) = self.http("GET", "node", "");
        assert_eq!(status, 200, "{node}");
        node["device_id"].clone()
    }

    /// `docker stop`, and the container is removed; its exit status.
    pub(crate) fn stop(self) -> String {
        docker(&["stop", "--time=30", &self.id]).unwrap();
        self.inspect("{{.State.ExitCode}}")
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = docker(&["rm", "--force", "--volumes", &self.id]);
        let _ = self.follower.kill();
        let _ = self.follower.wait();
    }
}
