//! A hub, and an overlay once the formation is large. In and out: what a hub takes and gives.
//!
//! In a formation of up to `max_peers` nodes this one connects to all others, and the hub does everything alone.
//! In a larger one it keeps
//! the neighbours that the overlay chooses, and a change travels by the overlay. Nodes may disagree for a while
//! about which of the two it is: comparing goes on over every connection in both, so nothing is lost.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use peat_mesh_core::EndpointId;
use peat_mesh_core::hub::Hub;
use peat_mesh_core::io::{Closed, Effect, Event, Input};
use peat_mesh_core::wire::{Decoder, Frame};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{RngExt, SeedableRng};

use crate::limits;
use crate::overlay::{Output, Overlay};
use crate::settings::Settings;

/// How long a message waits for a link to its receiver, in milliseconds.
const WAIT_MS_MAX: u64 = 15_000;
/// A node that knows of few peers keeps to the overlay for this long after it last heard from one that knows of
/// many, in milliseconds. Longer than neighbours are silent.
const FOLLOW_MS: u64 = 90_000;

/// A hub, and an overlay once the formation is large. See the module's text.
#[derive(Debug)]
pub struct Mesh {
    me: EndpointId,
    hub: Hub,
    overlay: Option<Overlay>,
    settings: Settings,
    rng: StdRng,
    max_peers: usize,
    /// Messages for peers that are not connected yet, and since when they wait.
    waiting: BTreeMap<EndpointId, (u64, Vec<Bytes>)>,
    wanted: Option<BTreeSet<EndpointId>>,
    /// The neighbours that the hub knows of.
    told_neighbours: BTreeSet<EndpointId>,
    is_large: bool,
    /// When a node that knows of many peers was last heard.
    follows_since_ms: Option<u64>,
}

impl Mesh {
    /// A mesh of one. `max_peers` is the largest formation, in nodes, in which it connects to all others.
    #[must_use]
    pub fn new(me: EndpointId, hub: Hub, max_peers: usize, seed: u64) -> Self {
        let settings = Settings::for_max_peers(max_peers);
        let rng = StdRng::seed_from_u64(seed);
        Self {
            me,
            hub,
            overlay: None,
            settings,
            rng,
            max_peers,
            waiting: BTreeMap::new(),
            wanted: None,
            told_neighbours: BTreeSet::new(),
            is_large: false,
            follows_since_ms: None,
        }
    }

    /// The hub, to look at.
    #[must_use]
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The neighbours, when this node keeps only some; `None` when it connects to all.
    #[must_use]
    pub fn neighbours(&self) -> Option<&BTreeSet<EndpointId>> {
        self.overlay.as_ref().map(Overlay::neighbours)
    }

    /// Bytes of updates that are kept in case a neighbour lacks one.
    #[must_use]
    pub fn kept_bytes(&self) -> usize {
        self.overlay.as_ref().map_or(0, Overlay::kept_bytes)
    }

    /// How many peers messages wait for until there is a link.
    #[must_use]
    pub fn waiting_peers(&self) -> usize {
        self.waiting.len()
    }

    /// When to call [`Mesh::handle`] with [`Input::Tick`] at the latest.
    #[must_use]
    pub fn next_wakeup(&self) -> Option<u64> {
        let overlay = self.overlay.as_ref().and_then(Overlay::next_wakeup);
        let waiting = self.waiting.values().map(|(since_ms, _)| since_ms + WAIT_MS_MAX);
        self.hub.next_wakeup().into_iter().chain(overlay).chain(waiting).min()
    }

    /// Takes in what happened at `now_ms` and says what is to be done, in this order.
    pub fn handle(&mut self, now_ms: u64, input: Input) -> Vec<Effect> {
        let mut turn = Turn { now_ms, waiting: VecDeque::new(), done: Vec::new() };
        let is_about_peers = !matches!(
            input,
            Input::Received { .. }
                | Input::Sent { .. }
                | Input::Committed(_)
                | Input::Answered { .. }
                | Input::Ask { .. }
                | Input::AskOver { .. }
        );
        let failed = match &input {
            Input::DialFailed { peer, .. } => Some(*peer),
            Input::Closed { why: Closed::NotNeeded, .. } => {
                self.follow(&mut turn);
                None
            }
            _ => None,
        };
        self.ask_hub(&mut turn, input);
        if let Some(peer) = failed {
            self.lost(&mut turn, peer);
        }
        self.settle(&mut turn);
        if is_about_peers {
            self.choose(&mut turn);
        }
        self.pass_time(&mut turn);
        self.settle(&mut turn);
        turn.done
    }

