//! Connections to peers for blobs, kept open for the next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use iroh::endpoint::{Connection, RecvStream, SendStream};
use peat_mesh_core::EndpointId;

/// How long a peer may take to let this node open a stream.
const STREAM: Duration = Duration::from_secs(10);

/// A peer that may have a blob, and the way to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The peer.
    pub peer: EndpointId,
    /// Round-trip time; zero when it is not known.
    pub rtt: Duration,
    /// Packets go over a relay.
    pub is_relayed: bool,
}

/// The way to peers that may have a blob.
pub trait Providers: Send + Sync + std::fmt::Debug {
    /// The peers that are connected and admitted now.
    fn ways(&self) -> Vec<Way>;
    /// Opens a connection of this protocol to one of them; why that fails, in words.
    fn open(&self, peer: EndpointId, alpn: &'static [u8]) -> BoxFuture<'_, Result<Connection, String>>;
}

type Kept = Arc<tokio::sync::Mutex<Option<Connection>>>;

/// The connections there are, by peer and protocol.
#[derive(Debug)]
pub(super) struct Ways {
    providers: Arc<dyn Providers>,
    kept: Mutex<HashMap<(EndpointId, &'static [u8]), Kept>>,
}

impl Ways {
    pub(super) fn new(providers: Arc<dyn Providers>) -> Self {
        Self { providers, kept: Mutex::default() }
    }

    pub(super) fn all(&self) -> Vec<Way> {
        self.providers.ways()
    }

    /// A new stream to a peer, on the connection there is or on a new one.
    pub(super) async fn stream(
        &self,
        peer: EndpointId,
        alpn: &'static [u8],
    ) -> Result<(Connection, SendStream, RecvStream), String> {
        let kept = self.kept(peer, alpn);
        // A connection that the peer has closed in the meantime does not open streams; a new one does.
        for is_last in [false, true] {
            let connection = self.connection(&kept, peer, alpn).await?;
            match tokio::time::timeout(STREAM, connection.open_bi()).await {
                Ok(Ok((send, recv))) => return Ok((connection, send, recv)),
                Ok(Err(problem)) if is_last => return Err(problem.to_string()),
                Ok(Err(_)) => {}
                Err(_) => return Err("it allows no more requests".to_owned()),
            }
        }
        Err("it closes connections for blobs".to_owned())
    }

    /// The connection for blobs to a peer, the one there is or a new one.
    pub(super) async fn connection_to(&self, peer: EndpointId) -> Result<Connection, String> {
        self.connection(&self.kept(peer, iroh_blobs::ALPN), peer, iroh_blobs::ALPN).await
    }

    async fn connection(
        &self,
        kept: &Kept,
        peer: EndpointId,
        alpn: &'static [u8],
    ) -> Result<Connection, String> {
        let mut kept = kept.lock().await;
        if let Some(connection) = kept.as_ref().filter(|connection| connection.close_reason().is_none()) {
            return Ok(connection.clone());
        }
        let connection = self.providers.open(peer, alpn).await?;
        *kept = Some(connection.clone());
        Ok(connection)
    }

    fn kept(&self, peer: EndpointId, alpn: &'static [u8]) -> Kept {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that have ended and are in nobody's hands.
        all.retain(|_, kept| {
            let is_over = kept
                .try_lock()
                .is_ok_and(|kept| kept.as_ref().is_none_or(|connection| connection.close_reason().is_some()));
            Arc::strong_count(kept) > 1 || !is_over
        });
        Arc::clone(all.entry((peer, alpn)).or_default())
    }
}
