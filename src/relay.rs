//! A relay for one formation: it passes packets between nodes that have no direct path, and tells a node
//! under which address the outside sees it.
//!
//! In: the formation's secret and a port. Nodes come by TCP to that port, with TLS or, behind a proxy that has
//! its own, without; the discovery of addresses (QUIC) is at the UDP port of the same number. The key of the
//! certificate follows from the secret, so nothing has to be made, copied or renewed, and nodes know their
//! relay by it. Only nodes that show the token of the formation are let in.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;

use iroh_relay::server::{CertConfig, QuicConfig, RelayConfig, Server, ServerConfig, TlsConfig};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tracing::{info, warn};

use crate::identity::FormationSecret;

mod access;

use access::Members;

/// The port of a relay by default, TCP and UDP.
pub const PORT_DEFAULT: u16 = 3340;
/// What stands before the 32 bytes of a private Ed25519 key (PKCS #8, RFC 8410).
const ED25519_PKCS8: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// Keys of nodes that are remembered, so that they need not be checked again.
const KEYS_COUNT_MAX: usize = 16 * 1024;

/// How often a number that is free for TCP may not be free for UDP.
const FREE_PORT_TRIES_MAX: u32 = 32;

/// How a relay is set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The secret of the formation that may use it. `PEAT_FORMATION_SECRET`, required.
    pub secret: FormationSecret,
    /// The address it listens on; `None` for all of IPv4 and, where there is one, IPv6. `PEAT_RELAY_BIND`.
    pub bind: Option<IpAddr>,
    /// The port, TCP and UDP; 0 takes a free one. `PEAT_RELAY_PORT`, default 3340.
    pub port: u16,
    /// Whether nodes come with TLS (`https://`). `PEAT_RELAY_TLS`, default true.
    pub tls: bool,
}

/// Why a relay cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The ports are not to be had.
    #[error(
        "port {port} (TCP and UDP) for the relay could not be bound: {reason}. Is another relay running here? Set \
         PEAT_RELAY_PORT to a free port"
    )]
    Bind {
        /// Which.
        port: u16,
        /// Why, in words.
        reason: String,
    },
    /// The certificate could not be made.
    #[error("the certificate of the relay could not be made: {0}")]
    Certificate(String),
}

/// A running relay. Dropping it stops it at once.
#[derive(Debug)]
pub struct Relay {
    server: Server,
    tls: bool,
    address: SocketAddr,
}

impl Relay {
    /// Binds the ports and serves.
    ///
    /// # Errors
    /// When a port cannot be bound.
    pub async fn start(settings: Settings) -> Result<Self, RelayError> {
        let Settings { secret, bind, port, tls } = settings;
        let ip = bind.unwrap_or_else(everywhere);
        let failed = |reason: String| RelayError::Bind { port, reason };
        let certificate = certificate(&secret)?;
        // The number of a free port is needed for the second socket before the first one is made.
        let port = match port {
            0 => free_port(ip).map_err(|problem| failed(problem.to_string()))?,
            port => port,
        };
        let address = SocketAddr::from((ip, port));
        let mut relay = RelayConfig::new(address);
        if tls {
            // Port 80 of public relays serves a check that our nodes do not make.
            relay.http_bind_addr = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let cert = CertConfig::Manual { server_config: certificate.clone() };
            relay.tls = Some(TlsConfig::new(address, cert));
        }
        relay.key_cache_capacity = Some(KEYS_COUNT_MAX);
        relay.access = Arc::new(Members::new(&secret));
        let mut quic = QuicConfig::new(address);
        quic.server_config = Some(certificate);
        let mut config = ServerConfig::default();
        config.relay = Some(relay);
        config.quic = Some(quic);
        let server = Server::spawn(config).await.map_err(|problem| failed(format!("{problem:#}")))?;
        let relay = Self { server, tls, address };
        info!(
            "Relay listening on {} (TCP), and on UDP port {port} for the discovery of addresses",
            relay.url_of(ip)
        );
        Ok(relay)
    }

    /// Where it listens, TCP and UDP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How nodes name it when they reach it at this address.
    #[must_use]
    pub fn url_of(&self, ip: IpAddr) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", SocketAddr::from((ip, self.address.port())))
    }

    /// Waits until the relay ends by itself, which it does only when it is broken.
    pub async fn broken(&mut self) -> String {
        match self.server.join().await {
            Ok(Ok(())) => "the relay has ended, this is a bug".to_owned(),
            Ok(Err(problem)) => format!("the relay has ended: {problem:#}"),
            Err(problem) => format!("the relay has ended, this is a bug: {problem}"),
        }
    }

    /// Stops taking nodes and ends.
    pub async fn shutdown(self) {
        if let Err(problem) = self.server.shutdown().await {
            warn!("the relay did not stop cleanly: {problem:#}");
        }
        info!("Relay stopped");
    }
}

/// All addresses of the machine. A socket on `::` takes IPv4, too.
fn everywhere() -> IpAddr {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        Err(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    }
}

/// A number that is free for TCP and for UDP.
fn free_port(ip: IpAddr) -> std::io::Result<u16> {
    let mut tries = 0;
    loop {
        let tcp = TcpListener::bind((ip, 0))?;
        let port = tcp.local_addr()?.port();
        match UdpSocket::bind((ip, port)) {
            Ok(_) => return Ok(port),
            Err(problem) if tries == FREE_PORT_TRIES_MAX => return Err(problem),
            Err(_) => tries += 1,
        }
    }
}

/// TLS with the certificate of the formation's relays.
fn certificate(secret: &FormationSecret) -> Result<rustls::ServerConfig, RelayError> {
    let wrong = |problem: &dyn std::fmt::Display| RelayError::Certificate(problem.to_string());
    let mut key = ED25519_PKCS8.to_vec();
    key.extend(*secret.relay_key());
    let key = PrivatePkcs8KeyDer::from(key);
    let pair = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_ED25519)
        .map_err(|problem| wrong(&problem))?;
    // Nodes look at the key alone; the name is for people who look at the certificate.
    let parameters = rcgen::CertificateParams::new(vec!["relay.peat-mesh".to_owned()])
        .map_err(|problem| wrong(&problem))?;
    let certificate = parameters.self_signed(&pair).map_err(|problem| wrong(&problem))?;
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, PrivateKeyDer::Pkcs8(key)))
        .map_err(|problem| wrong(&problem))
}
