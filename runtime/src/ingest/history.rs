//! Reading the history: a thread beside each worker reads its pieces, shapes them, and hands the events on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Thread;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use headwater_clocks::{EventTime, WallClock};
use headwater_connectors::history::{History, Piece};
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_connectors::{Error, Records};
use headwater_expression::Expression;

use super::admit::HistoryAdmission;
use super::dead_letters::Tally;
use super::effs::Effs;
use super::looked_up::Raw;
use super::narrow::Narrow;
use super::pipeline::{Pipeline, SHAPED_BYTES_MAX};
use super::shape::Batch;
use super::versions::Versions;
use crate::base::failure::Failure;
use crate::base::failures::Failures;
use crate::base::id::{ColumnSetId, GroupId, Id, IdVec, ScanId, SourceId};
use crate::base::peer::Peer;
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::Opened;
use crate::checkpoint::resumption::Start;
use crate::plan::Plan;
use crate::plan::progress::WHOLE;
use crate::plan::scan::Scan;

/// What some batches of history rows come to.
#[derive(Default)]
pub struct Slice {
    /// Of a group and a column set of it.
    pub events: Vec<((GroupId, ColumnSetId), RecordBatch)>,
    pub dead_letters: Vec<DeadLetter>,
    /// Of tables, which every worker reads; and events that are looked up.
    pub versions: Vec<Versions>,
    pub raw: Vec<Raw>,
    pub tally: Tally,
    pub rows: u64,
    /// About how many bytes all of this holds in memory.
    bytes: usize,
    /// How far pieces were read by its end.
    pub read: Vec<(u32, u64)>,
}

impl Slice {
    /// `tells`: what is wrong with them is told here. `false`: they come to too much, and nothing is added.
    fn add(
        &mut self,
        records: &Records,
        pipeline: &Pipeline,
        admission: &HistoryAdmission,
        now: WallClock,
        tells: bool,
    ) -> bool {
        let (stamped, log_positions) = (pipeline.stamp(records, now), pipeline.log_positions(records));
        let admitted = admission.admit(&stamped, &log_positions);
        let batch = Batch { records, stamped: &stamped };
        let Some(shaped) = pipeline.shape_within(batch, &log_positions, &[admitted], SHAPED_BYTES_MAX) else {
            return false;
        };
        self.bytes += shaped.bytes();
        // Of a table only one worker tells.
        self.versions
            .extend(shaped.versions.into_iter().map(|versions| if tells { versions } else { versions.untold() }));
        if tells {
            self.events.extend(shaped.events);
            self.raw.extend(shaped.raw);
            self.dead_letters.extend(shaped.dead_letters);
            self.tally.add(&shaped.tally);
            self.rows += records.len() as u64;
        }
        true
    }

    /// Whether it is time to send it.
    fn is_full(&self) -> bool {
        self.rows >= SLICE_ROWS || self.versions.len() >= VERSIONS_AT_ONCE || self.bytes >= SHAPED_BYTES_MAX
    }

    fn note(&mut self, piece: u32, rows: u64) {
        match self.read.last_mut() {
            Some((last, read)) if *last == piece => *read = rows,
            _ => self.read.push((piece, rows)),
        }
    }

    /// One batch of events a group, unless it were too long: what is done by batch is done once a slice.
    fn joined(mut self) -> Result<Slice, Error> {
        self.events.sort_by_key(|(of, _)| *of);
        let mut joined = vec![];
        // Of a slice that one record has made too long each batch is long enough.
        let is_long = self.bytes > JOINED_BYTES_MAX;
        for batches in self.events.chunk_by(|(a, _), (b, _)| !is_long && a == b) {
            let (of, first) = &batches[0];
            let all = concat_batches(first.schema_ref(), batches.iter().map(|(_, batch)| batch));
            joined.push((*of, all.map_err(|e| Error::world("joining the events of a slice", e))?));
        }
        self.events = joined;
        Ok(self)
    }
}

