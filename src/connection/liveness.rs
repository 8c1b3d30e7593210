//! Whether anything comes from the peers, and how packets reach them.
//!
//! One task looks at all admitted connections, [`SAMPLE_MS`] apart. QUIC shows a sign of life on a quiet
//! connection every second and repeats, faster and faster at first, what is not acknowledged. So a connection
//! over which not one packet came for [`SILENT_AFTER_MS`] has a peer that is off, stopped, or cut off. It is
//! reported as silent and stays open: a peer that was only slow goes on where it was. Every packet counts, of
//! whatever it is a part.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use iroh::TransportAddr;
use iroh::endpoint::{Connection, Path};
use peat_mesh_core::ConnId;
use peat_mesh_core::io::Input;
use peat_mesh_core::limits;
use peat_mesh_core::presence::{Measure, PathKind};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::ConnEvent;
use super::live::Live;

/// How often the connections are looked at, in milliseconds.
const SAMPLE_MS: u64 = 100;
/// How long nothing may come from a peer, in milliseconds, to which round trips are added.
const SILENT_AFTER_MS: u64 = 2_000;
/// So many round trips are added: a sign of life that was lost is sent again after one, two and four of them.
const SILENT_AFTER_ROUND_TRIPS: u64 = 4;
/// Of a peer that turned out to be only slow, more is borne, up to this, in milliseconds.
const SILENT_AFTER_MS_MAX: u64 = 8_000;
/// A peer that was slow counts as such for so long, in milliseconds.
const SLOW_FOR_MS: u64 = 120_000;
/// Loss is that of at least so many packets …
const LOSS_PACKETS_MIN: u64 = 50;
/// … and is counted anew after so many.
const LOSS_PACKETS_MAX: u64 = 1_000;

/// How packets reach the peer at the moment, without what only shows in time.
pub(super) fn path(connection: &Connection) -> Measure {
    look(connection).0
}

fn look(connection: &Connection) -> (Measure, Packets) {
    let paths = connection.paths();
    let path = paths.iter().find(Path::is_selected).or_else(|| paths.iter().next());
    path.map(|path| measure(&path)).unwrap_or_default()
}

fn measure(path: &Path<'_>) -> (Measure, Packets) {
    let (kind, address): (_, Option<SocketAddr>) = match path.remote_addr() {
        TransportAddr::Ip(address) => (PathKind::Direct, Some(*address)),
        TransportAddr::Relay(_) => (PathKind::Relay, None),
        _ => (PathKind::Unknown, None),
    };
    let stats = path.stats();
    let rtt_us = u64::try_from(stats.rtt.as_micros()).unwrap_or(u64::MAX).min(u32::MAX.into());
    // Probes for larger packets are lost on purpose.
    let packets = Packets {
        sent: stats.sent_packets.saturating_sub(stats.sent_plpmtud_probes),
        lost: stats.lost_packets.saturating_sub(stats.lost_plpmtud_probes),
    };
    (Measure { path: kind, address, rtt_us, loss_per_mille: 0 }, packets)
}

