//! The pipeline of a source: the one way from its records to events, for streams, histories, samples and whatever else reads it.
//!
//! ```text
//! records   -> stamped    event time, arrival, match time; what the source itself refuses             `Pipeline::stamp`
//!           -> admitted   by the rules of a scan: what it takes, and from which tick on it counts      `admit`
//!           -> shaped     by group and column set: events; and one dead letter for each record and reason    `Pipeline::shape`
//! ```
//!
//! Only admission differs by who reads: a stream has a seam and a clock, a history ends at `S`, a sample takes what it likes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Int8Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use headwater_clocks::WallClock;
use headwater_connectors::Records;
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_expression::bytes_of;
use headwater_operators::events;

use super::admit::Admitted;
use super::dead_letters::{DeadLetters, Tally};
use super::log_position::LogPositions;
use super::looked_up::Raw;
use super::replaced::ReplacedMaker;
use super::shape::{Batch, Shaper};
use super::stamp::{Stamped, Stamper};
use super::versions::{VersionMaker, Versions, removals};
use crate::base::id::{ColumnSetId, GroupId, ScanId, SourceId};
use crate::catalog::column_sets::{ColumnSet, ColumnSets};
use crate::catalog::opened::Opened;
use crate::plan::Plan;

/// Of one source. One a thread.
pub struct Pipeline {
    opened: Arc<Opened>,
    source: SourceId,
    shapers: Vec<Shaper>,
    /// Of groups whose events are looked up first: only their reach is asked.
    looking: Vec<Shaper>,
    /// Of a table.
    versions: Option<VersionMaker>,
    /// Of events that replace one another.
    replaced: Option<ReplacedMaker>,
    /// By group whose other events may be taken back.
    corrected: BTreeMap<(GroupId, ColumnSetId), SchemaRef>,
    /// The first scan of the source: it tells what the source itself refuses.
    first: Option<ScanId>,
}

/// What a batch of records comes to.
#[derive(Default)]
pub struct Shaped {
    /// Of a group and a column set of it.
    pub events: Vec<((GroupId, ColumnSetId), RecordBatch)>,
    pub dead_letters: Vec<DeadLetter>,
    pub tally: Tally,
    /// Of a table's records.
    pub versions: Vec<Versions>,
    /// Events that are looked up, or replaced, before they are shaped.
    pub raw: Vec<Raw>,
}

/// What a batch of records may come to at once: of more than one record no more is made. What is under way is a few of these.
pub const SHAPED_BYTES_MAX: usize = 16 << 20;

impl Shaped {
    /// About how many bytes it holds in memory.
    pub fn bytes(&self) -> usize {
        let events = self.events.iter().map(|(_, batch)| bytes_of_batch(batch));
        let versions = self.versions.iter().map(|versions| bytes_of_batch(&versions.batch));
        let raw = self.raw.iter().map(|raw| bytes_of_batch(&raw.records.batch));
        let dead_letters = self.dead_letters.iter().map(|letter| letter.payload.len());
        events.chain(versions).chain(raw).chain(dead_letters).sum()
    }
}

/// About how many bytes a batch has.
pub(super) fn bytes_of_batch(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| bytes_of(column)).sum()
}

impl Pipeline {
    pub fn new(opened: &Arc<Opened>, plan: &Plan, sets: &ColumnSets, source: SourceId) -> Pipeline {
        let first = plan.scans.find(|scan| scan.source == source);
        let (is_table, is_replaced) =
            (opened.sources[source].table.is_some(), opened.sources[source].replaced.is_some());
        let shapers = if is_table || is_replaced { vec![] } else { Shaper::of_source(opened, sets, source) };
        let (looking, shapers): (Vec<_>, Vec<Shaper>) =
            shapers.into_iter().partition(|shaper| opened.is_held(shaper.group, source));
        let versions = is_table.then(|| VersionMaker::new(opened, source));
        let replaced = is_replaced.then(|| ReplacedMaker::new(opened, source));
        let groups = shapers.iter().map(|shaper| shaper.group).filter(|group| opened.is_corrected(*group));
        let schema = |group: GroupId, set: &ColumnSet| {
            events::corrected_schema(&set.plan.inputs, opened.groups[group].shape.windowed())
        };
        let of_group =
            |group: GroupId| sets.groups[group].pairs().map(move |(id, set)| ((group, id), schema(group, set)));
        let corrected = groups.flat_map(of_group).collect();
        Pipeline { opened: opened.clone(), source, shapers, looking, versions, replaced, corrected, first }
    }

