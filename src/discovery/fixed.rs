//! The `static` source: peers from the configuration.
//!
//! What comes in is a list of [`StaticPeer`]s, what the resolver answers, and which dials failed; what goes
//! out is each peer once it has an address, and again when its addresses changed. Host names are looked up
//! at the start, every [`LOOKUP_EVERY_MS`], and soon after a dial failed. A name that stops resolving keeps
//! its last addresses: a DNS outage must not take a mesh apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use peat_mesh_core::id::{EndpointId, NodeName};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::{Context, Discovery, DiscoveryError, DiscoveryEvent, EndpointOf, PeerInfo, in_turn, is_dialable};

mod entry;
mod lookup;

pub use entry::{HostPort, Place, STATIC_ENTRIES_COUNT_MAX, StaticPeer, Who};
use lookup::Lookup;

/// How often a host name that resolves is looked up again, in milliseconds.
pub const LOOKUP_EVERY_MS: u64 = 30_000;
/// Least time between two lookups of one host, in milliseconds.
pub const LOOKUP_GAP_MS: u64 = 1_000;
/// Lookups at once. A lookup may hold a thread for as long as the system's resolver likes.
const LOOKUPS_IN_FLIGHT_MAX: usize = 32;

/// Looks up host names.
pub trait Resolve: Send + Sync + 'static {
    /// All addresses of `host`, each with `port`.
    fn resolve(&self, host: HostPort) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;
}

/// The resolver of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve(&self, host: HostPort) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>> {
        async move {
            let addresses = tokio::net::lookup_host((host.host.as_str(), host.port)).await?;
            Ok(addresses.collect())
        }
        .boxed()
    }
}

/// Peers from the configuration, as a source.
pub struct Fixed {
    peers: BTreeMap<EndpointId, Peer>,
    lookups: BTreeMap<HostPort, Lookup>,
    resolver: Arc<dyn Resolve>,
}

#[derive(Debug, Default)]
struct Peer {
    name: Option<NodeName>,
    addresses: Vec<SocketAddr>,
    hosts: BTreeSet<HostPort>,
    /// It can be reached without an address.
    is_relayed: bool,
    told: Option<PeerInfo>,
}

impl fmt::Debug for Fixed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixed").field("peers", &self.peers).finish_non_exhaustive()
    }
}

impl Fixed {
    /// Peers at the addresses the system's resolver gives. Entries that name `own`, this node itself, are
    /// left out, so that all nodes can share one list.
    #[must_use]
    pub fn new(entries: Vec<StaticPeer>, own: EndpointId, endpoint_of: &EndpointOf) -> Self {
        Self::with_resolver(entries, own, endpoint_of, Arc::new(SystemResolver))
    }

    /// The same with another resolver.
    #[must_use]
    pub fn with_resolver(
        entries: Vec<StaticPeer>,
        own: EndpointId,
        endpoint_of: &EndpointOf,
        resolver: Arc<dyn Resolve>,
    ) -> Self {
        let mut peers: BTreeMap<EndpointId, Peer> = BTreeMap::new();
        for entry in entries {
            let endpoint = entry.endpoint(endpoint_of);
            if endpoint == own {
                continue;
            }
            let peer = peers.entry(endpoint).or_default();
            peer.name = peer.name.take().or_else(|| entry.name().cloned());
            match entry.place {
                Place::Address(address) => peer.addresses.push(address),
                Place::Host(host) => _ = peer.hosts.insert(host),
                Place::Relay => peer.is_relayed = true,
            }
        }
        let now = Instant::now();
        let hosts = peers.values().flat_map(|peer| peer.hosts.iter().cloned());
        let lookups = hosts.map(|host| (host, Lookup::new(now))).collect();
        Self { peers, lookups, resolver }
    }

    /// There are relays: a peer without an address can be reached all the same, and is told at once.
    #[must_use]
    pub fn relayed(mut self) -> Self {
        self.peers.values_mut().for_each(|peer| peer.is_relayed = true);
        self
    }

