//! How a node is set up: plain values, each with its unit and default. `environment` reads them from
//! environment variables and reports every mistake at once.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use peat_mesh_core::NodeName;
use peat_mesh_core::attachment::Policies;
use peat_mesh_core::limits;
use peat_mesh_core::scope::LinkScopes;

use crate::discovery::fixed::StaticPeer;
use crate::identity::FormationSecret;

/// Everything a node has to know to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The secret that all members hold. `PEAT_FORMATION_SECRET`, required.
    pub secret: FormationSecret,
    /// `HOSTNAME` (default `peat-mesh-0`), with `PEAT_CLUSTER` and a slash before it when that is set.
    pub name: NodeName,
    /// How peers are found. `PEAT_DISCOVERY`, default `kubernetes`.
    pub discovery: Vec<Source>,
    /// Peers at known addresses. `PEAT_STATIC_PEERS`, default none.
    pub static_peers: Vec<StaticPeer>,
    /// Interfaces for mDNS, by name or address. `PEAT_MDNS_INTERFACES`, default all.
    pub mdns_interfaces: Option<Vec<String>>,
    /// The cluster for [`Source::Kubernetes`], which does not start without it.
    pub kubernetes: Option<KubernetesSettings>,
    /// The folder for everything that is kept. `PEAT_DATA_DIR`, default `/data`.
    pub data_folder: DataFolder,
    /// The address of the HTTP API. `PEAT_BROKER_BIND`, default 127.0.0.1.
    pub broker_bind: IpAddr,
    /// The TCP port of the HTTP API; 0 takes a free one. `PEAT_BROKER_PORT`, default 8081.
    pub broker_port: u16,
    /// The UDP port of QUIC; 0 takes a free one. `PEAT_IROH_BIND_PORT`, default 11204.
    pub iroh_port: u16,
    /// Relays over which peers reach each other when no direct path does: `http(s)://host[:port]`, at most
    /// [`RELAYS_COUNT_MAX`]. `PEAT_IROH_RELAY_URLS`, default none.
    pub relays: Vec<String>,
    /// Whether this node uses its `static_peers`; one that does not leaves them to the nodes in `PEAT_GATEWAYS`.
    pub is_gateway: bool,
    /// Where this node is reached from outside, as `host:port`, beside the addresses that it finds by itself.
    /// `PEAT_EXTERNAL_ADDR`, default none.
    pub external_addresses: Vec<String>,
    /// What may cross to which peers. `PEAT_LINK_SCOPES`, default everything.
    pub link_scopes: LinkScopes,
    /// Addresses QUIC is bound to; empty for all of IPv4 and IPv6. Only for programs that embed a node.
    pub iroh_bind: Vec<IpAddr>,
    /// The largest formation, in nodes, in which this node connects to all others. `PEAT_MAX_PEERS`, default
    /// [`MAX_PEERS_DEFAULT`].
    pub max_peers: usize,
    /// Memory for documents that are kept loaded because they were changed, in bytes (estimated).
    /// `PEAT_CACHE_BYTES`, default [`CACHE_BYTES_DEFAULT`].
    pub cache_bytes: usize,
    /// What blobs may take of the disk, in bytes, and of the network, in bytes a second. `PEAT_BLOB_MAX_BYTES` and
    /// `PEAT_BLOB_BANDWIDTH`, default no limit.
    pub blob_limits: BlobLimits,
    /// What is done about blobs that documents name, and those that none names.
    pub attachments: Attachments,
}

/// What is done about blobs that documents name, and those that none names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachments {
    /// When they are fetched, by collection. `PEAT_BLOB_POLICY`, default lazy for all.
    pub policies: Policies,
    /// How long a blob stays that nothing refers to, in seconds; 0 for ever. `PEAT_BLOB_GRACE_SECS`, default
    /// [`BLOB_GRACE_SECS_DEFAULT`].
    pub grace_secs: u64,
}

/// How long a blob stays that nothing refers to by default, in seconds: 7 days.
pub const BLOB_GRACE_SECS_DEFAULT: u64 = 604_800;

impl Default for Attachments {
    fn default() -> Self {
        Self { policies: Policies::default(), grace_secs: BLOB_GRACE_SECS_DEFAULT }
    }
}

impl Attachments {
    /// The same time in milliseconds; `None` when nothing is ever dropped.
    #[must_use]
    pub fn grace_ms(&self) -> Option<u64> {
        (self.grace_secs > 0).then(|| self.grace_secs.saturating_mul(1_000))
    }
}

