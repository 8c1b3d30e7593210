//! A node without a network: a store in memory, the real writer, and a handle on both.

mod blobs;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use peat_mesh_core::catalog::Catalog;
use peat_mesh_core::document::{ActorId, Document};
use peat_mesh_core::hub::Hub;
use peat_mesh_core::io::{About, Effect, Event, Input};
use peat_mesh_core::presence::{Label, Link, Me, Measure, PathKind, Record, Stamp};
use peat_mesh_core::replica::{Job, Replica, Source, Work, Written};
use peat_mesh_core::store::{Change, MemoryStore, Origin, Store};
use peat_mesh_core::wire::{Frame, HEADER_BYTES, Hello};
use peat_mesh_core::{ConnId, DocId, EndpointId, NodeName};
use serde_json::{Map, Value};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(super) use self::blobs::Staged;
use crate::broker::{Room, routes};
use crate::handle::{Blobs, Check, Found, Handle, Path, Probes, Question, Said, Shared, WriteRequest};

/// How long a test waits for what must happen.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Changes that the broadcast of the rig keeps for slow readers.
pub(super) const BROADCAST_CHANGES: usize = 4;

pub(super) const CONNECTED: EndpointId = EndpointId([0xab; 32]);
pub(super) const UNNAMED: EndpointId = EndpointId([0xcd; 32]);
const LOST: EndpointId = EndpointId([0xef; 32]);

fn store() -> MemoryStore {
    MemoryStore::new()
}

pub(super) struct Rig {
    pub(super) room: Room,
    pub(super) store: MemoryStore,
    pub(super) blobs: Arc<Staged>,
    pub(super) news: broadcast::Sender<Event>,
    pub(super) stopping: CancellationToken,
    writes: mpsc::Sender<WriteRequest>,
    writer: JoinHandle<()>,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.writer.abort();
    }
}

struct Fixed {
    ready: bool,
}

impl Probes for Fixed {
    fn path(&self, conn: ConnId) -> Option<Path> {
        assert_eq!(conn, ConnId(7));
        let address = Some("10.0.0.2:11204".parse().unwrap());
        let measure = Measure { path: PathKind::Direct, address, rtt_us: 123, loss_per_mille: 20 };
        Some(Path { measure, bytes_sent: 5_000, bytes_received: 6_000 })
    }

    fn said(&self, peer: EndpointId) -> Said {
        if peer != CONNECTED {
            return Said::default();
        }
        Said {
            metadata: [("site".to_owned(), "harbour".to_owned())].into(),
            relay_url: Some("https://relay.example".to_owned()),
        }
    }

    fn bound_addresses(&self) -> Vec<SocketAddr> {
        vec!["0.0.0.0:11204".parse().unwrap()]
    }

    fn checks(&self) -> Vec<Check> {
        let check = |name, ok| Check { name, ok, detail: format!("{name} was looked at") };
        vec![check("store", true), check("sockets", self.ready)]
    }
}

