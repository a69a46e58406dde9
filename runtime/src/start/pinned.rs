//! The files of a job's histories and the schemas of its streams, as a plan has pinned them.

use headwater_connectors::format::Pins;
use headwater_connectors::history::Pinned;

use crate::base::failure::Failure;
use crate::base::id::{IdVec, SourceId};
use crate::checkpoint::manifest;
use crate::checkpoint::store::StateStore;
use crate::job::{Job, SeamBy, Source};
use crate::plan::Plan;

/// The files of a source that have to be as they were. `None`: those of today.
pub fn pinned(job: &Job, plan: &Plan) -> IdVec<SourceId, Option<Pinned>> {
    let by_id = |source: &Source| matches!(source.seam.by, SeamBy::Id { .. });
    job.sources.pairs().map(|(id, source)| plan.pinned(id, by_id(source)).cloned()).collect()
}

/// What the newest state has pinned.
pub fn pins(state: &StateStore) -> Result<Pins, Failure> {
    Ok(manifest::look(state)?.map(|manifest| manifest.plan.pins).unwrap_or_default())
}
