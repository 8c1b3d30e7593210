//! The iroh endpoint: bound to our port on IPv4 and IPv6, and silent towards everybody who is not a
//! configured or discovered peer, or a relay that it was given. No other relay, no lookup service, no port
//! mapping; without relays no probes.

use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use iroh::endpoint::{BindOpts, IdleTimeout, QuicTransportConfig, VarInt, presets};
use iroh::{Endpoint, NetReportConfig, RelayMode, RelayUrl, SecretKey};
use peat_mesh_core::wire::ALPN;

use super::{Settings, relays, resolver};

/// How long a peer may be silent before it counts as gone, in milliseconds.
const IDLE_MS_MAX: u32 = 12_000;
/// How often a quiet connection shows that it lives, in milliseconds. [`super::liveness`] counts on it.
const KEEP_ALIVE_MS: u64 = 1_000;
/// What the stream of one connection may have on its way to this node, in bytes: 1,024 packets of the
/// smallest size. The QUIC library gives up a connection whose stream has more than 1,024 holes, which a
/// larger window reaches when a busy machine drops packets.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1200;
/// What one connection may have on its way from this node, in bytes: as much as a peer takes on the streams of a
/// connection for blobs.
const SEND_WINDOW_BYTES: u64 = 4 * STREAM_WINDOW_BYTES as u64;

/// Why the endpoint could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The port is not to be had.
    #[error(
        "UDP port {port} for QUIC could not be bound: {reason}. Is another node running here? Set PEAT_IROH_BIND_PORT to a free port"
    )]
    Port {
        /// Which.
        port: u16,
        /// Why, in words.
        reason: String,
    },
    /// A relay's address is none.
    #[error("{0}")]
    Relay(String),
}

pub(super) async fn bind(settings: &Settings, relays: &[RelayUrl]) -> Result<Endpoint, BindError> {
    let port = settings.port;
    let wrong = |reason: String| BindError::Port { port, reason };
    let secret = settings.identity.secret();
    let (relay_mode, probes) = match relays {
        [] => (RelayMode::Disabled, NetReportConfig::minimal()),
        relays => (RelayMode::Custom(relays::map(relays, secret)), relays::probes()),
    };
    let alpns = iter::once(ALPN).chain(settings.guests.iter().map(|guest| guest.alpn)).map(<[u8]>::to_vec);
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&settings.identity.private_key()))
        .alpns(alpns.collect())
        .relay_mode(relay_mode)
        .ca_tls_config(relays::trust(secret))
        .dns_resolver(resolver::system())
        .clear_address_lookup()
        .net_report_config(probes)
        .transport_config(transport(1))
        .clear_ip_transports();
    if settings.bind.is_empty() {
        let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        builder = builder.bind_addr(v4).map_err(|problem| wrong(problem.to_string()))?;
        // A machine without IPv6 is fine; one where only our IPv6 port is taken is not worth stopping for.
        let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let optional = BindOpts::default().set_is_required(false);
        builder = builder.bind_addr_with_opts(v6, optional).map_err(|problem| wrong(problem.to_string()))?;
    }
    for ip in &settings.bind {
        let socket = SocketAddr::from((*ip, port));
        builder = builder.bind_addr(socket).map_err(|problem| wrong(problem.to_string()))?;
    }
    builder.bind().await.map_err(|problem| wrong(super::n0_chain(&problem)))
}

/// How a connection behaves on which so many streams may fill their windows.
pub(super) fn transport(full_streams: u32) -> QuicTransportConfig {
    QuicTransportConfig::builder()
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_MS_MAX))))
        .keep_alive_interval(Duration::from_millis(KEEP_ALIVE_MS))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(full_streams.saturating_mul(STREAM_WINDOW_BYTES)))
        .send_window(SEND_WINDOW_BYTES)
        // One stream of frames in both directions is all that members need; guests are given more.
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .build()
}
