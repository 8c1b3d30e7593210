//! What each node knows of the formation: who is there, who is lost, who has come back.

use peat_mesh_core::io::Event;
use peat_mesh_core::presence::{LinkState, NodeState, NodeView};
use peat_mesh_sim::{Edit, Site, World};

const NAMES: [&str; 5] = ["alice", "bob", "carol", "dave", "erin"];

/// A world in which everybody has met; chains and rings are made by the caller.
fn mesh(seed: u64, count: usize) -> (World, Vec<Site>) {
    let mut world = World::new(seed);
    let sites: Vec<Site> = NAMES[..count].iter().map(|name| world.node(name)).collect();
    world.link_all(&sites);
    world.run_for(5_000);
    world.take_news();
    (world, sites)
}

fn chain(seed: u64, count: usize) -> (World, Vec<Site>) {
    let mut world = World::new(seed);
    let sites: Vec<Site> = NAMES[..count].iter().map(|name| world.node(name)).collect();
    sites.windows(2).for_each(|pair| world.link(pair[0], pair[1]));
    world.run_for(5_000);
    world.take_news();
    (world, sites)
}

#[track_caller]
fn view(world: &World, at: Site, of: Site) -> NodeView {
    let topology = world.topology(at);
    let found = topology.nodes.iter().find(|node| node.name.as_str() == world.name(of));
    found.unwrap_or_else(|| panic!("{} does not know {}", world.name(at), world.name(of))).clone()
}

fn state(world: &World, at: Site, of: Site) -> NodeState {
    view(world, at, of).state
}

/// All that a node told of partitions: how many were lost (less than zero: found), when.
fn turns(world: &mut World) -> Vec<(Site, u64, i64, Vec<String>)> {
    let names =
        |nodes: &[peat_mesh_core::io::NodeRef]| nodes.iter().map(|node| node.name.to_string()).collect();
    let turn = |(site, ms, news): (Site, u64, Event)| match news {
        Event::Partition { nodes, count, .. } => Some((site, ms, count as i64, names(&nodes))),
        Event::Healed { nodes, count, .. } => Some((site, ms, -(count as i64), names(&nodes))),
        _ => None,
    };
    world.take_news().into_iter().filter_map(turn).collect()
}

#[test]
fn every_node_of_a_full_mesh_knows_all_nodes_and_all_links() {
    let (world, sites) = mesh(1, 5);
    for at in &sites {
        let topology = world.topology(*at);
        assert_eq!(topology.nodes.len(), 5);
        for node in &topology.nodes {
            assert_eq!(node.state, NodeState::Reachable, "{node:?}");
            assert_eq!(node.links.len(), 4, "{node:?}");
            assert!(node.links.iter().all(|link| link.state == LinkState::Up), "{node:?}");
        }
    }
}

#[test]
fn a_node_at_the_end_of_a_chain_sees_the_one_at_the_other_end() {
    let (mut world, sites) = chain(2, 5);
    for (at, of) in [(0, 4), (4, 0), (1, 3), (0, 2)] {
        assert_eq!(state(&world, sites[at], sites[of]), NodeState::Reachable);
        assert_eq!(view(&world, sites[at], sites[of]).links.len(), if of == 0 || of == 4 { 1 } else { 2 });
    }
    // It stays so while nobody has anything to say.
    world.run_for(600_000);
    assert_eq!(state(&world, sites[0], sites[4]), NodeState::Reachable);
    assert_eq!(turns(&mut world), []);
}

#[test]
fn a_partition_and_its_end_are_told_once_at_each_node_of_both_sides() {
    let (mut world, sites) = mesh(3, 5);
    let (left, right) = sites.split_at(2);
    let cut_ms = world.now_ms();
    world.split(left, right);
    world.run_for(8_000);
    let told = turns(&mut world);
    for at in &sites {
        let (own, other) = if left.contains(at) { (left, right) } else { (right, left) };
        for node in own {
            assert_eq!(state(&world, *at, *node), NodeState::Reachable);
        }
        for node in other {
            assert_eq!(state(&world, *at, *node), NodeState::Unreachable);
        }
        let here: Vec<_> = told.iter().filter(|(site, ..)| site == at).collect();
        let [(_, ms, count, _)] = here[..] else { panic!("{} tells {here:?}", world.name(*at)) };
        assert_eq!(*count, other.len() as i64);
        assert!((500..=3_000).contains(&(ms - cut_ms)), "told after {} ms", ms - cut_ms);
    }
    world.heal_all();
    world.run_for(40_000);
    let told = turns(&mut world);
    for at in &sites {
        let others = if left.contains(at) { right.len() } else { left.len() };
        let found: i64 = told.iter().filter(|(site, ..)| site == at).map(|(_, _, count, _)| count).sum();
        assert_eq!(found, -(others as i64), "{}: {told:?}", world.name(*at));
        assert!(world.topology(*at).nodes.iter().all(|node| node.state == NodeState::Reachable));
    }
}

#[test]
fn a_dead_node_is_known_to_be_lost_everywhere_also_where_it_had_no_link() {
    let (mut world, sites) = chain(4, 4);
    world.crash(sites[3]);
    world.run_for(10_000);
    for at in &sites[..3] {
        assert_eq!(state(&world, *at, sites[3]), NodeState::Unreachable);
        assert_eq!(state(&world, *at, sites[2]), NodeState::Reachable);
    }
    let told = turns(&mut world);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().all(|(_, _, count, names)| *count == 1 && names == &["dave"]), "{told:?}");
    world.restart(sites[3]);
    world.run_for(30_000);
    let told = turns(&mut world);
    assert_eq!(told.iter().map(|(_, _, count, _)| count).sum::<i64>(), -3, "{told:?}");
}

