//! Effective times of the history's rows: when each could first be known, made monotone along its partition's log.
//!
//! ```text
//! seam by offset    eff = the largest arrival of the partition's rows up to this one's offset     any other seam    eff = a
//!
//! offset   arrives   eff
//!      0        10    10
//!      1        30    30
//!      2        20    30    it came after what arrived at 30
//!      2        40    40    the history has the offset twice: both share it, so both are 40
//! ```
//!
//! Rows lie in the history in any order, so the running maximum is found before the first row is shaped: per partition the
//! offsets at which it rises. Wrong clocks and malformed rows add nothing. Only windows with a lateness ask for it. Rows that
//! none of them reaches need no step of their own: what lies before the first row that is asked for is one maximum.
//!
//! Every process finds it for itself: the pinned files are the same to all.

use std::collections::BTreeMap;

use headwater_connectors::history::{History, Piece};
use headwater_connectors::{Records, Result as Connected};

use crate::failure::Failure;
use crate::job::{SeamBy, Window};
use crate::opened::Opened;
use crate::plan::Plan;
use crate::source::narrow::{Narrow, visit};
use crate::source::stamp::{Stamper, integers};

/// Of one source. Threads share it.
#[derive(Debug, Default)]
pub struct Effs {
    /// By partition.
    steps: BTreeMap<i64, Steps>,
}

impl Effs {
    /// Those of a job's sources, in their order.
    pub fn all(opened: &Opened, plan: &Plan) -> Result<Vec<Effs>, Failure> {
        (0..opened.sources.len()).map(|source| Effs::open(opened, plan, source)).collect()
    }

    fn open(opened: &Opened, plan: &Plan, source: usize) -> Result<Effs, Failure> {
        let (conf, open) = (&opened.job.sources[source], &opened.sources[source]);
        let by_offset = matches!(conf.seam.by, SeamBy::Offset { .. });
        let Some(history) = open.history.as_ref().filter(|_| by_offset && is_asked(opened, source)) else {
            return Ok(Effs::default());
        };
        let narrow = Narrow::new(conf, open, false);
        let floor = plan.sources[source].s.and_then(|s| floor(opened, source, s));
        Ok(Effs { steps: read(history.as_ref(), &narrow, floor, plan.now_us)? })
    }

    /// The `eff` of a row with this place in the log and this arrival.
    pub fn eff(&self, partition: Option<i64>, offset: Option<i64>, a: Option<i64>) -> Option<i64> {
        let steps = partition.zip(offset).and_then(|(p, o)| Some((self.steps.get(&p)?, o)));
        steps.map_or(a, |(steps, offset)| steps.at(offset))
    }
}

/// Whether a group of the source judges lateness.
fn is_asked(opened: &Opened, source: usize) -> bool {
    opened.job.groups.iter().any(|group| group.source == source && group.window != Window::Trailing)
}

/// No group that judges lateness reaches a row up to this event time; `None`: one reaches everything.
fn floor(opened: &Opened, source: usize, s: i64) -> Option<i64> {
    let groups = opened.job.groups.iter().filter(|group| group.source == source);
    let reaches = groups.filter_map(|group| match group.window {
        Window::Trailing => None,
        Window::Tumbling { size_us } | Window::Hopping { size_us, .. } => Some(size_us.checked_add(group.retain_us)),
        Window::Session { .. } => Some(None),
    });
    let longest: Option<Vec<i64>> = reaches.collect();
    // A window that ends just `retain` before `s` is still there.
    longest?.into_iter().max().map(|longest| s.saturating_sub(longest).saturating_sub(1))
}

/// Where the running maximum of a partition rises.
#[derive(Debug, Default)]
struct Steps {
    /// The largest arrival before the first row that is asked for.
    before: Option<i64>,
    /// (offset, running maximum) where it rises. While rows are added: (offset, arrival), in any order.
    rises: Vec<(i64, i64)>,
    condense_at: usize,
}

/// Rows that wait at least before they are condensed.
const CONDENSE_AT_MIN: usize = 4096;

impl Steps {
    fn at(&self, offset: i64) -> Option<i64> {
        match self.rises.partition_point(|(at, _)| *at <= offset) {
            0 => self.before,
            n => Some(self.rises[n - 1].1),
        }
    }

    /// `from`: the first offset that is asked for.
    fn add(&mut self, offset: i64, a: i64, from: i64) {
        if offset < from {
            self.before = self.before.max(Some(a));
            return;
        }
        self.rises.push((offset, a));
        if self.rises.len() >= self.condense_at.max(CONDENSE_AT_MIN) {
            self.condense();
            self.condense_at = self.rises.len() * 2;
        }
    }

