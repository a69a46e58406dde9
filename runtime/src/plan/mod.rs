//! The plan of a start: what a first pass over history and stream decides, written down before any row is counted.
//!
//! ```text
//! history   files pinned, C = the largest m, per partition the last offset and the largest arrival
//! stream    per partition: held [earliest, end), where reading starts, which records the seam takes
//! both      S = up(the largest arrival of the history rows taken), else up(the smallest eff of the stream)
//! ```

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use headwater_connectors::Records;
use headwater_connectors::format::text::format_time;
use headwater_connectors::history::{History, Piece, Pinned};
use headwater_connectors::sink::lines::Left;
use headwater_connectors::stream::{self, Bounds, Start, Stream};
use headwater_operators::ledger::up;
use serde::{Deserialize, Serialize};

mod beside;
mod changed;
mod go_on;
mod identity;
mod parts;

pub use beside::{Side, near_us, set_beside};
pub use changed::{Changed, ChangedGroup};
pub use go_on::go_on;
pub use parts::{Part, Parts, PlannedGroup, PlannedPart};

use crate::checkpoint::{self, FORMAT, LETTERS_BESIDE, Manifest, Position};
use crate::failure::Failure;
use crate::job::{self, ChangesTo, SeamBy, SinkTo};
use crate::opened::{Opened, Source};
use crate::run::Mode;
use crate::source::history::Read;
use crate::source::last_record::LastRecord;
use crate::source::narrow::{Narrow, visit};
use crate::source::seam::{Seam, Verdict};
use crate::source::stamp::{Stamped, Stamper, integers};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The wall clock of the start that asked for the ends of the streams.
    pub now_us: i64,
    /// Of a source, those that began earlier come first.
    pub readings: Vec<Reading>,
    /// By group of the job.
    pub groups: Vec<PlannedGroup>,
    /// By group: from which tick on rows are written to stores.
    pub rows_from: Vec<i64>,
    /// The stores have every row of the checkpoint that the run goes on from, and none else: only what changes is written.
    #[serde(default)]
    pub is_stored: bool,
    /// The last tick may not be before it (a store's `_upto`, without `--fresh`).
    pub end_at_least: i64,
    /// The generation of each store of the job, by sink.
    pub generations: Vec<u64>,
    /// By changelog, what its rows mean (see `meaning`).
    #[serde(default)]
    pub changelogs: BTreeMap<String, i64>,
    /// Where the lines of changelogs and dead letters go, by their name in a checkpoint.
    #[serde(default)]
    pub places: BTreeMap<String, String>,
    /// The changelogs begin anew at `floor`, with every row: what they had said before is void.
    #[serde(default)]
    pub told_anew: bool,
    /// The checkpoint that the run goes on from; and by reading of that one, its number now.
    pub restored: Option<Box<Manifest>>,
    pub moved: Vec<Option<usize>>,
    /// Up to there everything was published by the run that this one goes on from.
    pub floor: Option<i64>,
    /// How far the pieces of the history were read by then.
    pub read: Read,
    /// The checkpoints of this start have the numbers after it.
    pub checkpoints: u64,
}

impl Plan {
    /// The files of a source's history that have to be as they were.
    pub fn pinned(&self, source: usize, by_id: bool) -> Option<&Pinned> {
        // A state has the history in it. To compare ids it is read again.
        let reading = self.readings.iter().rfind(|reading| reading.source == source)?;
        (!reading.restored || by_id).then_some(&reading.pinned)
    }

    /// The first reading of a source.
    pub fn of_source(&self, source: usize) -> &Reading {
        self.readings.iter().find(|reading| reading.source == source).expect("every source is read")
    }

    /// The reading that a group began with.
    pub fn of_group(&self, group: usize) -> &Reading {
        &self.readings[self.groups[group].parts[0].reading]
    }

    /// What a checkpoint writes down of it. `t`: by side, its tick, when all of its histories are in the state; `None`: they were
    /// read up to `read`.
    pub fn at(&self, t: impl Fn(Side) -> Option<i64>, read: Read) -> Plan {
        let moved = (0..self.readings.len()).map(Some).collect();
        let mut plan = Plan { restored: None, moved, read, ..self.clone() };
        for reading in &mut plan.readings {
            let t = t(reading.side);
            reading.restored |= t.is_some();
            reading.done = reading.done.max(t.filter(|t| reading.s.is_some_and(|s| s <= *t)));
            reading.saved = reading.side;
        }
        plan.told_anew &= t(Side::Shown) < self.floor;
        if self.is_beside() {
            plan.floor = plan.floor.max(t(Side::Shown));
        }
        for (number, group) in (0..).zip(&mut plan.groups) {
            group.saved = Some(number);
            group.renewed &= t(Side::Shown) <= self.floor;
            (0..).zip(&mut group.parts).for_each(|(number, part)| part.saved = Some(number));
        }
        plan
    }

