//! The admitted connections: the one place that says who is a member at the moment.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use iroh::endpoint::Connection;
use peat_mesh_core::presence::Measure;
use peat_mesh_core::{ConnId, EndpointId};
use tokio::sync::{mpsc, watch};

use super::liveness;

/// The admitted connections.
#[derive(Debug, Clone, Default)]
pub struct Live {
    table: Arc<Mutex<Table>>,
    /// Tells that a connection came or went.
    changes: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    connections: HashMap<ConnId, Entry>,
}

#[derive(Debug)]
struct Entry {
    connection: Connection,
    outbox: Option<mpsc::Sender<Bytes>>,
    /// The path as it was a moment ago.
    measure: Measure,
}

impl Entry {
    fn peer(&self) -> EndpointId {
        EndpointId(*self.connection.remote_id().as_bytes())
    }
}

impl Live {
    fn with<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        act(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, connection: Connection, outbox: mpsc::Sender<Bytes>) -> ConnId {
        let measure = liveness::path(&connection);
        let conn = self.with(|table| {
            table.next += 1;
            let conn = ConnId(table.next);
            table.connections.insert(conn, Entry { connection, outbox: Some(outbox), measure });
            conn
        });
        self.changes.send_replace(());
        conn
    }

    pub(super) fn remove(&self, conn: ConnId) {
        self.with(|table| table.connections.remove(&conn));
        self.changes.send_replace(());
    }

    pub(super) fn connection(&self, conn: ConnId) -> Option<Connection> {
        self.with(|table| table.connections.get(&conn).map(|entry| entry.connection.clone()))
    }

    pub(super) fn outbox(&self, conn: ConnId) -> Option<mpsc::Sender<Bytes>> {
        self.with(|table| table.connections.get(&conn)?.outbox.clone())
    }

    /// Takes the way to every connection, which then ends when all that it was given has arrived.
    pub(super) fn take_outboxes(&self) {
        self.with(|table| table.connections.values_mut().for_each(|entry| entry.outbox = None));
    }

    pub(super) async fn until_empty(&self) {
        // The table holds the other half of the channel, so waiting does not fail.
        let mut changes = self.changes.subscribe();
        while self.with(|table| !table.connections.is_empty()) && changes.changed().await.is_ok() {}
    }

    /// The peers that are connected and admitted.
    pub(super) fn peers(&self) -> Vec<EndpointId> {
        let mut peers: Vec<EndpointId> =
            self.with(|table| table.connections.values().map(Entry::peer).collect());
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Whether this peer has an admitted connection now.
    pub(super) fn is_admitted(&self, peer: EndpointId) -> bool {
        self.with(|table| table.connections.values().any(|entry| entry.peer() == peer))
    }

    /// Waits until [`Live::is_admitted`] says this.
    pub(super) async fn until_admitted(&self, peer: EndpointId, wanted: bool) {
        let mut changes = self.changes.subscribe();
        while self.is_admitted(peer) != wanted && changes.changed().await.is_ok() {}
    }

    /// The address in use towards a peer.
    pub(super) fn address(&self, peer: EndpointId) -> Option<SocketAddr> {
        let is_meant = |entry: &&Entry| entry.peer() == peer;
        self.with(|table| table.connections.values().find(is_meant)?.measure.address)
    }

    /// What was measured on the way to a peer.
    pub(super) fn measure(&self, peer: EndpointId) -> Option<Measure> {
        let is_meant = |entry: &&Entry| entry.peer() == peer;
        self.with(|table| Some(table.connections.values().find(is_meant)?.measure.clone()))
    }

    /// All admitted connections.
    pub(super) fn connections(&self) -> Vec<(ConnId, Connection)> {
        let pair = |(conn, entry): (&ConnId, &Entry)| (*conn, entry.connection.clone());
        self.with(|table| table.connections.iter().map(pair).collect())
    }

    pub(super) fn measured(&self, conn: ConnId, measure: &Measure) {
        self.with(|table| {
            if let Some(entry) = table.connections.get_mut(&conn) {
                entry.measure.clone_from(measure);
            }
        });
    }

    /// How packets reach the peer, and how many bytes went out and came in over the connection, in UDP datagrams.
    #[must_use]
    pub fn path(&self, conn: ConnId) -> Option<(Measure, [u64; 2])> {
        let (connection, measure) = self.with(|table| {
            let entry = table.connections.get(&conn)?;
            Some((entry.connection.clone(), entry.measure.clone()))
        })?;
        let stats = connection.stats();
        Some((measure, [stats.udp_tx.bytes, stats.udp_rx.bytes]))
    }
}