/// Slices that wait for their worker.
const SLICES_AHEAD: usize = 2;
/// Rows of a slice, about: workers wait for each other once a slice.
const SLICE_ROWS: u64 = 64 << 10;
/// What is joined has room in an array of Arrow, which ends at 2 GiB, whatever one record comes to.
const JOINED_BYTES_MAX: usize = 8 * SHAPED_BYTES_MAX;
/// Batches of versions of a slice, about.
const VERSIONS_AT_ONCE: usize = 8;

/// A piece of the history of a scan that some window can reach.
pub struct Assigned {
    pub scan: ScanId,
    pub piece: Piece,
    /// What its directories say shows that no group takes an event of it, and its statistics that none is a dead letter.
    pub is_nobodys: bool,
}

/// Every piece of a side's histories that some column set reaches, in a fixed order; none where a state has the history in it.
pub fn pieces(opened: &Opened, plan: &Plan, sets: &ColumnSets) -> Result<Vec<Assigned>, Error> {
    let mut all = vec![];
    let is_left = |scan: &Scan| !scan.restored && scan.side == sets.side;
    for (id, scan) in plan.scans.pairs().filter(|(_, scan)| is_left(scan)) {
        let open = &opened.sources[scan.source];
        let Some(history) = &open.history else { continue };
        let floor = scan.s.and_then(|s| sets.floor(opened, (scan.source, id), s));
        let event_time = open.event_time.map(|column| open.wanted.schema.field(column));
        let timestamps = event_time.is_some_and(|field| !field.data_type().is_integer());
        let event_time: Vec<&str> = event_time.iter().map(|field| field.name().as_str()).collect();
        let narrow = Narrow::new(&opened.job.sources[scan.source], open, false);
        let pruning = Pruning { opened, narrow: &narrow, history: history.as_ref(), now: plan.now };
        let known = history.partitions(0).map(|_| narrow.pieces(history.as_ref())).transpose()?.unwrap_or_default();
        for (at, piece) in history.pieces(&event_time)?.into_iter().enumerate() {
            let range = piece.statistics.first().copied().flatten().filter(|_| timestamps);
            let out_of_reach = |floor: EventTime| {
                let is_below = |(_, newest)| EventTime::from_us(newest) <= floor;
                range.is_some_and(|range| range.nulls == 0 && range.bounds.is_some_and(is_below))
            };
            if !floor.is_some_and(out_of_reach) {
                let groups = || sets.of_scan(id).map(|(group, _)| group);
                let is_keyed = open.rows().is_some();
                let is_nobodys = !is_keyed && known.get(at).is_some_and(|known| pruning.is_nobodys(known, groups()));
                all.push(Assigned { scan: id, piece, is_nobodys });
            }
        }
    }
    Ok(all)
}

/// What directories say of the events of a file, beside the `where` of groups.
struct Pruning<'a> {
    opened: &'a Opened,
    narrow: &'a Narrow,
    history: &'a dyn History,
    now: WallClock,
}

impl Pruning<'_> {
    /// `piece`: with statistics of the source's own columns.
    fn is_nobodys(&self, piece: &Piece, groups: impl Iterator<Item = GroupId>) -> bool {
        let Some(values) = self.history.partitions(piece.file) else { return false };
        let refuses = |group: GroupId| {
            let open = &self.opened.groups[group];
            let is_plain = open.explode.is_none() && open.lookups.is_empty();
            is_plain && open.filter.as_ref().is_some_and(|filter| is_false(filter, &values))
        };
        groups.into_iter().all(refuses) && self.has_no_dead_letter(piece)
    }

    /// Whether the source itself takes every row: each has its times, and no clock is wrong.
    fn has_no_dead_letter(&self, piece: &Piece) -> bool {
        let (narrow, source) = (self.narrow, &self.narrow.source);
        let times = [source.event_time, source.arrival_time];
        let all_there = |column: usize| narrow.times(piece, column).is_some_and(|range| range.nulls == 0);
        times.into_iter().flatten().all(all_there) && narrow.newest_arrival(piece, self.now).is_some()
    }
}

