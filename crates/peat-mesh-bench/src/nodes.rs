//! Real nodes with their HTTP API on loopback, each with a temporary folder.

use std::time::Duration;

use peat_mesh::config::Config;
use peat_mesh::discovery::fixed::StaticPeer;
use peat_mesh::identity::FormationSecret;
use peat_mesh::service::Service;
use peat_mesh_core::NodeName;
use peat_mesh_core::hub::PeerState;
use tempfile::TempDir;

/// Anything that ends a bench.
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

const GRACE: Duration = Duration::from_secs(2);

/// A node and its folder.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) service: Service,
    pub(crate) folder: TempDir,
}

/// Two nodes that are connected.
pub(crate) async fn pair() -> Result<(Running, Running), Failed> {
    let secret = FormationSecret::parse(&FormationSecret::generate())?;
    let first = start(&secret, "first", None).await?;
    let second = start(&secret, "second", Some(&first)).await?;
    let mut peers = second.service.handle().watch_peers();
    let connected = peers.wait_for(|peers| peers.iter().any(|peer| peer.state == PeerState::Connected));
    tokio::time::timeout(Duration::from_secs(30), connected).await??;
    Ok((first, second))
}

async fn start(secret: &FormationSecret, name: &str, peer: Option<&Running>) -> Result<Running, Failed> {
    let folder = tempfile::tempdir()?;
    let list: Vec<String> = peer
        .iter()
        .flat_map(|peer| {
            let handle = peer.service.handle();
            handle.bound_addresses().into_iter().map(|at| format!("{}@{at}", handle.name()))
        })
        .collect();
    let peers = StaticPeer::parse_list(&list.join(",")).map_err(|problems| problems.join("; "))?;
    let config = Config::on_loopback(secret.clone(), NodeName::new(name)?, folder.path().to_owned(), peers);
    Ok(Running { service: Service::start(config, GRACE).await?, folder })
}