    /// Whether all that is in the checkpoint was in the stores when it was taken, and nothing is missing since.
    pub fn is_as_published(&self) -> bool {
        let Some(manifest) = &self.restored else { return false };
        let whole = manifest.plan.rows_from.iter().all(|from| manifest.t >= Some(*from));
        whole && self.readings.iter().all(|reading| reading.restored && reading.shown && reading.warnings.is_empty())
    }

    /// What a sink's rows are of, and how they and their fields are called, as a number.
    pub fn meaning(&self, opened: &Opened, sink: &job::Sink) -> i64 {
        let mut text = String::new();
        for group in &sink.groups {
            let (planned, shape) = (&self.groups[*group], &opened.groups[*group].shape);
            let columns = planned.parts.iter().flat_map(|part| &part.columns);
            let columns: BTreeMap<_, _> = columns.filter_map(|c| Some((c.place?, c.identity.as_str()))).collect();
            text += &format!("{} {:?} {} {columns:?}\n", planned.identity, shape.schema, shape.name);
        }
        headwater_operators::keys::hash(text.as_bytes()) as i64
    }

    /// Whether what a changelog has said is of other rows than those of now, or lies elsewhere.
    pub fn begins_anew(&self, opened: &Opened, sink: &job::Sink) -> bool {
        let (Some(manifest), SinkTo::Changes(to)) = (&self.restored, &sink.to) else { return false };
        let left = self.left(&opened.job, &checkpoint::changelog(&sink.name), to);
        let before = manifest.plan.changelogs.get(&sink.name);
        self.floor.is_some() && (left.is_none() || before != Some(&self.meaning(opened, sink)))
    }

    /// Where lines go on that go to where they went before.
    pub fn left(&self, job: &job::Job, name: &str, to: &ChangesTo) -> Option<&Left> {
        let manifest = self.restored.as_ref()?;
        let same = manifest.plan.places.get(name).is_none_or(|place| *place == job.place_of(to));
        let alike = |left: &&Left| match (left, to) {
            (Left::Bytes(_), ChangesTo::Jsonl { .. }) => true,
            (Left::Topic(topic), ChangesTo::Kafka(kafka)) => *topic == kafka.topic,
            _ => false,
        };
        manifest.lines.get(name).filter(|_| same).filter(alike)
    }

    /// Whether nothing of a reading is in the checkpoint that the run goes on from.
    pub fn is_new(&self, reading: usize) -> bool {
        !self.readings[reading].restored && !self.moved.contains(&Some(reading))
    }

    /// Whether the run has an end that the state does not know: a run that ends keeps those that a start of it has found, and one
    /// that follows its streams has none.
    pub fn has_own_end(&self, mode: Mode) -> bool {
        let same = |found: &Manifest| found.mode == mode && (mode == Mode::Follow || found.plan.now_us == self.now_us);
        !self.restored.as_deref().is_some_and(same)
    }

    pub fn has_new(&self) -> bool {
        (0..self.readings.len()).any(|reading| self.is_new(reading))
    }

    /// By reading, where the checkpoint left off: windows that closed before it are gone.
    pub fn horizons(&self) -> Vec<i64> {
        let mut horizons = vec![i64::MIN; self.readings.len()];
        let known = self.restored.iter().flat_map(|manifest| &manifest.horizons);
        for (now, horizon) in self.moved.iter().zip(known).filter_map(|(now, horizon)| Some((now.as_ref()?, horizon))) {
            horizons[*now] = *horizon;
        }
        horizons
    }

    /// Where lines go on. Those that go elsewhere now begin anew, and dead letters that nothing goes on from any more are void.
    pub fn lines(&self, manifest: &Manifest) -> BTreeMap<String, Left> {
        let mut lines = manifest.lines.clone();
        let moved = |name: &String| {
            manifest.plan.places.get(name).zip(self.places.get(name)).is_some_and(|(before, now)| before != now)
        };
        lines.retain(|name, _| !moved(name) && (name != LETTERS_BESIDE || self.goes_on_beside()));
        lines
    }

