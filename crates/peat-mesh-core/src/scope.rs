//! Which documents may cross which link, in which direction: said by an operator, as text.
//!
//! ```text
//! bravo/*: send=tracks,alerts receive=orders; charlie/*: send=* receive=
//! ```
//!
//! Each entry names peers and the collections that may go to them and come from them. The first entry that
//! fits a peer counts; a peer that none fits has no bounds.

use std::collections::BTreeSet;
use std::fmt;

use crate::id::{DocId, NodeName, check_collection};
use crate::limits;

/// Some collections, or all of them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Collections {
    /// All there are and will be.
    All,
    /// These.
    Only(BTreeSet<String>),
}

/// What may cross a link, as one end of it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// What this end gives.
    pub send: Collections,
    /// What this end takes.
    pub receive: Collections,
}

/// The scopes of all links of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkScopes(Vec<(Peers, Scope)>);

/// The peers that an entry is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Peers {
    All,
    /// All whose names begin with this, a cluster and its slash.
    Cluster(String),
    One(NodeName),
}

impl Collections {
    /// None of them.
    #[must_use]
    pub fn none() -> Self {
        Self::Only(BTreeSet::new())
    }

    /// Whether a document is in one of them.
    #[must_use]
    pub fn has(&self, doc: &DocId) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(doc.collection()),
        }
    }

    /// What is in both.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::All, other) => other.clone(),
            (some, Self::All) => some.clone(),
            (Self::Only(a), Self::Only(b)) => Self::Only(a & b),
        }
    }

    /// What is in one of them or in both.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::Only(a), Self::Only(b)) => Self::Only(a | b),
            _ => Self::All,
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        let names: BTreeSet<String> =
            text.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if let Some(problem) = names.iter().find_map(|name| check_collection(name).err()) {
            return Err(problem.to_string());
        }
        if names.len() > limits::SCOPE_COLLECTIONS_COUNT_MAX {
            return Err(format!("there are more than {} collections", limits::SCOPE_COLLECTIONS_COUNT_MAX));
        }
        Ok(Self::Only(names))
    }
}

impl fmt::Display for Collections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Only(names) => f.write_str(&names.iter().map(String::as_str).collect::<Vec<_>>().join(",")),
        }
    }
}

impl Scope {
    /// No bounds.
    pub const ALL: Self = Self { send: Collections::All, receive: Collections::All };
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "send={} receive={}", self.send, self.receive)
    }
}

impl Peers {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::All);
        }
        let (cluster, is_cluster) = text.strip_suffix("/*").map_or((text, false), |cluster| (cluster, true));
        let name = NodeName::new(cluster).map_err(|problem| problem.to_string())?;
        if is_cluster && cluster.contains('/') {
            return Err("a cluster's name has no slash".to_owned());
        }
        Ok(if is_cluster { Self::Cluster(format!("{cluster}/")) } else { Self::One(name) })
    }

    fn has(&self, name: &NodeName) -> bool {
        match self {
            Self::All => true,
            Self::Cluster(cluster) => name.as_str().starts_with(cluster.as_str()),
            Self::One(one) => one == name,
        }
    }
}

impl LinkScopes {
    /// Reads entries `<peers>: send=<collections> receive=<collections>` with semicolons between them. Peers
    /// are a name, `<cluster>/*` or `*`; collections are names with commas between them, `*`, or nothing. A
    /// direction that is not named has no bounds.
    ///
    /// # Errors
    /// All mistakes, each in a sentence.
    pub fn parse(text: &str) -> Result<Self, Vec<String>> {
        let (mut entries, mut mistakes) = (Vec::new(), Vec::new());
        for entry in text.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
            match Self::entry(entry) {
                Ok(entry) => entries.push(entry),
                Err(problem) => mistakes.push(format!("{entry:?}: {problem}")),
            }
        }
        if entries.len() > limits::SCOPE_ENTRIES_COUNT_MAX {
            mistakes.push(format!("there are more than {} entries", limits::SCOPE_ENTRIES_COUNT_MAX));
        }
        if mistakes.is_empty() { Ok(Self(entries)) } else { Err(mistakes) }
    }

    fn entry(text: &str) -> Result<(Peers, Scope), String> {
        let (peers, bounds) = text.split_once(':').ok_or("there is no colon after the peers")?;
        let peers = Peers::parse(peers.trim())?;
        let mut scope = Scope::ALL;
        let mut seen = BTreeSet::new();
        for bound in bounds.split_whitespace() {
            let (way, collections) =
                bound.split_once('=').ok_or_else(|| format!("{bound:?} has no equals sign"))?;
            let collections = Collections::parse(collections)?;
            if !seen.insert(way) {
                return Err(format!("{way} is there twice"));
            }
            match way {
                "send" => scope.send = collections,
                "receive" => scope.receive = collections,
                other => return Err(format!("{other:?} is neither send nor receive")),
            }
        }
        if seen.is_empty() {
            return Err("neither send= nor receive= is there".to_owned());
        }
        Ok((peers, scope))
    }

    /// The scope of the link to this peer; `None` without bounds.
    #[must_use]
    pub fn of(&self, peer: &NodeName) -> Option<&Scope> {
        let scope = self.0.iter().find(|(peers, _)| peers.has(peer)).map(|(_, scope)| scope)?;
        (*scope != Scope::ALL).then_some(scope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope_of(text: &str, peer: &str) -> Option<String> {
        let peer = NodeName::new(peer).unwrap();
        LinkScopes::parse(text).unwrap().of(&peer).map(ToString::to_string)
    }

    #[test]
    fn the_first_entry_that_fits_a_peer_counts() {
        let text = "bravo/gw: send=* receive=*; bravo/*: send=tracks,alerts receive=orders; x: receive= ;";
        assert_eq!(scope_of(text, "bravo/gw"), None);
        assert_eq!(scope_of(text, "bravo/peat-1").unwrap(), "send=alerts,tracks receive=orders");
        assert_eq!(scope_of(text, "x").unwrap(), "send=* receive=");
        assert_eq!(scope_of(text, "bravo"), None);
        assert_eq!(scope_of("*: send=", "anybody").unwrap(), "send= receive=*");
    }

    #[test]
    fn every_mistake_is_told() {
        for (text, what) in [
            ("bravo/*", "no colon"),
            ("bravo/*: tracks", "no equals sign"),
            ("bravo/*: give=tracks", "neither send nor receive"),
            ("bravo/*:", "neither send= nor receive="),
            ("b: send=a send=b", "twice"),
            ("b c: send=a", "' '"),
            ("a/b/*: send=a", "slash"),
            ("b: send=a/b", "'/'"),
        ] {
            let mistakes = LinkScopes::parse(&format!("{text}; fine: send=a")).unwrap_err();
            assert!(mistakes.len() == 1 && mistakes[0].contains(what), "{text}: {mistakes:?}");
        }
    }

    #[test]
    fn collections_are_joined_and_cut() {
        let some = |text| Collections::parse(text).unwrap();
        assert_eq!(some("a,b").and(&some("b,c")), some("b"));
        assert_eq!(some("a").or(&some("b")), some("a,b"));
        assert_eq!(some("a").and(&Collections::All), some("a"));
        assert_eq!(some("a").or(&Collections::All), Collections::All);
        assert_eq!(some(""), Collections::none());
    }
}
