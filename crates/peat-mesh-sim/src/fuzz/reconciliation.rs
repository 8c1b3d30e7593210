//! Reconciliation against a model: two catalogs, and what a plain comparison of two maps finds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use peat_mesh_core::answer::{Answer, Request};
use peat_mesh_core::catalog::Catalog;
use peat_mesh_core::heads::{ChangeHash, Heads};
use peat_mesh_core::hub::Hub;
use peat_mesh_core::io::{Effect, Input as Fact};
use peat_mesh_core::wire::{Decoder, Hello};
use peat_mesh_core::{ConnId, DocId, EndpointId, NodeName};

use super::input::Input;

/// Documents that both may have in common, at most.
const COMMON_MAX: usize = 3_000;
/// Documents that differ, at most.
const DIFFERENT_MAX: usize = 300;
/// Steps of a comparison: the probe, thirty-two splits at most, the list and the requests.
const STEPS_MAX: usize = 36;

type Model = BTreeMap<DocId, Heads>;

/// Two nodes with documents that the input says compare what they have, once.
///
/// # Panics
/// When the comparison does not end, or finds anything but the difference.
pub fn reconciliation(data: &[u8]) {
    let mut input = Input::new(data);
    let (left, right) = models(&mut input);
    let mut hubs = [hub(1, &left), hub(2, &right)];
    let mut found = [Found::default(), Found::default()];
    let mut frames: [VecDeque<bytes::BytesMut>; 2] = Default::default();
    for (number, dialed) in [(0, true), (1, false)] {
        let far = if number == 0 { 2 } else { 1 };
        let hello = Hello { name: name(far), incarnation: u64::from(far) };
        let peer = EndpointId([far; 32]);
        let fact = Fact::Admitted { conn: CONN, peer, hello, dialed, address: None };
        let effects = hubs[number].handle(0, fact);
        perform(&mut hubs[number], effects, &mut frames[1 - number], &mut found[number]);
    }
    let mut steps = 0;
    while frames.iter().any(|frames| !frames.is_empty()) {
        steps += 1;
        assert!(steps <= STEPS_MAX, "a comparison ends");
        // All that one side has said by now is heard before the other side speaks.
        for number in 0..2 {
            for mut frame in std::mem::take(&mut frames[number]) {
                let frame = Decoder::default().take(&mut frame).ok().flatten();
                let frame = frame.expect("a node sends whole frames that can be decoded");
                let effects = hubs[number].handle(0, Fact::Received { conn: CONN, frame });
                perform(&mut hubs[number], effects, &mut frames[1 - number], &mut found[number]);
            }
        }
    }
    let [mine, theirs] = found;
    let only = |some: &Model, other: &Model| -> BTreeSet<DocId> {
        some.keys().filter(|doc| !other.contains_key(*doc)).cloned().collect()
    };
    assert_eq!(mine.whole, only(&left, &right), "what only the first has is sent whole");
    assert_eq!(theirs.whole, only(&right, &left), "what only the second has is sent whole");
    let is_changed = |doc: &&DocId| right.get(*doc).is_some_and(|heads| *heads != left[*doc]);
    let changed: BTreeSet<DocId> = left.keys().filter(is_changed).cloned().collect();
    let asked: BTreeSet<DocId> = mine.asked.union(&theirs.asked).cloned().collect();
    assert_eq!(asked, changed, "what both have in different states is asked for");
}

const CONN: ConnId = ConnId(1);

#[derive(Default)]
struct Found {
    whole: BTreeSet<DocId>,
    asked: BTreeSet<DocId>,
}

fn name(number: u8) -> NodeName {
    NodeName::new(&format!("node-{number}")).expect("a valid name")
}

fn hub(number: u8, model: &Model) -> Hub {
    let mut catalog = Catalog::default();
    for (doc, heads) in model {
        catalog.set(doc.clone(), heads.clone());
    }
    Hub::new(EndpointId([number; 32]), catalog, u64::from(number))
}

/// What a hub wants done: frames go out, and requests are noted and answered with nothing.
fn perform(hub: &mut Hub, effects: Vec<Effect>, out: &mut VecDeque<bytes::BytesMut>, found: &mut Found) {
    let mut effects = VecDeque::from(effects);
    while let Some(effect) = effects.pop_front() {
        match effect {
            Effect::Send { frame, .. } => {
                let bytes = peat_mesh_core::limits::frame_cost_bytes(frame.len());
                out.push_back(bytes::BytesMut::from(&frame[..]));
                effects.extend(hub.handle(0, Fact::Sent { conn: CONN, bytes }));
            }
            Effect::Answer { conn, requests } => {
                for request in requests {
                    match request {
                        Request::Whole(doc) => assert!(found.whole.insert(doc), "nothing is sent twice"),
                        Request::Want(want) => _ = found.asked.insert(want.doc),
                        other => panic!("nobody asked for {other:?}"),
                    }
                }
                let answer = Answer::default();
                effects.extend(hub.handle(0, Fact::Answered { conn, answer }));
            }
            Effect::Close { reason, .. } => panic!("an honest peer is turned away: {reason:?}"),
            _ => {}
        }
    }
}

fn models(input: &mut Input<'_>) -> (Model, Model) {
    let mut left = Model::new();
    let common = input.below(COMMON_MAX);
    for number in 0..common {
        left.insert(doc("c", number), heads(0, 1));
    }
    let mut right = left.clone();
    for _ in 0..DIFFERENT_MAX {
        if input.is_empty() {
            break;
        }
        let number = usize::from(input.byte()) * 256 + usize::from(input.byte());
        let (collection, side, count) = match input.byte() {
            kind if kind & 1 == 0 => ("c", kind & 2 == 0, kind >> 4),
            kind => ("own", kind & 2 == 0, kind >> 4),
        };
        let side = if side { &mut left } else { &mut right };
        match count {
            // A document that this side does not have.
            0 => _ = side.remove(&doc(collection, number)),
            count => _ = side.insert(doc(collection, number), heads(number, count)),
        }
    }
    (left, right)
}

fn doc(collection: &str, number: usize) -> DocId {
    DocId::new(collection, &number.to_string()).expect("a valid address")
}

fn heads(number: usize, count: u8) -> Heads {
    let hash = |head| {
        let mut hash = [head; 32];
        hash[..8].copy_from_slice(&(number as u64).to_le_bytes());
        ChangeHash(hash)
    };
    Heads::new((1..=count).map(hash).collect())
}
