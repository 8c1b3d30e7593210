//! Questions that wait for the mesh: how far it is with a document, or with everything.

use peat_mesh_core::hub::Hub;
use peat_mesh_core::io::{About, Input};
use tokio::sync::oneshot;

use crate::handle::{Found, Question};

/// Questions that may wait at a time; one more is not answered.
const WAITS_COUNT_MAX: usize = 4096;

/// The questions that are open.
#[derive(Debug, Default)]
pub(super) struct Waits {
    open: Vec<Wait>,
    /// Questions that were ever opened.
    count: u64,
    /// What the hub knew when they were last looked at.
    version: Option<u64>,
}

#[derive(Debug)]
struct Wait {
    ask: u64,
    is_about_a_document: bool,
    peers: Option<usize>,
    until_ms: u64,
    reply: oneshot::Sender<Found>,
}

impl Waits {
    /// Takes a question in; returns what the hub is to be asked.
    pub(super) fn open(&mut self, question: Question, until_ms: u64) -> Option<Input> {
        let Question { about, peers, reply, .. } = question;
        if self.open.len() >= WAITS_COUNT_MAX {
            return None;
        }
        self.count += 1;
        let is_about_a_document = matches!(about, About::Document { .. });
        self.open.push(Wait { ask: self.count, is_about_a_document, peers, until_ms, reply });
        Some(Input::Ask { ask: self.count, about })
    }

    pub(super) fn next_wakeup(&self) -> Option<u64> {
        self.open.iter().map(|wait| wait.until_ms).min()
    }

    /// Answers what can be answered, or has to be now; returns what the hub is to be told.
    pub(super) fn answer(&mut self, now_ms: u64, hub: &Hub) -> Vec<Input> {
        if self.open.is_empty() {
            return Vec::new();
        }
        let is_news = self.version.replace(hub.asks_version()) != Some(hub.asks_version());
        let mut over = Vec::new();
        for wait in std::mem::take(&mut self.open) {
            // Of a document nothing else is news.
            let is_enough = (is_news || !wait.is_about_a_document) && wait.is_enough(hub);
            if !is_enough && now_ms < wait.until_ms && !wait.reply.is_closed() {
                self.open.push(wait);
                continue;
            }
            over.push(Input::AskOver { ask: wait.ask });
            wait.reply(is_enough, hub);
        }
        over
    }
}

impl Wait {
    fn is_enough(&self, hub: &Hub) -> bool {
        match self.peers {
            _ if !self.is_about_a_document => hub.is_in_step(self.ask),
            Some(peers) => hub.confirmed_count(self.ask) >= peers,
            None => hub.is_held_by_all(self.ask),
        }
    }

    fn reply(self, is_enough: bool, hub: &Hub) {
        let holders = hub.confirmed_by(self.ask);
        let peers = if self.peers.is_some() { Vec::new() } else { hub.holding(self.ask) };
        let found = Found { is_enough, documents: hub.catalog().len(), holders, peers };
        // Who asked may have lost patience.
        let _ = self.reply.send(found);
    }
}