/// Whether a `where` that names directories alone is not true of them.
fn is_false(filter: &Expression, values: &RecordBatch) -> bool {
    let has = |name: &String| values.column_by_name(name).is_some();
    if filter.columns().is_empty() || !filter.columns().iter().all(has) {
        return false;
    }
    let evaluated = filter.evaluate(values, &|_| None);
    let is_true = evaluated.values.as_boolean_opt().is_none_or(|values| values.is_valid(0) && values.value(0));
    evaluated.failed.is_none() && !is_true
}

/// How many rows of the job's histories are left to be read.
pub fn rows_left(opened: &Opened, plan: &Plan, sets: &ColumnSets) -> Result<u64, Error> {
    let all = pieces(opened, plan, sets)?;
    let read = |number: u32| plan.read.get(&number).copied().unwrap_or(0);
    let asked = (0..).zip(&all).filter(|(_, assigned)| !assigned.is_nobodys);
    Ok(asked.map(|(number, assigned)| assigned.piece.rows.saturating_sub(read(number))).sum())
}

/// Starts the reading of the pieces that are dealt to one worker. `None` comes after the last slice.
pub fn read(
    opened: Arc<Opened>,
    start: Arc<Start>,
    sets: Arc<ColumnSets>,
    effs: Arc<IdVec<ScanId, Effs>>,
    peer: Peer,
    (reader, failures): (Thread, &Failures),
) -> Result<Receiver<Option<Slice>>, Failure> {
    let (sender, receiver) = sync_channel(SLICES_AHEAD);
    let name = format!("history-{}", peer.worker.number());
    failures.spawn(&name, move || {
        read_pieces(&opened, (&start.plan, &sets, &effs), peer, &sender, &reader)?;
        // The worker that has gone needs no word of it.
        let _ = sender.send(None);
        reader.unpark();
        Ok::<(), Error>(())
    })?;
    Ok(receiver)
}

fn read_pieces(
    opened: &Arc<Opened>,
    (plan, sets, effs): (&Plan, &ColumnSets, &IdVec<ScanId, Effs>),
    peer: Peer,
    sender: &SyncSender<Option<Slice>>,
    wake: &Thread,
) -> Result<(), Error> {
    let mut reading = Reading { slice: Slice::default(), pipelines: BTreeMap::new(), sender, wake };
    let all: Vec<(u32, Assigned)> = (0..).zip(pieces(opened, plan, sets)?).collect();
    let is_table = |assigned: &Assigned| opened.sources[plan.scans[assigned.scan].source].table.is_some();
    let is_mine = |number: u32| peer.is_dealt(number as usize);
    // Of tables first, and all of them: what is looked up has to be there.
    for (number, assigned) in all.iter().filter(|(_, assigned)| is_table(assigned)) {
        if !reading.read(opened, (plan, sets, effs), (*number, assigned), is_mine(*number))? {
            return Ok(());
        }
    }
    for (number, assigned) in all.iter().filter(|(number, assigned)| !is_table(assigned) && is_mine(*number)) {
        if !reading.read(opened, (plan, sets, effs), (*number, assigned), true)? {
            return Ok(());
        }
    }
    // The worker that has gone needs no word of it.
    let _ = sender.send(Some(reading.slice.joined()?));
    Ok(())
}

/// What a worker's thread has in hand.
struct Reading<'a> {
    slice: Slice,
    pipelines: BTreeMap<SourceId, Pipeline>,
    sender: &'a SyncSender<Option<Slice>>,
    wake: &'a Thread,
}

