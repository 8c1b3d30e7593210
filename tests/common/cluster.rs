//! An API server that knows EndpointSlices and nothing else: real HTTPS with a certificate authority of its own,
//! lists in pages, watches with bookmarks, and every way to fail that a test may want.

#![allow(dead_code, unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use peat_mesh::config::KubernetesSettings;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::PrivatePkcs8KeyDer;

#[path = "cluster_http.rs"]
mod http;

pub const NAMESPACE: &str = "fleet";
const PATIENCE: Duration = Duration::from_secs(30);
/// Small, so that two slices are two pages.
const PAGE_MAX: usize = 1;

/// An API server and the files that a pod gets for it.
pub struct Cluster {
    pub folder: TempDir,
    pub address: SocketAddr,
    shared: Arc<Shared>,
    tls: TlsAcceptor,
    listening: JoinSet<()>,
}

struct Shared {
    state: Mutex<State>,
    /// Counts what has happened; whoever waits looks again.
    changed: watch::Sender<u64>,
}

struct State {
    token: String,
    slices: BTreeMap<String, Value>,
    version: u64,
    /// Watches from before this version are answered with 410.
    oldest: u64,
    events: Vec<(u64, &'static str, Value)>,
    forbidden: Option<&'static str>,
    /// Whether 410 is the status of the answer and not an event of the watch.
    gone_is_a_status: bool,
    /// Watches that are to end as soon as they begin.
    short_watches: usize,
    /// Goes up when all connections are to be cut.
    cut: u64,
    /// Accepts connections and says nothing more on any.
    mute: bool,
    requests: Vec<String>,
}

fn now(shared: &Shared) -> MutexGuard<'_, State> {
    shared.state.lock().unwrap()
}

/// A slice with one port named quic, as JSON.
pub fn slice(name: &str, pods: &[(&str, &str)], quic: u16) -> Value {
    let endpoint = |&(pod, ip): &(&str, &str)| {
        json!({
            "addresses": [ip],
            "conditions": {"ready": false, "serving": false, "terminating": false},
            "targetRef": {"kind": "Pod", "name": pod, "namespace": NAMESPACE},
        })
    };
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": "peat-mesh"}},
        "addressType": "IPv4",
        "ports": [
            {"name": "http", "port": 8081, "protocol": "TCP"},
            {"name": "quic", "port": quic, "protocol": "UDP"},
        ],
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

impl Cluster {
    pub async fn start() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, key).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let tls = ServerConfig::builder().with_no_client_auth();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let tls = tls.with_single_cert(vec![certificate.der().clone()], key.into()).unwrap();

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), ca.pem()).unwrap();
        std::fs::write(folder.path().join("namespace"), format!("{NAMESPACE}\n")).unwrap();
        std::fs::write(folder.path().join("token"), "token-1").unwrap();
        let state = State {
            token: "token-1".to_owned(),
            slices: BTreeMap::new(),
            version: 100,
            oldest: 0,
            events: Vec::new(),
            forbidden: None,
            gone_is_a_status: false,
            short_watches: 0,
            cut: 0,
            mute: false,
            requests: Vec::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: watch::Sender::new(0) });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let tls = TlsAcceptor::from(Arc::new(tls));
        let mut cluster = Self { folder, address, shared, tls, listening: JoinSet::new() };
        cluster.up().await;
        cluster
    }

    pub fn settings(&self) -> KubernetesSettings {
        KubernetesSettings::with_account(format!("https://{}", self.address), self.folder.path())
    }

    pub fn account(&self) -> &Path {
        self.folder.path()
    }

    /// Listens, at the same address as before.
    pub async fn up(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let (shared, tls) = (Arc::clone(&self.shared), self.tls.clone());
        self.listening.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(http::connection(Arc::clone(&shared), tls.clone(), stream));
            }
        });
    }

    /// Is gone: connections are cut and new ones refused.
    pub async fn down(&mut self) {
        self.listening.shutdown().await;
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let done = change(&mut now(&self.shared));
        self.shared.changed.send_modify(|count| *count += 1);
        done
    }

    pub fn put(&self, slice: Value) {
        self.change(|state| state.put(slice));
    }

    pub fn delete(&self, name: &str) {
        self.change(|state| {
            state.version += 1;
            let mut slice = state.slices.remove(name).unwrap();
            slice["metadata"]["resourceVersion"] = state.version.to_string().into();
            state.events.push((state.version, "DELETED", slice));
        });
    }

    /// Something else in the cluster changed.
    pub fn bookmark(&self) {
        self.change(|state| {
            state.version += 1;
            let version = state.version.to_string();
            let bookmark = json!({
                "kind": "EndpointSlice",
                "apiVersion": "discovery.k8s.io/v1",
                "metadata": {"resourceVersion": version},
            });
            state.events.push((state.version, "BOOKMARK", bookmark));
        });
    }

    /// Changes slices while nobody is told: the watches are cut, and their versions are forgotten.
    pub fn change_behind_its_back(&self, gone_is_a_status: bool, slices: Vec<Value>) {
        self.change(|state| {
            state.slices.clear();
            slices.into_iter().for_each(|slice| state.put(slice));
            state.version += 10;
            state.events.clear();
            (state.oldest, state.cut) = (state.version, state.cut + 1);
            state.gone_is_a_status = gone_is_a_status;
        });
    }

    pub fn cut(&self) {
        self.change(|state| state.cut += 1);
    }

    pub fn mute(&self, mute: bool) {
        self.change(|state| state.mute = mute);
    }

    pub fn forbid(&self, verb: Option<&'static str>) {
        self.change(|state| state.forbidden = verb);
    }

    pub fn end_watches_at_once(&self, count: usize) {
        self.change(|state| (state.short_watches, state.cut) = (count, state.cut + 1));
    }

    /// Demands another token than that in the file.
    pub fn demand(&self, token: &str) {
        self.change(|state| (state.token, state.cut) = (token.to_owned(), state.cut + 1));
    }

    pub fn write_token(&self, token: &str) {
        std::fs::write(self.account().join("token"), token).unwrap();
    }

    pub fn requests(&self) -> Vec<String> {
        now(&self.shared).requests.clone()
    }

    /// Waits until there are requests like this.
    pub async fn until_asked(&self, what: &str, wanted: impl Fn(&[String]) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let waited = timeout(PATIENCE, async {
            while !wanted(&self.requests()) {
                changed.changed().await.unwrap();
            }
        });
        assert!(waited.await.is_ok(), "never {what}: {:#?}", self.requests());
    }
}

impl State {
    fn put(&mut self, mut slice: Value) {
        self.version += 1;
        slice["metadata"]["resourceVersion"] = self.version.to_string().into();
        let name = slice["metadata"]["name"].as_str().unwrap().to_owned();
        let is_new = self.slices.insert(name, slice.clone()).is_none();
        self.events.push((self.version, if is_new { "ADDED" } else { "MODIFIED" }, slice));
    }

    fn list(&self, query: &BTreeMap<String, String>) -> Value {
        let after = query.get("continue").cloned().unwrap_or_default();
        let mut rest = self.slices.iter().filter(|(name, _)| **name > after);
        let page: Vec<_> = rest.by_ref().take(PAGE_MAX).collect();
        let next = if rest.next().is_some() { page[page.len() - 1].0 } else { "" };
        json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSliceList",
            "metadata": {"resourceVersion": self.version.to_string(), "continue": next},
            "items": page.iter().map(|(_, slice)| slice).collect::<Vec<_>>(),
        })
    }
}
