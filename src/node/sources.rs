//! The sources of discovery that a configuration asks for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use peat_mesh_core::EndpointId;

use super::StartError;
use crate::config::{Config, Source};
use crate::discovery::fixed::{Fixed, StaticPeer, Who};
#[cfg(feature = "kubernetes")]
use crate::discovery::kubernetes::Kubernetes;
use crate::discovery::{Discovery, EndpointOf, mdns};
use crate::identity::Identity;

/// Peers of other networks that this node joins to its own: those on its list, when it finds others by itself.
pub(super) fn kept(config: &Config, identity: &Identity) -> BTreeSet<EndpointId> {
    let finds_others = config.discovery.iter().any(|source| *source != Source::Static);
    if !config.is_gateway || !finds_others {
        return BTreeSet::new();
    }
    let id = |peer: &StaticPeer| match &peer.who {
        Who::Name(name) => identity.secret().endpoint_of(name),
        Who::Id(id) => *id,
    };
    config.static_peers.iter().map(id).filter(|id| *id != identity.endpoint_id()).collect()
}

pub(super) fn make(
    config: &Config,
    identity: &Identity,
    incarnation: u64,
    bound: &[SocketAddr],
) -> Result<Vec<Box<dyn Discovery>>, StartError> {
    let secret = identity.secret().clone();
    let endpoint_of: EndpointOf = Arc::new(move |name| secret.endpoint_of(name));
    let mut sources: Vec<Box<dyn Discovery>> = Vec::new();
    for source in &config.discovery {
        match source {
            #[cfg(feature = "kubernetes")]
            Source::Kubernetes => {
                let cluster = config.kubernetes.clone().ok_or(StartError::NoCluster)?;
                let endpoint_of = Arc::clone(&endpoint_of);
                let own = identity.endpoint_id();
                sources.push(Box::new(Kubernetes::new(cluster, own, identity.name(), endpoint_of)));
            }
            Source::Static if !config.is_gateway => {}
            Source::Static => {
                let peers = config.static_peers.clone();
                let fixed = Fixed::new(peers, identity.endpoint_id(), &endpoint_of);
                let fixed = if config.relays.is_empty() { fixed } else { fixed.relayed() };
                sources.push(Box::new(fixed));
            }
            Source::Mdns => sources.push(Box::new(mdns::Mdns::new(mdns::MdnsConfig {
                name: identity.name().clone(),
                port: bound.first().map_or(config.iroh_port, SocketAddr::port),
                formation_tag: identity.secret().lan_tag(),
                incarnation: incarnation.to_be_bytes(),
                interfaces: config.mdns_interfaces.clone(),
                endpoint_of: Arc::clone(&endpoint_of),
            }))),
        }
    }
    Ok(sources)
}
