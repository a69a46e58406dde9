//! The files of a job's histories, as a plan has pinned them.

use headwater_connectors::history::Pinned;

use crate::job::{Job, SeamBy};
use crate::plan::Plan;

/// By source: the files that have to be as they were. `None`: those of today.
pub fn pinned(job: &Job, plan: &Plan) -> Vec<Option<Pinned>> {
    let by_id = job.sources.iter().map(|source| matches!(source.seam.by, SeamBy::Id { .. }));
    by_id.enumerate().map(|(source, by_id)| plan.pinned(source, by_id).cloned()).collect()
}
