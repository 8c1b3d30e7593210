//! Bytes to frames: nothing is believed before it is checked.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    Changes, Digest, Frame, HEADER_BYTES, Hello, RangeGroup, RangeItems, WINDOW_SHIFT, WINDOWS, Want,
    WantStage, WireError,
};
use crate::catalog::{Fingerprint, Position, Prefix, Summary};
use crate::heads::{ChangeHash, Heads};
use crate::id::{DocId, NodeName, NodeTag, check_collection};
use crate::limits;
use crate::scope::{Collections, Scope};

const GOSSIP: u8 = 10;
const CONFIRM: u8 = 12;
const CONFIRMED: u8 = 13;

/// Cuts a stream of bytes into frames.
#[derive(Debug)]
pub struct Decoder {
    frame_bytes_max: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::with_limit(limits::FRAME_BYTES_MAX)
    }
}

impl Decoder {
    /// A decoder that refuses bodies longer than `frame_bytes_max` (for the handshake).
    #[must_use]
    pub fn with_limit(frame_bytes_max: usize) -> Self {
        Self { frame_bytes_max }
    }

    /// The length of the body that the header names.
    ///
    /// # Errors
    /// When the kind is unknown or the body would be longer than the limit.
    pub fn body_bytes(&self, header: &[u8; HEADER_BYTES]) -> Result<usize, WireError> {
        if !matches!(header[0], 1..=9 | GOSSIP | 11 | CONFIRM | CONFIRMED) || header[1] != 0 {
            return Err(WireError::UnknownKind { kind: header[0] });
        }
        let bytes = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
        let bytes_max = match header[0] {
            GOSSIP => self.frame_bytes_max.min(limits::GOSSIP_BYTES_MAX + 1),
            CONFIRM => self.frame_bytes_max.min(limits::CONFIRM_BYTES_MAX),
            CONFIRMED => 8,
            _ => self.frame_bytes_max,
        };
        if bytes as usize > bytes_max {
            return Err(WireError::TooLarge { bytes: bytes.into(), bytes_max });
        }
        Ok(bytes as usize)
    }

    /// Takes the first frame off `buffer`; `None` when it is not all there yet.
    ///
    /// # Errors
    /// When the bytes are not a frame; the connection is of no use after that.
    pub fn take(&self, buffer: &mut BytesMut) -> Result<Option<Frame>, WireError> {
        let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else {
            return Ok(None);
        };
        let (kind, body) = (header[0], self.body_bytes(header)?);
        if buffer.len() < HEADER_BYTES + body {
            return Ok(None);
        }
        buffer.advance(HEADER_BYTES);
        Frame::decode(kind, buffer.split_to(body).freeze()).map(Some)
    }
}

impl Frame {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// When it breaks the layout or a limit.
    pub fn decode(kind: u8, body: Bytes) -> Result<Self, WireError> {
        let frame = match kind {
            1 => "hello",
            2 => "probe",
            3 => "in-step",
            4 => "ranges",
            5 => "items",
            6 => "fetch",
            7 => "want",
            8 => "changes",
            9 => "presence",
            11 => "scope",
            GOSSIP => "gossip",
            CONFIRM => "confirm",
            CONFIRMED => "confirmed",
            _ => return Err(WireError::UnknownKind { kind }),
        };
        let mut body = Body { frame, rest: body };
        let decoded = match kind {
            1 => Self::Hello(body.hello()?),
            2 => Self::Probe { round: body.u32()?, all: body.summary()? },
            3 => Self::InStep { round: body.u32()? },
            4 => Self::Ranges(body.groups()?),
            5 => Self::Items(body.items()?),
            6 => Self::Fetch(body.list("positions", limits::ITEMS_PER_FRAME_MAX, 16, Body::position)?),
            7 => Self::Want(body.list("wants", limits::ITEMS_PER_FRAME_MAX, 5, Body::want)?),
            8 => Self::Changes(body.changes()?),
            9 => Self::Presence(body.records()?),
            GOSSIP => Self::Gossip { is_large: body.flag("large")?, bytes: std::mem::take(&mut body.rest) },
            CONFIRM => Self::Confirm { id: body.u64()?, doc: body.doc()?, heads: body.heads()? },
            CONFIRMED => Self::Confirmed { id: body.u64()? },
            _ => Self::Scope(Scope { send: body.collections()?, receive: body.collections()? }),
        };
        if body.rest.is_empty() { Ok(decoded) } else { Err(WireError::Length { frame, what: "too long" }) }
    }
}

