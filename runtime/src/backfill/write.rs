//! Rows put back into the order of the spine, beside its own columns, and written; a block is put in order while the one before it is written.

use std::sync::mpsc::{Receiver, sync_channel};

use arrow::array::types::UInt64Type;
use arrow::array::{AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use headwater_connectors::table::TableWriter;
use headwater_connectors::threads::guarded;
use headwater_expression::ROWS_MAX;
use headwater_operators::probe::rows::{FIRST_COLUMN, NUMBER};

use super::derive::with_derived;
use super::spine::Spine;
use super::sweep::{BLOCK_ROWS, GroupRows};
use super::watch::{Phase, Watch};
use super::workers::Workers;
use crate::base::failure::Failure;
use crate::base::id::RowsId;
use crate::catalog::opened::Opened;

/// `total`: rows of the spine when it was first read. Returns how many rows have a null since a derived column failed.
pub fn write(
    opened: &Opened,
    (spine, rows): (&Spine, &[GroupRows]),
    out: &mut TableWriter,
    (workers, watch): (&Workers, &Watch),
    total: u64,
) -> Result<u64, Failure> {
    watch.enter(Phase::Write, Some(total));
    std::thread::scope(|scope| {
        let (sender, blocks) = sync_channel(0);
        scope.spawn(move || {
            let mut all = (0..total).step_by(BLOCK_ROWS as usize);
            // Where nobody takes it, writing has failed.
            all.try_for_each(|first| sender.send(guarded(|| in_block(rows, first, total))))
        });
        write_blocks(opened, (spine, blocks), out, (workers, watch), total)
    })
}

/// By group: the rows of a block.
type Block = Result<Vec<RecordBatch>, Failure>;

fn write_blocks(
    opened: &Opened,
    (spine, blocks): (&Spine, Receiver<Block>),
    out: &mut TableWriter,
    (workers, watch): (&Workers, &Watch),
    total: u64,
) -> Result<u64, Failure> {
    let (mut at, mut failures) = (0, 0);
    let mut block: Vec<RecordBatch> = vec![];
    let derives = |rows: &RowsId| opened.group(*rows).is_some_and(|group| !group.derived.is_empty());
    let rows_at_once = if spine.groups.iter().any(|(rows, _)| derives(rows)) { ROWS_MAX } else { usize::MAX };
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
                block = blocks.recv().unwrap_or_else(|_| Err(changed()))?;
            }
            let count = (batch.num_rows() - from).min((BLOCK_ROWS - within) as usize).min(rows_at_once);
            let own = batch.slice(from, count);
            let mut appended = vec![];
            for ((group, set), rows) in spine.groups.iter().zip(&block) {
                let rows = rows.slice(within as usize, count);
                let Some(open) = opened.group(*group) else {
                    appended.extend_from_slice(&rows.columns()[FIRST_COLUMN..]);
                    continue;
                };
                let of_group = with_derived(open, &spine.keys[*set], &own, &rows);
                let (columns, failed) =
                    of_group.map_err(|e| Failure::Running(format!("computing derived columns: {e}")))?;
                appended.extend(columns);
                failures += failed;
            }
            out.write(&spine.joined(&own, appended.into_iter())?)?;
            from += count;
            at += count as u64;
            watch.add(count);
        }
    }
    if at == total { Ok(failures) } else { Err(changed()) }
}

fn changed() -> Failure {
    Failure::Running("the spine was changed while it was read: it has another number of rows now".to_owned())
}

/// The block that begins with the row `first`.
fn in_block(rows: &[GroupRows], first: u64, total: u64) -> Block {
    let count = BLOCK_ROWS.min(total - first) as usize;
    rows.iter().map(|group| in_order(group, first, count)).collect()
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
