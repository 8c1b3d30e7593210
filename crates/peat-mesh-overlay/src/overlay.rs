//! One node's part in the overlay. In: what neighbours sent, what is to be spread, lost peers, time. Out:
//! [`Output`]s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;
use iroh_gossip::proto::{
    Command, Event, InEvent, OutEvent, PeerData, Scope as BroadcastScope, State, Timer, TopicId,
};
use n0_future::time::{Duration, Instant};
use peat_mesh_core::EndpointId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::limits;
use crate::missing::Missing;
use crate::recent::Recent;
use crate::settings::Settings;
use crate::wire::{
    GossipError, Hint, Key, Message, Scope, TOPIC, UpdateId, decode_addresses, hint_of, update_id,
};

/// How soon a node that has too few neighbours looks for more, in milliseconds …
const HUNGRY_MS_MIN: u64 = 1_000;
/// … and how long at most after many times of looking in vain …
const HUNGRY_MS_MAX: u64 = 8_000;
/// … or when it has so few that it insists.
const STARVING_MS_MAX: u64 = 15_000;
/// How often one node of the whole formation, whichever, asks a random known one to take it in, in
/// milliseconds. That joins the halves of a formation that was cut in two.
const MINGLE_EVERY_MS: u64 = 30_000;

/// What is to be done, or has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this to a node, over a link that is made for it if there is none.
    Send {
        /// To whom.
        to: EndpointId,
        /// What.
        bytes: Bytes,
    },
    /// A node is a neighbour from now on.
    NeighbourUp(EndpointId),
    /// A node is no neighbour any more.
    NeighbourDown(EndpointId),
    /// The link to a node is not needed any more.
    LetGo(EndpointId),
    /// An update came.
    Deliver {
        /// From which neighbour.
        from: EndpointId,
        /// What.
        content: Bytes,
        /// How many links it has crossed.
        hops: u16,
    },
    /// An update came that cannot be passed on by this node; its neighbours have to be compared with.
    DeliverOnly {
        /// From which neighbour.
        from: EndpointId,
        /// What.
        content: Bytes,
    },
    /// Addresses of a node, as another one knows them.
    Heard {
        /// Whose.
        peer: EndpointId,
        /// Where it was reached.
        addresses: Vec<SocketAddr>,
    },
    /// Name a random known node to [`Overlay::meet`].
    SeekContact,
}

/// One node's part in the overlay. See the crate's text.
#[derive(Debug)]
pub struct Overlay {
    me: Key,
    settings: Settings,
    proto: State<Key, StdRng>,
    rng: StdRng,
    origin: Instant,
    timers: BTreeMap<(u64, u64), Timer<Key>>,
    timers_made: u64,
    neighbours: BTreeSet<EndpointId>,
    missing: Missing,
    recent: Recent,
    known_count: usize,
    hungry_ms: u64,
    seek_at_ms: u64,
    mingle_at_ms: u64,
    /// Whether the contact that is sought next has to take this node in.
    insists: bool,
    outputs: Vec<Output>,
}

impl Overlay {
    /// A node without neighbours. It seeks some at its first [`Overlay::tick`].
    #[must_use]
    pub fn new(me: EndpointId, settings: Settings, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let data = PeerData::default();
        let mut proto = State::new(me.into(), data, settings.config(), StdRng::from_rng(&mut rng));
        // Any moment will do, as only what passes since is ever looked at.
        let origin = Instant::now();
        let command = InEvent::Command(TopicId::from_bytes(TOPIC), Command::Join(Vec::new()));
        drop(proto.handle(command, origin, None));
        Self {
            me: me.into(),
            settings,
            proto,
            rng,
            origin,
            timers: BTreeMap::new(),
            timers_made: 0,
            neighbours: BTreeSet::new(),
            missing: Missing::default(),
            recent: Recent::default(),
            known_count: 0,
            hungry_ms: HUNGRY_MS_MIN,
            seek_at_ms: 0,
            mingle_at_ms: u64::MAX,
            insists: true,
            outputs: Vec::new(),
        }
    }

