//! Where records stand in the log of their partition.

use headwater_connectors::Records;

use super::stamp::integers;
use crate::base::offset::Offset;
use crate::catalog::opened::Source;

/// Of a batch of records: those of a stream have one, those of a history only if the seam's columns say so.
pub enum LogPositions<'a> {
    Log { partition: Option<i32>, offsets: &'a [i64] },
    Columns { partitions: Vec<Option<i64>>, offsets: Vec<Option<i64>> },
    Unknown,
}

impl LogPositions<'_> {
    pub fn of<'a>(source: &Source, records: &'a Records) -> LogPositions<'a> {
        match (&records.offsets, source.seam_columns) {
            (Some(offsets), _) => LogPositions::Log { partition: records.partition, offsets },
            (None, Some((p, o))) => {
                let column = |column: usize| integers(records.batch.column(column));
                LogPositions::Columns { partitions: column(p), offsets: column(o) }
            }
            (None, None) => LogPositions::Unknown,
        }
    }

    /// The partition and the offset of a record.
    pub fn get(&self, i: usize) -> (Option<i64>, Option<Offset>) {
        match self {
            LogPositions::Log { partition, offsets } => (partition.map(i64::from), Some(Offset::at(offsets[i]))),
            LogPositions::Columns { partitions, offsets } => (partitions[i], offsets[i].map(Offset::at)),
            LogPositions::Unknown => (None, None),
        }
    }
}
