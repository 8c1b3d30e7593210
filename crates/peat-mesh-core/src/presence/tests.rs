use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::id::NodeName;

const ME: EndpointId = EndpointId([1; 32]);

fn id(number: u8) -> EndpointId {
    EndpointId([number; 32])
}

fn link(peer: u8) -> Link {
    Link { peer: id(peer).tag(), is_silent: false, measure: Measure::default() }
}

fn silent(peer: u8) -> Link {
    Link { is_silent: true, ..link(peer) }
}

fn record(origin: u8, sequence: u64, links: Vec<Link>) -> Record {
    Record {
        origin: id(origin),
        name: NodeName::new(&format!("n{origin}")).unwrap(),
        role: Label::new("node").unwrap(),
        version: Label::new("0.1.0").unwrap(),
        stamp: Stamp { epoch: 1_000, incarnation: 7, sequence },
        is_here: true,
        age_ms: 0,
        uptime_ms: 0,
        links_total: links.len() as u64,
        links,
    }
}

fn mine(peers: &[(u8, bool)]) -> BTreeMap<EndpointId, bool> {
    peers.iter().map(|(peer, is_heard)| (id(*peer), *is_heard)).collect()
}

/// The states of all nodes in the order of their ids.
fn states(table: &mut Table, now_ms: u64, peers: &[(u8, bool)]) -> Vec<NodeState> {
    let mine = mine(peers);
    table.look(now_ms, ME, &mine);
    table.topology(ME, &mine).nodes.iter().map(|node| node.state).collect()
}

use NodeState::{Left, Reachable, Unreachable};

#[test]
fn the_newest_record_wins_whatever_the_order_in_which_they_come() {
    let stamp = |epoch, incarnation, sequence| Stamp { epoch, incarnation, sequence };
    let rising = [stamp(1, 9, 9), stamp(2, 1, 1), stamp(2, 1, 2), stamp(2, 5, 1), stamp(3, 0, 0)];
    for (old, new) in rising.iter().flat_map(|a| rising.iter().map(move |b| (a, b))).filter(|(a, b)| a < b) {
        for (first, second, offer) in [(old, new, Offer::Changed), (new, old, Offer::Old)] {
            let mut table = Table::default();
            assert_eq!(table.offer(0, Record { stamp: *first, ..record(2, 0, vec![]) }), Offer::Changed);
            let other = Record { stamp: *second, ..record(2, 0, vec![link(3)]) };
            assert_eq!(table.offer(0, other), offer);
            assert_eq!(table.latest(id(2)).unwrap().stamp, *new);
        }
    }
    let mut table = Table::default();
    table.offer(0, record(2, 1, vec![]));
    assert_eq!(table.offer(0, record(2, 1, vec![link(3)])), Offer::Old);
    assert_eq!(table.offer(0, record(2, 2, vec![])), Offer::Refreshed);
}

#[test]
fn a_record_that_is_passed_on_has_grown_older() {
    let mut table = Table::default();
    table.offer(1_000, Record { age_ms: 50, ..record(2, 1, vec![]) });
    assert_eq!(table.record(1_700, id(2)).unwrap().age_ms, 750);
}

#[test]
fn a_node_is_reached_over_links_of_which_both_ends_speak() {
    let mut table = Table::default();
    table.offer(0, record(2, 1, vec![link(1), link(3)]));
    table.offer(0, record(3, 1, vec![link(2), link(4)]));
    table.offer(0, record(4, 1, vec![]));
    assert_eq!(states(&mut table, 0, &[(2, true)]), [Reachable, Reachable, Unreachable]);
    table.offer(0, record(4, 2, vec![link(3)]));
    assert_eq!(states(&mut table, 0, &[(2, true)]), [Reachable, Reachable, Reachable]);
    // One end that hears nothing is enough.
    table.offer(0, record(3, 2, vec![silent(2), link(4)]));
    assert_eq!(states(&mut table, 0, &[(2, true)]), [Reachable, Unreachable, Unreachable]);
    assert_eq!(states(&mut table, 0, &[(2, true), (4, true)]), [Reachable, Reachable, Reachable]);
    assert_eq!(states(&mut table, 0, &[(2, false), (4, true)]), [Unreachable, Reachable, Reachable]);
}

