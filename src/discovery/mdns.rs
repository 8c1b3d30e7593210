//! The `mdns` source: nodes on the local network find each other by multicast DNS.
//!
//! What comes in are this node's name, port and formation tag, and what other nodes announce as
//! `_peat._udp.local.`; what goes out are the peers of the same formation. When multicast does not work
//! here, the status says so and what helps, and the source keeps trying.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use data_encoding::HEXLOWER;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use mdns_sd::{IfKind, ServiceDaemon, ServiceEvent, ServiceInfo};
use peat_mesh_core::id::NodeName;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info};

use super::{Context, Discovery, DiscoveryError, DiscoveryEvent, EndpointOf};

mod announcement;
mod table;

use announcement::Announcement;
pub use announcement::{FormationTag, Incarnation};
use table::{Heard, Table};

const SERVICE: &str = "_peat._udp.local.";
/// How often the responder looks for new and lost interface addresses, in seconds. An interface is often
/// not up yet when a container starts.
const INTERFACES_EVERY_S: u32 = 1;
/// How long our own announcement may take to come back before we doubt that multicast works,
/// in milliseconds.
const ECHO_MS_MAX: u64 = 5_000;
/// How long the answers to our first question may take, in milliseconds. Responders wait up to 120 ms, and the
/// question is asked again after a second.
const ANSWERS_MS: u64 = 2_000;
/// How often the question is asked again, in milliseconds. The responder asks ever less often, down to once an hour;
/// nodes that were cut from each other when they announced themselves would not hear of each other until then.
const ASK_EVERY_MS: u64 = 60_000;
/// The same while somebody is missing who was here less than [`MISSED_MS`] ago.
const ASK_FOR_MISSING_EVERY_MS: u64 = 5_000;
/// How long somebody who left counts as missing, in milliseconds.
const MISSED_MS: u64 = 600_000;
/// How long the responder may take to give up the old question for the new one, in milliseconds.
const HAND_OVER_MS_MAX: u64 = 1_000;
/// First wait before the responder is started again, in milliseconds.
const RESTART_MS_MIN: u64 = 1_000;
/// Longest wait before the responder is started again, in milliseconds.
const RESTART_MS_MAX: u64 = 15_000;
/// How long the responder may take to carry out an order when we leave, in milliseconds.
const ORDER_MS_MAX: u64 = 250;
/// The responder says goodbye a second time after 120 ms, as a datagram may get lost; wait for it.
const GOODBYE_AGAIN_MS: u64 = 150;
/// Announcements of others that a debug log mentions, per start of the responder.
const IGNORED_LOGGED_COUNT_MAX: u32 = 32;

const HELP: &str = "multicast does not cross container bridges and many Wi-Fi access points; \
                    use PEAT_STATIC_PEERS where it does not work";

/// What the source announces and where.
#[derive(Clone)]
pub struct MdnsConfig {
    /// This node.
    pub name: NodeName,
    /// The UDP port on which this node takes QUIC connections.
    pub port: u16,
    /// A keyed hash of the formation secret.
    pub formation_tag: FormationTag,
    /// Random bytes drawn when this process started.
    pub incarnation: Incarnation,
    /// Names or addresses of the interfaces to use; `None` for all that are up and not point-to-point.
    pub interfaces: Option<Vec<String>>,
    /// How the endpoint id of a peer follows from its name.
    pub endpoint_of: EndpointOf,
}

impl fmt::Debug for MdnsConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MdnsConfig")
            .field("name", &self.name)
            .field("port", &self.port)
            .field("interfaces", &self.interfaces)
            .finish_non_exhaustive()
    }
}

/// Peers on the local network, as a source.
#[derive(Debug)]
pub struct Mdns {
    config: MdnsConfig,
}

impl Mdns {
    /// A source that announces this node and listens for others once it runs.
    #[must_use]
    pub fn new(config: MdnsConfig) -> Self {
        Self { config }
    }

    async fn work(self, mut context: Context) -> Result<(), DiscoveryError> {
        let config = &self.config;
        let mut table =
            Table::new("mdns", config.name.clone(), config.incarnation, config.endpoint_of.clone());
        let mut wait_ms = RESTART_MS_MIN;
        loop {
            let why = match Responder::start(config) {
                Ok(mut responder) => {
                    let end = responder.listen(config, &mut table, &mut context).await;
                    responder.leave().await;
                    match end? {
                        End::Cancelled => return Ok(()),
                        End::Silent(why) => why,
                        End::Broken(why) => {
                            wait_ms = RESTART_MS_MIN;
                            why
                        }
                    }
                }
                Err(why) => format!("the responder does not start: {why}"),
            };
            context.events.send_all(table.clear()).await?;
            debug!(why, wait_ms, "mdns starts again after a while");
            context.status.waiting(format!("{why}; trying again; {HELP}"));
            tokio::select! {
                () = context.cancel.cancelled() => return Ok(()),
                () = sleep(Duration::from_millis(wait_ms)) => {}
            }
            wait_ms = (wait_ms * 2).min(RESTART_MS_MAX);
        }
    }
}

