//! A sample: the rows that a few of the latest events give by themselves, and what of them is a dead letter.
//!
//! ```text
//! history  newest pieces first, until no other can hold a later event   \
//! stream   the last records below each partition's end                    > the N latest -> shape -> windows -> rows as of
//!                                                                       /   the first tick that has seen them all
//! ```
//!
//! Everything is judged as in a run; only the rest of the events is missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::types::TimestampMicrosecondType;
use arrow::array::{AsArray, RecordBatch};
use headwater_clocks::{Arrival, EventTime, Offset, Tick, Time, WallClock};
use headwater_connectors::Records;
use headwater_connectors::format::text::row_text;
use headwater_connectors::history::{History, Piece};
use headwater_connectors::sink::RowText;
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_connectors::stream::{self, Start, Stream};
use headwater_operators::group::{Outputs, State};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::ledger::{SegmentError, Segments};
use headwater_operators::limits::Limits;
use headwater_operators::standalone::Standalone;

use crate::base::failure::Failure;
use crate::base::id::{GroupId, SourceId};
use crate::catalog::column_sets::ColumnSets;
use crate::catalog::opened::Opened;
use crate::ingest::admit::Admitted;
use crate::ingest::pipeline::Pipeline;
use crate::ingest::seam::{Seam, Verdict};
use crate::ingest::shape::Batch;
use crate::ingest::stamp::{Reason, Stamped};
use crate::plan::Plan;
use crate::plan::scan::Scan;
use crate::plan::side::Side;
use crate::serve::rows;

const POLL_BYTES: usize = 1 << 20;

/// What a source's latest events give.
pub struct Sample {
    pub events: usize,
    /// The tick of the rows.
    pub t: Option<Tick>,
    /// Of the source's groups: their rows, as `get` prints them.
    pub rows: Vec<(GroupId, Vec<String>)>,
    pub dead_letters: Vec<DeadLetter>,
}

impl Sample {
    /// What malformed records of the stream look like, where that is plain to see, and how many of them.
    pub fn hints(&self, opened: &Opened, source: SourceId) -> BTreeMap<String, usize> {
        let mut hints = BTreeMap::new();
        let Some(stream) = &opened.job.sources[source].stream else { return hints };
        for letter in self.dead_letters.iter().filter(|letter| letter.reason == Reason::Malformed.name()) {
            if let Some(hint) = stream.config.looks(&letter.payload) {
                *hints.entry(hint).or_default() += 1;
            }
        }
        hints
    }
}

/// Takes the `n` latest events of a source.
pub fn take(opened: &Arc<Opened>, plan: &Plan, source: SourceId, n: usize) -> Result<Sample, Failure> {
    let sets = ColumnSets::open(opened, plan, Side::Live)?;
    let pipeline = Pipeline::new(opened, plan, &sets, source);
    let latest = latest(opened, plan, (source, &pipeline), n)?;
    let tick = opened.job.tick;
    let times =
        latest.batches.iter().flat_map(|part| part.chosen.iter().filter_map(|i| part.stamped[*i as usize].good()));
    let t = times.max().map(|ts| Tick::up(ts, tick));
    let mut sample = Sample { events: latest.events(), t, rows: vec![], dead_letters: vec![] };
    // What would be looked up is not read, nor what would replace an event.
    let of_source = opened.graph.groups_of(source).filter(|group| !opened.is_held(*group, source));
    let groups = of_source.map(|group| Ok((group, standalone(opened, &sets, group, t.unwrap_or(Tick::BEFORE_ALL))?)));
    let mut groups: BTreeMap<GroupId, Standalone> = groups.collect::<Result<_, Failure>>()?;
    for SampledBatch { records, stamped, chosen, .. } in &latest.batches {
        // What came before is not looked at.
        let admitted = Admitted::chosen(plan.first_scan(source), chosen, stamped, t.unwrap_or(Tick::BEFORE_ALL));
        let shaped = pipeline.shape(Batch { records, stamped }, &pipeline.log_positions(records), &[admitted]);
        for ((group, _), events) in shaped.events {
            let Some(group) = groups.get_mut(&group) else { continue };
            group.state.insert(0, &events, Tick::BEFORE_ALL).map_err(|e| Failure::Running(e.to_string()))?;
        }
        sample.dead_letters.extend(shaped.dead_letters);
    }
    let Some(t) = t else { return Ok(sample) };
    for (group, mut of_group) in groups {
        of_group.advance(t, usize::MAX).map_err(|e| Failure::Running(e.to_string()))?;
        let open = &opened.groups[group];
        let rows = of_group.take_rows().map(|rows| open.derived.add_to(&rows, &open.shape.schema).0);
        let rows = rows.unwrap_or_default();
        let lines = rows.iter().flat_map(|batch| (0..batch.num_rows()).map(|row| line(opened, group, batch, row, t)));
        sample.rows.push((group, lines.collect()));
    }
    Ok(sample)
}