    async fn work(mut self, mut context: Context) -> Result<(), DiscoveryError> {
        let mut in_flight: JoinSet<(HostPort, io::Result<Vec<SocketAddr>>)> = JoinSet::new();
        loop {
            context.events.send_all(self.changes()).await?;
            context.status.running(self.summary());
            if self.lookups.values().all(Lookup::is_answered) {
                context.status.complete();
            }
            self.start_lookups(&mut in_flight);
            let due = self.next_due(in_flight.len());
            tokio::select! {
                () = context.cancel.cancelled() => return Ok(()),
                Some(endpoint) = context.failed.recv() => self.dial_failed(endpoint),
                Some(done) = in_flight.join_next() => match done {
                    Ok((host, answer)) => self.answered(&host, answer),
                    Err(panic) => {
                        let reason = format!("looking up a host broke down: {panic}");
                        return Err(DiscoveryError::Failed { reason });
                    }
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
        }
    }

    fn start_lookups(&mut self, in_flight: &mut JoinSet<(HostPort, io::Result<Vec<SocketAddr>>)>) {
        let now = Instant::now();
        for (host, lookup) in &mut self.lookups {
            if in_flight.len() >= LOOKUPS_IN_FLIGHT_MAX {
                return;
            }
            if lookup.due().is_some_and(|due| due <= now) {
                lookup.started(now);
                let host = host.clone();
                let answer = self.resolver.resolve(host.clone());
                in_flight.spawn(async move { (host, answer.await) });
            }
        }
    }

    /// When the next lookup is due; nothing while no more may be started.
    fn next_due(&self, in_flight_count: usize) -> Option<Instant> {
        if in_flight_count >= LOOKUPS_IN_FLIGHT_MAX {
            return None;
        }
        self.lookups.values().filter_map(Lookup::due).min()
    }

    fn dial_failed(&mut self, endpoint: EndpointId) {
        let Some(peer) = self.peers.get(&endpoint) else {
            return;
        };
        for host in &peer.hosts {
            if let Some(lookup) = self.lookups.get_mut(host) {
                lookup.wanted();
            }
        }
    }

    fn answered(&mut self, host: &HostPort, answer: io::Result<Vec<SocketAddr>>) {
        let Some(lookup) = self.lookups.get_mut(host) else {
            return;
        };
        let now = Instant::now();
        // Filters of advertisements answer 0.0.0.0 for what they block.
        let dialable = |addresses: Vec<SocketAddr>| addresses.into_iter().filter(is_dialable).collect();
        match answer.map(dialable) {
            Ok::<Vec<_>, _>(addresses) if !addresses.is_empty() => {
                if lookup.resolved(now, addresses) {
                    info!(host = host.host, "a static peer's host name resolves again");
                }
            }
            answer => {
                let reason = answer.err().map_or_else(|| "it has no usable address".to_owned(), in_words);
                if lookup.unresolved(now) {
                    let kept = lookup.addresses().len();
                    warn!(
                        host = host.host,
                        reason, kept, "a static peer's host name does not resolve; will keep trying"
                    );
                }
            }
        }
    }

    /// Peers whose addresses are other than what was told last.
    fn changes(&mut self) -> Vec<DiscoveryEvent> {
        let mut events = Vec::new();
        for (endpoint, peer) in &mut self.peers {
            let looked_up = peer.hosts.iter().filter_map(|host| self.lookups.get(host));
            let mut lists = vec![&peer.addresses[..]];
            lists.extend(looked_up.map(Lookup::addresses));
            let info = PeerInfo::new(*endpoint, peer.name.clone(), in_turn(&lists));
            if (info.addresses.is_empty() && !peer.is_relayed) || peer.told.as_ref() == Some(&info) {
                continue;
            }
            let first = peer.told.replace(info.clone()).is_none();
            events.push(match first {
                true => DiscoveryEvent::PeerFound(info),
                false => DiscoveryEvent::PeerUpdated(info),
            });
        }
        events
    }

    fn summary(&self) -> String {
        let peers = match self.peers.len() {
            1 => "1 peer".to_owned(),
            count => format!("{count} peers"),
        };
        let mut unresolved = self.lookups.iter().filter(|(_, lookup)| lookup.is_unresolved());
        let Some((first, _)) = unresolved.next() else {
            return format!("{peers} in the list");
        };
        match unresolved.count() {
            0 => format!("{peers} in the list; {} does not resolve", first.host),
            more => format!("{peers} in the list; {} and {more} more host names do not resolve", first.host),
        }
    }
}

/// Why a lookup failed, without the operating system's "(os error 2)": a name that does not exist yet is
/// nothing to alarm anybody who watches logs for errors.
fn in_words(failure: io::Error) -> String {
    let text = failure.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    match text.to_ascii_lowercase().contains("error") {
        true => "the system's resolver gave no answer".to_owned(),
        false => text.to_owned(),
    }
}

impl Discovery for Fixed {
    fn name(&self) -> &'static str {
        "static"
    }

    fn run(self: Box<Self>, context: Context) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.work(context).boxed()
    }
}

#[cfg(test)]
mod tests;