/// Two peers: `alpha/peat-mesh-1` is connected, the other is known by its endpoint id only. And `beta/lost`, of
/// which the first one has told.
fn hub() -> Hub {
    let label = |text| Label::new(text).unwrap();
    let me = Me {
        name: NodeName::new("peat-mesh-0").unwrap(),
        role: label("node"),
        version: label("0.1.0"),
        epoch: 1,
        incarnation: 2,
        started_ms: 0,
    };
    let mut hub = Hub::new(EndpointId([1; 32]), Catalog::default(), 7).announcing(me);
    let name = NodeName::new("alpha/peat-mesh-1").unwrap();
    hub.handle(
        0,
        Input::Admitted {
            conn: ConnId(7),
            peer: CONNECTED,
            hello: Hello { name, incarnation: 3 },
            dialed: true,
            address: Some("10.0.0.2:11204".parse().unwrap()),
        },
    );
    let addresses = vec!["10.0.0.3:11204".parse().unwrap()];
    hub.handle(0, Input::PeerSeen { peer: UNNAMED, name: None, addresses });
    hub.handle(500, Input::Tick);
    hub.handle(600, Input::DialFailed { peer: UNNAMED, reason: "nobody answers".to_owned() });
    let address = Some("10.0.0.2:11204".parse().unwrap());
    let measure = Measure { path: PathKind::Direct, address, rtt_us: 123, loss_per_mille: 20 };
    hub.handle(700, Input::Measured { conn: ConnId(7), measure: measure.clone() });
    let record = |origin, name, links: Vec<Link>| Record {
        origin,
        name: NodeName::new(name).unwrap(),
        role: label("gateway"),
        version: label("0.1.0"),
        stamp: Stamp { epoch: 1, incarnation: 3, sequence: 1 },
        is_here: true,
        age_ms: 0,
        uptime_ms: 60_000,
        links_total: links.len() as u64,
        links,
    };
    let link = Link { peer: EndpointId([1; 32]).tag(), is_silent: false, measure };
    let records =
        vec![record(CONNECTED, "alpha/peat-mesh-1", vec![link]), record(LOST, "beta/lost", Vec::new())];
    hub.handle(700, Input::Received { conn: ConnId(7), frame: Frame::Presence(records) });
    hub
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(true)
    }

    pub(super) fn with(ready: bool) -> Self {
        Self::with_peer(ready, false)
    }

    /// With a peer that says to everything that it has it, or one that says nothing.
    pub(super) fn with_peer(ready: bool, agrees: bool) -> Self {
        let store = store();
        let (writes, requests) = mpsc::channel(16);
        let (changes, _) = broadcast::channel(BROADCAST_CHANGES);
        let (news, _) = broadcast::channel(4);
        let stopping = CancellationToken::new();
        let blobs = Arc::new(Staged::default());
        let shared = Shared {
            name: NodeName::new("peat-mesh-0").unwrap(),
            endpoint: EndpointId([1; 32]),
            device_id: "00112233445566778899aabbccddeeff".to_owned(),
            started: Instant::now(),
            store: Arc::new(store.clone()),
            blobs: Arc::clone(&blobs) as Arc<dyn Blobs>,
            writes: writes.clone(),
            changes: changes.clone(),
            news: news.clone(),
            peers: watch::channel(Arc::new(hub().peers())).1,
            topology: watch::channel(Arc::new(hub().topology())).1,
            faults: watch::channel(Arc::new(hub().faults())).1,
            probes: Arc::new(Fixed { ready }),
            stopping: stopping.clone(),
        };
        let mut mesh = Mesh { hub: hub(), started: shared.started, agrees, asked: 0 };
        if agrees {
            // To the question that was asked when the connection was made.
            mesh.feed(Input::Received { conn: ConnId(7), frame: Frame::InStep { round: 1 } });
        }
        let writer = tokio::spawn(write(store.clone(), requests, changes, mesh));
        let room = Room::new(Handle::new(shared));
        Self { room, store, blobs, news, stopping, writes, writer }
    }

    /// Ends the writer, as when the node has stopped while the broker still finishes.
    pub(super) fn stop_writing(&self) {
        self.writer.abort();
    }

    pub(super) fn handle(&self) -> Handle {
        self.room.handle.clone()
    }

    pub(super) fn router(&self) -> Router {
        routes(self.room.clone())
    }

    pub(super) async fn put(&self, doc: &str, value: u64) -> Written {
        self.handle().put(doc.parse().unwrap(), object(value)).await.unwrap()
    }

    pub(super) async fn delete(&self, doc: &str) -> Written {
        self.handle().delete(doc.parse().unwrap()).await.unwrap()
    }

    /// Hands the writer a document that came from a peer.
    pub(super) async fn receive(&self, doc: &str, from: &str) {
        let mut document = Document::new(&ActorId::from([9; 16]));
        let changes = document.put(&object(1), 0).unwrap().unwrap();
        let source = Source::Peer {
            conn: ConnId(7),
            name: NodeName::new(from).unwrap(),
            audience: Arc::new([]),
            repair: false,
        };
        let job = Job { doc: doc.parse().unwrap(), work: Work::Merge(changes), source };
        let (reply, outcome) = oneshot::channel();
        self.writes.send(WriteRequest::Client { job, reply }).await.unwrap();
        outcome.await.unwrap().result.unwrap();
    }

    pub(super) async fn get(&self, uri: &str) -> Reply {
        self.send(Request::get(uri), "").await
    }

    pub(super) async fn put_json(&self, uri: &str, body: &'static str) -> Reply {
        self.send(Request::put(uri).header("content-type", "application/json"), body).await
    }

    pub(super) async fn send(&self, request: axum::http::request::Builder, body: impl Into<Body>) -> Reply {
        let request = request.body(body.into()).unwrap();
        let response = self.router().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        let text = String::from_utf8(body.into()).unwrap();
        Reply { status: head.status, headers: head.headers, text }
    }
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/json", "{self:?}");
        serde_json::from_str(&self.text).unwrap()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(super) fn object(value: u64) -> Map<String, Value> {
    Map::from_iter([("value".to_owned(), value.into())])
}