/// What blobs may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlobLimits {
    /// Bytes on the disk, of all blobs; `None` is as much as there is.
    pub bytes_max: Option<u64>,
    /// Bytes a second of the network, in each direction; `None` is as much as there is.
    pub bytes_per_second_max: Option<u64>,
}

/// Up to so many nodes each connects to all others by default.
pub const MAX_PEERS_DEFAULT: usize = 16;
/// Memory for loaded documents by default, in bytes.
pub const CACHE_BYTES_DEFAULT: usize = limits::DOCUMENT_CACHE_BYTES_MAX;

impl Config {
    /// A node that is reached on 127.0.0.1 only, on free ports, and knows these peers: for several nodes on
    /// one machine.
    #[must_use]
    pub fn on_loopback(
        secret: FormationSecret,
        name: NodeName,
        data_folder: PathBuf,
        static_peers: Vec<StaticPeer>,
    ) -> Self {
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            secret,
            name,
            discovery: vec![Source::Static],
            static_peers,
            mdns_interfaces: None,
            kubernetes: None,
            data_folder: DataFolder { path: data_folder, fallback: None },
            broker_bind: loopback,
            broker_port: 0,
            iroh_port: 0,
            relays: Vec::new(),
            is_gateway: true,
            external_addresses: Vec::new(),
            link_scopes: LinkScopes::default(),
            iroh_bind: vec![loopback],
            max_peers: MAX_PEERS_DEFAULT,
            cache_bytes: CACHE_BYTES_DEFAULT,
            attachments: Attachments::default(),
            blob_limits: BlobLimits::default(),
        }
    }
}

/// Most relays of one formation.
pub const RELAYS_COUNT_MAX: usize = 5;

impl Config {
    /// Whether it finds peers by itself, beside those it is told of.
    #[must_use]
    pub fn finds_peers(&self) -> bool {
        self.discovery.iter().any(|source| *source != Source::Static)
    }
}

/// A way to find peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The EndpointSlices of the cluster that the node runs in.
    #[cfg(feature = "kubernetes")]
    Kubernetes,
    /// Multicast DNS on the local networks.
    Mdns,
    /// The list in `PEAT_STATIC_PEERS`.
    Static,
}

/// The label selector of [`KubernetesSettings`] by default.
pub const K8S_LABEL_SELECTOR_DEFAULT: &str = "app=peat-mesh";

/// The cluster that a node runs in, and what to look at there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSettings {
    /// The API server: `https://<host>:<port>`.
    pub api: String,
    /// The file with the token of the service account. Read again when it was changed.
    pub token_file: PathBuf,
    /// The file with the certificates that the API server's must be signed by. Read again when it was changed.
    pub ca_file: PathBuf,
    /// The namespace. `PEAT_K8S_NAMESPACE`, default what `namespace_file` says.
    pub namespace: Option<String>,
    /// The file with the namespace of the service account.
    pub namespace_file: PathBuf,
    /// Labels of the EndpointSlices. `PEAT_K8S_LABEL_SELECTOR`, default `app=peat-mesh`.
    pub label_selector: String,
    /// How long one watch lasts before it is renewed, in seconds; at least 1, default 60. A connection that died
    /// without a word is noticed 5 s after that at the latest.
    pub watch_secs: u32,
}

impl KubernetesSettings {
    /// What every pod finds in the folder of its service account,
    /// `/var/run/secrets/kubernetes.io/serviceaccount`.
    #[must_use]
    pub fn with_account(api: String, folder: &Path) -> Self {
        Self {
            api,
            token_file: folder.join("token"),
            ca_file: folder.join("ca.crt"),
            namespace: None,
            namespace_file: folder.join("namespace"),
            label_selector: K8S_LABEL_SELECTOR_DEFAULT.to_owned(),
            watch_secs: 60,
        }
    }
}

/// Where a node keeps its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataFolder {
    /// The folder.
    pub path: PathBuf,
    /// The folder to use instead when `path` is only the default and cannot be made.
    pub fallback: Option<PathBuf>,
}

/// How log lines are written. `PEAT_LOG_FORMAT`, default `text`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// One line of text per event.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// What the log shows by default.
pub const RUST_LOG_DEFAULT: &str = "info,peat_mesh=debug";

/// What the log shows and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `RUST_LOG`, default `info,peat_mesh=debug`.
    pub filter: String,
    /// `PEAT_LOG_FORMAT`.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { filter: RUST_LOG_DEFAULT.to_owned(), format: LogFormat::Text }
    }
}
