//! Reading: an Automerge document in, one tree of what a reader sees out.
//!
//! Maps that were created under one key by replicas that did not know of each other are read as one
//! map (see the text of [`crate::document`]). The tree remembers which Automerge object each part lives
//! in, so that `edit` can change it. Conflicts are rare, and only where Automerge reports one are all
//! of its values asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;

use automerge::{Automerge, ObjId, ObjType, ReadDoc, Value, ValueRef};

use super::DocumentError;
use super::value::{Content, Scalar};
use crate::limits;

/// One value of the document.
#[derive(Debug)]
pub(super) enum Node {
    Scalar(Scalar),
    Text(ObjId, String),
    List(ObjId, Vec<Node>),
    Map(MapNode),
}

/// One object as a reader sees it: the union of one or more Automerge maps.
#[derive(Debug)]
pub(super) struct MapNode {
    /// The maps, in the order of the operations that made them; the last one is what Automerge shows.
    pub(super) ids: Vec<ObjId>,
    pub(super) fields: BTreeMap<String, Field>,
}

/// A value and the maps in which its key has values.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) node: Node,
    /// Index (in [`MapNode::ids`]) of the map that has the value that won.
    pub(super) home: usize,
    /// The other maps that have a value under this key.
    pub(super) also: Vec<usize>,
}

impl Node {
    /// Whether a reader sees exactly this content.
    pub(super) fn is(&self, content: &Content) -> bool {
        match (self, content) {
            (Node::Scalar(have), Content::Scalar(want)) => have == want,
            (Node::Text(_, have), Content::Text(want)) => have == want,
            (Node::List(_, have), Content::List(want)) => {
                have.len() == want.len() && have.iter().zip(want).all(|(have, want)| have.is(want))
            }
            (Node::Map(have), Content::Map(want)) => have.is(want),
            _ => false,
        }
    }
}

impl MapNode {
    pub(super) fn is(&self, want: &BTreeMap<String, Content>) -> bool {
        self.fields.len() == want.len()
            && self
                .fields
                .iter()
                .zip(want)
                .all(|((have_key, have), (want_key, want))| have_key == want_key && have.node.is(want))
    }
}

/// Reads the whole document.
pub(super) fn read(doc: &Automerge) -> Result<MapNode, DocumentError> {
    map(doc, vec![automerge::ROOT], 1)
}

/// One of the values that a key or a place in a list has at the same time.
struct Candidate {
    id: ObjId,
    home: usize,
    kind: Kind,
}

enum Kind {
    Scalar(Scalar),
    Object(ObjType),
}

fn map(doc: &Automerge, ids: Vec<ObjId>, level: usize) -> Result<MapNode, DocumentError> {
    check_level(level)?;
    let fields = match ids.as_slice() {
        [id] => map_of_one(doc, id, level)?,
        ids => map_of_many(doc, ids, level)?,
    };
    Ok(MapNode { ids, fields })
}

/// The usual case: no other replica made the same map apart.
fn map_of_one(doc: &Automerge, id: &ObjId, level: usize) -> Result<BTreeMap<String, Field>, DocumentError> {
    let mut fields = BTreeMap::new();
    for item in doc.map_range(id, ..) {
        let node = if item.conflict {
            let mut candidates = Vec::new();
            all_values(doc, id, &*item.key, 0, &mut candidates)?;
            winner(doc, candidates, level)?.0
        } else {
            match item.value {
                ValueRef::Scalar(scalar) => Node::Scalar(Scalar::read(scalar)),
                ValueRef::Object(kind) => object(doc, vec![item.id()], kind, level)?,
            }
        };
        let field = Field { node, home: 0, also: Vec::new() };
        fields.insert(item.key.into_owned(), field);
    }
    Ok(fields)
}

