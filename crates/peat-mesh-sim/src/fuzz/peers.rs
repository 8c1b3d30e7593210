//! Two peers, edits on both sides, and a connection that the input cuts and on which it mangles frames.
//!
//! Both are honest. What arrives is what a broken or lying peer may send: so no node may panic, lose what it has
//! acknowledged or store what does not load; and once the mangling ends, both must come to hold the same.

mod node;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::{Bytes, BytesMut};
use peat_mesh_core::heads::ChangeHash;
use peat_mesh_core::io::{Closed, Input as Fact};
use peat_mesh_core::wire::{Changes, Decoder, Frame};
use peat_mesh_core::{ConnId, DocId};

use self::node::Node;
use super::input::Input;

/// Documents that are edited.
const DOCUMENTS: usize = 4;
/// Things that happen, at most.
const ACTIONS_MAX: usize = 150;
/// After the mangling, both hold the same within this time, in milliseconds: longer than the longest wait for a dial.
const HEAL_MS_MAX: u64 = 120_000;
/// A step of time while nothing else happens, in milliseconds.
const STEP_MS: u64 = 50;
/// Frames that one delivery may set off before that is a storm.
const FRAMES_MAX: usize = 20_000;

/// Lets two peers live through what the input says.
///
/// # Panics
/// When one of the properties of the module's text is broken.
pub fn peers(data: &[u8]) {
    let mut input = Input::new(data);
    let mut pair = Pair::new();
    for _ in 0..ACTIONS_MAX {
        if input.is_empty() {
            break;
        }
        pair.act(&mut input);
    }
    pair.heal();
    pair.check();
}

/// The two, and what is on its way between them.
pub(super) struct Pair {
    now_ms: u64,
    nodes: [Node; 2],
    /// Frames on their way to each.
    frames: [VecDeque<Bytes>; 2],
    /// The connection; `None` while there is none.
    conn: Option<ConnId>,
    dialed: u64,
    acknowledged: BTreeMap<DocId, BTreeSet<ChangeHash>>,
    delivered: usize,
}

impl Pair {
    fn new() -> Self {
        let mut pair = Self {
            now_ms: 1_000,
            nodes: [Node::new(0), Node::new(1)],
            frames: Default::default(),
            conn: None,
            dialed: 0,
            acknowledged: BTreeMap::new(),
            delivered: 0,
        };
        pair.discover(0);
        pair.discover(1);
        pair
    }

    fn discover(&mut self, who: usize) {
        let fact = self.nodes[1 - who].seen();
        self.feed(who, fact);
    }

    fn act(&mut self, input: &mut Input<'_>) {
        let kind = input.byte();
        let who = usize::from(kind >> 7);
        match kind % 16 {
            0..3 => self.edit(who, input.below(DOCUMENTS)),
            3 => self.delete(who, input.below(DOCUMENTS)),
            4..8 => self.deliver(who, None),
            8..11 => {
                let frame = self.frames[who].pop_front();
                let mangled = frame.and_then(|frame| mangle(&frame, input));
                self.deliver(who, mangled);
            }
            11 => self.pass(1 << (input.byte() % 14)),
            12 => self.disconnect("cut"),
            13 => {
                self.disconnect("the peer crashed");
                self.nodes[who].restart(self.now_ms);
                self.discover(who);
            }
            _ => {
                while !self.frames.iter().all(VecDeque::is_empty) && self.delivered < FRAMES_MAX {
                    self.deliver(0, None);
                    self.deliver(1, None);
                }
            }
        }
        self.delivered = 0;
    }

    fn edit(&mut self, who: usize, number: usize) {
        let doc = doc(number);
        let (hash, effects) = self.nodes[who].edit(self.now_ms, &doc);
        self.acknowledged.entry(doc).or_default().insert(hash);
        self.perform(who, effects);
    }

    fn delete(&mut self, who: usize, number: usize) {
        let doc = doc(number);
        let (hash, effects) = self.nodes[who].delete(self.now_ms, &doc);
        if let Some(hash) = hash {
            self.acknowledged.entry(doc).or_default().insert(hash);
        }
        self.perform(who, effects);
    }