    /// Keeps strict rises. What is none among some rows is none among more.
    fn condense(&mut self) {
        self.rises.sort_unstable();
        let mut top = self.before;
        self.rises.retain(|(_, a)| {
            let rises = top < Some(*a);
            top = top.max(Some(*a));
            rises
        });
        // Of equal offsets the last, which is the largest.
        self.rises.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                *kept = *later;
            }
            same
        });
    }

    fn merge(&mut self, other: Steps) {
        self.before = self.before.max(other.before);
        self.rises.extend(other.rises);
    }
}

/// Which rows are asked for.
enum Asked {
    All,
    /// By partition, from this offset on; of other partitions none.
    From(BTreeMap<i64, i64>),
}

impl Asked {
    fn from(&self, partition: i64) -> i64 {
        match self {
            Asked::All => i64::MIN,
            Asked::From(first) => first.get(&partition).copied().unwrap_or(i64::MAX),
        }
    }
}

fn read(history: &dyn History, narrow: &Narrow, floor: Option<i64>, now: i64) -> Connected<BTreeMap<i64, Steps>> {
    let pieces = narrow.pieces(history)?;
    let asked = match floor {
        None => Asked::All,
        Some(floor) => Asked::From(first_asked(history, narrow, &pieces, floor, now)?),
    };
    let stamper = narrow.stamper();
    let parts = visit(&pieces, |steps: &mut BTreeMap<i64, Steps>, piece| {
        if let Some((partition, newest)) = folded(narrow, piece, &asked, now) {
            let before = &mut steps.entry(partition).or_default().before;
            *before = (*before).max(Some(newest));
            return Ok(());
        }
        for records in history.read(piece, narrow.wanted())? {
            for row in rows(narrow, &stamper, &records?, now) {
                let Row { partition, offset, arrival: Some(a), .. } = row else { continue };
                steps.entry(partition).or_default().add(offset, a, asked.from(partition));
            }
        }
        Ok(())
    })?;
    let mut all: BTreeMap<i64, Steps> = BTreeMap::new();
    for (partition, steps) in parts.into_iter().flatten() {
        all.entry(partition).or_default().merge(steps);
    }
    for steps in all.values_mut() {
        steps.condense();
        steps.rises.shrink_to_fit();
    }
    Ok(all)
}

/// By partition, the smallest offset of a row past the floor.
fn first_asked(
    history: &dyn History,
    narrow: &Narrow,
    pieces: &[Piece],
    floor: i64,
    now: i64,
) -> Connected<BTreeMap<i64, i64>> {
    let below = |piece: &Piece| {
        let range = narrow.times(piece, narrow.source.event_time);
        range.is_some_and(|range| range.bounds.is_none_or(|(_, newest)| newest <= floor))
    };
    let pieces: Vec<Piece> = pieces.iter().filter(|piece| !below(piece)).cloned().collect();
    let stamper = narrow.stamper();
    let parts = visit(&pieces, |first: &mut BTreeMap<i64, i64>, piece| {
        for records in history.read(piece, narrow.wanted())? {
            for row in rows(narrow, &stamper, &records?, now).filter(|row| row.ts.is_some_and(|ts| ts > floor)) {
                lower(first, row.partition, row.offset);
            }
        }
        Ok(())
    })?;
    let mut first = BTreeMap::new();
    parts.into_iter().flatten().for_each(|(partition, offset)| lower(&mut first, partition, offset));
    Ok(first)
}

fn lower(first: &mut BTreeMap<i64, i64>, partition: i64, offset: i64) {
    first.entry(partition).and_modify(|o| *o = offset.min(*o)).or_insert(offset);
}

/// A row with a place in its partition's log.
struct Row {
    partition: i64,
    offset: i64,
    ts: Option<i64>,
    /// Where it may move clocks.
    arrival: Option<i64>,
}

fn rows(narrow: &Narrow, stamper: &Stamper, records: &Records, now: i64) -> impl Iterator<Item = Row> + use<> {
    let (p, o) = narrow.source.seam_columns.expect("a seam by offset has columns");
    let (partitions, offsets) = (integers(records.batch.column(p)), integers(records.batch.column(o)));
    let places = partitions.into_iter().zip(offsets).zip(stamper.stamp(records, now));
    places.filter_map(|((partition, offset), stamped)| {
        Some(Row { partition: partition?, offset: offset?, ts: stamped.ts, arrival: stamped.clock() })
    })
}

/// The partition and the largest arrival of a piece, where statistics tell that its rows are of one partition, before the first
/// that is asked for, and that every arrival counts.
fn folded(narrow: &Narrow, piece: &Piece, asked: &Asked, now: i64) -> Option<(i64, i64)> {
    let (p, o) = narrow.source.seam_columns?;
    let whole = |place: usize| piece.statistics.get(place).copied().flatten().filter(|range| range.nulls == 0)?.bounds;
    let ((partition, last_partition), (_, last_offset)) = (whole(p)?, whole(o)?);
    let before = partition == last_partition && last_offset < asked.from(partition);
    let newest = narrow.newest_arrival(piece, now)?;
    before.then_some((partition, newest))
}
