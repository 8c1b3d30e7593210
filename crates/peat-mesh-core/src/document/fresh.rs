//! A document that is one change and builds on nothing: made and read without loading a CRDT.
//!
//! Most documents are written once, and then this one change is all there is of them. Its operations say what is
//! in it: each makes one value, under a key of an object that an earlier one made, or after the element before it
//! in a list. So the change follows from the JSON, and the JSON from the change, in a tenth of the time that
//! Automerge takes to build its indexes. Whatever does not look exactly like this is left to Automerge.

use std::collections::{BTreeMap, VecDeque};

use automerge::legacy::{ElementId, Key, ObjectId, Op, OpId, OpType, SortedVec};
use automerge::{ActorId, Change, ExpandedChange, ObjType, ScalarValue};
use bytes::Bytes;
use serde_json::{Map, Value};

use super::value::{self, Content, Scalar};
use super::{DocumentError, chunks, json, seconds};
use crate::heads::{ChangeHash, Heads};
use crate::limits;

/// A document that is one change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fresh {
    /// The change.
    pub(crate) chunk: Bytes,
    pub(crate) heads: Heads,
    pub(crate) json: String,
}

impl Fresh {
    /// The first change of a document that is to be equal to `object`: the same as [`super::Document::put`] makes.
    /// `None` when Automerge has to make it, because it is empty, or so large that Automerge would compress it.
    ///
    /// # Errors
    /// When a tagged value has the wrong type or the object is nested too deep.
    pub(crate) fn make(
        object: &Map<String, Value>,
        actor: &ActorId,
        now_ms: u64,
    ) -> Result<Option<Self>, DocumentError> {
        let want = value::root(object)?;
        let mut room = limits::FRESH_DOCUMENT_BYTES_MAX;
        if want.is_empty() || !fits_map(&want, &mut room) {
            return Ok(None);
        }
        let Some(start_op) = std::num::NonZeroU64::new(1) else { return Ok(None) };
        let json = json::fields(&want);
        let change = Change::from(ExpandedChange {
            operations: operations(&want, actor),
            actor_id: actor.clone(),
            hash: None,
            seq: 1,
            start_op,
            time: seconds(now_ms),
            message: None,
            deps: Vec::new(),
            extra_bytes: Vec::new(),
            author: None,
        });
        Ok(Some(Self::new(Bytes::copy_from_slice(change.raw_bytes()), change.hash(), json)))
    }

    /// Reads and checks such a document; `None` when it is not one.
    pub(crate) fn read(chunk: &Bytes) -> Option<Self> {
        let [piece] = chunks::split(chunk).ok()?[..] else { return None };
        if piece.kind != chunks::Kind::Change {
            return None;
        }
        let change = chunks::change(piece).ok()?;
        let hash = change.hash();
        let builds_on_nothing = change.deps().is_empty() && change.seq() == 1 && change.start_op().get() == 1;
        let is_plain = change.message().is_none() && change.extra_bytes().is_empty() && !change.is_empty();
        if !builds_on_nothing || !is_plain || !change.other_actor_ids().is_empty() {
            return None;
        }
        let expanded = change.decode();
        let json = json::fields(&Tree::read(&expanded)?.into_fields()?);
        // Automerge makes the bytes of a change again when it is asked for it: they must be the same.
        let again = Change::from(expanded);
        (again.raw_bytes() == &chunk[..]).then(|| Self::new(chunk.clone(), hash, json))
    }

    fn new(chunk: Bytes, hash: ChangeHash, json: String) -> Self {
        Self { chunk, heads: Heads::new(vec![hash]), json }
    }
}

fn fits_map(fields: &BTreeMap<String, Content>, room: &mut usize) -> bool {
    fields.iter().all(|(key, content)| !key.is_empty() && takes(room, key.len()) && fits(content, room))
}

fn fits(content: &Content, room: &mut usize) -> bool {
    match content {
        Content::Scalar(Scalar::Str(text)) => takes(room, text.len()),
        Content::Scalar(Scalar::Bytes(bytes)) => takes(room, bytes.len()),
        Content::Scalar(_) => takes(room, size_of::<u64>()),
        Content::Text(text) => takes(room, text.len()),
        Content::List(items) => items.iter().all(|item| takes(room, 1) && fits(item, room)),
        Content::Map(fields) => fits_map(fields, room),
    }
}

fn takes(room: &mut usize, bytes: usize) -> bool {
    room.checked_sub(bytes).map(|rest| *room = rest).is_some()
}

/// The operations that make the fields, in the order in which Automerge makes them: object by object.
fn operations(fields: &BTreeMap<String, Content>, actor: &ActorId) -> Vec<Op> {
    let mut operations = Vec::new();
    let mut objects = VecDeque::from([(ObjectId::Root, Parts::Map(fields))]);
    while let Some((object, parts)) = objects.pop_front() {
        let mut add = |key: Key, insert: bool, action: OpType| {
            operations.push(Op { action, obj: object.clone(), key, pred: SortedVec::new(), insert });
            OpId(operations.len() as u64, actor.clone())
        };
        let mut last = ElementId::Head;
        match parts {
            Parts::Map(fields) => {
                for (key, content) in fields {
                    let id = add(Key::Map(key.as_str().into()), false, action(content));
                    objects.extend(Parts::of(content).map(|parts| (ObjectId::Id(id), parts)));
                }
            }
            Parts::List(items) => {
                for content in items {
                    let id = add(Key::Seq(last), true, action(content));
                    objects.extend(Parts::of(content).map(|parts| (ObjectId::Id(id.clone()), parts)));
                    last = ElementId::Id(id);
                }
            }
            Parts::Text(text) => {
                for character in text.chars() {
                    let put = OpType::Put(ScalarValue::Str(character.to_string().into()));
                    last = ElementId::Id(add(Key::Seq(last), true, put));
                }
            }
        }
    }
    operations
}