#[test]
fn a_node_that_one_peer_still_hears_is_not_lost() {
    let (mut world, sites) = mesh(5, 3);
    world.cut(sites[0], sites[1]);
    world.run_for(20_000);
    assert_eq!(turns(&mut world), []);
    assert_eq!(state(&world, sites[0], sites[1]), NodeState::Reachable);
    let links = view(&world, sites[0], sites[1]).links;
    let name = |link: &peat_mesh_core::presence::LinkView| link.peer.clone().unwrap().1.to_string();
    let up: Vec<String> = links.iter().filter(|link| link.state == LinkState::Up).map(name).collect();
    assert_eq!(up, ["carol"]);
}

#[test]
fn a_node_that_leaves_is_gone_and_not_lost() {
    let (mut world, sites) = chain(6, 4);
    world.leave(sites[3]);
    world.run_for(1_000);
    world.crash(sites[3]);
    world.run_for(20_000);
    for at in &sites[..3] {
        assert_eq!(state(&world, *at, sites[3]), NodeState::Left);
    }
    assert_eq!(turns(&mut world), []);
    world.restart(sites[3]);
    world.run_for(30_000);
    for at in &sites[..3] {
        assert_eq!(state(&world, *at, sites[3]), NodeState::Reachable);
    }
}

#[test]
fn a_node_that_restarts_with_a_clock_that_has_gone_back_is_believed() {
    for error_ms in [0, -3_600_000, 3_600_000] {
        let (mut world, sites) = chain(7, 4);
        world.set_clock_error_ms(sites[3], error_ms);
        world.leave(sites[3]);
        world.run_for(500);
        world.crash(sites[3]);
        world.run_for(5_000);
        let restarted_ms = world.now_ms() as i64;
        world.restart(sites[3]);
        world.run_for(30_000);
        for at in &sites {
            let dave = view(&world, *at, sites[3]);
            assert_eq!(dave.state, NodeState::Reachable, "{error_ms} at {}", world.name(*at));
            assert!((dave.started_ms - restarted_ms).abs() < 1_000, "{dave:?}");
        }
    }
}

#[test]
fn an_old_run_that_is_known_only_far_away_does_not_win() {
    // Dave is known at both ends, the chain is cut, dave restarts with a clock that has gone back, and all
    // those that are near him restart as well, so that they know nothing of his old run.
    let (mut world, sites) = chain(8, 5);
    world.cut(sites[0], sites[1]);
    world.run_for(8_000);
    for site in &sites[1..] {
        world.crash(*site);
    }
    world.set_clock_error_ms(sites[3], -86_400_000);
    for site in &sites[1..] {
        world.restart(*site);
    }
    world.run_for(20_000);
    world.heal_all();
    world.run_for(30_000);
    let started_ms = view(&world, sites[3], sites[3]).started_ms;
    for at in &sites {
        let dave = view(&world, *at, sites[3]);
        assert_eq!(dave.state, NodeState::Reachable, "at {}", world.name(*at));
        assert!((dave.started_ms - started_ms).abs() < 1_000, "{dave:?} at {}", world.name(*at));
    }
}

#[test]
fn a_change_in_a_full_mesh_costs_about_one_copy_for_each_node() {
    let (mut world, sites) = mesh(9, 5);
    world.reset_traffic();
    world.cut(sites[0], sites[1]);
    world.run_for(12_000);
    let presence = world.traffic().kind("presence");
    println!("a link of a full mesh of five is cut: {presence:?}");
    // Each end says that it hears nothing, then that the connection is gone. That are four records, each sent
    // to three nodes and in vain over the silent link; the other end of it gets them from two others.
    assert!(presence.frames <= 4 * (3 + 1 + 2), "{presence:?}");
}

#[test]
fn a_full_mesh_at_rest_refreshes_each_record_once_a_minute() {
    let (mut world, _) = mesh(10, 5);
    world.run_for(60_000);
    world.reset_traffic();
    world.run_for(600_000);
    let presence = world.traffic().kind("presence");
    println!("ten minutes of a full mesh of five: {presence:?}");
    assert!((5 * 4 * 8..=5 * 4 * 12).contains(&presence.frames), "{presence:?}");
}

#[test]
fn what_a_full_window_keeps_back_is_sent_later() {
    let mut world = World::new(11);
    let [alice, bob, carol] = world.nodes(["alice", "bob", "carol"]);
    world.link(alice, bob);
    world.set_speed(alice, bob, 100);
    let text = "x".repeat(100_000);
    world.preload(alice, (0..40).map(|n| (format!("d/{n}"), serde_json::json!({ "text": text }))));
    world.run_for(2_000);
    world.link(alice, carol);
    world.run_for(1_000);
    world.edit(carol, "d/new", Edit::Field);
    world.run_for(120_000);
    assert_eq!(state(&world, bob, carol), NodeState::Reachable);
    assert_eq!(state(&world, carol, bob), NodeState::Reachable);
}

#[test]
fn nodes_that_are_away_for_a_day_are_forgotten() {
    let (mut world, sites) = mesh(12, 3);
    world.crash(sites[2]);
    world.run_for(23 * 3_600_000);
    assert_eq!(world.topology(sites[0]).nodes.len(), 3);
    world.run_for(2 * 3_600_000);
    assert_eq!(world.topology(sites[0]).nodes.len(), 2);
    assert_eq!(world.topology(sites[1]).nodes.len(), 2);
}
