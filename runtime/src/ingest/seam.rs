//! The seam: which records of a stream are taken, because the history does not have them.
//!
//! ```text
//! by       taken when                                                       m = the arrival column, else the event time
//! offset   its offset is past the largest that the history has of its partition
//! time     m > C, or m >= complete_until                                    C = the largest m of the history
//! id       m >= C - overlap, and the history holds no row with its id and m >= C - overlap
//! ```
//!
//! A record without `m` is taken: it becomes a dead letter. A history without a usable row ends before every record. Each
//! record is judged by itself.

use headwater_clocks::{MatchTime, Offset, Span};
use headwater_connectors::Records;

use super::held_ids::HeldIds;
use super::stamp::Stamped;
use crate::base::failure::Failure;
use crate::base::id::{IdVec, ScanId};
use crate::catalog::opened::{Opened, Source};
use crate::catalog::source;
use crate::job::{self, SeamBy};
use crate::plan::Plan;
use crate::plan::scan::{PartitionPlan, Scan};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Taken,
    /// The history has it.
    Held,
    /// By its time, the history should have it: nobody looked.
    Before,
}

/// The judge of one source's records. Threads share it.
pub struct Seam {
    rule: Rule,
}

enum Rule {
    /// There is no history.
    All,
    Offset,
    Time {
        from: MatchTime,
    },
    Id {
        from: MatchTime,
        column: usize,
        held: HeldIds,
    },
}

/// The match time at which a seam by id begins to compare.
pub fn compared_from(c: Option<MatchTime>, overlap: Span) -> MatchTime {
    c.map_or(MatchTime::BEFORE_ALL, |c| c - overlap)
}

impl Seam {
    /// The seams of a plan's scans.
    pub fn all(opened: &Opened, plan: &Plan) -> Result<IdVec<ScanId, Seam>, Failure> {
        let sources = |scan: &Scan| (&opened.job.sources[scan.source], &opened.sources[scan.source]);
        let one = |scan: &Scan| {
            let (conf, source) = sources(scan);
            Seam::open(conf, source, scan)
        };
        plan.scans.iter().map(one).collect()
    }

    /// Reads what the plan does not say: the ids that the history held when the scan began.
    pub fn open(conf: &job::Source, source: &Source, scan: &Scan) -> Result<Seam, Failure> {
        let c = scan.c;
        let until = conf.history.as_ref().and_then(|h| h.complete_until);
        let (Some(history), Some(_)) = (&source.history, &source.stream) else { return Ok(Seam { rule: Rule::All }) };
        let rule = match conf.seam.by {
            SeamBy::Offset { .. } => Rule::Offset,
            SeamBy::Time => {
                let past_c = || c.map(|c| c + Span::from_us(1));
                Rule::Time { from: until.or_else(past_c).unwrap_or(MatchTime::BEFORE_ALL) }
            }
            SeamBy::Id { overlap, .. } => {
                let from = compared_from(c, overlap);
                let held = if *history.pinned() == scan.pinned {
                    HeldIds::read(conf, source, history.as_ref(), from)?
                } else {
                    let pinned = source::history(conf, source, Some(&scan.pinned))?;
                    HeldIds::read(conf, source, pinned.as_ref(), from)?
                };
                tracing::info!(source = conf.name, ids = held.len(), "ids of the overlap");
                Rule::Id { from, column: source.id_column.expect("a seam by id has an id"), held }
            }
        };
        Ok(Seam { rule })
    }

    /// What becomes of each record of a partition.
    pub fn judge(&self, records: &Records, stamped: &[Stamped], partition: &PartitionPlan) -> Vec<Verdict> {
        let by_time = |from: MatchTime| {
            let before = move |s: &Stamped| s.m.is_some_and(|m| m < from);
            stamped.iter().map(move |s| if before(s) { Verdict::Before } else { Verdict::Taken })
        };
        match &self.rule {
            Rule::All => vec![Verdict::Taken; records.len()],
            Rule::Offset => {
                let offsets = records.offsets.as_deref().unwrap_or_default();
                let held = |offset: &Offset| partition.history_offset.is_some_and(|last| *offset <= last);
                offsets.iter().map(|offset| if held(offset) { Verdict::Held } else { Verdict::Taken }).collect()
            }
            Rule::Time { from } => by_time(*from).collect(),
            Rule::Id { from, column, held } => {
                let held = held.holds(records, *column).into_iter().zip(stamped);
                // What has no `m` has no id that decoded either, or no times: it is told as a dead letter.
                let held = held.map(|(held, s)| held && s.m.is_some());
                let by_time = by_time(*from).zip(held);
                by_time.map(|(v, held)| if v == Verdict::Taken && held { Verdict::Held } else { v }).collect()
            }
        }
    }
}