    /// Reads the times of records, and judges which of them can be. `now`: the wall clock when they were read.
    pub fn stamp(&self, records: &Records, now: WallClock) -> Vec<Stamped> {
        let open = &self.opened.sources[self.source];
        // Records of a stream have offsets.
        let own = if records.offsets.is_some() { open.stream_own() } else { open.history_own() };
        let future_limit = self.opened.job.sources[self.source].future_limit;
        let stamped = Stamper { source: open, future_limit, own }.stamp(records, now);
        let Some(rows) = open.rows() else { return stamped };
        let undecoded = |name: &str| records.undecoded[records.batch.schema_ref().index_of(name).ok()?].clone();
        let (removes, failed) = removals(rows, &records.batch, &undecoded);
        let flags =
            removes.into_iter().zip(failed).enumerate().map(|(at, (removes, failed))| match records.is_tombstone(at) {
                true => (true, false),
                false => (removes, failed),
            });
        let of_row =
            |(stamped, (removes, failed)): (Stamped, _)| stamped.of_row(open.event_time.is_some(), removes, failed);
        stamped.into_iter().zip(flags).map(of_row).collect()
    }

    /// Where records stand in their logs.
    pub fn log_positions<'a>(&self, records: &'a Records) -> LogPositions<'a> {
        LogPositions::of(&self.opened.sources[self.source], records)
    }

    /// Makes events of what the scans of the source have admitted of a batch, each for its own column sets of the groups.
    pub fn shape(&self, batch: Batch, log_positions: &LogPositions, admitted: &[Admitted]) -> Shaped {
        self.shape_within(batch, log_positions, admitted, usize::MAX).expect("as much as it is")
    }

    /// The same, as long as the events have no more than so many bytes. `None`: fewer records have to be tried. One alone may come to more.
    pub fn shape_within(
        &self,
        batch: Batch,
        log_positions: &LogPositions,
        admitted: &[Admitted],
        bytes_max: usize,
    ) -> Option<Shaped> {
        let mut dead_letters = DeadLetters::new(&self.opened, self.source);
        let mut events = vec![];
        let mut left = if batch.records.len() > 1 { bytes_max } else { usize::MAX };
        for shaper in &self.shapers {
            let is_whole = shaper.shape(batch, admitted, &mut |of_set| {
                let of = (shaper.group, of_set.set);
                dead_letters.refused(of, of_set.refused);
                let Some(batch) = of_set.events else { return true };
                let fits = left.checked_sub(bytes_of_batch(&batch));
                left = fits.unwrap_or(0);
                events.push((of, self.coming(of, batch)));
                fits.is_some()
            });
            if !is_whole {
                return None;
            }
        }
        let (mut versions, mut raw) = (vec![], vec![]);
        for admitted in admitted {
            let is_first = Some(admitted.scan) == self.first;
            if let Some(maker) = &self.versions {
                let (refused, made) = maker.make(batch, admitted, log_positions);
                versions.extend(made);
                refused.into_iter().filter(|_| is_first).for_each(|(row, why)| dead_letters.of_source(row, why));
            } else if let Some(maker) = &self.replaced {
                let (refused, made) = maker.make(batch, admitted, log_positions);
                raw.extend(made);
                refused.into_iter().filter(|_| is_first).for_each(|(row, why)| dead_letters.of_source(row, why));
            } else if is_first {
                self.refused_by_source(batch, admitted, &mut dead_letters);
            }
        }
        raw.extend(self.raw(batch, log_positions, admitted, &dead_letters));
        let (dead_letters, tally) = dead_letters.write(batch, log_positions);
        Some(Shaped { events, dead_letters, tally, versions, raw })
    }

    /// Events as a group takes them that also has others, which may be taken back.
    fn coming(&self, of: (GroupId, ColumnSetId), batch: RecordBatch) -> RecordBatch {
        let Some(schema) = self.corrected.get(&of) else { return batch };
        let diffs = Int8Array::from(vec![1; batch.num_rows()]);
        events::with_diffs(schema, &batch, diffs).expect("as many of both")
    }

    /// The events that groups look up.
    fn raw(&self, batch: Batch, positions: &LogPositions, admitted: &[Admitted], letters: &DeadLetters) -> Vec<Raw> {
        let of_scan = |admitted: &Admitted| {
            let asked = |shaper: &Shaper| Some((shaper.group, shaper.asked(batch, admitted)?));
            let asked: Vec<_> = self.looking.iter().filter_map(asked).collect();
            Raw::of((self.source, admitted), batch, positions, asked, &|row| letters.told(row))
        };
        if self.looking.is_empty() { vec![] } else { admitted.iter().filter_map(of_scan).collect() }
    }

    /// What is wrong with records that the scan takes, and with rows that some column set reaches. Where no group reads the source, none
    /// reaches a record that has an event time.
    fn refused_by_source(&self, batch: Batch, admitted: &Admitted, dead_letters: &mut DeadLetters) {
        let shapers = || self.shapers.iter().chain(&self.looking);
        let is_read = shapers().next().is_some();
        let is_looked_at = |stamped: &Stamped| match is_read {
            true => admitted.is_of_stream() || shapers().any(|shaper| shaper.reaches(admitted, stamped)),
            false => stamped.ts.is_none(),
        };
        for (row, stamped) in batch.stamped.iter().enumerate().filter(|(row, _)| admitted.taken[*row]) {
            if let Some(reason) = stamped.reason.filter(|_| is_looked_at(stamped)) {
                dead_letters.of_source(row, reason);
            }
        }
    }
}
