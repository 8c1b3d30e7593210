//! An API server that cannot be used: the status says why, the peers stay, and all is well again afterwards.

use std::fs;

use peat_mesh::config::KubernetesSettings;
use tokio::time::{Duration, timeout};

use super::{Watcher, found};
use crate::cluster::{Cluster, slice};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_outlive_an_api_server_that_is_gone_and_what_it_learnt_meanwhile_is_told() {
    let mut cluster = Cluster::start().await;
    cluster.put(slice("one", &[("a", "10.0.0.1")], 4001));
    let mut watcher = Watcher::start(&cluster);
    watcher.next().await;
    watcher.works().await;
    cluster.down().await;
    let status = watcher.waits_with("cannot be reached: ").await;
    assert!(status.worked && status.complete, "{status:?}");
    assert!(status.detail.contains("the peers known so far stay"), "{status}");
    assert!(watcher.0.events.try_recv().is_err(), "nothing is lost");
    cluster.put(slice("two", &[("b", "10.0.0.2")], 4002));
    cluster.up().await;
    assert_eq!(watcher.next().await, found("b", "10.0.0.2:4002"));
    watcher.works().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_server_that_is_not_there_yet_is_waited_for() {
    let mut cluster = Cluster::start().await;
    cluster.down().await;
    cluster.put(slice("one", &[("a", "10.0.0.1")], 4001));
    let mut watcher = Watcher::start(&cluster);
    let status = watcher.waits_with("cannot be reached: Connection refused; trying on").await;
    assert!(!status.worked && !status.complete, "{status:?}");
    cluster.up().await;
    assert_eq!(watcher.next().await, found("a", "10.0.0.1:4001"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_permission_is_named_with_its_verb_and_taken_up_once_it_is_given() {
    for verb in ["list", "watch"] {
        let cluster = Cluster::start().await;
        cluster.forbid(Some(verb));
        let mut watcher = Watcher::start(&cluster);
        let status = watcher.waits_with("not allowed").await;
        let words = format!(
            "not allowed to {verb} endpointslices in namespace \"fleet\": the service account \
             system:serviceaccount:fleet:default needs list and watch on endpointslices in discovery.k8s.io"
        );
        assert!(status.detail.starts_with(&words), "{status}");
        assert!(!status.worked, "{status:?}");
        assert_eq!(status.complete, verb == "watch", "the list was told");
        cluster.forbid(None);
        assert!(watcher.works().await.worked);
        cluster.put(slice("one", &[("a", "10.0.0.1")], 4001));
        assert_eq!(watcher.next().await, found("a", "10.0.0.1:4001"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_token_is_taken_from_the_file_as_soon_as_the_old_one_is_refused() {
    let cluster = Cluster::start().await;
    let mut watcher = Watcher::start(&cluster);
    watcher.works().await;
    cluster.write_token("token-2");
    cluster.demand("token-2");
    cluster.put(slice("one", &[("a", "10.0.0.1")], 4001));
    assert_eq!(watcher.next().await, found("a", "10.0.0.1:4001"));
    let asked = cluster.requests();
    assert!(asked.contains(&"list  with token-2".to_owned()), "{asked:?}");

    cluster.demand("token-3");
    let status = watcher.waits_with("does not accept the token in ").await;
    assert!(status.detail.contains("read again before each attempt"), "{status}");
    cluster.put(slice("two", &[("b", "10.0.0.2")], 4002));
    cluster.write_token("token-3");
    assert_eq!(watcher.next().await, found("b", "10.0.0.2:4002"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_service_account_that_are_missing_or_damaged_are_named() {
    let cluster = Cluster::start().await;
    let names = [("token", "No such file"), ("ca.crt", "No such file"), ("namespace", "No such file")];
    for (name, why) in names {
        let path = cluster.account().join(name);
        let content = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let mut watcher = Watcher::start(&cluster);
        let status = watcher.waits_with(&format!("{} cannot be read: {why}", path.display())).await;
        assert!(status.detail.contains("automountServiceAccountToken"), "{status}");
        fs::write(&path, content).unwrap();
        watcher.works().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_another_authority_vouches_for_is_not_trusted_and_gets_no_token() {
    let (cluster, other) = (Cluster::start().await, Cluster::start().await);
    let ca_file = other.account().join("ca.crt");
    let mut watcher = Watcher::with(KubernetesSettings { ca_file, ..cluster.settings() });
    watcher.waits_with("cannot be reached: invalid peer certificate").await;
    assert_eq!(cluster.requests(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_does_not_wait_for_a_server_that_does_not_answer() {
    let cluster = Cluster::start().await;
    cluster.mute(true);
    let watcher = Watcher::start(&cluster);
    cluster.until_asked("asked", |requests| !requests.is_empty()).await;
    let stopped = timeout(Duration::from_secs(5), watcher.0.shutdown()).await;
    assert!(stopped.is_ok());
}
