//! The sources of discovery that a configuration asks for.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use peat_mesh_core::EndpointId;

use super::StartError;
use crate::config::{Config, Source};
use crate::discovery::fixed::Fixed;
#[cfg(feature = "kubernetes")]
use crate::discovery::kubernetes::Kubernetes;
use crate::discovery::{Discovery, EndpointOf, mdns};
use crate::identity::Identity;

/// Peers of other networks that this node joins to its own: those on its list, when it finds others by itself.
pub(super) fn kept(config: &Config, identity: &Identity) -> BTreeSet<EndpointId> {
    if !config.is_gateway || !config.finds_peers() {
        return BTreeSet::new();
    }
    let endpoint_of = endpoint_of(identity);
    let peers = config.static_peers.iter().map(|peer| peer.endpoint(&endpoint_of));
    peers.filter(|peer| *peer != identity.endpoint_id()).collect()
}

fn endpoint_of(identity: &Identity) -> EndpointOf {
    let secret = identity.secret().clone();
    Arc::new(move |name| secret.endpoint_of(name))
}

pub(super) fn make(
    config: &Config,
    identity: &Identity,
    incarnation: u64,
    bound: &[SocketAddr],
) -> Result<Vec<Box<dyn Discovery>>, StartError> {
    let endpoint_of = endpoint_of(identity);
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