/// What an object is made of.
enum Parts<'a> {
    Map(&'a BTreeMap<String, Content>),
    List(&'a [Content]),
    Text(&'a str),
}

impl<'a> Parts<'a> {
    fn of(content: &'a Content) -> Option<Self> {
        match content {
            Content::Scalar(_) => None,
            Content::Text(text) => Some(Self::Text(text)),
            Content::List(items) => Some(Self::List(items)),
            Content::Map(fields) => Some(Self::Map(fields)),
        }
    }
}

fn action(content: &Content) -> OpType {
    match content {
        Content::Scalar(scalar) => OpType::Put(scalar.to_automerge()),
        Content::Text(_) => OpType::Make(ObjType::Text),
        Content::List(_) => OpType::Make(ObjType::List),
        Content::Map(_) => OpType::Make(ObjType::Map),
    }
}

/// Values by the numbers of the operations that made them; the root has number 0.
struct Tree {
    values: Vec<Made>,
}

/// A value that an operation made.
struct Made {
    level: usize,
    what: What,
}

enum What {
    Scalar(Scalar),
    Map(BTreeMap<String, usize>),
    List(Vec<usize>),
    /// With the number of the operation that made the last character, 0 if there is none.
    Text(String, usize),
}

impl Tree {
    fn read(change: &ExpandedChange) -> Option<Self> {
        let mut values = Vec::with_capacity(change.operations.len() + 1);
        values.push(Made { level: 1, what: What::Map(BTreeMap::new()) });
        for op in &change.operations {
            let number = values.len();
            if !op.pred.is_empty() {
                return None;
            }
            let parent = match &op.obj {
                ObjectId::Root => 0,
                ObjectId::Id(id) => own(id, &change.actor_id)?,
            };
            let Made { level, what: parent } = values.get_mut(parent)?;
            let level = *level + 1;
            let after = match &op.key {
                Key::Map(_) => None,
                Key::Seq(ElementId::Head) => Some(0),
                Key::Seq(ElementId::Id(id)) => Some(own(id, &change.actor_id)?),
            };
            match (parent, &op.key, after) {
                (What::Map(fields), Key::Map(key), _) if !op.insert && !key.is_empty() => {
                    if fields.insert(key.as_str().to_owned(), number).is_some() {
                        return None;
                    }
                }
                (What::List(items), _, Some(after)) if op.insert => {
                    if items.last().copied().unwrap_or(0) != after {
                        return None;
                    }
                    items.push(number);
                }
                (What::Text(text, last), _, Some(after)) if op.insert && *last == after => {
                    let OpType::Put(ScalarValue::Str(character)) = &op.action else { return None };
                    if character.chars().count() != 1 {
                        return None;
                    }
                    text.push_str(character);
                    *last = number;
                }
                _ => return None,
            }
            let what = match &op.action {
                OpType::Make(ObjType::Map) => What::Map(BTreeMap::new()),
                OpType::Make(ObjType::List) => What::List(Vec::new()),
                OpType::Make(ObjType::Text) => What::Text(String::new(), 0),
                OpType::Put(ScalarValue::Unknown { .. }) => return None,
                OpType::Put(scalar) => What::Scalar(Scalar::read_owned(scalar)),
                _ => return None,
            };
            if level > limits::DOCUMENT_DEPTH_LEVELS_MAX && matches!(what, What::Map(_) | What::List(_)) {
                return None;
            }
            values.push(Made { level, what });
        }
        Some(Self { values })
    }

    fn into_fields(mut self) -> Option<BTreeMap<String, Content>> {
        match self.take(0)? {
            Content::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// The depth is bounded by [`limits::DOCUMENT_DEPTH_LEVELS_MAX`].
    fn take(&mut self, number: usize) -> Option<Content> {
        let what = std::mem::replace(&mut self.values.get_mut(number)?.what, What::Scalar(Scalar::Null));
        Some(match what {
            What::Scalar(scalar) => Content::Scalar(scalar),
            What::Text(text, _) => Content::Text(text),
            What::List(items) => {
                Content::List(items.into_iter().map(|item| self.take(item)).collect::<Option<_>>()?)
            }
            What::Map(fields) => Content::Map(
                fields
                    .into_iter()
                    .map(|(key, number)| Some((key, self.take(number)?)))
                    .collect::<Option<_>>()?,
            ),
        })
    }
}

/// The number of an operation of the same change.
fn own(id: &OpId, actor: &ActorId) -> Option<usize> {
    (id.1 == *actor && id.0 > 0).then(|| usize::try_from(id.0).ok()).flatten()
}
