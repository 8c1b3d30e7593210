//! Frames to bytes.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Changes, Frame, HEADER_BYTES, Hello, RangeGroup, RangeItems, WINDOW_SHIFT, Want, presence};
use crate::catalog::{Position, Prefix};
use crate::heads::ChangeHash;
use crate::scope::Collections;

impl Frame {
    /// The whole frame, header included.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        out.put_bytes(0, HEADER_BYTES);
        let kind = match self {
            Self::Hello(Hello { name, incarnation }) => {
                put_text(&mut out, name.as_str());
                out.put_u64(*incarnation);
                1
            }
            Self::Probe { round, all } => {
                out.put_u32(*round);
                put_var(&mut out, all.count);
                out.put_slice(&all.fingerprint.0);
                2
            }
            Self::InStep { round } => {
                out.put_u32(*round);
                3
            }
            Self::Ranges(groups) => {
                put_ranges(&mut out, groups);
                4
            }
            Self::Items(ranges) => {
                put_items(&mut out, ranges);
                5
            }
            Self::Fetch(positions) => {
                put_var(&mut out, positions.len() as u64);
                for Position(position) in positions {
                    out.put_u128(*position);
                }
                6
            }
            Self::Want(wants) => {
                put_wants(&mut out, wants);
                7
            }
            Self::Changes(changes) => {
                put_changes(&mut out, changes);
                8
            }
            Self::Presence(records) => {
                presence::put_records(&mut out, records);
                9
            }
            Self::Scope(scope) => {
                put_collections(&mut out, &scope.send);
                put_collections(&mut out, &scope.receive);
                11
            }
            Self::Gossip { is_large, bytes } => {
                out.put_u8(u8::from(*is_large));
                out.put_slice(bytes);
                10
            }
            Self::Confirm { id, doc, heads } => {
                out.put_u64(*id);
                put_text(&mut out, doc.as_str());
                put_hashes(&mut out, heads.as_slice());
                12
            }
            Self::Confirmed { id } => {
                out.put_u64(*id);
                13
            }
        };
        let body = (out.len() - HEADER_BYTES) as u32;
        out[0] = kind;
        out[2..HEADER_BYTES].copy_from_slice(&body.to_be_bytes());
        out.freeze()
    }
}

fn put_ranges(out: &mut BytesMut, groups: &[RangeGroup]) {
    put_var(out, groups.len() as u64);
    for group in groups {
        out.put_u8(group.prefix.depth() | group.window << WINDOW_SHIFT);
        put_first(out, group.prefix);
        let present = (0..16).filter(|number| group.parts[*number].is_some());
        out.put_u16(present.fold(0, |present, number| present | 1 << number));
        group.parts.iter().flatten().for_each(|part| out.put_slice(part));
    }
}

fn put_items(out: &mut BytesMut, ranges: &[RangeItems]) {
    put_var(out, ranges.len() as u64);
    for range in ranges {
        put_prefix(out, range.prefix);
        put_var(out, range.items.len() as u64);
        for (Position(position), digest) in &range.items {
            out.put_u128(*position);
            out.put_slice(&digest.0);
        }
    }
}

fn put_wants(out: &mut BytesMut, wants: &[Want]) {
    put_var(out, wants.len() as u64);
    for want in wants {
        put_text(out, want.doc.as_str());
        out.put_u8(want.stage as u8);
        put_hashes(out, want.heads.as_slice());
        put_hashes(out, &want.have);
    }
}

fn put_changes(out: &mut BytesMut, changes: &Changes) {
    out.put_u8(u8::from(changes.repair));
    put_var(out, changes.audience.len() as u64);
    for tag in &changes.audience {
        out.put_slice(&tag.0);
    }
    put_var(out, changes.documents.len() as u64);
    for (doc, chunks) in &changes.documents {
        put_text(out, doc.as_str());
        put_var(out, chunks.len() as u64);
        out.put_slice(chunks);
    }
}

fn put_collections(out: &mut BytesMut, collections: &Collections) {
    match collections {
        Collections::All => {
            out.put_u8(1);
            put_var(out, 0);
        }
        Collections::Only(names) => {
            out.put_u8(0);
            put_var(out, names.len() as u64);
            names.iter().for_each(|name| put_text(out, name));
        }
    }
}

fn put_hashes(out: &mut BytesMut, hashes: &[ChangeHash]) {
    put_var(out, hashes.len() as u64);
    for hash in hashes {
        out.put_slice(&hash.0);
    }
}

fn put_prefix(out: &mut BytesMut, prefix: Prefix) {
    out.put_u8(prefix.depth());
    put_first(out, prefix);
}

fn put_first(out: &mut BytesMut, prefix: Prefix) {
    let bytes = usize::from(prefix.depth()).div_ceil(2);
    out.put_slice(&prefix.first().0.to_be_bytes()[..bytes]);
}

pub(super) fn put_text(out: &mut BytesMut, text: &str) {
    put_var(out, text.len() as u64);
    out.put_slice(text.as_bytes());
}

pub(super) fn put_var(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}
