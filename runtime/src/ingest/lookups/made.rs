//! What comes of ticks: the events of groups, and dead letters.

use arrow::array::RecordBatch;
use headwater_clocks::Span;
use headwater_connectors::sink::dead_letters::DeadLetter;

use super::super::dead_letters::{REASONS, Tally};
use super::super::looked_up::RawRow;
use super::contents::Content;
use crate::base::id::{ColumnSetId, GroupId};
use crate::catalog::opened::Opened;

/// The reasons for which an event is a dead letter, once it is told; of late ones by how much.
pub(super) type Suspicion = (u8, Option<Span>);

/// What comes of some ticks.
#[derive(Default)]
pub struct Made {
    /// Of groups, in the order in which they go.
    pub events: Vec<((GroupId, ColumnSetId), RecordBatch)>,
    pub dead_letters: Vec<DeadLetter>,
    pub tally: Tally,
    /// What changes of what tables hold, where views read that.
    pub contents: Vec<Content>,
    /// About how many bytes the events have.
    pub(super) bytes: usize,
}

/// Tells for which reasons an event is a dead letter of a group, each once.
pub(super) fn tell(
    opened: &Opened,
    group: GroupId,
    (raw, row): &RawRow,
    (reasons, late_by): Suspicion,
    made: &mut Made,
) {
    let told = &raw.told[*row as usize];
    for (at, reason) in REASONS.iter().enumerate().filter(|(at, _)| reasons & 1 << at != 0) {
        made.tally.refused_by(group, reason);
        if told.add(1 << at) {
            let late_by = (*reason == "late").then_some(late_by);
            made.tally.refused(raw.source, reason);
            made.dead_letters.push(raw.dead_letter(&opened.job.sources[raw.source].name, *row, reason, late_by));
        }
    }
}
