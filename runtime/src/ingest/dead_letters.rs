//! Dead letters: one for each record and reason, whatever the number of groups that give it.

use std::collections::{BTreeMap, BTreeSet};

use headwater_clocks::Span;
use headwater_connectors::Payload;
use headwater_connectors::format::text::row_text;
use headwater_connectors::sink::dead_letters::DeadLetter;

use super::log_position::LogPositions;
use super::shape::{Batch, Refused};
use super::stamp::Reason;
use crate::base::id::{ColumnSetId, GroupId, SourceId};
use crate::catalog::computed::is_computed;
use crate::catalog::opened::Opened;
use crate::observe::status::ProcessStatus;

/// Collects what is refused of one batch of records.
pub struct DeadLetters<'a> {
    name: &'a str,
    source: SourceId,
    refused: BTreeSet<(u32, &'static str)>,
    /// The same by who refuses them: a record that becomes many events is told in parts.
    by_set: BTreeSet<(GroupId, ColumnSetId, &'static str, u32)>,
    /// Of late records: by how much, in the group in which it was the most.
    late_by: BTreeMap<u32, Option<Span>>,
    tally: Tally,
}

/// Counts for `status`: by source and reason, and by group and reason.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    sources: BTreeMap<(SourceId, &'static str), u64>,
    groups: BTreeMap<(GroupId, &'static str), u64>,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        other.sources.iter().for_each(|(key, n)| *self.sources.entry(*key).or_default() += n);
        other.groups.iter().for_each(|(key, n)| *self.groups.entry(*key).or_default() += n);
    }

    /// One more of a group.
    pub fn refused_by(&mut self, group: GroupId, reason: &'static str) {
        *self.groups.entry((group, reason)).or_default() += 1;
    }

    /// One more of a source.
    pub fn refused(&mut self, source: SourceId, reason: &'static str) {
        *self.sources.entry((source, reason)).or_default() += 1;
    }

    /// How many dead letters there are of each source and reason.
    pub fn by_source(&self) -> BTreeMap<(SourceId, String), u64> {
        self.sources.iter().map(|((source, reason), n)| ((*source, (*reason).to_owned()), *n)).collect()
    }

    pub fn add_to(&self, status: &mut ProcessStatus) {
        for ((source, reason), n) in &self.sources {
            *status.sources[*source].dead_letters.entry((*reason).to_owned()).or_default() += n;
        }
        for ((group, reason), n) in &self.groups {
            *status.groups[(*group).into()].dead_letters.entry((*reason).to_owned()).or_default() += n;
        }
    }
}

/// The reasons that groups have. A record is a dead letter at most once for each.
pub const REASONS: [&str; 4] = ["expression", "null key", "long key", "late"];

/// 0: none of a group.
pub fn reason_bit(reason: &str) -> u8 {
    REASONS.iter().position(|known| *known == reason).map_or(0, |at| 1 << at)
}

impl<'a> DeadLetters<'a> {
    pub fn new(opened: &'a Opened, source: SourceId) -> DeadLetters<'a> {
        DeadLetters {
            name: &opened.job.sources[source].name,
            source,
            refused: BTreeSet::new(),
            by_set: BTreeSet::new(),
            late_by: BTreeMap::new(),
            tally: Tally::default(),
        }
    }

    /// What a column set of a group refuses.
    pub fn refused(&mut self, (group, set): (GroupId, ColumnSetId), refused: Refused) {
        let late = refused.late.iter().map(|(row, _)| *row).collect();
        for (row, by) in refused.late {
            let most = self.late_by.entry(row).or_default();
            *most = by.max(*most);
        }
        let by_reason = [
            ("expression", refused.expression),
            ("null key", refused.null_key),
            ("long key", refused.long_key),
            ("late", late),
        ];
        for (reason, rows) in by_reason {
            for row in rows {
                if self.by_set.insert((group, set, reason, row)) {
                    *self.tally.groups.entry((group, reason)).or_default() += 1;
                }
                self.refused.insert((row, reason));
            }
        }
    }

    /// The reasons for which a record is a dead letter already, as `reason_bit` has them.
    pub fn told(&self, row: u32) -> u8 {
        self.refused.range((row, "")..(row + 1, "")).map(|(_, reason)| reason_bit(reason)).sum()
    }

    /// What the source itself refuses.
    pub fn of_source(&mut self, row: usize, reason: Reason) {
        self.refused.insert((row as u32, reason.name()));
    }

    /// The dead letters.
    pub fn write(
        mut self,
        Batch { records, stamped }: Batch,
        log_positions: &LogPositions,
    ) -> (Vec<DeadLetter>, Tally) {
        let fields = records.batch.schema_ref().fields().iter().enumerate();
        // What was worked out is no part of the row.
        let read: Vec<usize> = fields.filter(|(_, field)| !is_computed(field.name())).map(|(at, _)| at).collect();
        let mut dead_letters = Vec::with_capacity(self.refused.len());
        for (row, reason) in self.refused {
            let i = row as usize;
            let (partition, offset) = log_positions.get(i);
            let payload = match &records.payload {
                Payload::Raw(raw) => raw.value(i).to_vec(),
                Payload::Row => row_text(&records.batch, read.iter().copied(), i).into_bytes(),
            };
            *self.tally.sources.entry((self.source, reason)).or_default() += 1;
            dead_letters.push(DeadLetter {
                source: self.name.to_owned(),
                reason: reason.to_owned(),
                partition: partition.and_then(|partition| i32::try_from(partition).ok()),
                offset,
                arrival: stamped[i].a,
                payload,
                late_by: (reason == "late").then(|| self.late_by.get(&row).copied().flatten()),
            });
        }
        (dead_letters, self.tally)
    }
}