pub(super) fn doc(text: &str) -> DocId {
    text.parse().unwrap()
}

pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("this should have happened by now")
}

/// The node's writer, as far as the broker can tell.
async fn write(
    store: MemoryStore,
    mut requests: mpsc::Receiver<WriteRequest>,
    changes: broadcast::Sender<Change>,
    mut mesh: Mesh,
) {
    let mut replica = Replica::new(&store, [2; 16]).unwrap();
    while let Some(request) = requests.recv().await {
        let (job, reply) = match request {
            WriteRequest::Client { job, reply } => (job, reply),
            WriteRequest::Ask(question) => {
                mesh.answer(question).await;
                continue;
            }
            WriteRequest::Stop => return,
        };
        let origin = match &job.source {
            Source::Client => Origin::Local,
            Source::Peer { name, .. } => Origin::Peer(name.clone()),
        };
        let outcome = replica.run(&store as &dyn Store, vec![job], 0).remove(0);
        if let Ok(Written { seq: Some(seq), action, heads, .. }) = &outcome.result {
            let (doc, version) = (outcome.doc.clone(), heads.version());
            // Nobody may be listening.
            let _ = changes.send(Change { seq: *seq, doc, action: *action, origin, version });
        }
        mesh.feed(Input::Committed(vec![outcome.clone()]));
        let _ = reply.send(outcome);
    }
}

/// The node's driver, as far as the broker can tell.
struct Mesh {
    hub: Hub,
    started: Instant,
    agrees: bool,
    asked: u64,
}

impl Mesh {
    fn feed(&mut self, input: Input) {
        let now_ms = 1_000 + self.started.elapsed().as_millis() as u64;
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            for effect in self.hub.handle(now_ms, input) {
                let Effect::Send { conn, frame } = effect else { continue };
                let frame = Frame::decode(frame[0], frame.slice(HEADER_BYTES..)).unwrap();
                let answer = match frame {
                    Frame::Probe { round, .. } => Frame::InStep { round },
                    Frame::Confirm { id, .. } => Frame::Confirmed { id },
                    _ => continue,
                };
                if self.agrees {
                    inputs.push(Input::Received { conn, frame: answer });
                }
            }
        }
    }

    async fn answer(&mut self, question: Question) {
        let Question { about, peers, until, reply } = question;
        self.asked += 1;
        let ask = self.asked;
        let is_step = about == About::Step;
        self.feed(Input::Ask { ask, about });
        let mut is_enough = false;
        while !is_enough && Instant::now() < until && !reply.is_closed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.feed(Input::Tick);
            is_enough = match peers {
                _ if is_step => self.hub.is_in_step(ask),
                Some(peers) => self.hub.confirmed_count(ask) >= peers,
                None => self.hub.is_held_by_all(ask),
            };
        }
        let (holders, peers) = (self.hub.confirmed_by(ask), self.hub.holding(ask));
        let _ = reply.send(Found { is_enough, documents: self.hub.catalog().len(), holders, peers });
    }
}