    /// The neighbours this node has.
    #[must_use]
    pub fn neighbours(&self) -> &BTreeSet<EndpointId> {
        &self.neighbours
    }

    /// Bytes of updates that are kept in case a neighbour lacks one.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.recent.kept_bytes()
    }

    /// How many other nodes there are, as far as this one knows.
    pub fn set_known_count(&mut self, count: usize) {
        self.known_count = count;
    }

    /// When to call [`Overlay::tick`] at the latest.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<u64> {
        let timer = self.timers.first_key_value().map(|((at_ms, _), _)| *at_ms);
        let seek = (self.known_count > 0).then_some(self.seek_at_ms.min(self.mingle_at_ms));
        timer.into_iter().chain(seek).chain(self.missing.next_wakeup()).min()
    }

    /// What time alone makes necessary.
    pub fn tick(&mut self, now_ms: u64) -> Vec<Output> {
        while let Some(entry) = self.timers.first_entry() {
            if entry.key().0 > now_ms {
                break;
            }
            let timer = entry.remove();
            self.feed(now_ms, InEvent::TimerExpired(timer));
        }
        self.recent.expire(now_ms);
        for (key, hints) in self.missing.due(now_ms, now_ms + self.settings.ask_again_ms) {
            for hints in hints.chunks(limits::ANNOUNCED_PER_MESSAGE_MAX) {
                let bytes = Message::Spell(hints.to_vec()).encode();
                self.outputs.push(Output::Send { to: key.into(), bytes });
            }
        }
        self.seek(now_ms);
        std::mem::take(&mut self.outputs)
    }

    /// Here is a random known node. One that has to takes this node in, at the cost of another neighbour;
    /// otherwise it is one more that may, if it has room.
    pub fn meet(&mut self, now_ms: u64, contact: EndpointId) -> Vec<Output> {
        if std::mem::take(&mut self.insists) {
            return self.command(now_ms, Command::Join(vec![contact.into()]));
        }
        // As if a neighbour had named it: the protocol asks one that it was told of whether it has room.
        if let Some(message) = Message::told_of(contact).into_proto() {
            self.feed(now_ms, InEvent::RecvMessage(self.me, message));
        }
        std::mem::take(&mut self.outputs)
    }

    /// Spreads an update; `None` when it is too large or there is too much of late: it has to be announced by
    /// comparing with the neighbours.
    #[must_use]
    pub fn broadcast(&mut self, now_ms: u64, content: Bytes) -> Option<Vec<Output>> {
        self.recent.expire(now_ms);
        if content.len() > limits::PAYLOAD_BYTES_MAX || !self.recent.has_room(content.len()) {
            return None;
        }
        let id = update_id(&content);
        match self.recent.get(&id) {
            None => self.keep(now_ms, id, content.len()),
            Some(true) => return Some(Vec::new()),
            Some(false) => return None,
        }
        Some(self.command(now_ms, Command::Broadcast(content, BroadcastScope::Swarm)))
    }

    /// Takes what a node sent. `addresses` is where it is reached.
    ///
    /// # Errors
    /// When it breaks a rule. Nothing has changed then, and the link to the sender has to be ended.
    pub fn received(
        &mut self,
        now_ms: u64,
        from: EndpointId,
        addresses: &[SocketAddr],
        bytes: &[u8],
    ) -> Result<Vec<Output>, GossipError> {
        let mut message = Message::decode(bytes)?;
        self.recent.expire(now_ms);
        message.set_sender_addresses(addresses);
        match &mut message {
            Message::Update { content, scope } => {
                let (id, content) = (update_id(content), content.clone());
                match self.recent.get(&id) {
                    // The protocol finds out by itself that it is not new, and prunes the tree.
                    Some(true) => {}
                    Some(false) => return Ok(Vec::new()),
                    None if !self.recent.has_room(content.len()) => {
                        self.missing.came(&id);
                        self.recent.remember(now_ms + self.settings.remember_ms, id, false);
                        return Ok(vec![Output::DeliverOnly { from, content }]);
                    }
                    None => {
                        self.missing.came(&id);
                        self.keep(now_ms, id, content.len());
                        let hops = if let Scope::Swarm(hops) = scope { *hops } else { 0 };
                        self.recent.brought(id, from.into(), hops);
                        self.outputs.push(Output::Deliver { from, content, hops: hops + 1 });
                    }
                }
            }
            Message::Hint(hints) => {
                self.shorten(now_ms, from.into(), hints);
                hints.retain(|(hint, _)| self.recent.spell(hint).is_none());
                self.check_missing(hints.len())?;
                let ask_at_ms = now_ms + self.settings.ask_after_ms;
                hints.iter().for_each(|(hint, _)| self.missing.hinted(from.into(), *hint, ask_at_ms));
            }
            Message::Spell(hints) => {
                // How far it has come here was in the announcement; it plays no part any more.
                let ids = hints.iter().filter_map(|hint| self.recent.spell(hint));
                let spelled = ids.map(|id| (id, limits::HOPS_MAX));
                let bytes = Message::Announce(spelled.collect()).encode();
                self.outputs.push(Output::Send { to: from, bytes });
            }
            Message::Announce(ids) => {
                ids.retain(|(id, _)| self.recent.get(id).is_none());
                self.check_missing(ids.len())?;
                ids.iter().for_each(|(id, _)| self.missing.spelled(from.into(), *id));
            }
            _ => {}
        }
        if let Some(message) = message.into_proto() {
            self.feed(now_ms, InEvent::RecvMessage(from.into(), message));
        }
        Ok(std::mem::take(&mut self.outputs))
    }

    /// When an update came over many more links than by the one that announces it, that one takes the place of the
    /// one that brought it. The protocol does so by itself if the announcement comes first, which is never so here.
    fn shorten(&mut self, now_ms: u64, by: Key, hints: &[(Hint, u16)]) {
        let links_min = self.settings.shorten_links_min;
        let found = hints
            .iter()
            .find_map(|(hint, hops)| Some((self.recent.farther(hint, by, *hops, links_min)?, *hops)));
        let Some((other, hops)) = found else { return };
        if !self.neighbours.contains(&by.into()) {
            return;
        }
        for (peer, message) in [(by, Message::Graft { id: None, hops }), (other, Message::Prune)] {
            self.outputs.push(Output::Send { to: peer.into(), bytes: message.encode() });
            // As if the other end had asked for it, which sets this end.
            if let Some(message) = message.into_proto() {
                self.feed(now_ms, InEvent::RecvMessage(peer, message));
            }
        }
    }

    /// A node cannot be reached, or the link to it broke.
    pub fn lost(&mut self, now_ms: u64, peer: EndpointId) -> Vec<Output> {
        self.feed(now_ms, InEvent::PeerDisconnected(peer.into()));
        self.missing.neighbour_gone(peer.into());
        std::mem::take(&mut self.outputs)
    }

    /// Tells the neighbours that this node goes its own way.
    pub fn leave(&mut self, now_ms: u64) -> Vec<Output> {
        self.command(now_ms, Command::Quit)
    }

    fn is_hungry(&self) -> bool {
        self.neighbours.len() < self.settings.degree.min(self.known_count)
    }

    fn is_starving(&self) -> bool {
        self.neighbours.len() < self.settings.degree.div_ceil(2).min(self.known_count)
    }

    fn seek(&mut self, now_ms: u64) {
        if self.known_count == 0 {
            return;
        }
        if self.mingle_at_ms == u64::MAX {
            self.plan_to_mingle(now_ms);
        }
        if self.mingle_at_ms <= now_ms {
            self.insists = true;
            self.outputs.push(Output::SeekContact);
            self.plan_to_mingle(now_ms);
        } else if self.seek_at_ms <= now_ms {
            if self.is_hungry() {
                self.insists = self.is_starving();
                self.outputs.push(Output::SeekContact);
            }
            let max_ms = if self.is_starving() { STARVING_MS_MAX } else { HUNGRY_MS_MAX };
            let wait_ms = if self.is_hungry() { self.hungry_ms.min(max_ms) } else { max_ms };
            self.hungry_ms = if self.is_hungry() { wait_ms * 2 } else { HUNGRY_MS_MIN };
            self.seek_at_ms = now_ms + wait_ms / 2 + self.rng.random_range(0..=wait_ms);
        }
    }

    fn plan_to_mingle(&mut self, now_ms: u64) {
        let wait_ms = MINGLE_EVERY_MS * (self.known_count as u64 + 1);
        self.mingle_at_ms = now_ms + wait_ms / 2 + self.rng.random_range(0..=wait_ms);
    }

    fn command(&mut self, now_ms: u64, command: Command<Key>) -> Vec<Output> {
        self.feed(now_ms, InEvent::Command(TopicId::from_bytes(TOPIC), command));
        std::mem::take(&mut self.outputs)
    }

    fn feed(&mut self, now_ms: u64, event: InEvent<Key>) {
        let now = self.origin + Duration::from_millis(now_ms);
        let me = &self.me;
        for event in self.proto.handle(event, now, None) {
            match event {
                OutEvent::SendMessage(to, message) => {
                    let mut message = Message::from_proto(&message);
                    if let Message::Announce(ids) = message {
                        message = Message::Hint(ids.iter().map(|(id, hops)| (hint_of(id), *hops)).collect());
                    }
                    // A late word of a former neighbour must not keep it in the tree.
                    if message.is_about_members() || self.neighbours.contains(&to.into()) {
                        self.outputs.push(Output::Send { to: to.into(), bytes: message.encode() });
                    }
                }
                OutEvent::EmitEvent(_, Event::NeighborUp(peer)) => {
                    self.neighbours.insert(peer.into());
                    self.outputs.push(Output::NeighbourUp(peer.into()));
                }
                OutEvent::EmitEvent(_, Event::NeighborDown(peer)) => {
                    self.neighbours.remove(&peer.into());
                    self.hungry_ms = HUNGRY_MS_MIN;
                    self.missing.neighbour_gone(peer);
                    self.outputs.push(Output::NeighbourDown(peer.into()));
                }
                OutEvent::ScheduleTimer(delay, timer) => {
                    self.timers_made += 1;
                    let at_ms = now_ms + delay.as_millis() as u64;
                    self.timers.insert((at_ms, self.timers_made), timer);
                }
                OutEvent::PeerData(peer, data) => {
                    let addresses = decode_addresses(data.as_bytes());
                    if !addresses.is_empty() {
                        self.outputs.push(Output::Heard { peer: peer.into(), addresses });
                    }
                }
                OutEvent::DisconnectPeer(peer) if peer == *me => {}
                OutEvent::DisconnectPeer(peer) => self.outputs.push(Output::LetGo(peer.into())),
                // Updates are delivered as they come.
                OutEvent::EmitEvent(_, Event::Received(_)) => {}
            }
        }
        if self.is_starving() {
            self.seek_at_ms = self.seek_at_ms.min(now_ms + self.hungry_ms.min(STARVING_MS_MAX));
        } else if self.is_hungry() {
            self.seek_at_ms = self.seek_at_ms.min(now_ms + self.hungry_ms.min(HUNGRY_MS_MAX));
        }
    }

    fn check_missing(&self, more: usize) -> Result<(), GossipError> {
        let max = limits::MISSING_COUNT_MAX;
        if self.missing.len() + more > max { Err(GossipError::Missing { max }) } else { Ok(()) }
    }

    fn keep(&mut self, now_ms: u64, id: UpdateId, bytes: usize) {
        // The protocol looks once a second for what may go.
        self.recent.keep(now_ms + self.settings.keep_ms + 1_000, bytes);
        self.recent.remember(now_ms + self.settings.remember_ms, id, true);
    }
}