    /// Gives a node the next frame for it, or this one.
    fn deliver(&mut self, who: usize, frame: Option<Bytes>) {
        let Some(conn) = self.conn else { return };
        let Some(frame) = frame.or_else(|| self.frames[who].pop_front()) else { return };
        self.delivered += 1;
        let mut bytes = BytesMut::from(&frame[..]);
        loop {
            match Decoder::default().take(&mut bytes) {
                Ok(Some(frame)) => self.feed(who, Fact::Received { conn, frame }),
                // A part of a frame is waited for, until the connection ends.
                Ok(None) if bytes.is_empty() => return,
                Ok(None) => return self.disconnect("it stopped within a frame"),
                Err(problem) => return self.disconnect(&problem.to_string()),
            }
            if self.conn != Some(conn) {
                return;
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now_ms += ms;
        for who in 0..2 {
            self.feed(who, Fact::Tick);
        }
    }

    fn disconnect(&mut self, why: &str) {
        let Some(conn) = self.conn.take() else { return };
        self.frames.iter_mut().for_each(VecDeque::clear);
        for who in 0..2 {
            self.feed(who, Fact::Closed { conn, why: Closed::Lost(why.to_owned()) });
        }
    }

    fn connect(&mut self, dialer: usize) {
        if self.conn.is_some() {
            return;
        }
        self.dialed += 1;
        let conn = ConnId(self.dialed);
        self.conn = Some(conn);
        for who in 0..2 {
            let fact = self.nodes[1 - who].admitted(conn, who == dialer);
            self.feed(who, fact);
        }
    }

    fn feed(&mut self, who: usize, fact: Fact) {
        let effects = self.nodes[who].handle(self.now_ms, fact);
        self.perform(who, effects);
    }

    fn perform(&mut self, who: usize, effects: Vec<node::Wish>) {
        for effect in effects {
            match effect {
                node::Wish::Dial => self.connect(who),
                node::Wish::Send(conn, frame) if self.conn == Some(conn) => {
                    self.frames[1 - who].push_back(frame)
                }
                node::Wish::Close(conn) if self.conn == Some(conn) => {
                    self.conn = None;
                    self.frames.iter_mut().for_each(VecDeque::clear);
                    let why = Closed::Lost("the peer closed it".to_owned());
                    self.feed(1 - who, Fact::Closed { conn, why });
                }
                node::Wish::Send(..) | node::Wish::Close(_) => {}
            }
        }
    }

    /// Ends the mangling: a new connection, on which all arrives.
    fn heal(&mut self) {
        self.disconnect("cut");
        (0..2).for_each(|who| self.discover(who));
        let until_ms = self.now_ms + HEAL_MS_MAX;
        while self.now_ms < until_ms {
            self.delivered = 0;
            while !self.frames.iter().all(VecDeque::is_empty) {
                self.deliver(0, None);
                self.deliver(1, None);
                assert!(self.delivered < FRAMES_MAX, "two peers talk without end");
            }
            if self.conn.is_some() && self.nodes[0].holds_the_same_as(&self.nodes[1]) {
                return;
            }
            self.pass(STEP_MS);
        }
        panic!("two peers do not come to hold the same: {} and {}", self.nodes[0], self.nodes[1]);
    }

    fn check(&self) {
        for node in &self.nodes {
            node.check(&self.acknowledged);
        }
        assert_eq!(self.nodes[0].documents(), self.nodes[1].documents(), "both read the same");
    }
}

fn doc(number: usize) -> DocId {
    DocId::new("d", &number.to_string()).expect("a valid address")
}

/// A frame with some of its bytes changed, cut off, doubled or put in; `None` when it is lost.
///
/// One kind of lie is left out: whole changes of one document sent as those of another one. They are changes that the
/// formation's members made, so a node cannot tell; and two documents that each got the first change of one actor
/// are never equal again.
fn mangle(frame: &Bytes, input: &mut Input<'_>) -> Option<Bytes> {
    let mut bytes = frame.to_vec();
    for _ in 0..=input.byte() % 4 {
        let kind = input.byte();
        // Lengths and counts stand in front.
        let end = if kind & 8 == 0 { bytes.len().max(1) } else { bytes.len().clamp(1, 32) };
        let at = input.below(end);
        match kind % 8 {
            0 => bytes.truncate(at),
            1 => bytes.insert(at.min(bytes.len()), input.byte()),
            2 if at < bytes.len() => _ = bytes.remove(at),
            3 => bytes.extend_from_within(at.min(bytes.len())..),
            4 => return None,
            // The length in the header follows, so that the body is looked at.
            5 if bytes.len() > 6 => {
                let body = (bytes.len() - 6) as u32;
                bytes[2..6].copy_from_slice(&body.to_be_bytes());
            }
            6 if at < bytes.len() => bytes[at] = input.byte(),
            _ if at < bytes.len() => bytes[at] ^= 1 << (input.byte() % 8),
            _ => {}
        }
    }
    (!is_misnamed(frame, &bytes)).then(|| bytes.into())
}

fn is_misnamed(frame: &[u8], mangled: &[u8]) -> bool {
    let changes = |bytes: &[u8]| -> Vec<(DocId, Bytes)> {
        let mut stream = BytesMut::from(bytes);
        let mut found = Vec::new();
        while let Ok(Some(frame)) = Decoder::default().take(&mut stream) {
            if let Frame::Changes(Changes { documents, .. }) = frame {
                found.extend(documents);
            }
        }
        found
    };
    let real = changes(frame);
    changes(mangled).iter().any(|(doc, chunks)| {
        let is_another = |(other, real): &(DocId, Bytes)| other != doc && shares_a_chunk(real, chunks);
        real.iter().any(is_another)
    })
}

/// Whether two runs of chunks have one in common: eight bytes, the mark of a chunk and its checksum.
fn shares_a_chunk(real: &[u8], chunks: &[u8]) -> bool {
    const MARK: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];
    let heads = chunks.windows(8).filter(|head| head[..4] == MARK);
    heads.into_iter().any(|head| real.windows(8).any(|other| other == head))
}
