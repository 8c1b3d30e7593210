//! Two clusters with a gateway each, and bounds on the link between the gateways.

use peat_mesh_sim::{Site, World};
use serde_json::json;

/// Two clusters of two nodes; `a/0` and `b/0` are the gateways.
struct Clusters {
    world: World,
    a: [Site; 2],
    b: [Site; 2],
}

impl Clusters {
    /// With these scopes at the two gateways.
    fn new(seed: u64, at_a: &str, at_b: &str) -> Self {
        let mut world = World::new(seed);
        let a = world.nodes(["a/0", "a/1"]);
        let b = world.nodes(["b/0", "b/1"]);
        world.set_scopes(a[0], at_a);
        world.set_scopes(b[0], at_b);
        world.link(a[0], a[1]);
        world.link(b[0], b[1]);
        world.link(a[0], b[0]);
        Self { world, a, b }
    }

    /// Writes one document of each collection on the second node of each cluster.
    fn write(&mut self, number: u32) {
        for collection in ["tracks", "orders", "private"] {
            self.world.put(self.a[1], &format!("{collection}/a{number}"), json!({ "n": number }));
            self.world.put(self.b[1], &format!("{collection}/b{number}"), json!({ "n": number }));
        }
    }

    /// Long enough for several comparisons.
    fn settle(&mut self) {
        self.world.run_for(30_000);
    }

    /// Whether a document of one cluster is on both nodes of the other, or on none.
    #[track_caller]
    fn check_crossed(&self, doc: &str, crossed: bool) {
        let from_a = doc.contains("/a");
        let there = if from_a { self.b } else { self.a };
        for site in there {
            let is_there = self.world.get(site, doc).is_some();
            assert_eq!(is_there, crossed, "{doc} on {}", self.world.name(site));
        }
    }

    #[track_caller]
    fn check_only_tracks_go_to_b_and_orders_to_a(&self, number: u32) {
        for (doc, crossed) in [
            ("tracks/a", true),
            ("orders/a", false),
            ("private/a", false),
            ("tracks/b", false),
            ("orders/b", true),
            ("private/b", false),
        ] {
            self.check_crossed(&format!("{doc}{number}"), crossed);
        }
        for site in self.world.sites() {
            let errors: Vec<_> =
                self.world.peers(site).into_iter().filter_map(|peer| peer.last_error).collect();
            assert!(errors.iter().all(|error| !error.contains("may not come in")), "{errors:?}");
        }
    }
}

const TRACKS_OUT: &str = "b/*: send=tracks receive=orders";

#[test]
fn only_what_is_allowed_crosses_in_each_direction_written_before_or_after_the_link() {
    for (at_a, at_b) in [
        (TRACKS_OUT, ""),
        ("", "a/0: send=orders receive=tracks"),
        (TRACKS_OUT, "a/*: send=orders,private receive=tracks,private"),
    ] {
        for seed in 0..5 {
            let mut clusters = Clusters::new(seed, at_a, at_b);
            clusters.write(1);
            clusters.settle();
            clusters.write(2);
            clusters.settle();
            clusters.check_only_tracks_go_to_b_and_orders_to_a(1);
            clusters.check_only_tracks_go_to_b_and_orders_to_a(2);
            // Documents of the own cluster are not touched by what may cross.
            assert!(clusters.world.get(clusters.a[0], "private/a2").is_some());
        }
    }
}

#[test]
fn a_cut_between_the_gateways_heals_within_the_scope() {
    for seed in 0..5 {
        let mut clusters = Clusters::new(seed, TRACKS_OUT, "");
        clusters.settle();
        clusters.world.cut(clusters.a[0], clusters.b[0]);
        for number in 0..40 {
            clusters.write(number);
        }
        clusters.settle();
        clusters.check_crossed("tracks/a1", false);
        clusters.world.heal_all();
        clusters.settle();
        for number in 0..40 {
            clusters.check_only_tracks_go_to_b_and_orders_to_a(number);
        }
    }
}

