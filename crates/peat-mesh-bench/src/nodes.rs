//! Real nodes with their HTTP API on loopback, each with a temporary folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

use peat_mesh::config::Config;
use peat_mesh::discovery::fixed::StaticPeer;
use peat_mesh::handle::Handle;
use peat_mesh::identity::FormationSecret;
use peat_mesh::service::Service;
use peat_mesh_core::NodeName;
use peat_mesh_core::hub::{PeerState, PeerView};
use tempfile::TempDir;

/// Anything that ends a bench.
pub(crate) type Failed = Box<dyn std::error::Error + Send + Sync>;

const GRACE: Duration = Duration::from_secs(2);
/// Longest wait for anything, in seconds.
const PATIENCE: Duration = Duration::from_secs(300);

/// A formation on this machine.
#[derive(Debug)]
pub(crate) struct Formation {
    secret: FormationSecret,
    folder: TempDir,
}

impl Formation {
    pub(crate) fn new() -> Result<Self, Failed> {
        let secret = FormationSecret::parse(&FormationSecret::generate())?;
        Ok(Self { secret, folder: tempfile::tempdir()? })
    }

    /// The data folder of a node.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a node on its folder, which may have been used before.
    pub(crate) async fn start(&self, name: &str, peer: Option<&Service>) -> Result<Service, Failed> {
        start(&self.secret, name, &self.folder(name), peer.map(Service::handle)).await
    }
}

async fn start(
    secret: &FormationSecret,
    name: &str,
    folder: &Path,
    peer: Option<&Handle>,
) -> Result<Service, Failed> {
    let list: Vec<String> = peer
        .iter()
        .flat_map(|peer| peer.bound_addresses().into_iter().map(|at| format!("{}@{at}", peer.name())))
        .collect();
    let peers = StaticPeer::parse_list(&list.join(",")).map_err(|problems| problems.join("; "))?;
    let config = Config::on_loopback(secret.clone(), NodeName::new(name)?, folder.to_owned(), peers);
    Ok(Service::start(config, GRACE).await?)
}

/// Two nodes that are connected.
pub(crate) async fn pair() -> Result<(Formation, Service, Service), Failed> {
    let formation = Formation::new()?;
    let first = formation.start("first", None).await?;
    let second = formation.start("second", Some(&first)).await?;
    until(&second, |peer| peer.state == PeerState::Connected).await?;
    Ok((formation, first, second))
}

/// Waits until a node's one peer is like this.
pub(crate) async fn until(node: &Service, like: impl Fn(&PeerView) -> bool) -> Result<PeerView, Failed> {
    let mut peers = node.handle().watch_peers();
    let found = peers.wait_for(|peers| peers.iter().any(&like));
    let peers = tokio::time::timeout(PATIENCE, found).await??;
    Ok(peers.iter().find(|peer| like(peer)).ok_or("the peer is gone")?.clone())
}
