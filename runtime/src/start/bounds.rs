//! Where reading starts in each partition of a stream, and whether it reaches back to where the history ends.

use headwater_clocks::{Arrival, Eff, MatchTime, Offset, Span, Time, WallClock};
use headwater_connectors::Records;
use headwater_connectors::stream::{self, Bounds, Start, Stream};

use super::first_pass::Seen;
use crate::base::failure::Failure;
use crate::catalog::opened::Source;
use crate::ingest::seam::{Seam, Verdict};
use crate::ingest::stamp::{Stamped, Stamper};
use crate::job::{self, SeamBy};
use crate::plan::scan::{PartitionPlan, Scan};

/// The number of the offset before one, for messages.
fn before(offset: Offset) -> i64 {
    offset.number() - 1
}

/// A partition from the first record held.
fn held(bounds: &Bounds) -> PartitionPlan {
    PartitionPlan { end: bounds.end, ..PartitionPlan::unknown(bounds.partition, bounds.earliest) }
}

/// Where reading starts in each partition; what is missing goes to `gaps`.
pub fn starts(
    conf: &job::Source,
    source: &Source,
    stream: &dyn Stream,
    bounds: &[Bounds],
    seen: &Seen,
    gaps: &mut Vec<String>,
    warnings: &mut Vec<String>,
) -> Result<Vec<PartitionPlan>, Failure> {
    let until = conf.history.as_ref().and_then(|h| h.complete_until);
    let mut plans: Vec<PartitionPlan> = bounds.iter().map(held).collect();
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
            let held = seen.last_offset.next().number().max(0) as u64;
            if seen.rows < held {
                let holes = held - seen.rows;
                warnings.push(format!(
                    "partition {partition}: the history has {} rows up to offset {}: {holes} offsets are not in it",
                    seen.rows, seen.last_offset
                ));
            }
        }
        for (plan, bounds) in plans.iter_mut().zip(bounds) {
            let wanted = plan.history_offset.map_or(Offset::at(0), Offset::next);
            let name = stream.name();
            if wanted < bounds.earliest {
                gaps.push(format!(
                    "{name}, partition {}: offsets {wanted}..{} are gone, the earliest held is {}",
                    plan.partition,
                    before(bounds.earliest),
                    bounds.earliest
                ));
            } else if wanted > bounds.end {
                gaps.push(format!(
                    "{name}, partition {}: the history ends at offset {}, the topic at {} (another topic?)",
                    plan.partition,
                    before(wanted),
                    before(bounds.end)
                ));
            }
            plan.start = wanted.clamp(bounds.earliest, bounds.end.max(bounds.earliest));
        }
        return Ok(plans);
    }
    let ends = until.or(seen.newest.map(MatchTime::from));
    let overlap = if let SeamBy::Id { overlap, .. } = conf.seam.by { overlap } else { Span::ZERO };
    let by_stamps = conf.arrival_time.is_none() || stream.stamped_by_broker()?;
    if let Some(ends) = ends.filter(|_| by_stamps) {
        let margin = ends - overlap - conf.future_limit;
        for (plan, offset) in plans.iter_mut().zip(stream.offsets_at(Arrival::from_us(margin.us()))?) {
            plan.start = plan.start.max(offset.unwrap_or(plan.start));
        }
    }
    let reaches = Reaches { from: ends, until: until.is_some() };
    for (plan, bounds) in plans.iter().zip(bounds).filter(|(_, b)| b.earliest > Offset::at(0)) {
        reaches.check(conf, source, stream, plan, bounds, gaps, warnings)?;
    }
    Ok(plans)
}

/// A seam by time or id: does a partition that has lost its first records still reach back far enough?
struct Reaches {
    from: Option<MatchTime>,
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
        let spared = match (stream.retention()?, self.from) {
            (Some(retention), Some(from)) => WallClock::now().past(from) < retention,
            _ => false,
        };
        if gap && spared {
            warnings.push(format!("{name}, partition {partition}: it no longer starts at 0, but its retention cannot have reached the seam yet"));
        } else if gap {
            let since = self.from.map_or_else(String::new, |from| format!(" from {from}"));
            gaps.push(format!(
                "{name}, partition {partition}: nothing is held{since} to {m} (offset {})",
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
    end: Offset,
    wanted: impl Fn(&Records, &[Stamped]) -> Vec<bool>,
) -> Result<Option<Stamped>, Failure> {
    let stamper = Stamper { source, future_limit: conf.future_limit, own: source.stream_own() };
    let mut reader = stream.reader(&[start], &source.wanted)?;
    while let Some(records) = stream::next(stream, reader.as_mut(), start.partition, end, FIRST_RECORD_BYTES)? {
        let offsets = records.offsets.clone().unwrap_or_default();
        let stamped = stamper.stamp(&records, WallClock::now());
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
pub fn first_eff(
    conf: &job::Source,
    source: &Source,
    stream: &dyn Stream,
    plan: &Scan,
    bounds: &[Bounds],
) -> Result<Option<Eff>, Failure> {
    let seam = Seam::open(conf, source, plan)?;
    let mut smallest: Option<Eff> = None;
    for (partition, bounds) in plan.partitions.iter().zip(bounds) {
        let start = Start { partition: partition.partition, offset: partition.start };
        let taken = |records: &Records, stamped: &[Stamped]| {
            let verdicts = seam.judge(records, stamped, partition).into_iter().zip(stamped);
            verdicts.map(|(verdict, s)| verdict == Verdict::Taken && s.clock().is_some()).collect()
        };
        let first = first_record(conf, source, stream, start, bounds.end, taken)?;
        if let Some(eff) = first.and_then(|stamped| stamped.clock()).map(Eff::from) {
            smallest = Some(smallest.map_or(eff, |s| s.min(eff)));
        }
    }
    Ok(smallest)
}
