//! Where blobs come from: the peers that are connected now.

use std::time::Duration;

use futures_util::future::BoxFuture;
use iroh::endpoint::Connection;
use peat_mesh_core::EndpointId;
use peat_mesh_core::presence::PathKind;

use crate::blob::{Providers, Way};
use crate::connection::Opener;

#[derive(Debug)]
pub(super) struct Connected(pub(super) Opener);

impl Providers for Connected {
    fn ways(&self) -> Vec<Way> {
        let way = |peer| {
            let measure = self.0.measure(peer);
            let is_relayed = measure.path == PathKind::Relay;
            Way { peer, rtt: Duration::from_micros(measure.rtt_us), is_relayed }
        };
        self.0.peers().into_iter().map(way).collect()
    }

    fn open(&self, peer: EndpointId, alpn: &'static [u8]) -> BoxFuture<'_, Result<Connection, String>> {
        Box::pin(self.0.open(peer, alpn))
    }
}
