//! Joining: whether a node that has just started has caught up with the peers that are there.
//!
//! An orchestrator that restarts one pod after the other must not go on before the new one holds what the
//! others hold. So a node is ready once every peer that can be reached has been found equal, or there is
//! nobody to reach; and at the latest when nothing has come for [`QUIET_MS_MAX`] (with one found equal, for
//! [`OTHERS_MS_MAX`]), since a cut-off node serves too. Once joined it stays so: links that break later are no reason to stop serving.

use std::collections::BTreeMap;

use peat_mesh_core::EndpointId;
use peat_mesh_core::hub::{PeerState, PeerView};

use crate::connection::IN_USE;
use crate::handle::Check;

/// The longest a node that nothing reaches waits before it serves all the same, in milliseconds.
const QUIET_MS_MAX: u64 = 30_000;
/// How much longer it waits for the others once it was found equal with one peer, in milliseconds. One that is
/// connected and compares nothing is broken.
const OTHERS_MS_MAX: u64 = 5_000;

#[derive(Debug, Default)]
pub(super) struct Joining {
    repaired: u64,
    progress_at_ms: u64,
    /// When it was first found equal with a peer.
    met_at_ms: Option<u64>,
    joined: Option<String>,
    waits_for: String,
    /// Peers that were connected, and why they are not any more.
    lost: BTreeMap<EndpointId, Option<String>>,
}

impl Joining {
    /// Looks at the peers. `is_list_complete` says whether discovery has told all peers it knows. Returns
    /// what was found when that ends the joining.
    pub(super) fn look(&mut self, now_ms: u64, views: &[PeerView], is_list_complete: bool) -> Option<&str> {
        if self.joined.is_none() {
            self.judge(now_ms, views, is_list_complete);
            return self.joined.as_deref();
        }
        None
    }

    fn judge(&mut self, now_ms: u64, views: &[PeerView], is_list_complete: bool) {
        // What peers write meanwhile is no catching up: under load it never ends, nor are two nodes quite equal.
        let repaired = views.iter().map(|view| view.documents_repaired).sum();
        if repaired > self.repaired {
            self.progress_at_ms = now_ms;
        }
        self.repaired = repaired;
        self.note_lost(views);
        let met = views.iter().filter(|view| view.in_step_at_ms.is_some()).count();
        if met > 0 {
            self.met_at_ms.get_or_insert(now_ms);
        }
        let waiting: Vec<String> =
            views.iter().filter(|view| !self.is_settled(view)).map(|view| name(view).to_owned()).collect();
        let peers = |count| if count == 1 { "1 peer".to_owned() } else { format!("{count} peers") };
        let is_late = now_ms >= self.deadline_ms();
        if met > 0 && (is_late || (waiting.is_empty() && is_list_complete)) {
            self.joined = Some(match views.len() - met {
                0 => format!("caught up with {}", peers(met)),
                others => format!("caught up with {}, not with {others} others", peers(met)),
            });
        } else if waiting.is_empty() && is_list_complete {
            self.joined = Some(match views.iter().filter(|view| view.scope.is_none()).count() {
                0 => "there are no peers to catch up with".to_owned(),
                absent => format!("none of {} could be reached", peers(absent)),
            });
        } else if is_late {
            self.joined = Some(format!("nothing came for {} s; serving what is here", QUIET_MS_MAX / 1_000));
        } else if waiting.is_empty() {
            self.waits_for = "waiting for discovery to tell which peers there are".to_owned();
        } else {
            self.waits_for = format!("catching up with {}", waiting.join(", "));
        }
    }

    fn note_lost(&mut self, views: &[PeerView]) {
        self.lost.retain(|peer, _| views.iter().any(|view| view.peer == *peer));
        for view in views {
            if view.state == PeerState::Connected {
                self.lost.insert(view.peer, None);
            } else if let Some(why) = self.lost.get_mut(&view.peer) {
                *why = why.take().or_else(|| view.last_error.clone());
            }
        }
    }

    /// Whether there is nothing (more) to wait for from this peer.
    fn is_settled(&self, view: &PeerView) -> bool {
        // The end of a connection is no failed dial: it is dialled again at once.
        let is_just_lost =
            |problem: &String| self.lost.get(&view.peer).is_some_and(|why| why.as_ref() == Some(problem));
        let was_refused = || {
            let problem = view.last_error.as_ref();
            problem.is_some_and(|problem| !problem.contains(IN_USE) && !is_just_lost(problem))
        };
        match view.state {
            // Over a scoped link two nodes may never be equal; the nodes of the own cluster have what counts.
            PeerState::Connected => view.in_step_at_ms.is_some() || view.scope.is_some(),
            PeerState::Dialing | PeerState::Waiting => was_refused(),
            PeerState::Known | PeerState::Lost => true,
        }
    }

    fn deadline_ms(&self) -> u64 {
        match self.met_at_ms {
            Some(met_at_ms) => self.progress_at_ms.max(met_at_ms) + OTHERS_MS_MAX,
            None => self.progress_at_ms + QUIET_MS_MAX,
        }
    }

    /// When it wants to look again at the latest.
    pub(super) fn next_wakeup(&self) -> Option<u64> {
        self.joined.is_none().then(|| self.deadline_ms())
    }

    pub(super) fn check(&self) -> Check {
        Check {
            name: "sync",
            ok: self.joined.is_some(),
            detail: match &self.joined {
                Some(joined) => format!("at the start: {joined}"),
                None => format!("{}; at most {} s after the last news", self.waits_for, QUIET_MS_MAX / 1_000),
            },
        }
    }
}

fn name(view: &PeerView) -> String {
    view.name.as_ref().map_or_else(|| view.peer.short(), ToString::to_string)
}

#[cfg(test)]
mod tests;
