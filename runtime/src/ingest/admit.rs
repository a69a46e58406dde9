//! Admission: which records of a batch a scan of their source takes, and from which tick on they count.
//!
//! ```text
//! stream    taken: what the seam takes, from where the scan starts    V = up(max(eff, ts, S)), but never a tick that is finished
//! history   taken: m < complete_until                                 V = up(max(ts, S)): no arrival lies past the seam
//! ```
//!
//! Where groups look up in the rows of others it is `up(max(eff, ts))`, whatever `S`: rows just before an event are those of a run from the
//! beginning. So it is where a source is replayed: its history has records past `S`, and what a run admitted late may count from then on.
//!
//! What is taken and has a reason against it is a dead letter; the rest of it are events.

use std::collections::BTreeMap;

use headwater_clocks::{Eff, MatchTime, Offset, Span, Tick, WallClock};
use headwater_connectors::Records;

use super::effs::Effs;
use super::log_position::LogPositions;
use super::partition::Partition;
use super::seam::{Seam, Verdict};
use super::stamp::Stamped;
use crate::base::id::{IdVec, ScanId};
use crate::plan::last_record::LastRecord;
use crate::plan::replay::Replay;
use crate::plan::scan::Scan;

/// What a scan makes of a batch of records.
#[derive(Debug)]
pub struct Admitted {
    pub scan: ScanId,
    pub origin: Origin,
    /// By record: whether the scan takes it at all.
    pub taken: Vec<bool>,
    /// The records that count as events, ascending.
    pub events: Vec<u32>,
    /// By record: the tick from which on it counts; and, below, its effective time.
    pub visible: Vec<Tick>,
    /// Of a stream: the events whose own tick was finished before they were read, and that tick.
    pub late: Vec<(u32, Tick)>,
    pub effs: Vec<Option<Eff>>,
    /// The first tick that is not published yet: nothing counts before it.
    pub least: Tick,
    /// By record that a run admitted late, where it is asked what that run had: from which tick on.
    pub late_from: BTreeMap<u32, Tick>,
    /// By scan: windows that closed before it are gone. Empty: none is.
    pub horizons: IdVec<ScanId, Eff>,
}

/// Where the records come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    Stream,
    /// Rows before the seam at `s`: each column set takes only those that its windows reach. `None`: no record has a usable time.
    History {
        s: Option<Tick>,
    },
}

/// How a scan admits records of its stream.
pub struct StreamAdmission<'a> {
    pub seam: &'a Seam,
    pub scan: &'a Scan,
    pub tick: Span,
    /// Whether the partition's end of the start is the end.
    pub until_end: bool,
    /// Whether ticks before `S` are told apart.
    pub looks_back: bool,
    /// The job's own time.
    pub t: Option<Tick>,
    /// By scan: windows that closed before it are gone.
    pub horizons: &'a IdVec<ScanId, Eff>,
}

/// What became of records that are no events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events whose tick was finished before they were read.
    pub admitted: u64,
    /// Records that the seam passed over.
    pub passed_over: u64,
    /// Of these, those that came after the history was looked at.
    pub missed: u64,
}

impl StreamAdmission<'_> {
    /// Takes the records that were read of a partition at `now`, by the wall clock.
    pub fn admit(
        &self,
        partition: &mut Partition,
        records: &Records,
        stamped: &[Stamped],
        now: WallClock,
    ) -> (Admitted, Counts) {
        let offsets = records.offsets.as_deref().expect("records of a stream have offsets");
        let (start, end) = (partition.plan.start, partition.plan.end);
        let until = if self.until_end { end } else { Offset::AFTER_ALL };
        partition.last = LastRecord::before(records, until).or(partition.last);
        // What is finished takes nothing any more.
        let next = self.t.max(self.scan.done).map_or(Tick::BEFORE_ALL, |t| t + self.tick);
        let floor = if self.looks_back { Tick::BEFORE_ALL } else { self.scan.s.unwrap_or(Tick::AFTER_ALL) };
        let verdicts = self.seam.judge(records, stamped, &partition.plan);
        let (mut admitted, mut counts) = (Admitted::none(partition.scan, records.len()), Counts::default());
        admitted.horizons = self.horizons.clone();
        admitted.least = next;
        let mut first_eff = None;
        for (i, stamp) in stamped.iter().enumerate() {
            // What lies before it is in the state. At the end of a run that ends, what came after the start is not there.
            let offset = offsets[i];
            if offset < start || offset >= until {
                continue;
            }
            if verdicts[i] != Verdict::Taken {
                counts.passed_over += 1;
                counts.missed += u64::from(verdicts[i] == Verdict::Before && offset >= end);
                continue;
            }
            let eff = partition.arrive(stamp.clock());
            first_eff = first_eff.or(eff.filter(|_| stamp.clock().is_some()));
            let replay = self.scan.replay.as_ref();
            if replay.is_some_and(|replay| replay.is_past(eff, self.tick)) {
                continue;
            }
            admitted.taken[i] = true;
            admitted.effs[i] = eff;
            let late = replay.and_then(|replay| replay.late(Some((partition.plan.partition, offset))));
            admitted.late_from.extend(late.map(|late| (i as u32, late)));
            if let (None, Some(eff)) = (stamp.reason, eff) {
                // Only a version of a table may have no time of its own.
                let v = stamp.ts.map_or(Tick::up(eff, self.tick), |ts| Tick::visible(eff, ts, self.tick)).max(floor);
                if v < next {
                    counts.admitted += 1;
                    admitted.late.push((i as u32, v));
                    partition.admitted = Some(next);
                }
                admitted.visible[i] = v.max(admitted.least_of(i));
                admitted.events.extend(stamp.ts.map(|_| i as u32));
            }
        }
        partition.came(first_eff, now);
        if self.until_end && offsets.last().is_some_and(|offset| offset.next() >= end) {
            partition.end();
        }
        (admitted, counts)
    }
}

