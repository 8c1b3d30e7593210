//! Where blobs come from: the peers that are connected now.

use futures_util::future::BoxFuture;
use iroh::endpoint::Connection;
use peat_mesh_core::EndpointId;

use crate::blob::{self, Providers};
use crate::connection::Opener;

#[derive(Debug)]
pub(super) struct Connected(pub(super) Opener);

impl Providers for Connected {
    fn peers(&self) -> Vec<EndpointId> {
        self.0.peers()
    }

    fn open(&self, peer: EndpointId) -> BoxFuture<'_, Result<Connection, String>> {
        Box::pin(self.0.open(peer, blob::ALPN))
    }
}
