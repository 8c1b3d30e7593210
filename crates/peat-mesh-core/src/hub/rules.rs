//! Rules that an admitted peer can break: how often each was, and who has to wait before it may come again.
//!
//! Whoever breaks a rule loses its connection. The first time it may come back at once; after that it is neither
//! dialled nor taken for a time that doubles with each rule it breaks, up to [`limits::BROKEN_WAIT_MS_MAX`].

use super::{Hub, Quarantined};
use crate::id::{ConnId, EndpointId};
use crate::io::{CloseReason, Closed, Effect};
use crate::limits;

/// A kind of rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Rule {
    /// What it sent is not a frame: a length, a count or a field that may not be.
    Frame,
    /// It introduced itself, or said its scope, twice.
    Opening,
    /// What it gave to the overlay is no message of it.
    Overlay,
    /// Its changes were refused: damaged, or in contradiction to themselves or to what is here.
    Changes,
    /// It answered or asked about very much that it was not offered.
    Unoffered,
    /// It kept comparing while nothing moved.
    Rounds,
    /// It took nothing of what was sent to it for very long.
    NotReading,
    /// It said nothing to a question for very long.
    NotAnswering,
    /// It ended its half of the stream and kept the connection.
    HalfOpen,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Frame,
        Self::Opening,
        Self::Overlay,
        Self::Changes,
        Self::Unoffered,
        Self::Rounds,
        Self::NotReading,
        Self::NotAnswering,
        Self::HalfOpen,
    ];

    /// The rule in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Frame => "frame",
            Self::Opening => "opening",
            Self::Overlay => "overlay",
            Self::Changes => "changes",
            Self::Unoffered => "unoffered",
            Self::Rounds => "rounds",
            Self::NotReading => "not_reading",
            Self::NotAnswering => "not_answering",
            Self::HalfOpen => "half_open",
        }
    }
}

/// What peers did wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// How often each rule was broken.
    pub broken_rules: Vec<(Rule, u64)>,
    /// The documents that peers send in a form that is refused here.
    pub quarantined: Vec<Quarantined>,
}

/// How often each rule was broken by peers, since the hub was made.
#[derive(Debug, Default)]
pub(super) struct Counts([u64; Rule::ALL.len()]);

/// What a peer has on its account.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Account {
    /// Rules that it broke, one soon after the other.
    offences: u32,
    last_ms: u64,
    /// Until when it is neither dialled nor taken.
    pub(super) until_ms: u64,
}

impl Account {
    /// It broke another one.
    pub(super) fn add(&mut self, now_ms: u64) {
        if now_ms >= self.last_ms + limits::BROKEN_FORGET_MS {
            self.offences = 0;
        }
        let wait_ms = match self.offences {
            0 => 0,
            again => (limits::BROKEN_WAIT_MS_MIN << (again - 1).min(20)).min(limits::BROKEN_WAIT_MS_MAX),
        };
        self.offences = self.offences.saturating_add(1);
        (self.last_ms, self.until_ms) = (now_ms, now_ms + wait_ms);
    }

    /// What it is told when it comes too early.
    pub(super) fn refusal(&self, now_ms: u64) -> Option<String> {
        let wait_ms = self.until_ms.checked_sub(now_ms).filter(|wait_ms| *wait_ms > 0)?;
        Some(format!(
            "it broke rules {} times in a row and may come again in {} s",
            self.offences,
            wait_ms.div_ceil(1_000)
        ))
    }
}

impl Hub {
    /// How often peers broke each rule.
    #[must_use]
    pub fn broken_rules(&self) -> Vec<(Rule, u64)> {
        Rule::ALL.into_iter().zip(self.broken_rules.0).collect()
    }

    /// What peers did wrong.
    #[must_use]
    pub fn faults(&self) -> Faults {
        Faults { broken_rules: self.broken_rules(), quarantined: self.quarantined() }
    }

    /// Ends a connection whose peer broke a rule, as if the peer had gone: the table notes the reason.
    pub(super) fn close_broken(&mut self, now_ms: u64, conn: ConnId, rule: Rule, reason: String) {
        if self.links.contains_key(&conn) {
            self.ended_broken(now_ms, conn, rule, reason.clone());
            self.effects.push(Effect::Close { conn, reason: CloseReason::BrokenRule(reason) });
        }
    }

    /// The same for a connection that has ended already.
    pub(super) fn ended_broken(&mut self, now_ms: u64, conn: ConnId, rule: Rule, reason: String) {
        let Some(peer) = self.links.get(&conn).map(|link| link.peer) else { return };
        self.broken_rules.0[rule as usize] += 1;
        self.closed(now_ms, conn, Closed::Lost(reason));
        self.peers.broke_rule(now_ms, peer);
    }

    /// Ends the connections of those who do not do their part for too long.
    pub(super) fn lose_patience(&mut self, now_ms: u64) {
        let over = self.links.iter().filter_map(|(conn, link)| Some((*conn, link.patience.is_over(now_ms)?)));
        for (conn, (rule, reason)) in over.collect::<Vec<_>>() {
            self.close_broken(now_ms, conn, rule, reason);
        }
    }

    /// Whether a peer that connects is still to be kept away. Says so to it.
    pub(super) fn keeps_away(&mut self, now_ms: u64, conn: ConnId, peer: EndpointId) -> bool {
        let Some(refusal) = self.peers.refusal(now_ms, peer) else { return false };
        self.close(conn, CloseReason::BrokenRule(refusal));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_a_counter_of_its_own() {
        for (index, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, index, "{rule:?}");
        }
    }

    #[test]
    fn who_breaks_rules_again_and_again_waits_longer_each_time_up_to_a_limit_and_is_forgiven_later() {
        let mut account = Account::default();
        let mut waits = Vec::new();
        let mut now_ms = 1_000;
        for _ in 0..14 {
            account.add(now_ms);
            waits.push(account.until_ms - now_ms);
            now_ms = account.until_ms;
            assert_eq!(account.refusal(now_ms), None);
        }
        assert_eq!(waits[..3], [0, limits::BROKEN_WAIT_MS_MIN, 2 * limits::BROKEN_WAIT_MS_MIN]);
        assert!(waits.is_sorted(), "{waits:?}");
        assert_eq!(*waits.last().unwrap(), limits::BROKEN_WAIT_MS_MAX);
        now_ms += limits::BROKEN_FORGET_MS;
        account.add(now_ms);
        assert_eq!(account.until_ms, now_ms);
        account.add(now_ms);
        let refusal = account.refusal(now_ms).unwrap();
        assert!(refusal.contains("2 times") && refusal.contains("in 1 s"), "{refusal}");
    }
}
