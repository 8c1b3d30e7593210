//! The admitted connections: the one place that says who is a member at the moment.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use iroh::endpoint::Connection;
use peat_mesh_core::{ConnId, EndpointId};
use tokio::sync::{mpsc, watch};

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
    connections: HashMap<ConnId, (Connection, Option<mpsc::Sender<Bytes>>)>,
}

impl Live {
    fn with<T>(&self, act: impl FnOnce(&mut Table) -> T) -> T {
        act(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn add(&self, connection: Connection, outbox: mpsc::Sender<Bytes>) -> ConnId {
        let conn = self.with(|table| {
            table.next += 1;
            let conn = ConnId(table.next);
            table.connections.insert(conn, (connection, Some(outbox)));
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
        self.with(|table| table.connections.get(&conn).map(|(connection, _)| connection.clone()))
    }

    pub(super) fn outbox(&self, conn: ConnId) -> Option<mpsc::Sender<Bytes>> {
        self.with(|table| table.connections.get(&conn)?.1.clone())
    }

    /// Takes the way to every connection, which then ends when all that it was given has arrived.
    pub(super) fn take_outboxes(&self) {
        self.with(|table| table.connections.values_mut().for_each(|(_, outbox)| *outbox = None));
    }

    pub(super) async fn until_empty(&self) {
        // The table holds the other half of the channel, so waiting does not fail.
        let mut changes = self.changes.subscribe();
        while self.with(|table| !table.connections.is_empty()) && changes.changed().await.is_ok() {}
    }

    /// The peers that are connected and admitted.
    pub(super) fn peers(&self) -> Vec<EndpointId> {
        let mut peers: Vec<EndpointId> = self.with(|table| {
            let connections = table.connections.values();
            connections.map(|(connection, _)| EndpointId(*connection.remote_id().as_bytes())).collect()
        });
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Whether this peer has an admitted connection now.
    pub(super) fn is_admitted(&self, peer: EndpointId) -> bool {
        self.with(|table| {
            let mut connections = table.connections.values();
            connections.any(|(connection, _)| *connection.remote_id().as_bytes() == peer.0)
        })
    }

    /// Waits until [`Live::is_admitted`] says this.
    pub(super) async fn until_admitted(&self, peer: EndpointId, wanted: bool) {
        let mut changes = self.changes.subscribe();
        while self.is_admitted(peer) != wanted && changes.changed().await.is_ok() {}
    }

    /// The address in use towards a peer.
    pub(super) fn address(&self, peer: EndpointId) -> Option<SocketAddr> {
        let connection = self.with(|table| {
            let mut connections = table.connections.values().map(|(connection, _)| connection);
            connections.find(|connection| *connection.remote_id().as_bytes() == peer.0).cloned()
        })?;
        super::path(&connection)?.0
    }

    /// The address and the round-trip time in milliseconds of the path in use.
    #[must_use]
    pub fn path(&self, conn: ConnId) -> Option<(Option<SocketAddr>, f64)> {
        super::path(&self.connection(conn)?)
    }
}
