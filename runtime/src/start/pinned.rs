//! The files of a job's histories, as a plan has pinned them.

use headwater_connectors::history::Pinned;

use crate::base::id::{IdVec, SourceId};
use crate::job::{Job, SeamBy, Source};
use crate::plan::Plan;

/// The files of a source that have to be as they were. `None`: those of today.
pub fn pinned(job: &Job, plan: &Plan) -> IdVec<SourceId, Option<Pinned>> {
    let by_id = |source: &Source| matches!(source.seam.by, SeamBy::Id { .. });
    job.sources.pairs().map(|(id, source)| plan.pinned(id, by_id(source)).cloned()).collect()
}
