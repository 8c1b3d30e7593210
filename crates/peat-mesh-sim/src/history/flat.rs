//! A document as a flat list of places: a JSON object in, its leaves and the objects around them out.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// The value at one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Leaf {
    /// One write wins.
    Register(String),
    /// Merges element by element.
    List(Vec<String>),
    /// Merges in ways of its own, or comes out otherwise than it went in.
    Tagged,
}

/// A document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Flat {
    /// By their places, as JSON pointers without the first slash.
    pub(super) leaves: BTreeMap<String, Leaf>,
    /// The objects within it.
    pub(super) objects: BTreeSet<String>,
}

impl Flat {
    pub(super) fn new(object: &Map<String, Value>) -> Self {
        let mut flat = Self::default();
        flat.fill("", object);
        flat
    }

    fn fill(&mut self, prefix: &str, object: &Map<String, Value>) {
        for (key, value) in object {
            let place = format!("{prefix}{}", key.replace('~', "~0").replace('/', "~1"));
            let leaf = match value {
                Value::Object(inner) if is_tagged(inner) => Leaf::Tagged,
                Value::Object(inner) => {
                    self.fill(&format!("{place}/"), inner);
                    self.objects.insert(place);
                    continue;
                }
                Value::Array(items) => Leaf::List(items.iter().map(Value::to_string).collect()),
                value => Leaf::Register(value.to_string()),
            };
            self.leaves.insert(place, leaf);
        }
    }

    /// The registers among the leaves.
    pub(super) fn registers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.leaves.iter().filter_map(|(place, leaf)| match leaf {
            Leaf::Register(value) => Some((&place[..], &value[..])),
            _ => None,
        })
    }
}

fn is_tagged(object: &Map<String, Value>) -> bool {
    object.len() == 1 && object.keys().all(|key| key.starts_with('$'))
}

/// The objects that a place lies in, the outermost first.
pub(super) fn around(place: &str) -> impl Iterator<Item = &str> {
    place.match_indices('/').map(|(at, _)| &place[..at])
}