    /// Deals with what the hub and the overlay want of each other until they want nothing more.
    fn settle(&mut self, turn: &mut Turn) {
        loop {
            while let Some(effect) = turn.waiting.pop_front() {
                self.effect(turn, effect);
            }
            if !self.connect(turn) && turn.waiting.is_empty() {
                return;
            }
        }
    }

    fn effect(&mut self, turn: &mut Turn, effect: Effect) {
        match effect {
            Effect::Gossip { peer, is_large, bytes } => self.gossip(turn, peer, is_large, &bytes),
            Effect::Broadcast { frame } => {
                let outputs = self.overlay.as_mut().and_then(|it| it.broadcast(turn.now_ms, frame));
                match outputs {
                    Some(outputs) => self.outputs(turn, outputs),
                    None => self.ask_hub(turn, Input::NotBroadcast),
                }
            }
            Effect::Notify(Event::PeerDisconnected { peer, .. }) => {
                turn.done.push(effect);
                self.lost(turn, peer);
            }
            other => turn.done.push(other),
        }
    }

    fn gossip(&mut self, turn: &mut Turn, peer: EndpointId, is_large: bool, bytes: &[u8]) {
        // One that only follows others itself is not followed: its updates come over its connection as ever.
        if is_large {
            self.follow(turn);
        }
        let Some(overlay) = &mut self.overlay else { return };
        match overlay.received(turn.now_ms, peer, &self.hub.addresses(peer), bytes) {
            Ok(outputs) => self.outputs(turn, outputs),
            Err(problem) => self.ask_hub(turn, Input::Broke { peer, rule: problem.to_string() }),
        }
    }

