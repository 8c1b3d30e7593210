//! When all is well, and when it goes wrong in ways that heal by themselves.

use peat_mesh::config::KubernetesSettings;
use peat_mesh::discovery::DiscoveryEvent::{PeerLost, PeerUpdated};

use super::{Watcher, found, id, info};
use crate::cluster::{Cluster, slice};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_listed_and_what_changes_is_watched() {
    let cluster = Cluster::start().await;
    cluster.put(slice("one", &[("a", "10.0.0.1"), ("me", "10.0.0.9")], 4001));
    cluster.put(slice("two", &[("b", "10.0.0.2")], 4002));
    let mut watcher = Watcher::start(&cluster);
    assert_eq!(watcher.next().await, found("a", "10.0.0.1:4001"));
    assert_eq!(watcher.next().await, found("b", "10.0.0.2:4002"), "the second page");
    let status = watcher.works().await;
    let words = "watching endpointslices with app=peat-mesh in namespace \"fleet\": 2 peers in 2 slices";
    assert_eq!((&*status.detail, status.complete, status.worked), (words, true, true));

    cluster.put(slice("three", &[("c", "10.0.0.3")], 4003));
    assert_eq!(watcher.next().await, found("c", "10.0.0.3:4003"));
    cluster.put(slice("one", &[("a", "10.0.0.11")], 4001));
    assert_eq!(watcher.next().await, PeerUpdated(info("a", "10.0.0.11:4001")));
    cluster.delete("two");
    assert_eq!(watcher.next().await, PeerLost(id("b")));
    watcher.status(|status| status.detail.ends_with("2 peers in 2 slices")).await;
    let lists = cluster.requests().iter().filter(|request| request.starts_with("list")).count();
    assert_eq!(lists, 2, "one for each page, and no more: {:?}", cluster.requests());
    watcher.0.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_without_slices_is_a_complete_list() {
    let cluster = Cluster::start().await;
    let mut watcher = Watcher::start(&cluster);
    let status = watcher.works().await;
    assert!(status.complete && status.detail.ends_with("0 peers in 0 slices"), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_connection_goes_on_from_the_last_bookmark_and_misses_nothing() {
    let cluster = Cluster::start().await;
    cluster.put(slice("one", &[("a", "10.0.0.1")], 4001));
    let mut watcher = Watcher::start(&cluster);
    watcher.next().await;
    watcher.works().await;
    cluster.bookmark();
    cluster.put(slice("two", &[("b", "10.0.0.2")], 4002));
    assert_eq!(watcher.next().await, found("b", "10.0.0.2:4002"));
    cluster.bookmark();
    cluster.cut();
    cluster.put(slice("three", &[("c", "10.0.0.3")], 4003));
    assert_eq!(watcher.next().await, found("c", "10.0.0.3:4003"));
    // Whether the last bookmark came before the cut is chance; the change before it came in any case.
    let asked = cluster.requests();
    let lists = asked.iter().filter(|request| request.starts_with("list")).count();
    let last = asked.last().unwrap();
    assert_eq!(lists, 1, "{asked:?}");
    assert!(["watch 103 with token-1", "watch 104 with token-1"].contains(&&**last), "{asked:?}");
    assert!(watcher.works().await.worked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bookmark_moves_the_version_from_which_a_watch_goes_on() {
    let cluster = Cluster::start().await;
    let mut watcher = Watcher::with(KubernetesSettings { watch_secs: 1, ..cluster.settings() });
    watcher.works().await;
    cluster.bookmark();
    let from =
        |requests: &[String], version: &str| requests.iter().any(|request| request.starts_with(version));
    cluster.until_asked("watched from the bookmark", |requests| from(requests, "watch 101 ")).await;
    assert!(watcher.works().await.running);
    assert_eq!(cluster.requests().iter().filter(|request| request.starts_with("list")).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_version_leads_to_a_new_list_that_tells_exactly_what_is_different() {
    for gone_is_a_status in [false, true] {
        let cluster = Cluster::start().await;
        cluster.put(slice("one", &[("a", "10.0.0.1"), ("b", "10.0.0.2"), ("c", "10.0.0.3")], 4001));
        let mut watcher = Watcher::start(&cluster);
        for _ in 0..3 {
            watcher.next().await;
        }
        watcher.works().await;
        let new = slice("one", &[("b", "10.0.0.2"), ("c", "10.0.0.33"), ("d", "10.0.0.4")], 4001);
        cluster.change_behind_its_back(gone_is_a_status, vec![new]);
        assert_eq!(watcher.next().await, PeerLost(id("a")));
        assert_eq!(watcher.next().await, PeerUpdated(info("c", "10.0.0.33:4001")));
        assert_eq!(watcher.next().await, found("d", "10.0.0.4:4001"));
        let status = watcher.works().await;
        assert!(status.detail.ends_with("3 peers in 1 slice"), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_whose_connection_died_without_a_word_is_renewed() {
    let cluster = Cluster::start().await;
    let mut watcher = Watcher::with(KubernetesSettings { watch_secs: 1, ..cluster.settings() });
    watcher.works().await;
    cluster.mute(true);
    cluster.put(slice("one", &[("a", "10.0.0.1")], 4001));
    let watches = |requests: &[String]| requests.iter().filter(|text| text.starts_with("watch")).count();
    let before = watches(&cluster.requests());
    cluster.until_asked("watched again", |requests| watches(requests) > before).await;
    cluster.mute(false);
    // The watch that was asked for while the server was mute stays without an answer, and the next has one.
    assert_eq!(watcher.next().await, found("a", "10.0.0.1:4001"));
    assert!(watcher.works().await.worked);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_that_end_at_once_are_asked_for_again_until_one_lasts() {
    let cluster = Cluster::start().await;
    let mut watcher = Watcher::start(&cluster);
    watcher.works().await;
    let watches = |requests: &[String]| requests.iter().filter(|text| text.starts_with("watch")).count();
    // The list is what makes it work; the first watch may come later, and must not be one of the three.
    cluster.until_asked("watched", |requests| watches(requests) == 1).await;
    cluster.end_watches_at_once(3);
    cluster.until_asked("watched five times", |requests| watches(requests) == 5).await;
    cluster.put(slice("one", &[("a", "10.0.0.1")], 4001));
    assert_eq!(watcher.next().await, found("a", "10.0.0.1:4001"));
    assert!(watcher.0.status()[0].running);
}
