use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::discovery::{Running, start};

/// Answers with what the test put last, and tells the test about each question.
struct FakeResolver {
    answers: Mutex<BTreeMap<String, VecDeque<Answer>>>,
    asked: mpsc::Sender<(String, Instant)>,
}

type Answer = Result<Vec<&'static str>, &'static str>;

impl Resolve for FakeResolver {
    fn resolve(&self, host: HostPort) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        let _ = self.asked.try_send((host.host.clone(), Instant::now()));
        let mut answers = self.answers.lock().unwrap();
        let queue = answers.get_mut(&host.host).expect("a host the test knows");
        let answer = match queue.len() {
            1 => queue[0].clone(),
            _ => queue.pop_front().expect("an answer"),
        };
        async move {
            let ips = answer.map_err(io::Error::other)?;
            let with_port = |ip: &str| SocketAddr::new(ip.parse().unwrap(), host.port);
            Ok(ips.into_iter().map(with_port).collect())
        }
        .boxed()
    }
}

struct Story {
    running: Running,
    asked: mpsc::Receiver<(String, Instant)>,
}

fn endpoint(name: &NodeName) -> EndpointId {
    let mut bytes = [0; 32];
    bytes[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
    EndpointId(bytes)
}

fn id(name: &str) -> EndpointId {
    endpoint(&NodeName::new(name).unwrap())
}

/// Each host gives its answers in turn, the last one for ever.
fn story(list: &str, answers: &[(&str, &[Answer])]) -> Story {
    let (asked_sender, asked) = mpsc::channel(1000);
    let answers = answers.iter().map(|(host, list)| ((*host).to_owned(), list.to_vec().into())).collect();
    let resolver = FakeResolver { answers: Mutex::new(answers), asked: asked_sender };
    let endpoint_of: EndpointOf = Arc::new(endpoint);
    let entries = StaticPeer::parse_list(list).unwrap();
    let source = Fixed::with_resolver(entries, id("me"), &endpoint_of, Arc::new(resolver));
    Story { running: start(vec![Box::new(source)], id("me")), asked }
}

impl Story {
    /// Time is paused and jumps to the next timer, so this waits for hours in no time.
    async fn next(&mut self) -> DiscoveryEvent {
        let wait = timeout(Duration::from_secs(3600), self.running.events.recv());
        wait.await.expect("an event in time").expect("discovery runs")
    }

    async fn asked(&mut self) -> Instant {
        let wait = timeout(Duration::from_secs(3600), self.asked.recv());
        wait.await.expect("a lookup in time").expect("the resolver is there").1
    }
}

fn info(name: &str, addresses: &[&str]) -> PeerInfo {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    PeerInfo::new(id(name), Some(NodeName::new(name).unwrap()), addresses)
}

#[tokio::test(start_paused = true)]
async fn entries_for_one_peer_unite_and_this_node_is_left_out() {
    let list = "a@192.0.2.1:1,me@192.0.2.9:9,a@[2001:db8::1]:2,a@192.0.2.1:1";
    let mut story = story(list, &[]);
    let a = info("a", &["192.0.2.1:1", "[2001:db8::1]:2"]);
    assert_eq!(story.next().await, DiscoveryEvent::PeerFound(a));
    assert_eq!(story.running.status()[0].to_string(), "static is running: 1 peer in the list");
    story.running.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn the_list_is_complete_once_every_host_was_looked_up_be_it_in_vain() {
    let answers: &[(&str, &[Answer])] =
        &[("here.lan", &[Ok(vec!["192.0.2.1"])]), ("gone.lan", &[Err("no such host")])];
    let mut story = story("a@here.lan:1,b@gone.lan:2", answers);
    assert!(!story.running.status()[0].complete);
    assert_eq!(story.next().await, DiscoveryEvent::PeerFound(info("a", &["192.0.2.1:1"])));
    while !story.running.status()[0].complete {
        story.running.status_changed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_may_be_given_by_its_endpoint_id() {
    let mut story = story(&format!("{}@192.0.2.1:1", "ab".repeat(32)), &[]);
    let DiscoveryEvent::PeerFound(found) = story.next().await else {
        panic!("found");
    };
    assert_eq!((found.endpoint, found.name), (EndpointId([0xab; 32]), None));
}

#[tokio::test(start_paused = true)]
async fn a_changed_answer_is_noticed_within_half_a_minute() {
    let before = Instant::now();
    let answers: &[Answer] = &[Ok(vec!["192.0.2.1"]), Ok(vec!["192.0.2.2", "2001:db8::2"])];
    let mut story = story("a@gw.lan:4719", &[("gw.lan", answers)]);
    let first = info("a", &["192.0.2.1:4719"]);
    assert_eq!(story.next().await, DiscoveryEvent::PeerFound(first));
    let second = info("a", &["192.0.2.2:4719", "[2001:db8::2]:4719"]);
    assert_eq!(story.next().await, DiscoveryEvent::PeerUpdated(second));
    let waited = before.elapsed().as_millis() as u64;
    assert!((LOOKUP_EVERY_MS..LOOKUP_EVERY_MS + 100).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn a_failed_dial_looks_the_host_up_at_once_but_not_more_than_once_a_second() {
    let mut story = story("a@gw.lan:1", &[("gw.lan", &[Ok(vec!["192.0.2.1"])])]);
    let first = story.asked().await;
    story.next().await;
    for _ in 0..10 {
        story.running.dial_failed(id("a"));
    }
    story.running.dial_failed(id("stranger"));
    let second = story.asked().await;
    let gap = second.duration_since(first).as_millis() as u64;
    assert!((LOOKUP_GAP_MS..LOOKUP_GAP_MS + 100).contains(&gap), "{gap} ms");
    let third = story.asked().await;
    let gap = third.duration_since(second).as_millis() as u64;
    assert!((LOOKUP_EVERY_MS..LOOKUP_EVERY_MS + 100).contains(&gap), "{gap} ms");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_does_not_resolve_is_tried_ever_less_often_until_it_does() {
    let mut answers: Vec<Answer> = vec![Err("Name or service not known"); 8];
    answers.push(Ok(vec!["192.0.2.1"]));
    let mut story = story("a@gw.lan:1,b@192.0.2.7:1", &[("gw.lan", &answers)]);
    assert_eq!(story.next().await, DiscoveryEvent::PeerFound(info("b", &["192.0.2.7:1"])));
    let mut last = story.asked().await;
    let mut gaps = Vec::new();
    for _ in 0..8 {
        let now = story.asked().await;
        gaps.push(now.duration_since(last).as_secs());
        last = now;
    }
    assert_eq!(gaps, [1, 2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(story.next().await, DiscoveryEvent::PeerFound(info("a", &["192.0.2.1:1"])));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_stops_resolving_keeps_its_addresses_and_the_status_says_so() {
    let answers: &[Answer] =
        &[Ok(vec!["192.0.2.1"]), Err("timed out"), Ok(vec!["0.0.0.0"]), Ok(vec!["192.0.2.2"])];
    let mut story = story("a@gw.lan:1", &[("gw.lan", answers)]);
    let first = info("a", &["192.0.2.1:1"]);
    assert_eq!(story.next().await, DiscoveryEvent::PeerFound(first));
    while !story.running.status()[0].detail.contains("gw.lan does not resolve") {
        story.running.status_changed().await;
    }
    let second = info("a", &["192.0.2.2:1"]);
    assert_eq!(story.next().await, DiscoveryEvent::PeerUpdated(second));
}

#[test]
fn the_reason_of_a_failed_lookup_reads_without_the_word_that_alarms() {
    let absent = in_words(io::Error::other("failed to lookup address information: Try again"));
    assert_eq!(absent, "failed to lookup address information: Try again");
    let coded = in_words(io::Error::from_raw_os_error(2));
    assert!(!coded.contains("error"), "{coded}");
    assert!(!in_words(io::ErrorKind::Other.into()).contains("error"));
}