/// Why listening ended.
enum End {
    Cancelled,
    /// Nothing was heard at all, not even ourselves.
    Silent(String),
    /// The responder stopped.
    Broken(String),
}

/// The responder's thread with our service registered. Dropping it stops the thread, with a goodbye.
struct Responder {
    daemon: ServiceDaemon,
    service: ServiceInfo,
    browse: mdns_sd::Receiver<ServiceEvent>,
}

impl Drop for Responder {
    fn drop(&mut self) {
        let _ = self.daemon.shutdown();
    }
}

impl Responder {
    fn start(config: &MdnsConfig) -> Result<Self, mdns_sd::Error> {
        let daemon = ServiceDaemon::new()?;
        Self::set_up(daemon.clone(), config).inspect_err(|_| _ = daemon.shutdown())
    }

    fn set_up(daemon: ServiceDaemon, config: &MdnsConfig) -> Result<Self, mdns_sd::Error> {
        daemon.set_ip_check_interval(INTERFACES_EVERY_S)?;
        if let Some(interfaces) = &config.interfaces {
            daemon.disable_interface(IfKind::All)?;
            let kinds = interfaces.iter().map(|text| interface(text)).collect::<Vec<IfKind>>();
            daemon.enable_interface(kinds)?;
        }
        // Random per process, so two of them never fight over a host name; it tells nothing by itself.
        let label = format!("peat-{}", HEXLOWER.encode(&config.incarnation));
        let txt = announcement::txt(&config.name, &config.formation_tag, &config.incarnation);
        let host = format!("{label}.local.");
        let mut service =
            ServiceInfo::new(SERVICE, &label, &host, (), config.port, &txt[..])?.enable_addr_auto();
        service.set_requires_probe(false);
        let browse = daemon.browse(SERVICE)?;
        daemon.register(service.clone())?;
        Ok(Self { daemon, service, browse })
    }

    async fn listen(
        &mut self,
        config: &MdnsConfig,
        table: &mut Table,
        context: &mut Context,
    ) -> Result<End, DiscoveryError> {
        let echo_due = Instant::now() + Duration::from_millis(ECHO_MS_MAX);
        let answers_due = Instant::now() + Duration::from_millis(ANSWERS_MS);
        let (mut doubted, mut answered) = (false, false);
        let mut ears = Ears::default();
        let mut asked = Instant::now();
        loop {
            let ask_due = asked + Duration::from_millis(ears.ask_every_ms(table));
            tokio::select! {
                () = context.cancel.cancelled() => return Ok(End::Cancelled),
                event = self.browse.recv_async() => match event {
                    Ok(ServiceEvent::SearchStopped(_)) | Err(_) => {
                        return Ok(End::Broken("the responder stopped".to_owned()));
                    }
                    Ok(event) => {
                        let events = ears.take(event, &config.formation_tag, table);
                        context.events.send_all(events).await?;
                    }
                },
                () = sleep_until(ask_due) => {
                    asked = Instant::now();
                    for event in self.ask_again().await {
                        let events = ears.take(event, &config.formation_tag, table);
                        context.events.send_all(events).await?;
                    }
                }
                () = sleep_until(answers_due), if !answered => answered = true,
                () = sleep_until(echo_due), if !doubted => {
                    doubted = true;
                    // Once more: an IPv6 address that was still being checked for uniqueness at the start
                    // was not announced then. If the responder has stopped, `browse` says so.
                    let _ = self.daemon.register(self.service.clone());
                }
            }
            match (ears.echo, table.peers_count()) {
                (Echo::Nothing, 0) if doubted => {
                    return Ok(End::Silent(silent(config.interfaces.as_deref())));
                }
                (Echo::Nothing, 0) => {}
                // The network's own echo may come a moment after the one of the loopback interface.
                (Echo::Loopback, 0) if doubted => context.status.running(only_loopback()),
                (_, count) => context.status.running(summary(count)),
            }
            // Only where multicast works is silence an answer.
            if answered && (ears.echo, table.peers_count()) != (Echo::Nothing, 0) {
                context.status.complete();
            }
        }
    }

