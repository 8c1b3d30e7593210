//! A node and its HTTP API as one thing that starts and stops.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tracing::{error, info};

use crate::broker;
use crate::config::Config;
use crate::handle::Handle;
use crate::node::{Node, StartError};

/// Why a service could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// The node could not start.
    #[error(transparent)]
    Node(#[from] StartError),
    /// The TCP port is not to be had.
    #[error(
        "TCP port {port} of {address} for the HTTP API could not be bound: {cause}. \
         Is another node running here? Set PEAT_BROKER_PORT to a free port",
        port = address.port(),
        address = address.ip()
    )]
    Bind {
        /// Where it was to listen.
        address: SocketAddr,
        /// Why it cannot.
        #[source]
        cause: io::Error,
    },
}

/// Clients whose connection waits to be taken. The system's own limit may be lower.
const WAITING_CLIENTS_COUNT_MAX: u32 = 1024;

fn listen(address: SocketAddr) -> io::Result<(SocketAddr, TcpListener)> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // As the standard library does, so that a node can start again at once.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(WAITING_CLIENTS_COUNT_MAX)?;
    Ok((listener.local_addr()?, listener))
}

/// A running node with its HTTP API.
#[derive(Debug)]
pub struct Service {
    node: Node,
    broker: JoinHandle<io::Result<()>>,
    address: SocketAddr,
    grace: Duration,
}

impl Service {
    /// Binds the API's port, starts the node, and serves. `grace` is how long requests in flight get
    /// when the service stops.
    ///
    /// # Errors
    /// When the node cannot start or the port cannot be bound. Nothing runs then.
    pub async fn start(config: Config, grace: Duration) -> Result<Self, ServiceError> {
        let address = SocketAddr::from((config.broker_bind, config.broker_port));
        let (address, listener) = listen(address).map_err(|cause| ServiceError::Bind { address, cause })?;
        let node = Node::start(config).await?;
        let broker = tokio::spawn(broker::serve(listener, node.handle().clone(), grace));
        info!("Broker listening on http://{address}");
        Ok(Self { node, broker, address, grace })
    }

    /// The way to use the node.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        self.node.handle()
    }

    /// Where the HTTP API listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until the node or its HTTP API ends by itself, which they do only when they are broken.
    pub async fn broken(&mut self) -> String {
        let broker = tokio::select! {
            problem = self.node.broken() => return problem,
            broker = &mut self.broker => broker,
        };
        match broker {
            Ok(Ok(())) => "the HTTP API has stopped".to_owned(),
            Ok(Err(problem)) => format!("the HTTP API cannot go on: {problem}"),
            Err(problem) => format!("the HTTP API has panicked; this is a bug: {problem}"),
        }
    }

    /// Stops: no new requests, those in flight finish, all is on disk, peers are told goodbye.
    pub async fn shutdown(mut self) {
        self.handle().stopping().cancel();
        // The broker keeps its own time; this is only for one that hangs.
        let longest = self.grace + Duration::from_secs(1);
        if !self.broker.is_finished() && tokio::time::timeout(longest, &mut self.broker).await.is_err() {
            error!("the HTTP API did not stop in time and is cut off");
            self.broker.abort();
        }
        self.node.shutdown().await;
    }
}
