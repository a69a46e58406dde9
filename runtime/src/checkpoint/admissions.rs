//! Admissions: at which ticks records came in that were read after `T` had passed their own, so that a backfill can tell what was
//! served. A log beside the checkpoint, which it is of: what is read again after a restart is admitted anew.
//!
//! | column | what |
//! |---|---|
//! | `_ts` (int64) | the tick from which on the record counts, in microseconds |
//! | `_visible` (int64) | the tick that was its own |
//! | `_source` (uint64) | what the records of its source are: a hash of the text of `identity` |
//! | `_partition` (int32), `_offset` (int64) | the record |
//!
//! ```text
//! read -> pending -> (the feed moves on: they are behind the cut) settled -> (a checkpoint) a file of it
//! ```
//!
//! Only what a trailing or lifetime window still held at the record's own tick is written down, and kept for `admissions_keep`.

use std::sync::Arc;

use arrow::array::types::{Int32Type, Int64Type, UInt64Type};
use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, UInt64Array};
use headwater_clocks::{EventTime, Offset, Span, Tick, Time};
use headwater_connectors::storage::{make_dir, sync_dir};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::contribution::StateFile;
use super::files::failed;
use super::row_log::RowLog;
use super::store::StateStore;
use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, Generation, Id, IdVec, ScanId, WorkerId};
use crate::base::peer::Peer;
use crate::plan::scan::Scan;

/// So many settled ones are written at once.
const WRITTEN_AT_ONCE: usize = 16 << 10;

/// A record that was admitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admission {
    /// The tick from which on it counts.
    pub tick: Tick,
    /// The tick that was its own.
    pub visible: Tick,
    /// Of its source: see [`source_hash`].
    pub source: u64,
    pub partition: i32,
    pub offset: Offset,
}

/// What the records of a scan are, as a number.
pub fn source_hash(scan: &Scan) -> u64 {
    xxh3_64(scan.identity.as_bytes())
}

/// Which events some trailing or lifetime window holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Held {
    Younger(Span),
    All,
}

impl Held {
    fn holds(self, ts: Option<EventTime>, t: Tick) -> bool {
        match self {
            Held::All => true,
            Held::Younger(longest) => ts.is_none_or(|ts| ts > t.left(longest)),
        }
    }
}

/// The log of one worker.
pub struct AdmissionLog {
    store: Arc<StateStore>,
    worker: WorkerId,
    log: RowLog,
    /// By scan.
    sources: IdVec<ScanId, (u64, Held)>,
    /// Of records that no checkpoint can have yet; and of those that the next one has.
    pending: Vec<Admission>,
    settled: Vec<Admission>,
}

impl AdmissionLog {
    /// `earlier`: the files of the checkpoint that a start goes on from, of which each worker takes some, whoever wrote them; `sources`:
    /// by scan, a hash of its source, and what of it windows hold.
    pub fn open<'a>(
        (store, generation): (&Arc<StateStore>, Generation),
        peer: Peer,
        keep: Span,
        sources: IdVec<ScanId, (u64, Held)>,
        earlier: impl Iterator<Item = &'a StateFile>,
    ) -> AdmissionLog {
        let like = StateFile::of_nobody(format!("admissions-worker-{}", peer.worker.number()), peer.of_files());
        let mut log = RowLog::new(store.clone(), generation, like, keep);
        earlier
            .filter(|file| !file.has_owner())
            .skip(peer.worker.index())
            .step_by(peer.peers)
            .for_each(|file| log.carry(file));
        let (pending, settled) = (vec![], vec![]);
        AdmissionLog { store: store.clone(), worker: peer.worker, log, sources, pending, settled }
    }

    /// A record of a scan was admitted at `tick`, after `visible`. `ts`: a table's version may have none.
    pub fn add(
        &mut self,
        scan: ScanId,
        (partition, offset): (i32, Offset),
        ts: Option<EventTime>,
        (visible, tick): (Tick, Tick),
    ) {
        let (source, held) = self.sources[scan];
        if held.holds(ts, visible) {
            self.pending.push(Admission { tick, visible, source, partition, offset });
        }
    }

    /// The next checkpoint has all that was read.
    pub fn settle(&mut self) -> Result<(), Failure> {
        self.settled.append(&mut self.pending);
        if self.settled.len() >= WRITTEN_AT_ONCE { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), Failure> {
        if self.settled.is_empty() {
            return Ok(());
        }
        let rows = batch(&std::mem::take(&mut self.settled));
        self.log.write(&rows)
    }

    /// The files of a checkpoint, which has what is settled.
    pub fn cut(&mut self, number: CheckpointNumber, t: Tick) -> Result<Vec<StateFile>, Failure> {
        self.write()?;
        let dir = self.store.written(number, self.worker);
        make_dir(&dir).map_err(|e| failed("creating", &dir, e))?;
        let files = self.log.cut(number, t)?;
        sync_dir(&dir).map_err(|e| failed("writing to", &dir, e))?;
        Ok(files)
    }
}