    fn outputs(&mut self, turn: &mut Turn, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, bytes } => self.send(turn, to, bytes),
                Output::Deliver { from, content, .. } => self.deliver(turn, from, &content, false),
                Output::DeliverOnly { from, content } => self.deliver(turn, from, &content, true),
                Output::Heard { peer, addresses } => self.ask_hub(turn, Input::PeerHeard { peer, addresses }),
                Output::SeekContact => {
                    let neighbours = self.neighbours().cloned().unwrap_or_default();
                    let strangers = self.hub.reachable().filter(|peer| !neighbours.contains(peer));
                    let contact = strangers.choose(&mut self.rng);
                    let joined =
                        contact.zip(self.overlay.as_mut()).map(|(it, overlay)| overlay.meet(turn.now_ms, it));
                    self.outputs(turn, joined.unwrap_or_default());
                }
                // Links follow from who the neighbours are, see `connect`.
                Output::NeighbourUp(_) | Output::NeighbourDown(_) | Output::LetGo(_) => {}
            }
        }
    }

    fn send(&mut self, turn: &mut Turn, to: EndpointId, bytes: Bytes) {
        if self.hub.is_linked(to) && !self.waiting.contains_key(&to) {
            self.ask_hub(turn, Input::Tell { peer: to, bytes });
        } else if self.waiting.contains_key(&to) || self.waiting.len() < limits::WAITING_PEERS_MAX {
            let (_, messages) = self.waiting.entry(to).or_insert_with(|| (turn.now_ms, Vec::new()));
            if messages.len() < limits::WAITING_MESSAGES_MAX {
                messages.push(bytes);
            }
        }
    }

    /// `is_end` when the overlay does not pass it on: then it counts as found by comparing, and neighbours are
    /// compared with.
    fn deliver(&mut self, turn: &mut Turn, peer: EndpointId, content: &[u8], is_end: bool) {
        let frame = match Decoder::default().take(&mut BytesMut::from(content)) {
            Ok(Some(Frame::Changes(mut changes))) => {
                changes.repair |= is_end;
                Frame::Changes(changes)
            }
            _ => {
                let rule = "what it spread is no frame that may be spread".to_owned();
                return self.ask_hub(turn, Input::Broke { peer, rule });
            }
        };
        self.ask_hub(turn, Input::Delivered { peer, frame });
    }

    fn lost(&mut self, turn: &mut Turn, peer: EndpointId) {
        self.waiting.remove(&peer);
        let outputs = self.overlay.as_mut().map(|overlay| overlay.lost(turn.now_ms, peer));
        self.outputs(turn, outputs.unwrap_or_default());
    }

    /// Lets the hub make the links that are wanted, and sends what waited for them. Returns whether anything
    /// was done.
    fn connect(&mut self, turn: &mut Turn) -> bool {
        let Some(overlay) = &self.overlay else { return false };
        let wanted: BTreeSet<EndpointId> =
            overlay.neighbours().iter().chain(self.waiting.keys()).copied().collect();
        let mut is_done = false;
        if self.wanted.as_ref() != Some(&wanted) || self.told_neighbours != *overlay.neighbours() {
            self.wanted = Some(wanted.clone());
            self.tell_hub(turn);
            is_done = true;
        }
        for peer in wanted {
            if self.hub.is_linked(peer) {
                for bytes in self.waiting.remove(&peer).map(|(_, messages)| messages).unwrap_or_default() {
                    self.ask_hub(turn, Input::Tell { peer, bytes });
                    is_done = true;
                }
            } else if !self.hub.is_reachable(peer) {
                self.lost(turn, peer);
                is_done = true;
            }
        }
        is_done
    }

    fn pass_time(&mut self, turn: &mut Turn) {
        let now_ms = turn.now_ms;
        let is_over = |since_ms: u64| since_ms + WAIT_MS_MAX <= now_ms;
        let late: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, (since_ms, _))| is_over(*since_ms))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in late {
            self.lost(turn, peer);
        }
        if let Some(overlay) = &mut self.overlay
            && overlay.next_wakeup().is_some_and(|at_ms| at_ms <= now_ms)
        {
            let outputs = overlay.tick(now_ms);
            self.outputs(turn, outputs);
        }
    }

    /// Keeps to all peers or to some, by how many there are and what others do.
    fn choose(&mut self, turn: &mut Turn) {
        let known = self.hub.known_count();
        let is_large = known + 1 > self.max_peers;
        if is_large != self.is_large {
            self.is_large = is_large;
            self.tell_hub(turn);
        }
        let is_following = self.follows_since_ms.is_some_and(|at| turn.now_ms < at + FOLLOW_MS);
        match &mut self.overlay {
            None if is_large => self.enter(turn),
            None => {}
            Some(overlay) if known < self.max_peers * 3 / 4 && !is_following => {
                let outputs = overlay.leave(turn.now_ms);
                self.outputs(turn, outputs);
                self.overlay = None;
                self.waiting.clear();
                self.wanted = None;
                self.follows_since_ms = None;
                self.tell_hub(turn);
            }
            Some(overlay) => overlay.set_known_count(known),
        }
        self.settle(turn);
    }

    fn follow(&mut self, turn: &mut Turn) {
        self.follows_since_ms = Some(turn.now_ms);
        if self.overlay.is_none() {
            self.enter(turn);
        }
    }

    fn enter(&mut self, turn: &mut Turn) {
        let mut overlay = Overlay::new(self.me, self.settings.clone(), self.rng.random());
        overlay.set_known_count(self.hub.known_count());
        self.overlay = Some(overlay);
        self.wanted = Some(BTreeSet::new());
        self.tell_hub(turn);
    }

    fn tell_hub(&mut self, turn: &mut Turn) {
        let neighbours = self.neighbours().cloned().unwrap_or_default();
        self.told_neighbours.clone_from(&neighbours);
        let input = Input::Neighbours { wanted: self.wanted.clone(), neighbours, is_large: self.is_large };
        self.ask_hub(turn, input);
    }

    fn ask_hub(&mut self, turn: &mut Turn, input: Input) {
        turn.waiting.extend(self.hub.handle(turn.now_ms, input));
    }
}

/// What one input brings about.
struct Turn {
    now_ms: u64,
    waiting: VecDeque<Effect>,
    done: Vec<Effect>,
}
