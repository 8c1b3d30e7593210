//! The variables of blobs: when those that documents name are fetched, and how long others stay.

use peat_mesh_core::attachment::Policies;

use super::Reader;
use crate::config::{Attachments, BLOB_GRACE_SECS_DEFAULT};

/// The longest grace time, in seconds: 100 years.
const GRACE_SECS_MAX: usize = 3_153_600_000;

impl Reader<'_> {
    /// What is done about blobs that documents name, and those that none names.
    pub(super) fn attachments(&mut self) -> Attachments {
        const POLICY: &str = "PEAT_BLOB_POLICY";
        const GRACE: &str = "PEAT_BLOB_GRACE_SECS";
        let policies = match Policies::parse(&self.text(POLICY).unwrap_or_default()) {
            Ok(policies) => policies,
            Err(problems) => {
                let example = "PEAT_BLOB_POLICY=maps=eager,archive=pinned,*=lazy";
                problems.into_iter().for_each(|problem| self.wrong(POLICY, problem, example));
                Policies::default()
            }
        };
        let example = "PEAT_BLOB_GRACE_SECS=604800 (7 days), or 0 to drop nothing";
        let grace_secs = self.number(GRACE, 0..=GRACE_SECS_MAX, example);
        let grace_secs = grace_secs.map_or(BLOB_GRACE_SECS_DEFAULT, |secs| secs as u64);
        Attachments { policies, grace_secs }
    }
}