    /// What is written down before the first row is read: where nothing is new, the checkpoint that it goes on from, as one of the
    /// job that there is now.
    pub fn first_manifest(&self, mode: Mode) -> Manifest {
        let moved = (0..self.readings.len()).map(Some).collect();
        let plan = Plan { restored: None, moved, ..self.clone() };
        let new = self.has_new();
        let moved_to = |at: &Position| {
            let reading = self.moved.get(at.reading as usize).copied().flatten()?;
            Some(Position { reading: reading as u32, ..*at })
        };
        match &self.restored {
            // What it goes on from stays a part of the state; where partitions begin is in the plan.
            Some(manifest) => Manifest {
                lines: self.lines(manifest),
                number: self.checkpoints,
                t: manifest.t.filter(|_| !new),
                begun_us: Some(wall_clock_us()),
                finished: false,
                mode,
                horizons: self.horizons(),
                plan,
                positions: if new { vec![] } else { manifest.positions.iter().filter_map(moved_to).collect() },
                ..(**manifest).clone()
            },
            None => Manifest {
                format: FORMAT,
                number: self.checkpoints,
                t: None,
                begun_us: Some(wall_clock_us()),
                horizons: vec![],
                mode,
                finished: false,
                plan,
                positions: vec![],
                parts: vec![],
                lines: Default::default(),
            },
        }
    }
}

/// A source as it is read from one seam. A job that was changed reads a source anew for what is new.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Reading {
    pub source: usize,
    /// What its records are: see `identity`.
    pub identity: String,
    pub pinned: Pinned,
    /// The seam in time; `None` where neither history nor stream held a record and the wall clock is not asked.
    pub s: Option<i64>,
    /// The largest match time of the history.
    pub c: Option<i64>,
    pub history_rows: u64,
    pub partitions: Vec<PartitionPlan>,
    /// For people: what is odd, and goes on all the same.
    pub warnings: Vec<String>,
    /// A checkpoint has its history; and every tick up to `done`, if it had begun.
    pub restored: bool,
    pub done: Option<i64>,
    /// Whether the rows that were published show its columns.
    pub shown: bool,
    /// Where this run works it out; and where what a checkpoint has of it was worked out.
    #[serde(default)]
    pub side: Side,
    #[serde(default)]
    pub saved: Side,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PartitionPlan {
    pub partition: i32,
    /// The last offset that the history has (seam by offset).
    pub history_offset: Option<i64>,
    /// Where `eff` begins: at what an earlier start has read, or the largest arrival of the history's part (seam by offset).
    pub history_eff: Option<i64>,
    /// See `Position`, as an earlier start left it.
    pub admitted: Option<i64>,
    pub last: Option<LastRecord>,
    /// The first offset to read.
    pub start: i64,
    /// One past the last offset at the start.
    pub end: i64,
}

impl PartitionPlan {
    /// From the first record held.
    fn of(bounds: &Bounds) -> PartitionPlan {
        PartitionPlan { end: bounds.end, ..PartitionPlan::unknown(bounds.partition, bounds.earliest) }
    }

    /// One that neither the history nor a state knows: all of it came after the start.
    pub fn unknown(partition: i32, start: i64) -> PartitionPlan {
        PartitionPlan {
            partition,
            history_offset: None,
            history_eff: None,
            admitted: None,
            last: None,
            start,
            end: start,
        }
    }
}

/// What the first pass knows of a history.
#[derive(Default)]
struct Seen {
    c: Option<i64>,
    rows: u64,
    partitions: BTreeMap<i64, SeenPartition>,
}

struct SeenPartition {
    last_offset: i64,
    rows: u64,
    eff: Option<i64>,
}

impl Default for SeenPartition {
    fn default() -> Self {
        SeenPartition { last_offset: i64::MIN, rows: 0, eff: None }
    }
}

impl Seen {
    fn row(&mut self, stamped: &Stamped, until: Option<i64>, at: Option<(i64, i64)>) {
        if until.is_some_and(|until| stamped.m.is_some_and(|m| m >= until)) {
            return;
        }
        self.rows += 1;
        self.c = self.c.max(stamped.clock());
        if let Some((partition, offset)) = at {
            let seen = self.partitions.entry(partition).or_default();
            seen.last_offset = seen.last_offset.max(offset);
            seen.rows += 1;
            seen.eff = seen.eff.max(stamped.clock());
        }
    }

