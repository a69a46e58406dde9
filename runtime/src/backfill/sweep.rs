//! Rows worked out, shard by shard, and parted by the block of the spine that they are for: process 0 gets all of them.

use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::types::UInt64Type;
use arrow::array::{AsArray, RecordBatch};
use headwater_operators::probe::rows::NUMBER;
use headwater_operators::probe::{Enter, Probe};

use super::labels::Labels;
use super::lookups::takes_back;
use super::runs;
use super::shards::{Collector, Owned, Parted, Storage};
use super::watch::Watch;
use super::workers::Workers;
use crate::base::failure::Failure;
use crate::base::id::GroupId;
use crate::catalog::opened::Opened;

/// Rows of the spine that are put together at a time.
pub const BLOCK_ROWS: u64 = 128 << 10;

/// What is swept.
pub struct Swept<'e> {
    pub group: GroupId,
    /// Its labels.
    pub set: usize,
    pub events: Parted<'e>,
}

impl<'e> Swept<'e> {
    /// The groups of some labels, each with its events.
    pub fn all(of: &[(GroupId, usize)], events: Vec<Parted<'e>>) -> Vec<Swept<'e>> {
        of.iter().zip(events).map(|((group, set), events)| Swept { group: *group, set: *set, events }).collect()
    }
}

/// Rows of a group or a view.
pub struct GroupRows<'a> {
    /// By block.
    pub parted: Parted<'a>,
    /// Where nothing is asked for: a key or the time is null.
    pub empty: RecordBatch,
}

impl<'a> GroupRows<'a> {
    /// Of so many labels, none yet. `channel`: on which process 0 gets them.
    pub fn new(empty: RecordBatch, labels: u64, channel: usize, storage: Storage<'a>) -> GroupRows<'a> {
        let blocks = labels.div_ceil(BLOCK_ROWS) as usize;
        let parted = Parted::new(empty.schema(), blocks, storage).shared(Owned::First, channel);
        GroupRows { parted, empty }
    }
}

/// Whether rows are of labels in a block, of so many labels in all.
pub fn are_of_block(rows: &RecordBatch, block: usize, labels: u64) -> bool {
    let first = block as u64 * BLOCK_ROWS;
    let all = first..labels.min(first + BLOCK_ROWS);
    rows.column(NUMBER).as_primitive::<UInt64Type>().values().iter().all(|number| all.contains(number))
}

/// Works out the rows of a group. Returns how many sums did not fit.
pub fn sweep(
    opened: &Opened,
    (enter, labels): (Enter, &Labels),
    Swept { group, set, events }: Swept,
    rows: &GroupRows,
    (workers, watch): (&Workers, &Watch),
) -> Result<u64, Failure> {
    let open = &opened.groups[group];
    let inputs: Vec<_> = open.inputs.iter().map(|input| input.data_type().clone()).collect();
    let probe = || match takes_back(opened, group, enter) {
        true => Probe::corrected(&open.columns, &inputs, enter),
        false => Probe::new(&open.columns, &inputs, enter),
    };
    let (labels, next) = (labels.parted(set), AtomicUsize::new(0));
    let work = |_| shards(probe(), (labels, &events), &rows.parted, &next, (workers, watch));
    Ok(workers.run(work)?.into_iter().sum())
}

fn failed(e: arrow::error::ArrowError) -> Failure {
    Failure::Running(format!("computing rows: {e}"))
}

/// One thread's shards. Returns how many sums did not fit.
fn shards(
    mut probe: Probe,
    (labels, events): (&Parted, &Parted),
    rows: &Parted,
    next: &AtomicUsize,
    (workers, watch): (&Workers, &Watch),
) -> Result<u64, Failure> {
    let mut collector = rows.collector();
    loop {
        let shard = next.fetch_add(1, Ordering::Relaxed);
        if shard >= labels.parts() {
            break;
        }
        workers.check()?;
        let labels = labels.part(shard)?;
        let count: usize = labels.iter().map(RecordBatch::num_rows).sum();
        if count > 0 {
            let of_keys = probe.begin(&labels);
            runs::take(&mut probe, &of_keys, (events, shard))?;
            collect(&mut collector, probe.finish().map_err(failed)?)?;
            watch.add(count);
        }
    }
    collector.finish()?;
    Ok(probe.unfit_sums())
}

/// Parts rows by block.
pub fn collect(collector: &mut Collector, rows: RecordBatch) -> Result<(), Failure> {
    let numbers = rows.column(NUMBER).as_primitive::<UInt64Type>().clone();
    let picks = (0..).zip(numbers.values()).map(|(row, number)| (row, (number / BLOCK_ROWS) as u32));
    collector.add(rows, picks)
}