    /// Asks who is there as if for the first time. Returns what was still waiting to be heard.
    async fn ask_again(&mut self) -> Vec<ServiceEvent> {
        // If the responder has stopped, `browse` says so.
        let Ok(browse) = self.daemon.browse(SERVICE) else { return Vec::new() };
        let old = std::mem::replace(&mut self.browse, browse);
        let mut waiting = Vec::new();
        let drain = async {
            // It ends when the responder has let go of the old question.
            while let Ok(event) = old.recv_async().await {
                waiting.push(event);
            }
        };
        let _ = timeout(Duration::from_millis(HAND_OVER_MS_MAX), drain).await;
        waiting.retain(|event| !matches!(event, ServiceEvent::SearchStopped(_)));
        waiting
    }

    /// Says goodbye, so that the others know at once, and ends the thread. Takes at most 650 ms.
    async fn leave(self) {
        let order = Duration::from_millis(ORDER_MS_MAX);
        if let Ok(done) = self.daemon.unregister(self.service.get_fullname())
            && let Ok(Ok(_)) = timeout(order, done.recv_async()).await
        {
            sleep(Duration::from_millis(GOODBYE_AGAIN_MS)).await;
        }
        if let Ok(done) = self.daemon.shutdown()
            && timeout(order, done.recv_async()).await.is_err()
        {
            info!("the mdns responder takes long to stop");
        }
    }
}

/// Where our own announcement was heard.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Echo {
    #[default]
    Nothing,
    Loopback,
    Network,
}

/// What was heard since the responder started, apart from the peers.
#[derive(Default)]
struct Ears {
    echo: Echo,
    ignored_count: u32,
    /// When a peer was last lost, and how many there were then.
    missed: Option<(Instant, usize)>,
}

impl Ears {
    /// How many peers there were before those left who are missing now.
    fn missed_of(&self, peers_count: usize) -> Option<usize> {
        let (at, count) = self.missed?;
        (peers_count < count && at.elapsed() < Duration::from_millis(MISSED_MS)).then_some(count)
    }

    fn ask_every_ms(&self, table: &Table) -> u64 {
        let is_missed = self.missed_of(table.peers_count()).is_some();
        if is_missed { ASK_FOR_MISSING_EVERY_MS } else { ASK_EVERY_MS }
    }

    fn take(&mut self, event: ServiceEvent, tag: &FormationTag, table: &mut Table) -> Vec<DiscoveryEvent> {
        let service = match event {
            ServiceEvent::ServiceResolved(service) => service,
            ServiceEvent::ServiceRemoved(_, instance) => {
                let count = table.peers_count();
                let left: Vec<DiscoveryEvent> = table.left(&instance).into_iter().collect();
                if table.peers_count() < count {
                    let before = self.missed_of(count).unwrap_or(0).max(count);
                    self.missed = Some((Instant::now(), before));
                }
                return left;
            }
            _ => return Vec::new(),
        };
        match Announcement::read(&service, tag) {
            Ok(announcement) => match table.heard(announcement) {
                Heard::Others(events) => events,
                Heard::Ourselves(addresses) => {
                    let beyond = addresses.iter().any(|address| !address.ip().is_loopback());
                    self.echo = if beyond { Echo::Network } else { Echo::Loopback };
                    Vec::new()
                }
            },
            Err(why) => {
                if self.ignored_count < IGNORED_LOGGED_COUNT_MAX {
                    self.ignored_count += 1;
                    debug!(instance = service.fullname, why, "an announcement is ignored");
                }
                table.left(&service.fullname).into_iter().collect()
            }
        }
    }
}

fn interface(text: &str) -> IfKind {
    match text.parse::<IpAddr>() {
        Ok(ip) => IfKind::Addr(ip),
        Err(_) => IfKind::Name(text.to_owned()),
    }
}

fn silent(interfaces: Option<&[String]>) -> String {
    let place = match interfaces {
        Some(chosen) => format!("the chosen interfaces ({})", chosen.join(", ")),
        None => "any interface".to_owned(),
    };
    format!("no announcement came back from {place}, so multicast does not work there")
}

fn only_loopback() -> String {
    format!("announced on the loopback interface only: no other interface takes multicast ({HELP})")
}

fn summary(peers_count: usize) -> String {
    match peers_count {
        0 => format!("announced; no other node of this formation was heard yet ({HELP})"),
        1 => "announced; 1 node heard on the local network".to_owned(),
        count => format!("announced; {count} nodes heard on the local network"),
    }
}

impl Discovery for Mdns {
    fn name(&self) -> &'static str {
        "mdns"
    }

    fn run(self: Box<Self>, context: Context) -> BoxFuture<'static, Result<(), DiscoveryError>> {
        self.work(context).boxed()
    }
}

#[cfg(test)]
mod tests;