    fn merge(mut self, other: Seen) -> Seen {
        self.c = self.c.max(other.c);
        self.rows += other.rows;
        for (partition, theirs) in other.partitions {
            let seen = self.partitions.entry(partition).or_default();
            seen.last_offset = seen.last_offset.max(theirs.last_offset);
            seen.rows += theirs.rows;
            seen.eff = seen.eff.max(theirs.eff);
        }
        self
    }
}

/// Plans a start. `live`: the run follows its streams, so an empty start may ask the wall clock.
pub fn plan(opened: &Opened, now_us: i64, live: bool) -> Result<Plan, Failure> {
    let mut readings = Vec::new();
    for (number, sources) in opened.job.sources.iter().zip(&opened.sources).enumerate() {
        readings.push(plan_source(opened.job.tick_us, number, sources, now_us, live)?);
    }
    let groups = opened.job.groups.iter().enumerate();
    Ok(Plan {
        now_us,
        readings,
        groups: groups.map(|(number, group)| PlannedGroup::whole(opened, number, group.source)).collect(),
        rows_from: vec![i64::MIN; opened.groups.len()],
        is_stored: false,
        end_at_least: i64::MIN,
        generations: vec![],
        changelogs: BTreeMap::new(),
        places: BTreeMap::new(),
        told_anew: false,
        restored: None,
        moved: vec![],
        floor: None,
        read: Read::new(),
        checkpoints: 0,
    })
}

/// Plans the first reading of a source.
fn plan_source(
    tick: i64,
    number: usize,
    (conf, source): (&job::Source, &Source),
    now: i64,
    live: bool,
) -> Result<Reading, Failure> {
    let until = conf.history.as_ref().and_then(|h| h.complete_until_us);
    let identity = identity::of_source(conf, source);
    let mut plan = Reading { source: number, identity, ..Reading::default() };
    let mut seen = Seen::default();
    if let Some(history) = &source.history {
        plan.pinned = history.pinned().clone();
        seen = first_pass(conf, source, history.as_ref(), until, now)?;
    }
    plan.c = seen.c;
    plan.history_rows = seen.rows;
    let mut bounds = vec![];
    if let Some(stream) = &source.stream {
        bounds = stream.bounds()?;
        let mut gaps = vec![];
        plan.partitions = starts(conf, source, stream.as_ref(), &bounds, &seen, &mut gaps, &mut plan.warnings)?;
        if !gaps.is_empty() {
            let all =
                format!("{}: the stream does not reach back to the history:\n  {}", stream.name(), gaps.join("\n  "));
            if !conf.seam.allow_gap {
                let hint = "\n  set `allow_gap = true` in the source's seam to start anyway";
                return Err(Failure::Refused(all + hint));
            }
            plan.warnings.push(all);
        }
    }
    plan.s = match (seen.c, &source.stream) {
        (Some(c), _) => Some(up(c, tick)),
        (None, Some(stream)) => first_eff(conf, source, stream.as_ref(), &plan, &bounds)?.map(|eff| up(eff, tick)),
        (None, None) => None,
    };
    if plan.s.is_none() && live {
        plan.s = Some(up(now, tick));
    }
    Ok(plan)
}

/// Reads what the seam needs of every row: statistics where they decide, else times and the seam's columns alone.
fn first_pass(
    conf: &job::Source,
    source: &Source,
    history: &dyn History,
    until: Option<i64>,
    now: i64,
) -> Result<Seen, Failure> {
    let narrow = Narrow::new(conf, source, ids_may_not_decode(source));
    let stamper = narrow.stamper();
    let seen = visit(&narrow.pieces(history)?, |seen: &mut Seen, piece| {
        if let Some(newest) = decided_by_statistics(piece, &narrow, until, now) {
            seen.c = seen.c.max(Some(newest));
            seen.rows += piece.rows;
            return Ok(());
        }
        for records in history.read(piece, narrow.wanted())? {
            first_pass_batch(seen, &records?, &stamper, narrow.source.seam_columns, until, now);
        }
        Ok(())
    })?;
    Ok(seen.into_iter().fold(Seen::default(), Seen::merge))
}

/// A row whose id does not decode is malformed and has no time. In files with a schema, only times may fail.
fn ids_may_not_decode(source: &Source) -> bool {
    let timestamp = |place| matches!(source.wanted.schema.field(place).data_type(), DataType::Timestamp(..));
    source.history.as_ref().is_some_and(|h| h.schema().is_none()) || source.id_column.is_some_and(timestamp)
}

