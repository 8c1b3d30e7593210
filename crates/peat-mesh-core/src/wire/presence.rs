//! Presence records to bytes and back.

use std::net::{IpAddr, SocketAddr};

use bytes::{BufMut, BytesMut};

use super::WireError;
use super::decode::Body;
use super::encode::{put_text, put_var};
use crate::id::{EndpointId, NodeName, NodeTag};
use crate::limits;
use crate::presence::{Label, Link, Measure, PathKind, Record, Stamp};

/// What a record and a link take at the least, in bytes.
const RECORD_BYTES_MIN: usize = 52;
const LINK_BYTES_MIN: usize = 13;

pub(super) fn put_records(out: &mut BytesMut, records: &[Record]) {
    put_var(out, records.len() as u64);
    for record in records {
        out.put_slice(&record.origin.0);
        put_text(out, record.name.as_str());
        put_text(out, record.role.as_str());
        put_text(out, record.version.as_str());
        put_var(out, record.stamp.epoch);
        out.put_u64(record.stamp.incarnation);
        put_var(out, record.stamp.sequence);
        out.put_u8(record.is_here.into());
        put_var(out, record.age_ms);
        put_var(out, record.uptime_ms);
        put_var(out, record.links_total);
        put_var(out, record.links.len() as u64);
        record.links.iter().for_each(|link| put_link(out, link));
    }
}

fn put_link(out: &mut BytesMut, Link { peer, is_silent, measure }: &Link) {
    out.put_slice(&peer.0);
    out.put_u8((*is_silent).into());
    out.put_u8(measure.path as u8);
    match measure.address.map(|address| (address.ip(), address.port())) {
        None => out.put_u8(0),
        Some((IpAddr::V4(ip), port)) => {
            out.put_u8(4);
            out.put_slice(&ip.octets());
            out.put_u16(port);
        }
        Some((IpAddr::V6(ip), port)) => {
            out.put_u8(6);
            out.put_slice(&ip.octets());
            out.put_u16(port);
        }
    }
    put_var(out, measure.rtt_us);
    put_var(out, measure.loss_per_mille.into());
}

impl Body {
    pub(super) fn records(&mut self) -> Result<Vec<Record>, WireError> {
        self.list("records", limits::PRESENCE_RECORDS_PER_FRAME_MAX, RECORD_BYTES_MIN, Self::record)
    }

    fn record(&mut self) -> Result<Record, WireError> {
        let origin = EndpointId(self.array()?);
        let name = self.text("name", limits::NODE_NAME_BYTES_MAX)?;
        let name = NodeName::new(&name).map_err(|problem| self.bad("name", problem))?;
        let role = self.label("role")?;
        let version = self.label("version")?;
        let epoch = self.at_most("epoch", limits::PRESENCE_MS_MAX)?;
        let incarnation = u64::from_be_bytes(self.array()?);
        let stamp = Stamp { epoch, incarnation, sequence: self.var()? };
        let is_here = self.flag("here")?;
        let age_ms = self.at_most("age", limits::PRESENCE_MS_MAX)?;
        let uptime_ms = self.at_most("uptime", limits::PRESENCE_MS_MAX)?;
        let links_total = self.var()?;
        let links = self.list("links", limits::LINKS_PER_RECORD_MAX, LINK_BYTES_MIN, Self::link)?;
        if links.windows(2).any(|pair| pair[0].peer >= pair[1].peer) {
            return Err(self.bad("link", "out of order or twice"));
        }
        if links_total < links.len() as u64 {
            return Err(self.bad("number of links", format!("{links_total}, and more are listed")));
        }
        Ok(Record { origin, name, role, version, stamp, is_here, age_ms, uptime_ms, links_total, links })
    }

    fn link(&mut self) -> Result<Link, WireError> {
        let peer = NodeTag(self.array()?);
        let is_silent = self.flag("silence")?;
        let path = match self.u8()? {
            0 => PathKind::Unknown,
            1 => PathKind::Direct,
            2 => PathKind::Relay,
            other => return Err(self.bad("path", other)),
        };
        let address = match self.u8()? {
            0 => None,
            4 => Some(SocketAddr::from((self.array::<4>()?, self.u16()?))),
            6 => Some(SocketAddr::from((self.array::<16>()?, self.u16()?))),
            other => return Err(self.bad("address", format!("family {other}"))),
        };
        let rtt_us = self.at_most("round-trip time", u32::MAX.into())?;
        let loss_per_mille = self.at_most("loss", 1_000)? as u16;
        Ok(Link { peer, is_silent, measure: Measure { path, address, rtt_us, loss_per_mille } })
    }

    fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn flag(&mut self, field: &'static str) -> Result<bool, WireError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(self.bad(field, other)),
        }
    }

    fn label(&mut self, field: &'static str) -> Result<Label, WireError> {
        let text = self.text(field, limits::LABEL_BYTES_MAX)?;
        Label::new(&text).map_err(|problem| self.bad(field, problem))
    }

    fn at_most(&mut self, field: &'static str, max: u64) -> Result<u64, WireError> {
        let value = self.var()?;
        if value > max {
            Err(self.bad(field, format!("{value}, at most {max} is allowed")))
        } else {
            Ok(value)
        }
    }
}
