//! The variables of relays: those of a node that uses some, and those of a relay.

use super::Reader;
use crate::config::RELAYS_COUNT_MAX;
use crate::connection::check_relay;
use crate::discovery::fixed::{Place, StaticPeer};
use crate::relay;

impl Reader<'_> {
    /// The relays that a node uses. Peers that are given without an address need some.
    pub(super) fn relays(&mut self, peers: &[StaticPeer]) -> Vec<String> {
        const VARIABLE: &str = "PEAT_IROH_RELAY_URLS";
        const EXAMPLE: &str = "PEAT_IROH_RELAY_URLS=https://relay.example:3340";
        let relays = self.list(VARIABLE).unwrap_or_default();
        for problem in relays.iter().filter_map(|text| check_relay(text).err()) {
            self.wrong(VARIABLE, problem, EXAMPLE);
        }
        if relays.len() > RELAYS_COUNT_MAX {
            self.wrong(VARIABLE, format!("there are more than {RELAYS_COUNT_MAX} relays"), EXAMPLE);
        }
        if relays.is_empty() && peers.iter().any(|peer| peer.place == Place::Relay) {
            self.wrong(VARIABLE, "it is not set, but PEAT_STATIC_PEERS has a peer at `relay`", EXAMPLE);
        }
        relays
    }

    /// A relay, but for its secret.
    pub(super) fn relay(&mut self) -> Relay {
        Relay {
            bind: self.parse("PEAT_RELAY_BIND", "an IP address", "PEAT_RELAY_BIND=0.0.0.0"),
            port: self.port("PEAT_RELAY_PORT", relay::PORT_DEFAULT, "PEAT_RELAY_PORT=3340"),
            tls: self.parse("PEAT_RELAY_TLS", "true or false", "PEAT_RELAY_TLS=false").unwrap_or(true),
        }
    }
}

/// See [`relay::Settings`].
pub(super) struct Relay {
    pub(super) bind: Option<std::net::IpAddr>,
    pub(super) port: u16,
    pub(super) tls: bool,
}