/// Watches the connections for as long as the events are taken.
pub(super) async fn watch(live: Live, events: mpsc::Sender<ConnEvent>) {
    let mut ears: HashMap<ConnId, Ear> = HashMap::new();
    let started = Instant::now();
    let mut ticks = interval(Duration::from_millis(SAMPLE_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_ms = 0;
    loop {
        ticks.tick().await;
        let now_ms = started.elapsed().as_millis() as u64;
        // Time in which this process itself did not run says nothing about others.
        let late_ms = (now_ms - last_ms).saturating_sub(2 * SAMPLE_MS);
        last_ms = now_ms;
        let connections = live.connections();
        ears.retain(|conn, _| connections.iter().any(|(other, _)| other == conn));
        for (conn, connection) in connections {
            let ear = ears.entry(conn).or_insert_with(|| Ear::new(now_ms));
            let datagrams = connection.stats().udp_rx.datagrams;
            let (mut measure, packets) = look(&connection);
            measure.loss_per_mille = ear.loss(packets);
            live.measured(conn, &measure);
            let turn = ear.listen(now_ms, late_ms, datagrams, measure.rtt_us / 1_000);
            let turn = turn.map(|is_silent| match is_silent {
                true => Input::Silent { conn },
                false => Input::Heard { conn },
            });
            let measured = ear.is_news(now_ms, &measure).then_some(Input::Measured { conn, measure });
            for input in turn.into_iter().chain(measured) {
                if events.send(input.into()).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Packets of a path since it was made.
#[derive(Debug, Clone, Copy, Default)]
struct Packets {
    sent: u64,
    lost: u64,
}

/// What was heard of one peer.
#[derive(Debug)]
struct Ear {
    datagrams: u64,
    heard_ms: u64,
    is_silent: bool,
    /// The longest pause after which the peer went on, and when that was.
    pause_ms: u64,
    paused_ms: u64,
    counted_from: Packets,
    loss_per_mille: u16,
    told: Option<(u64, Measure)>,
}

impl Ear {
    fn new(now_ms: u64) -> Self {
        Self {
            datagrams: 0,
            heard_ms: now_ms,
            is_silent: false,
            pause_ms: 0,
            paused_ms: 0,
            counted_from: Packets::default(),
            loss_per_mille: 0,
            told: None,
        }
    }

    /// Takes how many datagrams have come so far; says whether the peer has fallen silent or is heard again.
    fn listen(&mut self, now_ms: u64, late_ms: u64, datagrams: u64, rtt_ms: u64) -> Option<bool> {
        self.heard_ms = (self.heard_ms + late_ms).min(now_ms);
        let pause_ms = now_ms - self.heard_ms;
        if datagrams != self.datagrams {
            (self.datagrams, self.heard_ms) = (datagrams, now_ms);
            if std::mem::take(&mut self.is_silent) {
                (self.pause_ms, self.paused_ms) = (pause_ms, now_ms);
                return Some(false);
            }
            return None;
        }
        if now_ms > self.paused_ms + SLOW_FOR_MS {
            self.pause_ms = 0;
        }
        let slow_ms = (self.pause_ms + self.pause_ms / 2).min(SILENT_AFTER_MS_MAX);
        let after_ms =
            (SILENT_AFTER_MS + SILENT_AFTER_ROUND_TRIPS * rtt_ms).min(SILENT_AFTER_MS_MAX).max(slow_ms);
        if self.is_silent || pause_ms < after_ms {
            return None;
        }
        self.is_silent = true;
        Some(true)
    }

    /// Lost packets of a thousand, lately.
    fn loss(&mut self, now: Packets) -> u16 {
        if now.sent < self.counted_from.sent {
            // Another path is in use.
            self.counted_from = now;
        }
        let sent = now.sent.saturating_sub(self.counted_from.sent);
        let lost = now.lost.saturating_sub(self.counted_from.lost).min(sent);
        if sent >= LOSS_PACKETS_MIN {
            self.loss_per_mille = (lost * 1_000 / sent) as u16;
        }
        if sent >= LOSS_PACKETS_MAX {
            self.counted_from = now;
        }
        self.loss_per_mille
    }

    /// Whether the node has to know of this measure.
    fn is_news(&mut self, now_ms: u64, measure: &Measure) -> bool {
        let is_news = match &self.told {
            None => true,
            Some((told_ms, told)) => {
                measure.is_another_path(told)
                    || measure.is_another_quality(told)
                        && now_ms >= told_ms + limits::PRESENCE_QUALITY_EVERY_MS
            }
        };
        if is_news {
            self.told = Some((now_ms, measure.clone()));
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Listens every [`SAMPLE_MS`] from `from_ms` on while nothing comes; when it was found to be silent.
    fn silent_at(ear: &mut Ear, from_ms: u64, until_ms: u64, rtt_ms: u64) -> Option<u64> {
        let mut times = (from_ms..=until_ms).step_by(SAMPLE_MS as usize);
        times.find(|now_ms| ear.listen(*now_ms, 0, ear.datagrams, rtt_ms) == Some(true))
    }

    #[test]
    fn a_peer_of_which_nothing_comes_is_silent_after_two_seconds_and_said_to_be_once() {
        let mut ear = Ear::new(0);
        assert_eq!(ear.listen(200, 0, 5, 0), None);
        assert_eq!(silent_at(&mut ear, 400, 60_000, 0), Some(2_200));
        assert_eq!(silent_at(&mut ear, 2_400, 60_000, 0), None);
        assert_eq!(ear.listen(60_200, 0, 6, 0), Some(false));
        assert_eq!(ear.listen(60_400, 0, 7, 0), None);
    }

    #[test]
    fn a_peer_that_shows_a_sign_of_life_every_second_is_not_silent() {
        let mut ear = Ear::new(0);
        for second in 0..100 {
            assert_eq!(ear.listen(second * 1_000, 0, second + 1, 0), None);
            assert_eq!(silent_at(&mut ear, second * 1_000 + 200, second * 1_000 + 900, 0), None);
        }
    }

    #[test]
    fn a_long_way_gets_more_time() {
        assert_eq!(silent_at(&mut Ear::new(0), 0, 60_000, 600), Some(4_400));
        assert_eq!(silent_at(&mut Ear::new(0), 0, 60_000, 60_000), Some(SILENT_AFTER_MS_MAX));
    }

    #[test]
    fn a_peer_that_was_slow_gets_more_time_for_a_while() {
        let mut ear = Ear::new(0);
        assert_eq!(silent_at(&mut ear, 0, 3_800, 0), Some(2_000));
        assert_eq!(ear.listen(4_000, 0, 1, 0), Some(false));
        assert_eq!(silent_at(&mut ear, 4_200, 60_000, 0), Some(10_000));
        assert_eq!(ear.listen(40_000, 0, 2, 0), Some(false));
        assert_eq!(silent_at(&mut ear, 40_200, 60_000, 0), Some(40_000 + SILENT_AFTER_MS_MAX));
        let later_ms = 40_000 + SLOW_FOR_MS + 1_000;
        let mut ear = Ear { is_silent: false, heard_ms: later_ms, ..ear };
        assert_eq!(silent_at(&mut ear, later_ms, later_ms + 60_000, 0), Some(later_ms + SILENT_AFTER_MS));
    }

    #[test]
    fn time_in_which_this_process_did_not_run_is_not_held_against_the_peer() {
        let mut ear = Ear::new(0);
        assert_eq!(ear.listen(200, 0, 1, 0), None);
        assert_eq!(ear.listen(10_400, 9_800, 1, 0), None);
        assert_eq!(silent_at(&mut ear, 10_600, 60_000, 0), Some(12_000));
    }

    #[test]
    fn loss_is_that_of_enough_packets_and_of_late() {
        let mut ear = Ear::new(0);
        assert_eq!(ear.loss(Packets { sent: 10, lost: 5 }), 0);
        assert_eq!(ear.loss(Packets { sent: 100, lost: 5 }), 50);
        assert_eq!(ear.loss(Packets { sent: 1_000, lost: 50 }), 50);
        assert_eq!(ear.loss(Packets { sent: 1_100, lost: 50 }), 0);
    }

    #[test]
    fn a_measure_is_news_at_first_on_another_path_and_now_and_then_when_it_changes() {
        let mut ear = Ear::new(0);
        let rtt = |rtt_us| Measure { path: PathKind::Direct, rtt_us, ..Measure::default() };
        assert!(ear.is_news(0, &rtt(300)));
        assert!(!ear.is_news(200, &rtt(310)));
        assert!(!ear.is_news(400, &rtt(30_000)));
        assert!(ear.is_news(10_000, &rtt(30_000)));
        assert!(ear.is_news(10_200, &Measure { path: PathKind::Relay, ..rtt(30_000) }));
    }
}