#[test]
fn both_ends_are_in_step_when_all_that_may_cross_has_crossed() {
    let mut clusters = Clusters::new(1, TRACKS_OUT, "");
    for number in 0..20 {
        clusters.world.put(clusters.a[1], &format!("tracks/a{number}"), json!({ "n": number }));
        clusters.world.put(clusters.b[1], &format!("orders/b{number}"), json!({ "n": number }));
        clusters.world.put(clusters.b[1], &format!("private/b{number}"), json!({ "n": number }));
    }
    clusters.settle();
    let peers = clusters.world.peers(clusters.a[0]);
    let link =
        peers.iter().find(|peer| peer.name.as_ref().is_some_and(|name| name.as_str() == "b/0")).unwrap();
    assert!(link.in_step, "{link:?}");
    assert_eq!(link.scope.as_deref(), Some("send=tracks receive=orders"));
    let back = clusters.world.peers(clusters.b[0]);
    let back =
        back.iter().find(|peer| peer.name.as_ref().is_some_and(|name| name.as_str() == "a/0")).unwrap();
    assert_eq!(back.scope.as_deref(), Some("send=orders receive=tracks"));
}

#[test]
fn another_scope_after_a_restart_lets_the_rest_across() {
    let mut clusters = Clusters::new(2, TRACKS_OUT, "");
    clusters.write(1);
    clusters.settle();
    clusters.check_crossed("private/a1", false);
    clusters.world.set_scopes(clusters.a[0], "b/*: send=tracks,private receive=orders");
    clusters.settle();
    clusters.check_crossed("private/a1", true);
    clusters.check_crossed("private/b1", false);
    clusters.world.set_scopes(clusters.a[0], "");
    clusters.settle();
    for doc in ["orders/a1", "private/b1", "tracks/b1"] {
        clusters.check_crossed(doc, true);
    }
}

#[test]
fn an_edit_where_a_one_way_collection_arrives_stays_there_and_later_changes_still_arrive() {
    for seed in 0..5 {
        let mut clusters = Clusters::new(seed, TRACKS_OUT, "");
        clusters.write(1);
        clusters.settle();
        clusters.world.put(clusters.b[1], "tracks/a1", json!({ "n": 1, "seen": true }));
        clusters.settle();
        assert_eq!(clusters.world.get(clusters.a[1], "tracks/a1"), Some(json!({ "n": 1 })), "SEED={seed}");
        // One change crosses while the link stands, and one after a cut.
        clusters.world.put(clusters.a[1], "tracks/a1", json!({ "n": 2 }));
        clusters.settle();
        assert_eq!(clusters.world.get(clusters.b[1], "tracks/a1"), Some(json!({ "n": 2, "seen": true })));
        clusters.world.cut(clusters.a[0], clusters.b[0]);
        clusters.settle();
        clusters.world.put(clusters.a[1], "tracks/a1", json!({ "n": 3 }));
        clusters.settle();
        clusters.world.heal_all();
        clusters.settle();
        assert_eq!(clusters.world.get(clusters.b[1], "tracks/a1"), Some(json!({ "n": 3, "seen": true })));
        assert_eq!(clusters.world.get(clusters.a[1], "tracks/a1"), Some(json!({ "n": 3 })), "SEED={seed}");
        // What stays different costs a few small frames now and then, and nothing is sent again and again.
        clusters.world.reset_traffic();
        clusters.world.run_for(60_000);
        let frames = clusters.world.traffic().all().frames;
        assert!(frames < 400, "{frames} frames in a minute");
    }
}

#[test]
fn a_gateway_that_may_not_send_passes_nothing_on_from_its_own_cluster() {
    let mut clusters = Clusters::new(3, "b/*: send=", "");
    clusters.write(1);
    clusters.settle();
    clusters.check_crossed("tracks/a1", false);
    clusters.check_crossed("tracks/b1", true);
}