fn batch(admissions: &[Admission]) -> RecordBatch {
    let ticks = |of: fn(&Admission) -> Tick| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(admissions.iter().map(|a| of(a).us())))
    };
    let sources = UInt64Array::from_iter_values(admissions.iter().map(|a| a.source));
    let partitions = Int32Array::from_iter_values(admissions.iter().map(|a| a.partition));
    let offsets = Int64Array::from_iter_values(admissions.iter().map(|a| a.offset.number()));
    let columns: [(&str, ArrayRef); 5] = [
        ("_ts", ticks(|a| a.tick)),
        ("_visible", ticks(|a| a.visible)),
        ("_source", Arc::new(sources)),
        ("_partition", Arc::new(partitions)),
        ("_offset", Arc::new(offsets)),
    ];
    RecordBatch::try_from_iter(columns).expect("columns of one length")
}

/// The admissions of a batch of a file. `None`: it is none of this log.
pub fn read(rows: &RecordBatch) -> Option<Vec<Admission>> {
    let (ticks, visible) = (rows.column(0).as_primitive_opt::<Int64Type>()?, rows.column_by_name("_visible")?);
    let visible = visible.as_primitive_opt::<Int64Type>()?;
    let sources = rows.column_by_name("_source")?.as_primitive_opt::<UInt64Type>()?;
    let partitions = rows.column_by_name("_partition")?.as_primitive_opt::<Int32Type>()?;
    let offsets = rows.column_by_name("_offset")?.as_primitive_opt::<Int64Type>()?;
    let one = |row: usize| Admission {
        tick: Tick::from_us(ticks.value(row)),
        visible: Tick::from_us(visible.value(row)),
        source: sources.value(row),
        partition: partitions.value(row),
        offset: Offset::at(offsets.value(row)),
    };
    Some((0..rows.num_rows()).map(one).collect())
}

/// What a manifest says of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedLog {
    /// Of rows up to it not every admission is known. `None`: of every row, but for what `admissions_keep` says.
    pub unknown_upto: Option<Tick>,
    /// `(from, upto)`: what was served from after the first to the second was that of a run that was killed, and its records were
    /// admitted anew.
    pub replayed: Vec<(Tick, Tick)>,
}

impl SavedLog {
    /// What is known from a start on. `before`: what was by the checkpoint that it goes on from, which is of `t`; `published`: up to
    /// where there were rows.
    pub fn go_on(before: Option<&SavedLog>, t: Option<Tick>, published: Option<Tick>, keep: Span) -> SavedLog {
        let Some(mut kept) = before.cloned() else {
            return SavedLog { unknown_upto: published.max(t), replayed: vec![] };
        };
        kept.replayed.retain(|(_, upto)| t.is_none_or(|t| *upto > t - keep));
        match (t, published) {
            (Some(t), Some(upto)) if upto > t => kept.replayed.push((t, upto)),
            // The history is read once more: nothing of what was admitted is left.
            (None, Some(upto)) => kept.unknown_upto = kept.unknown_upto.max(Some(upto)),
            _ => {}
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_read_as_they_were_written() {
        let one = |tick: i64| Admission {
            tick: Tick::from_us(tick),
            visible: Tick::from_us(tick - 10),
            source: u64::MAX - tick as u64,
            partition: tick as i32,
            offset: Offset::at(tick * 3),
        };
        let all: Vec<Admission> = [10, 20, 70].map(one).to_vec();
        assert_eq!(read(&batch(&all)).unwrap(), all);
        let other: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert_eq!(read(&RecordBatch::try_from_iter([("_ts", other)]).unwrap()), None);
    }

    #[test]
    fn what_a_start_makes_of_it() {
        let (at, keep) = (|us| Some(Tick::from_us(us)), Span::from_us(100));
        let kept = |unknown_upto, replayed: &[(i64, i64)]| {
            let replayed = replayed.iter().map(|(a, b)| (Tick::from_us(*a), Tick::from_us(*b))).collect();
            SavedLog { unknown_upto, replayed }
        };
        let known = kept(None, &[]);
        for (about, before, t, published, expected) in [
            ("a job's first start", None, None, None, known.clone()),
            ("it was not written down before", None, at(50), at(60), kept(at(60), &[])),
            ("stopped, and started again", Some(&known), at(50), at(50), known.clone()),
            ("killed at 60", Some(&known), at(50), at(60), kept(None, &[(50, 60)])),
            ("killed before its first checkpoint", Some(&known), None, at(60), kept(at(60), &[])),
            ("long ago", Some(&kept(None, &[(50, 60)])), at(160), at(160), known.clone()),
        ] {
            assert_eq!(SavedLog::go_on(before, t, published, keep), expected, "{about}");
        }
    }

    #[test]
    fn what_no_window_holds_is_not_written_down() {
        let (ts, t) = (Some(EventTime::from_us(100)), Tick::from_us(160));
        assert!(Held::All.holds(ts, t));
        assert!(Held::Younger(Span::from_us(61)).holds(ts, t) && !Held::Younger(Span::from_us(60)).holds(ts, t));
    }
}
