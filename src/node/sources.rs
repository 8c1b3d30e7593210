//! The sources of discovery that a configuration asks for.

use std::net::SocketAddr;
use std::sync::Arc;

use super::StartError;
use crate::config::{Config, Source};
#[cfg(feature = "kubernetes")]
use crate::discovery::kubernetes::Kubernetes;
use crate::discovery::{Discovery, EndpointOf, fixed::Fixed, mdns};
use crate::identity::Identity;

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