fn first_pass_batch(
    seen: &mut Seen,
    records: &Records,
    stamper: &Stamper,
    seam_columns: Option<(usize, usize)>,
    until: Option<i64>,
    now: i64,
) {
    let stamped = stamper.stamp(records, now);
    let at = seam_columns.map(|(p, o)| (integers(records.batch.column(p)), integers(records.batch.column(o))));
    for (i, stamped) in stamped.iter().enumerate() {
        let at = at.as_ref().and_then(|(p, o)| p[i].zip(o[i]));
        seen.row(stamped, until, at);
    }
}

/// The largest arrival of a piece, where statistics alone tell it: every row is taken and no clock is wrong.
fn decided_by_statistics(piece: &Piece, narrow: &Narrow, until: Option<i64>, now: i64) -> Option<i64> {
    if narrow.source.seam_columns.is_some() || narrow.source.id_column.is_some() {
        return None;
    }
    narrow.newest_arrival(piece, now).filter(|newest| until.is_none_or(|until| *newest < until))
}

/// Where reading starts in each partition; what is missing goes to `gaps`.
fn starts(
    conf: &job::Source,
    source: &Source,
    stream: &dyn Stream,
    bounds: &[Bounds],
    seen: &Seen,
    gaps: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Result<Vec<PartitionPlan>, Failure> {
    let until = conf.history.as_ref().and_then(|h| h.complete_until_us);
    let mut plans: Vec<PartitionPlan> = bounds.iter().map(PartitionPlan::of).collect();
    if source.history.is_none() {
        return Ok(plans);
    }
    if let SeamBy::Offset { .. } = conf.seam.by {
        for (partition, seen) in &seen.partitions {
            let Some(plan) = plans.iter_mut().find(|p| i64::from(p.partition) == *partition) else {
                gaps.push(format!("partition {partition}: it is in the history, but not in the topic"));
                continue;
            };
            plan.history_offset = Some(seen.last_offset);
            plan.history_eff = seen.eff;
            let held = seen.last_offset.saturating_add(1).max(0) as u64;
            if seen.rows < held {
                let holes = held - seen.rows;
                warnings.push(format!(
                    "partition {partition}: the history has {} rows up to offset {}: {holes} offsets are not in it",
                    seen.rows, seen.last_offset
                ));
            }
        }
        for (plan, bounds) in plans.iter_mut().zip(bounds) {
            let wanted = plan.history_offset.map_or(0, |last| last.saturating_add(1));
            let name = stream.name();
            if wanted < bounds.earliest {
                gaps.push(format!(
                    "{name}, partition {}: offsets {wanted}..{} are gone, the earliest held is {}",
                    plan.partition,
                    bounds.earliest - 1,
                    bounds.earliest
                ));
            } else if wanted > bounds.end {
                gaps.push(format!(
                    "{name}, partition {}: the history ends at offset {}, the topic at {} (another topic?)",
                    plan.partition,
                    wanted - 1,
                    bounds.end - 1
                ));
            }
            plan.start = wanted.clamp(bounds.earliest, bounds.end.max(bounds.earliest));
        }
        return Ok(plans);
    }
    let ends = until.or(seen.c);
    let overlap = if let SeamBy::Id { overlap_us, .. } = conf.seam.by { overlap_us } else { 0 };
    let by_stamps = conf.arrival_time.is_none() || stream.stamped_by_broker()?;
    if let Some(ends) = ends.filter(|_| by_stamps) {
        let margin = ends.saturating_sub(overlap).saturating_sub(conf.future_limit_us);
        for (plan, offset) in plans.iter_mut().zip(stream.offsets_at(margin)?) {
            plan.start = offset.unwrap_or(plan.start).max(plan.start);
        }
    }
    let reaches = Reaches { from: ends, until: until.is_some() };
    for (plan, bounds) in plans.iter().zip(bounds).filter(|(_, b)| b.earliest > 0) {
        reaches.check(conf, source, stream, plan, bounds, gaps, warnings)?;
    }
    Ok(plans)
}

/// A seam by time or id: does a partition that has lost its first records still reach back far enough?
struct Reaches {
    from: Option<i64>,
    until: bool,
}

impl Reaches {
    #[allow(clippy::too_many_arguments)]
    fn check(
        &self,
        conf: &job::Source,
        source: &Source,
        stream: &dyn Stream,
        plan: &PartitionPlan,
        bounds: &Bounds,
        gaps: &mut Vec<String>,
        warnings: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let name = stream.name();
        let partition = plan.partition;
        let first = first_record(
            conf,
            source,
            stream,
            Start { partition, offset: bounds.earliest },
            bounds.end,
            |_, stamped| stamped.iter().map(|s| s.m.is_some() && !s.wrong_clock).collect(),
        )?;
        let Some(m) = first.and_then(|stamped| stamped.m) else {
            warnings.push(format!("{name}, partition {partition}: it no longer starts at 0 and holds no record with a time: what came before is unknown"));
            return Ok(());
        };
        let gap = match self.from {
            None => true,
            Some(from) if self.until => m >= from,
            Some(from) => m > from,
        };
        // Retention by time alone cannot have taken a record past the seam yet.
        let spared = match (stream.retention_us()?, self.from) {
            (Some(retention), Some(from)) => from > wall_clock_us().saturating_sub(retention),
            _ => false,
        };
        if gap && spared {
            warnings.push(format!("{name}, partition {partition}: it no longer starts at 0, but its retention cannot have reached the seam yet"));
        } else if gap {
            let since = self.from.map_or_else(String::new, |from| format!(" from {}", format_time(from)));
            gaps.push(format!(
                "{name}, partition {partition}: nothing is held{since} to {} (offset {})",
                format_time(m),
                bounds.earliest
            ));
        }
        Ok(())
    }
}

/// The first record of a partition that `wanted` holds for, looking no further than `end`. `wanted`: by record of a batch.
fn first_record(
    conf: &job::Source,
    source: &Source,
    stream: &dyn Stream,
    start: Start,
    end: i64,
    wanted: impl Fn(&Records, &[Stamped]) -> Vec<bool>,
) -> Result<Option<Stamped>, Failure> {
    let stamper = Stamper { source, future_limit_us: conf.future_limit_us, own: source.stream_own() };
    let mut reader = stream.reader(&[start], &source.wanted)?;
    while let Some(records) = stream::next(stream, reader.as_mut(), start.partition, end, FIRST_RECORD_BYTES)? {
        let offsets = records.offsets.clone().unwrap_or_default();
        let stamped = stamper.stamp(&records, wall_clock_us());
        let wanted = wanted(&records, &stamped);
        let mut held = (0..stamped.len()).take_while(|i| offsets[*i] < end);
        if let Some(i) = held.find(|i| wanted[*i]) {
            return Ok(Some(stamped[i]));
        }
    }
    Ok(None)
}

/// Looking for one record, little is read at a time.
const FIRST_RECORD_BYTES: usize = 64 << 10;

/// The smallest `eff` of the records that the stream held at the start and the seam takes.
fn first_eff(
    conf: &job::Source,
    source: &Source,
    stream: &dyn Stream,
    plan: &Reading,
    bounds: &[Bounds],
) -> Result<Option<i64>, Failure> {
    let seam = Seam::open(conf, source, plan)?;
    let mut smallest: Option<i64> = None;
    for (partition, bounds) in plan.partitions.iter().zip(bounds) {
        let start = Start { partition: partition.partition, offset: partition.start };
        let taken = |records: &Records, stamped: &[Stamped]| {
            let verdicts = seam.judge(records, stamped, partition).into_iter().zip(stamped);
            verdicts.map(|(verdict, s)| verdict == Verdict::Taken && s.clock().is_some()).collect()
        };
        let first = first_record(conf, source, stream, start, bounds.end, taken)?;
        if let Some(eff) = first.and_then(|stamped| stamped.clock()) {
            smallest = Some(smallest.map_or(eff, |s| s.min(eff)));
        }
    }
    Ok(smallest)
}

#[cfg(test)]
impl Plan {
    pub fn of_nothing(floor: Option<i64>) -> Plan {
        Plan {
            now_us: 0,
            readings: vec![],
            groups: vec![],
            rows_from: vec![],
            is_stored: false,
            end_at_least: i64::MIN,
            generations: vec![],
            changelogs: BTreeMap::new(),
            places: BTreeMap::new(),
            told_anew: false,
            restored: None,
            moved: vec![],
            floor,
            read: Read::new(),
            checkpoints: 0,
        }
    }
}

pub fn wall_clock_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| d.as_micros() as i64)
}
