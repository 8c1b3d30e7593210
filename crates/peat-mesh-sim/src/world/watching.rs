//! What clients do and see, for the history.

use peat_mesh_core::replica::{Job, Outcome, Work};
use peat_mesh_core::store::Store;

use super::{Recorded, Reply, World, parse};
use crate::history::{History, Recorder};
use crate::site::{Op, Planned, Site, read};

/// Changes that are read at a time.
const PAGE_CHANGES_COUNT: usize = 64;

/// Recording.
impl World {
    /// Records from now on what clients do and see.
    pub fn record_history(&mut self) {
        self.recorder.get_or_insert_with(Recorder::new);
    }

    /// What was recorded.
    #[must_use]
    pub fn history(&self) -> History {
        self.recorder.as_ref().map(Recorder::history).unwrap_or_default()
    }

    /// Notes that the mesh has come to rest.
    pub fn record_quiet(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.quiet();
        }
    }

    /// A client reads a document; it gets no answer from a node that is down.
    pub fn observe(&self, site: Site, doc: &str) {
        let (Some(recorder), true) = (&self.recorder, self.is_up(site)) else { return };
        let op = recorder.get("reader", self.name(site), doc);
        let store = self.store(site);
        let stored = store.document(&parse(doc)).expect("a store in memory can be read");
        let found = read(store, &parse(doc));
        recorder.read(op, stored.map(|stored| stored.version.to_string()).zip(found));
    }

    /// A client asks for the changes since it last asked here.
    pub fn follow(&mut self, site: Site) {
        let (Some(recorder), true) = (&self.recorder, self.is_up(site)) else { return };
        let machine = &mut self.machines[site.0];
        let stream = recorder.stream(machine.name.as_str(), Some(machine.followed));
        loop {
            let changes = machine.disk.store.changes_since(machine.followed, PAGE_CHANGES_COUNT);
            let changes = changes.expect("a store in memory can be read");
            for change in &changes {
                let version = change.version.to_string();
                recorder.event(stream, change.seq, change.doc.as_str(), change.action.as_str(), &version);
                machine.followed = change.seq;
            }
            if changes.len() < PAGE_CHANGES_COUNT {
                return;
            }
        }
    }

    pub(super) fn record_requests(&mut self, site: Site, jobs: &[Job], plans: &[Option<Planned>]) {
        let Some(recorder) = &self.recorder else { return };
        let node = self.machines[site.0].name.as_str();
        for (job, plan) in jobs.iter().zip(plans) {
            let Some(plan) = plan else { continue };
            let number = match &job.work {
                Work::Put(object) => recorder.put("writer", node, job.doc.as_str(), object.clone()),
                _ => recorder.delete("writer", node, job.doc.as_str()),
            };
            self.asked[plan.op.0].recorded = Some(Recorded { number, over: plan.over.clone() });
        }
    }

    pub(super) fn record_answer(&mut self, op: Op, outcome: &Outcome, reply: &Reply) {
        let Some(recorder) = &self.recorder else { return };
        let Some(Recorded { number, over }) = self.asked[op.0].recorded.take() else { return };
        match (reply, &outcome.result) {
            (Reply::Failed(why), _) => recorder.fail(number, why),
            (_, Ok(written)) => recorder.done(number, Some(written.heads.version().to_string()), over),
            _ => {}
        }
    }

    /// What had been asked and was not answered yet may be on disk or not.
    pub(super) fn record_crash(&mut self, site: Site) {
        let Some(recorder) = &self.recorder else { return };
        recorder.remark(&format!("{} crashes", self.machines[site.0].name));
        for asked in self.asked.iter_mut().filter(|asked| asked.site == site) {
            if let Some(Recorded { number, over }) = asked.recorded.take() {
                recorder.unknown(number, "the node crashed", over);
            }
        }
    }

    pub(super) fn record_loss(&mut self, site: Site) {
        let machine = &mut self.machines[site.0];
        machine.followed = 0;
        if let Some(recorder) = &self.recorder {
            recorder.lost(machine.name.as_str());
        }
    }
}