/// How a scan admits rows of its history.
pub struct HistoryAdmission<'a> {
    pub scan: ScanId,
    pub s: Option<Tick>,
    pub tick: Span,
    /// Whether ticks before `S` are told apart, or there are records past it.
    pub by_arrival: bool,
    pub replay: Option<&'a Replay>,
    pub effs: &'a Effs,
    /// The history is complete up to there, and not looked at from there on.
    pub complete_until: Option<MatchTime>,
}

impl HistoryAdmission<'_> {
    pub fn admit(&self, stamped: &[Stamped], log_positions: &LogPositions) -> Admitted {
        let start = self.s.unwrap_or(Tick::AFTER_ALL);
        let mut admitted = Admitted::none(self.scan, stamped.len());
        admitted.origin = Origin::History { s: self.s };
        for (i, stamp) in stamped.iter().enumerate() {
            if self.complete_until.is_some_and(|until| stamp.m.is_some_and(|m| m >= until)) {
                continue;
            }
            let (partition, offset) = log_positions.get(i);
            let eff = self.effs.eff(partition, offset, stamp.a);
            if self.replay.is_some_and(|replay| replay.is_past(eff, self.tick)) {
                continue;
            }
            admitted.taken[i] = true;
            let at = partition.and_then(|partition| i32::try_from(partition).ok()).zip(offset);
            let late = self.replay.and_then(|replay| replay.late(at));
            admitted.late_from.extend(late.map(|late| (i as u32, late)));
            let visible = match (stamp.ts, eff.filter(|_| self.by_arrival)) {
                (Some(ts), Some(eff)) => Tick::visible(eff, ts, self.tick),
                (Some(ts), None) if self.by_arrival => Tick::up(ts, self.tick),
                (Some(ts), None) => Tick::up(ts, self.tick).max(start),
                (None, _) => start,
            };
            admitted.visible[i] = visible.max(admitted.least_of(i));
            admitted.effs[i] = eff;
            if stamp.reason.is_none() {
                admitted.events.push(i as u32);
            }
        }
        admitted
    }
}

impl Admitted {
    /// Of so many records none.
    pub fn none(scan: ScanId, records: usize) -> Admitted {
        Admitted {
            scan,
            origin: Origin::Stream,
            taken: vec![false; records],
            events: vec![],
            visible: vec![Tick::BEFORE_ALL; records],
            late: vec![],
            effs: vec![None; records],
            least: Tick::BEFORE_ALL,
            late_from: BTreeMap::new(),
            horizons: IdVec::new(),
        }
    }

    /// The tick before which a record does not count, whatever its own.
    pub fn least_of(&self, row: usize) -> Tick {
        self.late_from.get(&(row as u32)).map_or(self.least, |late| self.least.max(*late))
    }

    pub fn is_of_stream(&self) -> bool {
        self.origin == Origin::Stream
    }

    /// Some records, chosen by hand, that all count from one tick on; each by its own arrival alone.
    pub fn chosen(scan: ScanId, chosen: &[u32], stamped: &[Stamped], visible: Tick) -> Admitted {
        let mut admitted = Admitted::none(scan, stamped.len());
        admitted.visible = vec![visible; stamped.len()];
        admitted.effs = stamped.iter().map(|stamped| stamped.clock().map(Eff::from)).collect();
        chosen.iter().for_each(|i| admitted.taken[*i as usize] = true);
        admitted.events = chosen.iter().copied().filter(|i| stamped[*i as usize].good().is_some()).collect();
        admitted
    }
}
