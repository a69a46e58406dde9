//! Rows put back into the order of the spine, beside its own columns, and written.

use arrow::array::types::UInt64Type;
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use headwater_connectors::table::TableWriter;

use super::spine::Spine;
use super::sweep::{BLOCK_ROWS, GroupRows, NUMBER, Rows};
use super::watch::{Phase, Watch};
use super::workers::Workers;
use crate::base::failure::Failure;

/// `total`: rows of the spine when it was first read.
pub fn write(
    spine: &Spine,
    rows: &Rows,
    out: &mut TableWriter,
    (workers, watch): (&Workers, &Watch),
    total: u64,
) -> Result<(), Failure> {
    watch.enter(Phase::Write, Some(total));
    let mut at = 0;
    let mut block: Vec<ArrayRef> = vec![];
    for batch in spine.table.read(None)? {
        workers.check()?;
        let batch = batch?;
        let mut from = 0;
        while from < batch.num_rows() {
            let within = at % BLOCK_ROWS;
            if at >= total {
                return Err(changed());
            }
            if within == 0 {
                block = columns(rows, at, total)?;
            }
            let count = (batch.num_rows() - from).min((BLOCK_ROWS - within) as usize);
            let appended = block.iter().map(|column| column.slice(within as usize, count));
            out.write(&spine.joined(&batch.slice(from, count), appended)?)?;
            from += count;
            at += count as u64;
            watch.add(count);
        }
    }
    if at == total { Ok(()) } else { Err(changed()) }
}

fn changed() -> Failure {
    Failure::Running("the spine was changed while it was read: it has another number of rows now".to_owned())
}

/// All columns of the block that begins with the row `first`.
fn columns(rows: &Rows, first: u64, total: u64) -> Result<Vec<ArrayRef>, Failure> {
    let count = BLOCK_ROWS.min(total - first) as usize;
    let mut columns = vec![];
    for group in &rows.groups {
        columns.extend(in_order(group, first, count)?.columns()[NUMBER + 1..].iter().cloned());
    }
    Ok(columns)
}

/// The rows of a block of a group, as the spine has them.
fn in_order(group: &GroupRows, first: u64, count: usize) -> Result<RecordBatch, Failure> {
    let parts = group.parted.part((first / BLOCK_ROWS) as usize)?;
    // What nobody asked for has the empty row.
    let mut places = vec![(parts.len(), 0); count];
    for (part, rows) in parts.iter().enumerate() {
        let numbers = rows.column(NUMBER).as_primitive::<UInt64Type>().values();
        numbers.iter().enumerate().for_each(|(row, number)| places[(number - first) as usize] = (part, row));
    }
    let all: Vec<&RecordBatch> = parts.iter().chain([&group.empty]).collect();
    interleave_record_batch(&all, &places).map_err(|e| Failure::Running(format!("putting rows in order: {e}")))
}