#[test]
fn an_own_link_counts_before_the_peer_has_spoken_of_it_and_not_when_the_peer_hears_nothing() {
    let mut table = Table::default();
    table.offer(0, record(2, 1, vec![]));
    assert_eq!(states(&mut table, 0, &[(2, true)]), [Reachable]);
    assert_eq!(states(&mut table, 0, &[]), [Unreachable]);
    table.offer(0, record(2, 2, vec![silent(1)]));
    assert_eq!(states(&mut table, 0, &[(2, true)]), [Unreachable]);
    // That a peer believes in a link which is not here any more does not help it.
    table.offer(0, record(2, 3, vec![link(1)]));
    assert_eq!(states(&mut table, 0, &[]), [Unreachable]);
}

#[test]
fn a_node_with_more_links_than_it_lists_is_believed_to_have_the_others() {
    let mut table = Table::default();
    table.offer(0, Record { links_total: 100, ..record(2, 1, vec![link(1)]) });
    table.offer(0, record(3, 1, vec![link(2)]));
    assert_eq!(states(&mut table, 0, &[(2, true)]), [Reachable, Reachable]);
    table.offer(0, Record { links_total: 100, ..record(2, 2, vec![link(1), silent(3)]) });
    assert_eq!(states(&mut table, 0, &[(2, true)]), [Reachable, Unreachable]);
}

#[test]
fn links_of_which_nobody_has_spoken_for_three_periods_do_not_count() {
    let mut table = Table::default();
    table.offer(0, record(2, 1, vec![link(3)]));
    table.offer(0, record(3, 1, vec![link(2)]));
    let over_ms = 3 * limits::PRESENCE_REFRESH_MS_MIN + 1;
    assert_eq!(states(&mut table, over_ms - 1, &[(2, true)]), [Reachable, Reachable]);
    assert_eq!(states(&mut table, over_ms, &[(2, true)]), [Reachable, Unreachable]);
    // A slow node for which its neighbour vouches is there.
    table.offer(over_ms, record(2, 2, vec![link(3)]));
    assert_eq!(states(&mut table, over_ms, &[(2, true)]), [Reachable, Reachable]);
}

#[test]
fn a_node_that_said_goodbye_is_gone_whatever_others_say_of_it() {
    let mut table = Table::default();
    table.offer(0, record(2, 1, vec![link(3)]));
    table.offer(0, Record { is_here: false, ..record(3, 2, vec![link(2)]) });
    assert_eq!(states(&mut table, 0, &[(2, true), (3, true)]), [Reachable, Left]);
    table.said_goodbye(id(2), 99);
    assert_eq!(states(&mut table, 0, &[(2, true)]), [Reachable, Left], "that was another run");
    table.said_goodbye(id(2), 7);
    assert_eq!(states(&mut table, 0, &[]), [Left, Left]);
    assert_eq!(table.turns(ME), [], "nobody had heard that they were there");
}

#[test]
fn what_becomes_of_a_node_is_told_once() {
    let mut table = Table::default();
    table.offer(0, record(2, 1, vec![]));
    let mut turn = |now_ms, peers: &[(u8, bool)], told_since_ms| {
        states(&mut table, now_ms, peers);
        let turns = table.turns(ME);
        let told = turns.iter().map(|(node, _)| table.told(*node)).next();
        assert_eq!(told, told_since_ms);
        assert_eq!(table.turns(ME), []);
        turns.first().map(|(_, turn)| *turn)
    };
    assert_eq!(turn(0, &[], None), None, "it was out of reach from the first");
    assert_eq!(turn(1_000, &[(2, true)], Some(1_000)), Some(Turn::Came));
    assert_eq!(turn(2_000, &[(2, true)], None), None);
    assert_eq!(turn(5_000, &[(2, false)], Some(5_000)), Some(Turn::Lost));
    assert_eq!(turn(9_000, &[(2, true)], Some(9_000)), Some(Turn::Found { lost_ms: 5_000 }));
    table.said_goodbye(id(2), 7);
    states(&mut table, 10_000, &[]);
    assert_eq!(table.turns(ME), [(id(2), Turn::Left)]);
}

