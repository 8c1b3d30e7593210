//! Names and ids: parsed and printed in one place.
//!
//! What comes in is text or bytes from users, files and peers; what goes out is a value that is known
//! to keep the limits and the alphabet, or a [`NameError`] that says which character is wrong.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::limits;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// The name has no characters.
    #[error("{what} is empty")]
    Empty {
        /// Which name: "collection", "document id" or "node name".
        what: &'static str,
    },
    /// The name is longer than its limit.
    #[error("{what} is {bytes} bytes long; at most {bytes_max} are allowed")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// Its length.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A character outside the alphabet.
    #[error("{what} has the character {character:?} at position {position}; allowed are {allowed}")]
    Character {
        /// Which name.
        what: &'static str,
        /// The first character that is not allowed.
        character: char,
        /// Its place, counted in characters from 1.
        position: usize,
        /// The alphabet in words.
        allowed: &'static str,
    },
    /// `.` and `..`, which programs that handle URLs and files rewrite.
    #[error("{what} may not be only dots")]
    OnlyDots {
        /// Which name.
        what: &'static str,
    },
}

struct Alphabet {
    what: &'static str,
    bytes_max: usize,
    punctuation: &'static str,
    allowed: &'static str,
}

const COLLECTION: Alphabet = Alphabet {
    what: "collection",
    bytes_max: limits::COLLECTION_BYTES_MAX,
    punctuation: "-_.",
    allowed: "letters a-z A-Z, digits and - _ .",
};
const DOCUMENT: Alphabet = Alphabet {
    what: "document id",
    bytes_max: limits::DOCUMENT_ID_BYTES_MAX,
    punctuation: "-_.:@+=~,",
    allowed: "letters a-z A-Z, digits and - _ . : @ + = ~ ,",
};
const NODE: Alphabet = Alphabet {
    what: "node name",
    bytes_max: limits::NODE_NAME_BYTES_MAX,
    punctuation: "-_./",
    allowed: "letters a-z A-Z, digits and - _ . (and one / after the cluster)",
};

impl Alphabet {
    fn check(&self, name: &str) -> Result<(), NameError> {
        let what = self.what;
        if name.is_empty() {
            return Err(NameError::Empty { what });
        }
        if name.len() > self.bytes_max {
            return Err(NameError::TooLong { what, bytes: name.len(), bytes_max: self.bytes_max });
        }
        for (index, character) in name.chars().enumerate() {
            if !character.is_ascii_alphanumeric() && !self.punctuation.contains(character) {
                return Err(NameError::Character {
                    what,
                    character,
                    position: index + 1,
                    allowed: self.allowed,
                });
            }
        }
        if name.bytes().all(|byte| byte == b'.') {
            return Err(NameError::OnlyDots { what });
        }
        Ok(())
    }
}

/// Checks a collection name without making a [`DocId`].
///
/// # Errors
/// When the name is empty, too long or has a character outside its alphabet.
pub fn check_collection(name: &str) -> Result<(), NameError> {
    COLLECTION.check(name)
}

/// The address of a document: a collection and an id within it.
///
/// Printed and stored as `collection/id`; the slash is in neither alphabet, so the text is unique.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocId {
    text: Arc<str>,
}

impl DocId {
    /// Joins a collection and an id.
    ///
    /// # Errors
    /// When either is empty, too long or has a character outside its alphabet.
    pub fn new(collection: &str, key: &str) -> Result<Self, NameError> {
        COLLECTION.check(collection)?;
        DOCUMENT.check(key)?;
        let mut text = String::with_capacity(collection.len() + 1 + key.len());
        text.push_str(collection);
        text.push('/');
        text.push_str(key);
        Ok(Self { text: text.into() })
    }

    /// The collection.
    #[must_use]
    pub fn collection(&self) -> &str {
        self.split().0
    }

    /// The id within the collection.
    #[must_use]
    pub fn key(&self) -> &str {
        self.split().1
    }

