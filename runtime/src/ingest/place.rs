//! Where records stand in their partition's log.

use headwater_connectors::Records;

use super::stamp::integers;
use crate::catalog::opened::Source;

/// Of a batch of records: those of a stream have a place, those of a history only if the seam's columns say so.
pub enum Places<'a> {
    Log { partition: Option<i32>, offsets: &'a [i64] },
    Columns { partitions: Vec<Option<i64>>, offsets: Vec<Option<i64>> },
    Unknown,
}

impl Places<'_> {
    pub fn of<'a>(source: &Source, records: &'a Records) -> Places<'a> {
        match (&records.offsets, source.seam_columns) {
            (Some(offsets), _) => Places::Log { partition: records.partition, offsets },
            (None, Some((p, o))) => {
                let column = |place: usize| integers(records.batch.column(place));
                Places::Columns { partitions: column(p), offsets: column(o) }
            }
            (None, None) => Places::Unknown,
        }
    }

    /// The partition and the offset of a record.
    pub fn get(&self, i: usize) -> (Option<i64>, Option<i64>) {
        match self {
            Places::Log { partition, offsets } => (partition.map(i64::from), Some(offsets[i])),
            Places::Columns { partitions, offsets } => (partitions[i], offsets[i]),
            Places::Unknown => (None, None),
        }
    }
}