pub(super) struct Body {
    frame: &'static str,
    rest: Bytes,
}

impl Body {
    pub(super) fn bad(&self, field: &'static str, reason: impl ToString) -> WireError {
        WireError::Field { frame: self.frame, field, reason: reason.to_string() }
    }

    pub(super) fn take(&mut self, bytes: usize) -> Result<Bytes, WireError> {
        if self.rest.len() < bytes {
            return Err(WireError::Length { frame: self.frame, what: "too short" });
        }
        Ok(self.rest.split_to(bytes))
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let bytes = self.take(N)?;
        let mut array = [0; N];
        array.copy_from_slice(&bytes);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    pub(super) fn var(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.bad("number", "longer than nine bytes"))
    }

    /// A count of things that take at least `bytes_min` bytes each in what is left.
    fn count(&mut self, field: &'static str, max: usize, bytes_min: usize) -> Result<usize, WireError> {
        let count = self.var()?;
        if count > max as u64 {
            return Err(self.bad(field, format!("{count} of them, at most {max} are allowed")));
        }
        let count = count as usize;
        if count * bytes_min > self.rest.len() {
            return Err(WireError::Length { frame: self.frame, what: "too short" });
        }
        Ok(count)
    }

    pub(super) fn list<T>(
        &mut self,
        field: &'static str,
        max: usize,
        bytes_min: usize,
        read: impl Fn(&mut Self) -> Result<T, WireError>,
    ) -> Result<Vec<T>, WireError> {
        let count = self.count(field, max, bytes_min)?;
        (0..count).map(|_| read(self)).collect()
    }

    pub(super) fn text(&mut self, field: &'static str, bytes_max: usize) -> Result<String, WireError> {
        let bytes = self.count(field, bytes_max, 1)?;
        String::from_utf8(self.take(bytes)?.into()).map_err(|_| self.bad(field, "not UTF-8"))
    }

    fn hello(&mut self) -> Result<Hello, WireError> {
        let name = self.text("name", limits::NODE_NAME_BYTES_MAX)?;
        let name = NodeName::new(&name).map_err(|problem| self.bad("name", problem))?;
        Ok(Hello { name, incarnation: self.u64()? })
    }

    fn summary(&mut self) -> Result<Summary, WireError> {
        Ok(Summary { count: self.var()?, fingerprint: Fingerprint(self.array()?) })
    }

    fn prefix(&mut self) -> Result<Prefix, WireError> {
        let depth = self.u8()?;
        self.prefix_of(depth)
    }

    fn prefix_of(&mut self, depth: u8) -> Result<Prefix, WireError> {
        if depth > Prefix::DEPTH_MAX {
            return Err(self.bad("range", format!("depth {depth}")));
        }
        let bytes = self.take(usize::from(depth).div_ceil(2))?;
        let mut first = [0; 16];
        first[..bytes.len()].copy_from_slice(&bytes);
        let first = Position(u128::from_be_bytes(first));
        let prefix = Prefix::of(first, depth);
        if prefix.first() == first { Ok(prefix) } else { Err(self.bad("range", "bits set past its depth")) }
    }

    /// Ranges rise and do not overlap, so that a frame asks for each document once at the most.
    fn rising(&self, prefixes: impl Iterator<Item = Prefix>) -> Result<(), WireError> {
        let mut last = None;
        for prefix in prefixes {
            if last.is_some_and(|last| prefix.first() <= last) {
                return Err(self.bad("range", "out of order or overlapping"));
            }
            last = Some(prefix.last());
        }
        Ok(())
    }

    fn groups(&mut self) -> Result<Vec<RangeGroup>, WireError> {
        let groups = self.list("ranges", limits::RANGES_PER_FRAME_MAX, 3, Self::group)?;
        self.rising(groups.iter().map(|group| group.prefix))?;
        Ok(groups)
    }

