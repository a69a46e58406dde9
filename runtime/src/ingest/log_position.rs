//! Where records stand in the log of their partition.

use headwater_clocks::Offset;
use headwater_connectors::Records;

use super::stamp::integers;
use crate::catalog::opened::Source;

/// Of a batch of records: those of a stream have one, those of a history only if the seam's columns say so.
pub enum LogPositions<'a> {
    Log { partition: Option<i32>, offsets: &'a [Offset] },
    Columns { partitions: Vec<Option<i64>>, offsets: Vec<Option<i64>> },
    Unknown,
}

impl LogPositions<'_> {
    pub fn of<'a>(source: &Source, records: &'a Records) -> LogPositions<'a> {
        match (&records.offsets, source.seam_columns) {
            (Some(offsets), _) => LogPositions::Log { partition: records.partition, offsets },
            (None, Some((p, o))) => {
                let is_broken = |row: usize| {
                    [p, o].iter().any(|column| records.undecoded[*column].as_ref().is_some_and(|all| all.value(row)))
                };
                // Where one of the two says nothing, the other one alone does not say where a row stood.
                let known = |(row, value)| if is_broken(row) { None } else { value };
                let column = |column: usize| integers(records.batch.column(column)).into_iter().enumerate().map(known);
                LogPositions::Columns { partitions: column(p).collect(), offsets: column(o).collect() }
            }
            (None, None) => LogPositions::Unknown,
        }
    }

    /// The partition and the offset of a record.
    pub fn get(&self, i: usize) -> (Option<i64>, Option<Offset>) {
        match self {
            LogPositions::Log { partition, offsets } => (partition.map(i64::from), Some(offsets[i])),
            LogPositions::Columns { partitions, offsets } => (partitions[i], offsets[i].map(Offset::at)),
            LogPositions::Unknown => (None, None),
        }
    }
}
