//! The program in a pod: an API server in the test, and the files of a service account at their usual place.
//!
//! Needs root to put them there for the node only; says so in one line where that is not possible.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::cluster::{Cluster, slice};
use crate::common::{Process, Setup, is_root};

/// Files that only the node sees, where every pod has them.
const POD: &str = "mount -t tmpfs tmpfs /var/run && folder=/var/run/secrets/kubernetes.io/serviceaccount && \
                   mkdir -p $folder && cp \"$0\"/* $folder/ && exec \"$@\"";

fn can_be_a_pod(account: &Path) -> Result<(), String> {
    if !is_root() {
        return Err("only root can put files where a pod has them".to_owned());
    }
    let tried = Command::new("unshare").args(["-m", "sh", "-c", POD]).arg(account).arg("true").output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(problem) => Err(format!("unshare: {problem}")),
    }
}

/// A node as in a pod of this name: nothing says how to find peers.
fn pod(name: &str, cluster: &Cluster, data: &Path) -> Setup {
    Setup::node(name, data)
        .unset("PEAT_DISCOVERY")
        .unset("PEAT_STATIC_PEERS")
        .set("KUBERNETES_SERVICE_HOST", "127.0.0.1")
        .set("KUBERNETES_SERVICE_PORT", &cluster.address.port().to_string())
        .wrapper(&["unshare", "-m", "sh", "-c", POD, cluster.account().to_str().unwrap()])
}

fn discovery(node: &Process) -> (u16, Value) {
    let (status, ready) = node.get("/api/v1/ready");
    let checks = ready["checks"].as_array().unwrap();
    (status, checks.iter().find(|check| check["name"] == "discovery").unwrap().clone())
}

/// As an operator looks for trouble in the logs.
fn has_error(lines: &str) -> bool {
    lines.to_ascii_lowercase().contains("error")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_with_nothing_but_a_secret_find_each_other_and_log_nothing_alarming() {
    let cluster = Cluster::start().await;
    if let Err(why) = can_be_a_pod(cluster.account()) {
        println!("skipped: {why}");
        return;
    }
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let pods =
        [pod("peat-mesh-0", &cluster, folders[0].path()), pod("peat-mesh-1", &cluster, folders[1].path())];
    tokio::task::block_in_place(|| {
        let (zero, one) = (pods[0].serve(), pods[1].serve());
        cluster.put(slice("zero", &[("peat-mesh-0", "127.0.0.1")], zero.quic().port()));
        cluster.put(slice("one", &[("peat-mesh-1", "127.0.0.1")], one.quic().port()));
        zero.connected_to("peat-mesh-1");
        one.connected_to("peat-mesh-0");
        zero.put("c/x", &serde_json::json!({"n": 1}));
        one.until_document("c/x", &serde_json::json!({"n": 1}));
        let (status, found) = discovery(&zero);
        assert_eq!((status, &found["ok"]), (200, &Value::Bool(true)), "{found}");
        // The server ends watches and cuts connections as a matter of course.
        cluster.cut();
        cluster.put(slice("two", &[("peat-mesh-2", "127.0.0.1")], 9));
        zero.line_with("PeerFound");
        for ended in [zero.stop(), one.stop()] {
            assert!(!has_error(&ended.out) && ended.err.is_empty(), "{}", ended.all());
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_without_permission_is_not_ready_says_so_once_in_the_log_and_serves() {
    let cluster = Cluster::start().await;
    if let Err(why) = can_be_a_pod(cluster.account()) {
        println!("skipped: {why}");
        return;
    }
    cluster.forbid(Some("watch"));
    let folder = tempfile::tempdir().unwrap();
    let setup = pod("peat-mesh-0", &cluster, folder.path());
    let node = tokio::task::block_in_place(|| setup.serve());
    cluster.until_asked("tried again", |requests| requests.len() >= 8).await;
    tokio::task::block_in_place(|| {
        let (status, found) = discovery(&node);
        let detail = found["detail"].as_str().unwrap();
        assert_eq!((status, &found["ok"]), (503, &Value::Bool(false)), "{found}");
        assert!(detail.contains("not allowed to watch endpointslices in namespace \"fleet\""), "{found}");
        assert_eq!(node.put("c/x", &serde_json::json!({"n": 1})).0, 201);
        let log = node.stop().out;
        assert_eq!(log.matches("not allowed to watch").count(), 1, "{log}");
    });
}
