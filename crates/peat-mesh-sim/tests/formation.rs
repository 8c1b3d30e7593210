//! Formations of more nodes than each connects to: real hubs, replicas and stores.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use peat_mesh_core::presence::NodeState;
use peat_mesh_sim::{Site, Weather, World, check, difference};
use serde_json::json;

const MAX_PEERS: usize = 8;

/// Nodes that all know of each other.
fn formation(seed: u64, count: usize) -> (World, Vec<Site>) {
    let mut world = World::new(seed);
    world.set_weather(Weather { latency_ms: 5..=25, ..Weather::calm() });
    world.set_max_peers(MAX_PEERS);
    let sites = more(&mut world, "node", count);
    (world, sites)
}

fn more(world: &mut World, name: &str, count: usize) -> Vec<Site> {
    let sites: Vec<Site> = (0..count).map(|number| world.node(&format!("{name}-{number}"))).collect();
    world.link_all(&world.sites());
    sites
}

fn write_everywhere(world: &mut World, sites: &[Site], key: &str) {
    for (number, site) in sites.iter().enumerate() {
        world.put(*site, &format!("d/{key}-{number}"), json!({ "n": number, "by": key }));
        world.run_for(20);
    }
}

#[track_caller]
fn converge(world: &mut World, limit_ms: u64) -> u64 {
    let took_ms = world.run_until_converged(limit_ms).unwrap();
    check(world).unwrap();
    took_ms
}

fn connections(world: &World, site: Site) -> usize {
    world.peers(site).iter().filter(|peer| peer.conn.is_some()).count()
}

/// How many of the nodes that run a walk over neighbours reaches.
fn connected(world: &World) -> usize {
    let up: Vec<Site> = world.sites().into_iter().filter(|site| world.is_up(*site)).collect();
    let (mut seen, mut waiting) = (BTreeSet::from([up[0]]), vec![up[0]]);
    while let Some(site) = waiting.pop() {
        for next in world.neighbours(site).unwrap_or_default() {
            if world.is_up(next) && seen.insert(next) {
                waiting.push(next);
            }
        }
    }
    seen.len()
}

#[test]
fn forty_nodes_keep_a_few_neighbours_each_and_every_write_reaches_all() {
    let (mut world, sites) = formation(1, 40);
    world.run_for(60_000);
    for site in &sites {
        let count = connections(&world, *site);
        assert!((1..=MAX_PEERS).contains(&count), "{} has {count} connections", world.name(*site));
        assert!(world.peers(*site).iter().all(|peer| peer.last_error.is_none()), "letting go is no failure");
    }
    assert_eq!(connected(&world), 40);
    write_everywhere(&mut world, &sites, "first");
    let took_ms = converge(&mut world, 10_000);
    println!("40 nodes converged {took_ms} ms after the last of 40 writes");
    world.reset_traffic();
    write_everywhere(&mut world, &sites, "second");
    converge(&mut world, 10_000);
    let (gossip, changes) = (world.traffic().kind("gossip"), world.traffic().kind("changes"));
    println!(
        "40 updates: {gossip:?}, beside it {changes:?}, comparing {:?}",
        world.traffic().reconciliation()
    );
    assert!(changes.bytes * 10 < gossip.bytes, "updates travel by the overlay, not twice");
}

#[test]
fn when_a_third_of_the_nodes_die_the_rest_find_new_neighbours_and_lose_nothing() {
    let (mut world, sites) = formation(2, 40);
    world.run_for(60_000);
    let (dead, left) = sites.split_at(12);
    dead.iter().for_each(|site| world.crash(*site));
    write_everywhere(&mut world, left, "after");
    world.run_until_converged(30_000).unwrap();
    world.run_for(60_000);
    assert_eq!(connected(&world), left.len());
    dead.iter().for_each(|site| world.restart(*site));
    converge(&mut world, 60_000);
    world.run_for(60_000);
    assert_eq!(connected(&world), sites.len());
}

#[test]
fn halves_that_were_apart_for_long_become_one_formation_again() {
    let (mut world, sites) = formation(3, 30);
    world.run_for(30_000);
    let (left, right) = sites.split_at(15);
    world.split(left, right);
    world.run_for(120_000);
    write_everywhere(&mut world, &sites, "apart");
    world.run_for(20_000);
    assert!(difference(&world).is_some(), "they are apart");
    world.heal_all();
    let took_ms = converge(&mut world, 300_000);
    println!("the halves of 30 nodes found each other {took_ms} ms after the cut was mended");
    world.run_for(60_000);
    assert_eq!(connected(&world), 30);
}

#[test]
fn ten_nodes_that_join_at_once_get_everything_without_a_storm() {
    let (mut world, sites) = formation(4, 30);
    write_everywhere(&mut world, &sites, "before");
    world.run_for(60_000);
    world.reset_traffic();
    let new = more(&mut world, "new", 10);
    let took_ms = converge(&mut world, 30_000);
    println!("10 of 40 nodes joined in {took_ms} ms: {:?}", world.traffic().all());
    for site in new {
        let documents = world.traffic().documents_sent_to(site);
        // Every neighbour that it meets at once may find that it lacks everything.
        assert!(documents <= 30 * 2 * MAX_PEERS as u64, "{documents} for 30 documents");
    }
}