impl Reading<'_> {
    /// Reads a piece. `tells`: it is this worker's to tell what is wrong with it, and how far it is. `false`: the worker has gone.
    fn read(
        &mut self,
        opened: &Arc<Opened>,
        (plan, sets, effs): (&Plan, &ColumnSets, &IdVec<ScanId, Effs>),
        (number, assigned): (u32, &Assigned),
        tells: bool,
    ) -> Result<bool, Error> {
        let source = plan.scans[assigned.scan].source;
        let open = &opened.sources[source];
        let read_before = plan.read.get(&number).copied().unwrap_or(0);
        // The versions of a table are not in a state that was saved between two slices.
        if read_before == WHOLE && open.table.is_none() {
            return Ok(true);
        }
        if assigned.is_nobodys {
            self.slice.note(number, WHOLE);
            return Ok(true);
        }
        let mut rows = 0;
        let pipeline = self.pipelines.entry(source).or_insert_with(|| Pipeline::new(opened, plan, sets, source));
        let admission = admission(opened, plan, assigned.scan, effs);
        let history = open.history.as_ref().expect("only histories have pieces");
        for records in history.read(&assigned.piece, &open.history_wanted)? {
            // What comes to too much is taken in parts, the next one last.
            let mut parts = parted(records?, read_before.saturating_sub(rows));
            while let Some(records) = parts.pop() {
                let upto = rows + records.len() as u64;
                let is_told = upto <= read_before;
                if is_told && open.table.is_none() {
                    rows = upto;
                    continue;
                }
                if !self.slice.add(&records, pipeline, &admission, plan.now, tells && !is_told) {
                    parts.extend(records.halves().into_iter().rev());
                    continue;
                }
                rows = upto;
                if tells && !is_told {
                    self.slice.note(number, rows);
                }
                if self.slice.is_full() {
                    if self.sender.send(Some(std::mem::take(&mut self.slice).joined()?)).is_err() {
                        return Ok(false);
                    }
                    self.wake.unpark();
                }
            }
        }
        if tells {
            self.slice.note(number, WHOLE);
        }
        Ok(true)
    }
}

fn admission<'a>(opened: &Opened, plan: &'a Plan, scan: ScanId, effs: &'a IdVec<ScanId, Effs>) -> HistoryAdmission<'a> {
    let (conf, replay) = (&opened.job.sources[plan.scans[scan].source], plan.scans[scan].replay.as_ref());
    HistoryAdmission {
        scan,
        s: plan.scans[scan].s,
        tick: opened.job.tick,
        by_arrival: opened.looks_back() || replay.is_some(),
        replay,
        effs: &effs[scan],
        complete_until: conf.history.as_ref().and_then(|history| history.complete_until),
    }
}

/// In parts that are taken from the end: what was read before, of which there are so many, and what was not.
fn parted(records: Records, first: u64) -> Vec<Records> {
    match usize::try_from(first) {
        Ok(first) if first > 0 && first < records.len() => {
            vec![records.slice(first, records.len() - first), records.slice(0, first)]
        }
        _ => vec![records],
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn what_was_read_before_is_taken_by_itself() {
        let x: ArrayRef = Arc::new(Int64Array::from_iter_values(0..5));
        let records = Records::of_rows(RecordBatch::try_from_iter([("x", x)]).unwrap(), vec![None]);
        for (first, expected) in [
            (0, vec![vec![0, 1, 2, 3, 4]]),
            (2, vec![vec![0, 1], vec![2, 3, 4]]),
            (5, vec![vec![0, 1, 2, 3, 4]]),
            (9, vec![vec![0, 1, 2, 3, 4]]),
        ] {
            let values = |records: &Records| records.batch.column(0).as_primitive::<Int64Type>().values().to_vec();
            let parts: Vec<Vec<i64>> = parted(records.clone(), first).iter().rev().map(values).collect();
            assert_eq!(parts, expected, "{first}");
        }
        let halves = records.halves().map(|half| half.len());
        assert_eq!(halves, [2, 3]);
    }
}
