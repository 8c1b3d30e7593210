//! The change feed: nothing lost, nothing twice, whatever the reader does.

use peat_mesh_core::store::Action;

use super::rig::{BROADCAST_CHANGES, Rig, doc, within};
use crate::broker::feed::{Feed, Item};
use crate::broker::params::Watch;

fn open(rig: &Rig, collection: Option<&str>, since: Option<u64>) -> Feed {
    let collection = collection.map(str::to_owned);
    Feed::open(rig.handle(), Watch { collection, since }).unwrap()
}

async fn next(feed: &mut Feed) -> Item {
    within(feed.next()).await.unwrap().expect("the feed has not ended")
}

async fn next_seq(feed: &mut Feed) -> u64 {
    match next(feed).await {
        Item::Change(change) => change.seq,
        Item::Resync { .. } => panic!("this reader is not behind"),
    }
}

#[tokio::test]
async fn without_a_start_only_what_happens_from_now_on_comes() {
    let rig = Rig::new();
    rig.put("c/old", 1).await;
    let mut feed = open(&rig, None, None);
    assert_eq!(feed.ready(), None);
    rig.put("c/new", 1).await;
    let Item::Change(change) = next(&mut feed).await else { panic!("a change") };
    assert_eq!((change.seq, change.doc, change.action), (2, doc("c/new"), Action::Put));
}

#[tokio::test]
async fn a_start_in_the_past_gives_the_newest_change_of_each_document_then_goes_live() {
    let rig = Rig::new();
    rig.put("c/x", 1).await;
    rig.put("c/y", 1).await;
    rig.put("c/x", 2).await;
    let mut feed = open(&rig, None, Some(0));
    assert_eq!(next_seq(&mut feed).await, 2);
    assert_eq!(next_seq(&mut feed).await, 3);
    rig.delete("c/y").await;
    let Item::Change(change) = next(&mut feed).await else { panic!("a change") };
    assert_eq!((change.seq, change.action), (4, Action::Delete));
}

#[tokio::test]
async fn a_long_past_is_read_in_pages_while_new_changes_come_in() {
    let rig = Rig::new();
    for number in 0..600 {
        rig.put(&format!("c/{number}"), 1).await;
    }
    let mut feed = open(&rig, None, Some(10));
    for seq in 11..=900 {
        assert_eq!(next_seq(&mut feed).await, seq);
        if seq <= 310 {
            rig.put(&format!("d/{seq}"), 1).await;
        }
    }
    assert_eq!(feed.ready(), None);
}

#[tokio::test]
async fn a_change_between_subscribing_and_reading_comes_once() {
    let rig = Rig::new();
    rig.put("c/x", 1).await;
    let mut feed = open(&rig, None, Some(0));
    // Committed and broadcast before the first page is read: it is in both.
    rig.put("c/y", 1).await;
    assert_eq!(next_seq(&mut feed).await, 1);
    rig.put("c/z", 1).await;
    assert_eq!(next_seq(&mut feed).await, 2);
    assert_eq!(next_seq(&mut feed).await, 3);
    assert_eq!(feed.ready(), None);
}

#[tokio::test]
async fn a_reader_that_falls_behind_is_told_and_loses_no_document() {
    let rig = Rig::new();
    let mut feed = open(&rig, None, None);
    rig.put("c/first", 1).await;
    assert_eq!(next_seq(&mut feed).await, 1);
    let many = u64::try_from(BROADCAST_CHANGES).unwrap() * 3;
    for number in 0..many {
        rig.put(&format!("c/{number}"), 1).await;
    }
    assert_eq!(next(&mut feed).await, Item::Resync { since: 1 });
    for number in 0..many {
        assert_eq!(next_seq(&mut feed).await, number + 2);
    }
    assert_eq!(feed.ready(), None);
    rig.put("c/last", 1).await;
    assert_eq!(next_seq(&mut feed).await, many + 2);
}

#[tokio::test]
async fn a_filter_lets_one_collection_pass_from_the_past_and_live() {
    let rig = Rig::new();
    rig.put("a/x", 1).await;
    rig.put("b/x", 1).await;
    let mut feed = open(&rig, Some("b"), Some(0));
    assert_eq!(next_seq(&mut feed).await, 2);
    rig.put("a/y", 1).await;
    rig.put("b/y", 1).await;
    assert_eq!(next_seq(&mut feed).await, 4);
    rig.put("a/z", 1).await;
    assert_eq!(feed.ready(), None);
    assert_eq!(feed.at(), 5);
}

#[tokio::test]
async fn a_start_that_this_store_never_reached_begins_again_from_the_first_change() {
    let rig = Rig::new();
    rig.put("c/x", 1).await;
    let mut feed = open(&rig, None, Some(1_000));
    assert_eq!(next(&mut feed).await, Item::Resync { since: 0 });
    assert_eq!(next_seq(&mut feed).await, 1);
}

#[tokio::test]
async fn a_feed_ends_when_the_node_stops() {
    let rig = Rig::new();
    let mut feed = open(&rig, None, None);
    rig.stopping.cancel();
    assert_eq!(within(feed.next()).await.unwrap(), None);
}
