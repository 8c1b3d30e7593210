//! The variables of federation: who is a gateway, where it is reached, and what may cross.

use peat_mesh_core::NodeName;
use peat_mesh_core::limits::PEER_ADDRESSES_COUNT_MAX;
use peat_mesh_core::scope::LinkScopes;

use super::Reader;
use crate::discovery::fixed::{Place, StaticPeer, Who};

const GATEWAYS: &str = "PEAT_GATEWAYS";

impl Reader<'_> {
    /// Whether this node is a gateway: it is when no list says who is.
    pub(super) fn is_gateway(&mut self, name: Option<&NodeName>) -> bool {
        let Some(gateways) = self.list(GATEWAYS) else { return true };
        for gateway in &gateways {
            if let Err(problem) = NodeName::new(gateway) {
                self.wrong(
                    GATEWAYS,
                    format!("{gateway:?}: {problem}"),
                    "PEAT_GATEWAYS=peat-mesh-0,peat-mesh-1",
                );
            }
        }
        name.is_some_and(|name| gateways.iter().any(|gateway| is_meant(gateway, name)))
    }

    /// Where this node is reached from outside, as `host:port`.
    pub(super) fn external_addresses(&mut self, name: Option<&NodeName>) -> Vec<String> {
        const VARIABLE: &str = "PEAT_EXTERNAL_ADDR";
        const EXAMPLE: &str = "PEAT_EXTERNAL_ADDR=192.0.2.7:31204, or with the name of a node before it: \
                               peat-mesh-0@192.0.2.7:31204,peat-mesh-1@192.0.2.7:31205";
        let mut addresses = Vec::new();
        for entry in self.list(VARIABLE).unwrap_or_default() {
            let named = if entry.contains('@') { entry.clone() } else { format!("any@{entry}") };
            let (who, place) = match StaticPeer::parse_list(&named).as_deref() {
                Ok([StaticPeer { who: Who::Name(who), place }]) if *place != Place::Relay => {
                    (who.clone(), place.clone())
                }
                _ => {
                    self.wrong(VARIABLE, format!("{entry:?} is not host:port or name@host:port"), EXAMPLE);
                    continue;
                }
            };
            if !entry.contains('@') || name.is_some_and(|name| is_meant(who.as_str(), name)) {
                addresses.push(match place {
                    Place::Address(address) => address.to_string(),
                    Place::Host(host) => format!("{}:{}", host.host, host.port),
                    Place::Relay => continue,
                });
            }
        }
        if addresses.len() > PEER_ADDRESSES_COUNT_MAX {
            self.wrong(
                VARIABLE,
                format!("there are more than {PEER_ADDRESSES_COUNT_MAX} addresses"),
                EXAMPLE,
            );
        }
        addresses
    }

    /// What may cross to which peers.
    pub(super) fn link_scopes(&mut self) -> LinkScopes {
        const VARIABLE: &str = "PEAT_LINK_SCOPES";
        const EXAMPLE: &str =
            "PEAT_LINK_SCOPES=\"bravo/*: send=tracks,alerts receive=orders; charlie/*: receive=\"";
        match LinkScopes::parse(&self.text(VARIABLE).unwrap_or_default()) {
            Ok(scopes) => scopes,
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.wrong(VARIABLE, problem, EXAMPLE));
                LinkScopes::default()
            }
        }
    }
}

/// Whether a name in a list is this node: by its host name, or with the cluster before it.
fn is_meant(listed: &str, name: &NodeName) -> bool {
    let full = name.as_str();
    listed == full || Some(listed) == full.split_once('/').map(|(_, host)| host)
}
