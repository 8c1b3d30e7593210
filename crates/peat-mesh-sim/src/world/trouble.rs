//! What goes wrong in a world: cuts, crashes, old disks, and machines that move.

use std::collections::BTreeSet;

use peat_mesh_core::DocId;
use peat_mesh_core::io::Input;
use rand::RngExt;

use super::run::Event;
use super::{Reply, World, address};
use crate::site::{Disk, Site};

/// Trouble.
impl World {
    /// Lets nothing through between two machines.
    pub fn cut(&mut self, a: Site, b: Site) {
        let plan = self.net.cut(&mut self.rng, self.agenda.now_ms(), a, b);
        self.plan(plan);
    }

    /// Undoes [`World::cut`].
    pub fn heal(&mut self, a: Site, b: Site) {
        let plan = self.net.heal(self.agenda.now_ms(), a, b);
        self.plan(plan);
    }

    /// Sets the clock of a machine wrong by so much, from its next start on.
    pub fn set_clock_error_ms(&mut self, site: Site, error_ms: i64) {
        self.machines[site.0].clock_error_ms = error_ms;
    }

    /// Tells a node that it is about to stop; it goes on running until [`World::crash`].
    pub fn leave(&mut self, site: Site) {
        let epoch = self.machines[site.0].epoch;
        self.feed(site, epoch, Input::Leaving);
    }

    /// Cuts every link between the two groups.
    pub fn split(&mut self, left: &[Site], right: &[Site]) {
        for a in left {
            right.iter().for_each(|b| self.cut(*a, *b));
        }
    }

    /// Heals every link.
    pub fn heal_all(&mut self) {
        self.net.links().into_iter().for_each(|(a, b)| self.heal(a, b));
    }

    /// Breaks the connections between two machines; the link stays.
    pub fn break_connections(&mut self, a: Site, b: Site) {
        let plan = self.net.break_all(&mut self.rng, self.agenda.now_ms(), a, b);
        self.plan(plan);
    }

    /// Kills a node: what is not on disk is gone.
    pub fn crash(&mut self, site: Site) {
        if self.machines[site.0].process.take().is_none() {
            return;
        }
        self.note(site, "crashes");
        self.record_crash(site);
        for asked in self.asked.iter_mut().filter(|asked| asked.site == site) {
            if asked.reply == Reply::Waiting {
                asked.reply = Reply::Never;
            }
        }
        for conn in self.net.ends_of(site) {
            let plan = self.net.close(&mut self.rng, self.agenda.now_ms(), conn, None);
            self.plan(plan);
        }
    }

    /// Starts a node that has crashed, on its disk.
    pub fn restart(&mut self, site: Site) {
        if self.machines[site.0].process.is_some() {
            return;
        }
        self.note(site, "starts");
        self.machines[site.0].start(&mut self.rng, self.agenda.now_ms(), self.max_peers);
        self.touch_all(site);
        for peer in self.net.neighbours(site) {
            let after_ms = self.rng.random_range(0..=50);
            self.discover(site, peer, after_ms);
        }
        self.wake(site);
    }

    /// What a node starts on is looked at as if it had just been written.
    fn touch_all(&mut self, site: Site) {
        let documents = self.machines[site.0].disk.known.keys();
        self.touched.extend(documents.map(|doc| (site, doc.clone())));
    }

    /// What was written since this was last asked, and what nodes started on.
    pub(crate) fn take_touched(&mut self) -> BTreeSet<(Site, DocId)> {
        std::mem::take(&mut self.touched)
    }

    /// Whether a node runs.
    #[must_use]
    pub fn is_up(&self, site: Site) -> bool {
        self.machines[site.0].process.is_some()
    }

    /// Gives a machine another address; its peers hear of it a little later.
    pub fn move_away(&mut self, site: Site) {
        let number = self.machines[site.0].address.port() + 1;
        self.machines[site.0].address = address(site, number);
        for peer in self.net.neighbours(site) {
            self.break_connections(site, peer);
            let after_ms = self.rng.random_range(0..=2_000);
            self.discover(peer, site, after_ms);
        }
    }

    /// Lets discovery of one node forget another one for a while.
    pub fn forget(&mut self, site: Site, peer: Site, for_ms: u64) {
        let (epoch, peer_id) = (self.machines[site.0].epoch, self.machines[peer.0].id);
        self.agenda.at(self.agenda.now_ms(), Event::Gone { site, epoch, peer: peer_id });
        self.discover(site, peer, for_ms);
    }

    /// Makes the next commit of a node fail.
    pub fn fail_next_commit(&mut self, site: Site) {
        self.machines[site.0].disk.store.fail_next_commit("the disk is full");
    }

    /// Copies a disk.
    pub fn backup(&mut self, site: Site) {
        let machine = &mut self.machines[site.0];
        machine.backup = Some(machine.disk.copy());
    }

    /// Kills a node and starts it on its last backup (on an empty disk when there is none).
    pub fn restore_backup(&mut self, site: Site) {
        self.crash(site);
        self.record_loss(site);
        let machine = &mut self.machines[site.0];
        machine.disk = machine.backup.as_ref().map(Disk::copy).unwrap_or_default();
        let disks: Vec<&Disk> = self.machines.iter().map(|machine| &machine.disk).collect();
        let knows = |disk: &&Disk, doc: &DocId, number: &usize| {
            disk.known.get(doc).is_some_and(|known| known.contains(number))
        };
        self.ledger.disk_lost(|doc, number| disks.iter().any(|disk| knows(disk, doc, &number)));
        self.restart(site);
    }
}