#[test]
fn a_node_that_was_never_reached_from_here_is_lost_since_it_last_spoke() {
    let mut table = Table::default();
    table.offer(1_000, Record { age_ms: 61_000, ..record(2, 1, vec![]) });
    table.look(1_000, ME, &mine(&[]));
    let topology = table.topology(ME, &mine(&[]));
    assert_eq!((topology.nodes[0].state, topology.nodes[0].since_ms), (Unreachable, -60_000));
}

#[test]
fn the_table_is_bounded_and_those_that_are_away_make_room() {
    let mut table = Table::default();
    let origin = |number: u32| {
        let mut id = [9; 32];
        id[..4].copy_from_slice(&number.to_be_bytes());
        EndpointId(id)
    };
    let max = limits::PRESENCE_RECORDS_COUNT_MAX as u32;
    for number in 0..max {
        table.offer(u64::from(number), Record { origin: origin(number), ..record(2, 1, vec![]) });
    }
    assert_eq!(table.len(), max as usize);
    let mut newcomer = Record { origin: origin(max), ..record(2, 1, vec![]) };
    assert_eq!(table.offer(0, newcomer.clone()), Offer::Old, "nobody is known to be away");
    let all_but_three: BTreeMap<_, _> = (3..max).map(|number| (origin(number), true)).collect();
    table.look(20_000, ME, &all_but_three);
    assert_eq!(table.offer(0, newcomer.clone()), Offer::Changed);
    assert!(table.latest(origin(0)).is_none(), "the one that was away for longest is gone");
    assert_eq!(table.len(), max as usize);
    newcomer.origin = origin(max + 1);
    newcomer.age_ms = limits::PRESENCE_FORGET_MS;
    assert_eq!(table.offer(0, newcomer), Offer::Old, "nobody hears of what was over long ago");
}

#[test]
fn only_a_change_that_matters_is_one() {
    let measure = |rtt_us, loss_per_mille| Measure { rtt_us, loss_per_mille, ..Measure::default() };
    let differs = |a: (u64, u16), b: (u64, u16)| measure(a.0, a.1).is_another_quality(&measure(b.0, b.1));
    assert!(!differs((300, 0), (900, 0)), "less than two milliseconds");
    assert!(!differs((30_000, 0), (50_000, 0)), "less than twice as much");
    assert!(differs((30_000, 0), (70_000, 0)));
    assert!(differs((70_000, 0), (30_000, 0)));
    assert!(!differs((300, 0), (300, 10)));
    assert!(differs((300, 0), (300, 50)));
    assert!(differs((0, 0), (300, 0)), "it was not known");
    let moved = Measure { address: Some("10.0.0.1:1".parse().unwrap()), ..measure(300, 0) };
    assert!(moved.is_another_path(&measure(300, 0)) && !moved.is_another_quality(&measure(300, 0)));
}

#[test]
fn a_label_is_short_and_printable() {
    assert!(Label::new("gateway").is_ok() && Label::new(&"x".repeat(32)).is_ok());
    for bad in ["", "two words", "new\nline", "größe", &"x".repeat(33)] {
        assert!(Label::new(bad).is_err(), "{bad:?}");
    }
}

proptest! {
    #[test]
    fn whatever_nodes_say_of_their_links_nothing_breaks(
        said in prop::collection::vec((1u8..8, 0u64..4, prop::collection::btree_set(0u8..8, 0..6), any::<bool>()), 0..20),
        own in prop::collection::btree_map(2u8..8, any::<bool>(), 0..5),
    ) {
        let mut table = Table::default();
        for (origin, sequence, peers, is_here) in said {
            let links = peers.into_iter().map(|peer| if sequence % 2 == 0 { link(peer) } else { silent(peer) });
            table.offer(0, Record { is_here, ..record(origin, sequence, links.collect()) });
        }
        let mine = own.into_iter().map(|(peer, is_heard)| (id(peer), is_heard)).collect();
        table.look(0, ME, &mine);
        let topology = table.topology(ME, &mine);
        prop_assert_eq!(topology.nodes.len(), table.len());
        prop_assert!(topology.nodes.iter().all(|node| node.state != NodeState::Unknown));
        // Nobody is reached without a link of this node's own that is heard.
        if mine.values().all(|is_heard| !is_heard) {
            let reached = topology.nodes.iter().filter(|node| node.state == Reachable && !node.is_self).count();
            prop_assert_eq!(reached, 0);
        }
    }
}