fn standalone(opened: &Opened, sets: &ColumnSets, group: GroupId, t: Tick) -> Result<Standalone, Failure> {
    let open = &opened.groups[group];
    let codec = KeyCodec::new(&open.key_types).map_err(|e| Failure::Running(e.to_string()))?;
    let outputs = Outputs { changes: false, rows_from: Some(t) };
    let plan = headwater_operators::group::Plan { start: t, ..sets.plan(opened, group) };
    let (schema, limits) = (open.own_schema.clone(), Limits::with_ledger_bytes(usize::MAX));
    Ok(Standalone::new(State::new(&plan, codec, schema, outputs, Box::new(NoSegments), limits)))
}

fn line(opened: &Opened, group: GroupId, batch: &RecordBatch, row: usize, t: Tick) -> String {
    let shape = &opened.groups[group].shape;
    let time =
        |column: usize| EventTime::from_us(batch.column(column).as_primitive::<TimestampMicrosecondType>().value(row));
    let text = RowText {
        key: row_text(batch, 0..shape.keys, row),
        window: shape.windowed().then(|| (time(shape.keys), time(shape.keys + 1))),
        row: row_text(batch, shape.columns(), row),
        changed_at: t,
    };
    rows::line(&text, Some(t))
}

/// A few events fit into memory.
struct NoSegments;

impl Segments for NoSegments {
    fn write(&mut self, _: &[u64]) -> Result<u64, SegmentError> {
        Err(SegmentError("a sample keeps its events in memory".to_owned()))
    }

    fn read(&mut self, _: u64) -> Result<Vec<u64>, SegmentError> {
        Err(SegmentError("a sample has no segments".to_owned()))
    }

    fn remove(&mut self, _: u64) {}
}

/// Of a record without an event time of its own: when it came will do.
fn happened(arrival: Arrival) -> EventTime {
    EventTime::from_us(arrival.us())
}

/// Some records of one batch.
struct SampledBatch {
    records: Records,
    stamped: Vec<Stamped>,
    /// By record: where it stands among the latest. What has no time of its own stands where the one before it does.
    order: Vec<EventTime>,
    chosen: Vec<u32>,
}

/// The `n` latest so far.
struct Latest {
    n: usize,
    batches: Vec<SampledBatch>,
}

impl Latest {
    fn events(&self) -> usize {
        self.batches.iter().map(|part| part.chosen.len()).sum()
    }

    /// `takes`: whether the seam takes a record.
    fn add(&mut self, records: Records, stamped: Vec<Stamped>, takes: impl Fn(usize, &Stamped) -> bool) {
        let mut last = EventTime::BEFORE_ALL;
        let times = stamped.iter().map(|s| {
            last = s.good().or(s.clock().map(happened)).unwrap_or(last);
            last
        });
        let order = times.collect();
        let chosen = (0..records.len() as u32).filter(|i| takes(*i as usize, &stamped[*i as usize])).collect();
        self.batches.push(SampledBatch { records, stamped, order, chosen });
        self.keep_latest();
    }

    fn keep_latest(&mut self) {
        if self.events() <= self.n {
            return;
        }
        let parts = self.batches.iter().enumerate();
        let mut all: Vec<(EventTime, usize, u32)> =
            parts.flat_map(|(p, part)| part.chosen.iter().map(move |i| (part.order[*i as usize], p, *i))).collect();
        all.sort_unstable();
        all.drain(..all.len() - self.n);
        all.sort_unstable_by_key(|(_, part, i)| (*part, *i));
        self.batches.iter_mut().for_each(|part| part.chosen.clear());
        all.iter().for_each(|(_, part, i)| self.batches[*part].chosen.push(*i));
        self.batches.retain(|part| !part.chosen.is_empty());
    }