    /// `collection/id`, the form that is stored and sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn split(&self) -> (&str, &str) {
        self.text.split_once('/').expect("a DocId is made with a slash")
    }
}

impl FromStr for DocId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (collection, key) = text.split_once('/').unwrap_or((text, ""));
        Self::new(collection, key)
    }
}

impl fmt::Display for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for DocId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The name of a node: its host name, or `<cluster>/<host name>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Checks a name.
    ///
    /// # Errors
    /// When it is empty, too long, has a character outside the alphabet, or more than one slash.
    pub fn new(name: &str) -> Result<Self, NameError> {
        NODE.check(name)?;
        for part in name.splitn(2, '/') {
            if part.is_empty() {
                return Err(NameError::Empty { what: NODE.what });
            }
            if let Some(offset) = part.find('/') {
                return Err(NameError::Character {
                    what: NODE.what,
                    character: '/',
                    position: name.len() - part.len() + offset + 1,
                    allowed: NODE.allowed,
                });
            }
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The Ed25519 public key of a node: who is at the other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointId(pub [u8; 32]);

impl EndpointId {
    /// The first ten hex digits, as log lines show it.
    #[must_use]
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..5])
    }

    /// The eight bytes by which a change names the nodes it was already sent to.
    #[must_use]
    pub fn tag(&self) -> NodeTag {
        let mut tag = [0; 8];
        tag.copy_from_slice(&self.0[..8]);
        NodeTag(tag)
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

impl FromStr for EndpointId {
    type Err = EndpointIdError;

    fn from_str(text: &str) -> Result<Self, EndpointIdError> {
        let bytes =
            data_encoding::HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| EndpointIdError)?;
        Ok(Self(bytes.try_into().map_err(|_| EndpointIdError)?))
    }
}

/// The text is not an endpoint id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an endpoint id is 64 hex digits")]
pub struct EndpointIdError;

/// The start of an [`EndpointId`]. Two nodes with one tag cost a change a few seconds, nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeTag(pub [u8; 8]);

impl NodeTag {
    /// In the place of all nodes that the overlay reaches.
    pub const OVERLAY: Self = Self([0xff; 8]);
}

/// One connection to a peer, numbered by whoever drives the core; never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId(pub u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "conn-{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_address_prints_as_it_parses() {
        let doc: DocId = "airports/EDDF".parse().unwrap();
        assert_eq!((doc.collection(), doc.key()), ("airports", "EDDF"));
        assert_eq!(doc.to_string(), "airports/EDDF");
    }

    #[test]
    fn a_bad_name_says_which_character_and_where() {
        let error = DocId::new("air ports", "x").unwrap_err().to_string();
        assert!(error.contains("collection has the character ' ' at position 4"), "{error}");
        let error = DocId::new("airports", "a/b").unwrap_err().to_string();
        assert!(error.contains("document id has the character '/'"), "{error}");
        let error = DocId::new("airports", "über").unwrap_err().to_string();
        assert!(error.contains("'ü' at position 1"), "{error}");
        assert!(DocId::new("airports", "..").is_err());
        assert!(DocId::new("", "x").is_err());
        assert!(DocId::new("c", &"x".repeat(193)).is_err());
    }

    #[test]
    fn a_node_name_has_at_most_one_cluster() {
        assert!(NodeName::new("alpha/peat-mesh-0").is_ok());
        assert!(NodeName::new("a/b/c").is_err());
        assert!(NodeName::new("/b").is_err());
        assert!(NodeName::new("b/").is_err());
    }

    #[test]
    fn an_endpoint_id_prints_as_it_parses() {
        let id = EndpointId([0xab; 32]);
        assert_eq!(id.to_string().parse::<EndpointId>().unwrap(), id);
        assert_eq!(id.short(), "ababababab");
        assert!("abc".parse::<EndpointId>().is_err());
    }
}
