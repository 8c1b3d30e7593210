//! The scenarios, the longest first, so that the others run beside it.

mod behind_nats;
mod flapping;
mod gateway;
mod history;
mod ipv6;
mod lan_of_five;
mod moving;
mod one_way;
mod partition;
mod sleeper;
mod slow_link;
mod small_packets;
mod two_formations;

use std::sync::Arc;

use libtest_mimic::Trial;

use crate::net::{Lan, Space};
use crate::timeline::Timeline;

/// A scenario: its name and its story.
type Scenario = (&'static str, fn(&Lab));

const SCENARIOS: &[Scenario] = &[
    ("night", partition::a_cut_that_outlasts_all_that_was_announced_heals),
    ("flapping", flapping::a_flapping_link_loses_no_write),
    ("partition", partition::edits_on_both_sides_of_a_cut_are_all_there_after_it_heals),
    ("one-way", one_way::one_way_loss_loses_no_write),
    ("sleeper", sleeper::a_node_that_slept_catches_up),
    ("slow-link", slow_link::a_slow_link_that_loses_packets_stays_connected),
    ("history", history::what_clients_did_and_saw_during_cuts_and_kills_keeps_to_the_model),
    ("moving", moving::a_node_keeps_its_place_when_its_address_changes),
    ("nat", behind_nats::nodes_behind_nats_meet_over_a_relay_and_move_to_a_direct_path),
    ("symmetric-nat", behind_nats::nodes_behind_symmetric_nats_stay_on_the_relay),
    ("gateway", gateway::a_gateway_carries_documents_between_two_networks),
    ("small-packets", small_packets::documents_cross_where_packets_must_be_small),
    ("two-formations", two_formations::two_formations_on_one_network_do_not_see_each_other),
    ("ipv6", ipv6::nodes_work_on_ipv6_alone),
    ("lan-of-five", lan_of_five::five_nodes_meet_by_multicast_alone),
];

/// What every scenario starts with.
pub struct Lab {
    pub timeline: Timeline,
    switches: Arc<Space>,
}

impl Lab {
    fn new(name: &'static str) -> Self {
        Self { timeline: Timeline::new(name), switches: Arc::new(Space::new("switches")) }
    }

    /// A new switch.
    pub fn lan(&self) -> Lan {
        Lan::new(&self.switches)
    }
}

pub fn all() -> Vec<Trial> {
    SCENARIOS
        .iter()
        .map(|(name, story)| {
            Trial::test(*name, move || {
                let lab = Lab::new(name);
                story(&lab);
                lab.timeline.done();
                Ok(())
            })
        })
        .collect()
}
