//! What is told of a start: what has become of the job, and where history and stream meet.

use std::collections::BTreeSet;

use headwater_clocks::Offset;

use super::changed::Changed;
use crate::catalog::opened::Opened;
use crate::checkpoint::manifest::Manifest;
use crate::plan::Plan;

/// Tells what has changed in a job that goes on, or that it does not.
pub fn log_changes(opened: &Opened, manifest: &Manifest, changed: &Changed) {
    if changed.is_nothing {
        return;
    }
    if !changed.goes_on(manifest) {
        tracing::warn!("the job has changed since its last checkpoint: everything is computed anew from the history");
        return;
    }
    for (group, changed) in opened.job.groups.iter().zip(&changed.groups).filter(|(_, changed)| !changed.new.is_empty())
    {
        let names: Vec<&str> = changed.new.iter().map(|column| group.columns[*column].name.as_str()).collect();
        let what = if changed.old.is_some() { "new columns" } else { "a new group" };
        tracing::info!(group = group.name, columns = names.join(" "), "{what}: computed from the history");
    }
    if !changed.removed.is_empty() {
        tracing::info!(removed = changed.removed.join(" "), "no longer in the job");
    }
}

/// Beside a stream, a source of history alone is read once.
pub fn log_new_files(opened: &Opened, plan: &Plan) {
    for (id, open) in opened.sources.pairs().filter(|(_, open)| open.stream.is_none()) {
        let Some(history) = &open.history else { continue };
        let read = plan.scans.iter().filter(|scan| scan.source == id);
        let known: BTreeSet<&str> = read.flat_map(|r| &r.pinned.files).map(|file| file.path.as_str()).collect();
        let new = history.pinned().files.iter().filter(|file| !known.contains(file.path.as_str())).count();
        if new > 0 {
            let source = &opened.job.sources[id].name;
            tracing::warn!(source, files = new, "files that came to this history are not read: they wait for --fresh");
        }
    }
}

/// Tells where history and stream meet.
pub fn log_plan(opened: &Opened, plan: &Plan) {
    for (conf, source) in plan.scans.iter().map(|scan| (&opened.job.sources[scan.source], scan)) {
        for warning in &source.warnings {
            tracing::warn!(source = conf.name, "{warning}");
        }
        for partition in &source.partitions {
            tracing::info!(
                source = conf.name,
                partition = partition.partition,
                history_offset = partition.history_offset.map(Offset::number),
                first_read = partition.start.number(),
                end = partition.end.number(),
                "seam"
            );
        }
    }
}
