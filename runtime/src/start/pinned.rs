//! A job, opened with the files of its histories as a plan has pinned them.

use crate::base::failure::Failure;
use crate::catalog::open::open;
use crate::catalog::opened::Opened;
use crate::job::{Job, SeamBy};
use crate::plan::Plan;

pub fn open_pinned(job: Job, plan: &Plan) -> Result<Opened, Failure> {
    let by_id = job.sources.iter().map(|source| matches!(source.seam.by, SeamBy::Id { .. }));
    let pinned: Vec<_> = by_id.enumerate().map(|(source, by_id)| plan.pinned(source, by_id).cloned()).collect();
    open(job, &pinned)
}