fn map_of_many(
    doc: &Automerge,
    ids: &[ObjId],
    level: usize,
) -> Result<BTreeMap<String, Field>, DocumentError> {
    let mut candidates: BTreeMap<String, Vec<Candidate>> = BTreeMap::new();
    for (home, id) in ids.iter().enumerate() {
        for item in doc.map_range(id, ..) {
            let values = candidates.entry(item.key.to_string()).or_default();
            if item.conflict {
                all_values(doc, id, &*item.key, home, values)?;
            } else {
                values.push(Candidate {
                    id: item.id(),
                    home,
                    kind: match item.value {
                        ValueRef::Scalar(scalar) => Kind::Scalar(Scalar::read(scalar)),
                        ValueRef::Object(kind) => Kind::Object(kind),
                    },
                });
            }
        }
    }
    candidates
        .into_iter()
        .map(|(key, candidates)| {
            let mut homes: Vec<usize> = candidates.iter().map(|candidate| candidate.home).collect();
            homes.dedup();
            let (node, home) = winner(doc, candidates, level)?;
            homes.retain(|other| *other != home);
            Ok((key, Field { node, home, also: homes }))
        })
        .collect()
}

fn list(doc: &Automerge, id: ObjId, level: usize) -> Result<Node, DocumentError> {
    check_level(level)?;
    let mut nodes = Vec::with_capacity(doc.length(&id));
    for item in doc.list_range(&id, ..) {
        nodes.push(if item.conflict {
            let mut candidates = Vec::new();
            all_values(doc, &id, item.index, 0, &mut candidates)?;
            winner(doc, candidates, level)?.0
        } else {
            match item.value {
                ValueRef::Scalar(scalar) => Node::Scalar(Scalar::read(scalar)),
                ValueRef::Object(kind) => object(doc, vec![item.id()], kind, level)?,
            }
        });
    }
    Ok(Node::List(id, nodes))
}

fn all_values(
    doc: &Automerge,
    id: &ObjId,
    prop: impl Into<automerge::Prop>,
    home: usize,
    candidates: &mut Vec<Candidate>,
) -> Result<(), DocumentError> {
    for (value, op) in doc.get_all(id, prop)? {
        candidates.push(Candidate {
            id: op,
            home,
            kind: match value {
                Value::Scalar(Cow::Owned(scalar)) => Kind::Scalar(Scalar::read_owned(&scalar)),
                Value::Scalar(Cow::Borrowed(scalar)) => Kind::Scalar(Scalar::read_owned(scalar)),
                Value::Object(kind) => Kind::Object(kind),
            },
        });
    }
    Ok(())
}

/// The value with the greatest operation id and where it lives; if that is a map, all maps as one.
fn winner(
    doc: &Automerge,
    mut candidates: Vec<Candidate>,
    level: usize,
) -> Result<(Node, usize), DocumentError> {
    candidates.sort_by(|one, other| one.id.cmp(&other.id));
    let Some(last) = candidates.pop() else {
        // Automerge named a key and then no value for it; there is nothing to show.
        return Ok((Node::Scalar(Scalar::Null), 0));
    };
    let node = match last.kind {
        Kind::Scalar(scalar) => Node::Scalar(scalar),
        Kind::Object(kind) if is_map(kind) => {
            let mut ids: Vec<ObjId> = candidates
                .into_iter()
                .filter(|candidate| matches!(candidate.kind, Kind::Object(kind) if is_map(kind)))
                .map(|candidate| candidate.id)
                .collect();
            ids.push(last.id);
            object(doc, ids, kind, level)?
        }
        Kind::Object(kind) => object(doc, vec![last.id], kind, level)?,
    };
    Ok((node, last.home))
}

/// Reads the objects of one kind that lie in a map or list of the given level. Only maps may be many.
fn object(doc: &Automerge, mut ids: Vec<ObjId>, kind: ObjType, level: usize) -> Result<Node, DocumentError> {
    Ok(match kind {
        ObjType::Map | ObjType::Table => Node::Map(map(doc, ids, level + 1)?),
        ObjType::List => list(doc, ids.swap_remove(0), level + 1)?,
        ObjType::Text => {
            let id = ids.swap_remove(0);
            let text = doc.text(&id)?;
            Node::Text(id, text)
        }
    })
}

fn is_map(kind: ObjType) -> bool {
    matches!(kind, ObjType::Map | ObjType::Table)
}

/// A peer may send any nesting; reading it must not exhaust the stack.
fn check_level(level: usize) -> Result<(), DocumentError> {
    if level > limits::DOCUMENT_DEPTH_LEVELS_MAX {
        return Err(DocumentError::TooDeep { levels_max: limits::DOCUMENT_DEPTH_LEVELS_MAX });
    }
    Ok(())
}