    /// Whether nothing up to this time can be among the latest any more.
    fn passes(&self, newest: EventTime) -> bool {
        let times = self.batches.iter().flat_map(|part| part.chosen.iter().map(|i| part.order[*i as usize]));
        self.events() >= self.n && times.min().is_some_and(|oldest| oldest >= newest)
    }
}

fn latest(
    opened: &Arc<Opened>,
    plan: &Plan,
    (source, pipeline): (SourceId, &Pipeline),
    n: usize,
) -> Result<Latest, Failure> {
    let (open, of_plan) = (&opened.sources[source], plan.of_source(source));
    let mut latest = Latest { n, batches: vec![] };
    if let Some(stream) = &open.stream {
        from_stream(&mut latest, opened, of_plan, (source, pipeline), stream.as_ref())?;
    }
    if let Some(history) = &open.history {
        from_history(&mut latest, opened, plan, (source, pipeline), history.as_ref())?;
    }
    Ok(latest)
}

fn from_history(
    latest: &mut Latest,
    opened: &Opened,
    plan: &Plan,
    (source, pipeline): (SourceId, &Pipeline),
    history: &dyn History,
) -> Result<(), Failure> {
    let (conf, open) = (&opened.job.sources[source], &opened.sources[source]);
    let until = conf.history.as_ref().and_then(|h| h.complete_until);
    let event_time = open.wanted.schema.field(open.event_time.expect("events have a time"));
    let timestamps = !event_time.data_type().is_integer();
    // Where statistics say nothing, anything may be there.
    let newest = |piece: &Piece| {
        let range = piece.statistics.first().copied().flatten().filter(|range| timestamps && range.nulls == 0);
        range.and_then(|range| range.bounds).map_or(EventTime::AFTER_ALL, |(_, newest)| EventTime::from_us(newest))
    };
    let mut pieces = history.pieces(&[event_time.name()])?;
    pieces.sort_by_key(|piece| std::cmp::Reverse((newest(piece), piece.file, piece.row_group)));
    for piece in pieces {
        if latest.passes(newest(&piece)) {
            break;
        }
        for records in history.read(&piece, &open.history_wanted)? {
            let records = records?;
            let stamped = pipeline.stamp(&records, plan.now);
            latest.add(records, stamped, |_, s| until.is_none_or(|until| s.m.is_none_or(|m| m < until)));
        }
    }
    Ok(())
}

fn from_stream(
    latest: &mut Latest,
    opened: &Opened,
    plan: &Scan,
    (source, pipeline): (SourceId, &Pipeline),
    stream: &dyn Stream,
) -> Result<(), Failure> {
    let (conf, open) = (&opened.job.sources[source], &opened.sources[source]);
    let seam = Seam::open(conf, open, plan)?;
    let n = i64::try_from(latest.n).unwrap_or(i64::MAX);
    for partition in &plan.partitions {
        let end = partition.end;
        let start = Offset::at(end.number().saturating_sub(n)).max(partition.start);
        let number = partition.partition;
        let mut reader = stream.reader(&[Start { partition: number, offset: start }], &open.wanted)?;
        while let Some(records) = stream::next(stream, reader.as_mut(), number, end, POLL_BYTES)? {
            let stamped = pipeline.stamp(&records, WallClock::now());
            let offsets = records.offsets.clone().unwrap_or_default();
            let verdicts = seam.judge(&records, &stamped, partition);
            latest.add(records, stamped, |i, _| offsets[i] < end && verdicts[i] == Verdict::Taken);
        }
    }
    Ok(())
}

/// What is said before a source's sample.
pub fn heading(sample: &Sample, source: &str) -> String {
    let as_of = sample.t.map_or_else(String::new, |t| format!(", as of {t}"));
    format!("what the {} latest events of `{source}` give by themselves{as_of}", sample.events)
}