#[test]
fn a_formation_that_grows_past_the_limit_and_shrinks_again_loses_nothing() {
    let (mut world, sites) = formation(5, 6);
    write_everywhere(&mut world, &sites, "small");
    world.run_for(5_000);
    assert!(sites.iter().all(|site| world.neighbours(*site).is_none()));
    assert!(sites.iter().all(|site| connections(&world, *site) == 5));
    let new = more(&mut world, "new", 14);
    let all = world.sites();
    write_everywhere(&mut world, &all, "large");
    converge(&mut world, 30_000);
    assert!(all.iter().all(|site| world.neighbours(*site).is_some()));
    for gone in &new {
        world.crash(*gone);
        sites.iter().for_each(|site| world.forget(*site, *gone, 10_000_000));
    }
    write_everywhere(&mut world, &sites, "small-again");
    world.run_for(180_000);
    assert!(sites.iter().all(|site| world.neighbours(*site).is_none()));
    assert!(sites.iter().all(|site| connections(&world, *site) == 5));
    world.run_until_converged(10_000).unwrap();
}

#[test]
fn what_the_overlay_loses_is_found_by_comparing() {
    let (mut world, sites) = formation(6, 24);
    world.run_for(30_000);
    world.set_weather(Weather { lost: 0.2, latency_ms: 5..=25, ..Weather::calm() });
    write_everywhere(&mut world, &sites, "lossy");
    world.set_weather(Weather { latency_ms: 5..=25, ..Weather::calm() });
    converge(&mut world, 60_000);
}

#[test]
fn a_large_formation_converges_in_bad_weather() {
    for seed in 10..13 {
        let (mut world, sites) = formation(seed, 20);
        world.set_weather(Weather::rough());
        world.run_for(20_000);
        write_everywhere(&mut world, &sites, "rough");
        world.run_for(20_000);
        world.set_weather(Weather::calm());
        converge(&mut world, 120_000);
    }
}

#[test]
fn a_change_too_large_to_be_pushed_along_the_tree_reaches_all_by_comparing() {
    let (mut world, sites) = formation(7, 24);
    world.run_for(30_000);
    let text: String = (0..40_000u64).map(|n| format!("{:08x}", n.wrapping_mul(2_654_435_761))).collect();
    world.put(sites[0], "d/large", json!({ "text": text }));
    let took_ms = converge(&mut world, 60_000);
    println!("a change of 320 kB reached 24 nodes in {took_ms} ms");
}

/// How many nodes each node can reach, as far as it knows.
fn reached(world: &World) -> Vec<usize> {
    let is_here = |site: &Site| {
        let nodes = world.topology(*site).nodes;
        nodes.iter().filter(|node| node.state == NodeState::Reachable).count()
    };
    world.sites().iter().filter(|site| world.is_up(**site)).map(is_here).collect()
}

#[test]
fn every_node_of_a_large_formation_knows_who_can_be_reached_and_rest_costs_little() {
    let (mut world, sites) = formation(7, 40);
    world.run_for(120_000);
    assert_eq!(reached(&world), [40; 40]);
    world.reset_traffic();
    world.run_for(300_000);
    let (presence, gossip) = (world.traffic().kind("presence"), world.traffic().kind("gossip"));
    println!("40 nodes, five minutes of rest: {presence:?}, {gossip:?}");
    // Each record comes to a node no more often than it has neighbours.
    assert!(presence.frames <= 40 * 40 * 6 * MAX_PEERS as u64, "{presence:?}");
    sites[..10].iter().for_each(|site| world.crash(*site));
    world.run_for(120_000);
    assert_eq!(reached(&world), [30; 30]);
    sites[..10].iter().for_each(|site| world.restart(*site));
    world.run_for(120_000);
    assert_eq!(reached(&world), [40; 40]);
}

#[test]
fn two_large_clusters_with_a_pair_of_gateways_hold_the_same_and_keep_their_own_neighbours() {
    let mut world = World::new(8);
    world.set_weather(Weather { latency_ms: 5..=25, ..Weather::calm() });
    world.set_max_peers(MAX_PEERS);
    let [a, b] = ["a", "b"].map(|cluster| {
        let sites: Vec<Site> = (0..15).map(|number| world.node(&format!("{cluster}/{number}"))).collect();
        world.link_all(&sites);
        sites
    });
    world.link(a[0], b[0]);
    world.keep(a[0], b[0]);
    world.run_for(60_000);
    let all = world.sites();
    write_everywhere(&mut world, &all, "over");
    let took_ms = converge(&mut world, 20_000);
    println!("two clusters of 15 converged {took_ms} ms after the last of 30 writes");
    assert_eq!(reached(&world), [30; 30]);
    for (site, other) in [(a[0], b[0]), (b[0], a[0])] {
        assert!(!world.neighbours(site).unwrap().contains(&other), "the overlay ends at the gateways");
        let name = world.name(other);
        let peers = world.peers(site);
        let peer = peers.iter().find(|peer| peer.name.as_ref().is_some_and(|it| it.as_str() == name));
        assert!(peer.unwrap().conn.is_some(), "and the link between them stays");
    }
}
