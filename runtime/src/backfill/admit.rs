//! Admission: which records of a history or a stream count for a backfill, and from which tick on.
//!
//! ```text
//! V = up(max(eff, ts))     without the seam's floor: as a run from the beginning would have had it
//! eff                      of a stream the running maximum of its partition, which goes on from the history where the seam is by
//!                          offset; of a history with such a seam the same; of any other history the arrival
//! ```
//!
//! Where it is asked what was served, `V` is no earlier than the tick at which a run admitted the record.
//! What happened when no window of a label looks is not looked at, and is no dead letter.

use headwater_clocks::{Eff, EventTime, MatchTime, Offset, Span, Tick};
use headwater_connectors::Records;

use super::served::Served;
use crate::base::id::ScanId;
use crate::ingest::admit::{Admitted, Origin};
use crate::ingest::effs::Effs;
use crate::ingest::log_position::LogPositions;
use crate::ingest::partition::Partition;
use crate::ingest::seam::{Seam, Verdict};
use crate::ingest::stamp::Stamped;

/// The event times that some label's windows may hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reach {
    /// `None`: there is a lifetime window.
    pub after: Option<EventTime>,
    /// The last moment that is asked for.
    pub upto: Tick,
}

impl Reach {
    /// Of a table: a version is in force for whatever comes after it.
    pub const ALL: Reach = Reach { after: None, upto: Tick::AFTER_ALL };

    pub fn holds(&self, ts: EventTime) -> bool {
        ts <= self.upto.left(Span::ZERO) && self.after.is_none_or(|after| ts > after)
    }

    /// Whether it holds any time from `first` to `last`.
    pub fn meets(&self, first: EventTime, last: EventTime) -> bool {
        first <= self.upto.left(Span::ZERO) && self.after.is_none_or(|after| last > after)
    }
}

/// How a scan admits records.
pub struct Admission<'a> {
    pub scan: ScanId,
    pub tick: Span,
    pub reach: Reach,
    /// When a run admitted records, where that is asked for.
    pub served: Option<&'a Served>,
}

impl Admission<'_> {
    /// Rows of the history, up to where it is complete.
    pub fn of_history(
        &self,
        stamped: &[Stamped],
        log_positions: &LogPositions,
        effs: &Effs,
        complete_until: Option<MatchTime>,
    ) -> Admitted {
        let mut admitted = Admitted::none(self.scan, stamped.len());
        admitted.origin = Origin::History { s: None };
        for (i, stamp) in stamped.iter().enumerate() {
            if complete_until.is_some_and(|until| stamp.m.is_some_and(|m| m >= until)) {
                continue;
            }
            let (partition, offset) = log_positions.get(i);
            let at = partition.and_then(|partition| i32::try_from(partition).ok()).zip(offset);
            self.take(&mut admitted, (i, at), stamp, effs.eff(partition, offset, stamp.a));
        }
        admitted
    }

    /// Records of a partition of the stream that the seam takes, between its start and the end that it had.
    pub fn of_stream(
        &self,
        partition: &mut Partition,
        seam: &Seam,
        records: &Records,
        stamped: &[Stamped],
    ) -> Admitted {
        let offsets = records.offsets.as_deref().unwrap_or_default();
        let verdicts = seam.judge(records, stamped, &partition.plan);
        let mut admitted = Admitted::none(self.scan, records.len());
        for (i, stamp) in stamped.iter().enumerate() {
            let offset = offsets[i];
            let is_held = (partition.plan.start..partition.plan.end).contains(&offset);
            if is_held && verdicts[i] == Verdict::Taken {
                let eff = partition.arrive(stamp.clock());
                let at = Some((partition.plan.partition, offset));
                self.take(&mut admitted, (i, at), stamp, eff);
            }
        }
        admitted
    }

    /// `at`: where the record stands in its log, if that is known.
    fn take(
        &self,
        admitted: &mut Admitted,
        (i, at): (usize, Option<(i32, Offset)>),
        stamp: &Stamped,
        eff: Option<Eff>,
    ) {
        if stamp.ts.is_some_and(|ts| !self.reach.holds(ts)) {
            return;
        }
        admitted.taken[i] = true;
        admitted.effs[i] = eff;
        if let (None, Some(ts), Some(eff)) = (stamp.reason, stamp.ts, eff) {
            let tick = self.served.zip(at).and_then(|(served, at)| served.tick(self.scan, at));
            admitted.visible[i] = Tick::visible(eff, ts, self.tick).max(tick.unwrap_or(Tick::BEFORE_ALL));
            admitted.events.push(i as u32);
        }
    }
}