    fn group(&mut self) -> Result<RangeGroup, WireError> {
        let first = self.u8()?;
        let window = first >> WINDOW_SHIFT;
        if window >= WINDOWS {
            return Err(self.bad("window", window));
        }
        let prefix = self.prefix_of(first & ((1 << WINDOW_SHIFT) - 1))?;
        if prefix.depth() == Prefix::DEPTH_MAX {
            return Err(self.bad("range", "it cannot be split"));
        }
        let present = u16::from_be_bytes(self.array()?);
        let mut parts = [None; 16];
        for (number, part) in parts.iter_mut().enumerate() {
            if present & (1 << number) != 0 {
                *part = Some(self.array()?);
            }
        }
        Ok(RangeGroup { prefix, window, parts })
    }

    fn position(&mut self) -> Result<Position, WireError> {
        Ok(Position(u128::from_be_bytes(self.array()?)))
    }

    fn items(&mut self) -> Result<Vec<RangeItems>, WireError> {
        let ranges = self.list("ranges", limits::RANGES_PER_FRAME_MAX, 2, |body| {
            let prefix = body.prefix()?;
            let items = body.list("items", limits::ITEMS_PER_FRAME_MAX, 24, |body| {
                let position = body.position()?;
                if !prefix.contains(position) {
                    return Err(body.bad("position", "outside its range"));
                }
                Ok((position, Digest(body.array()?)))
            })?;
            Ok(RangeItems { prefix, items })
        })?;
        self.rising(ranges.iter().map(|range| range.prefix))?;
        Ok(ranges)
    }

    fn doc(&mut self) -> Result<DocId, WireError> {
        let bytes_max = limits::COLLECTION_BYTES_MAX + 1 + limits::DOCUMENT_ID_BYTES_MAX;
        let text = self.text("document", bytes_max)?;
        text.parse().map_err(|problem| self.bad("document", problem))
    }

    fn collections(&mut self) -> Result<Collections, WireError> {
        let is_all = match self.u8()? {
            0 => false,
            1 => true,
            other => return Err(self.bad("collections", other)),
        };
        let names = self.list("collections", limits::SCOPE_COLLECTIONS_COUNT_MAX, 2, |body| {
            let name = body.text("collection", limits::COLLECTION_BYTES_MAX)?;
            check_collection(&name).map_err(|problem| body.bad("collection", problem))?;
            Ok(name)
        })?;
        match (is_all, names.is_empty()) {
            (true, true) => Ok(Collections::All),
            (true, false) => Err(self.bad("collections", "all of them and some")),
            (false, _) => Ok(Collections::Only(names.into_iter().collect())),
        }
    }

    fn hash(&mut self) -> Result<ChangeHash, WireError> {
        Ok(ChangeHash(self.array()?))
    }

    fn heads(&mut self) -> Result<Heads, WireError> {
        self.list("heads", limits::HEADS_COUNT_MAX, 32, Self::hash).map(Heads::new)
    }

    fn want(&mut self) -> Result<Want, WireError> {
        let doc = self.doc()?;
        let stage = match self.u8()? {
            0 => WantStage::Heads,
            1 => WantStage::Have,
            2 => WantStage::Last,
            other => return Err(self.bad("stage", other)),
        };
        let heads = self.heads()?;
        let have = self.list("have", limits::HAVE_COUNT_MAX, 32, Self::hash)?;
        Ok(Want { doc, stage, heads, have })
    }

    fn changes(&mut self) -> Result<Changes, WireError> {
        let repair = self.flag("repair")?;
        let audience =
            self.list("audience", limits::AUDIENCE_COUNT_MAX, 8, |body| Ok(NodeTag(body.array()?)))?;
        let documents = self.list("documents", limits::CHANGES_PER_FRAME_MAX, 5, |body| {
            let doc = body.doc()?;
            let bytes = body.count("chunks", limits::FRAME_BYTES_MAX, 1)?;
            Ok((doc, body.take(bytes)?))
        })?;
        Ok(Changes { repair, audience, documents })
    }
}
