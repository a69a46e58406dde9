//! Events that are held on their way to groups: records as they were read, and beside their columns what they look up.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{interleave_record_batch, take_record_batch};
use arrow::datatypes::{Field, Schema};
use headwater_clocks::{Eff, EventTime, Offset, Span, Tick};
use headwater_connectors::format::text::row_text;
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_connectors::{Payload, Records};

use super::admit::Admitted;
use super::log_position::LogPositions;
use super::selection::{pick, row_bytes};
use super::shape::Batch;
use super::stamp::Stamped;
use crate::base::id::{GroupId, IdVec, ScanId, SourceId};
use crate::catalog::computed::is_computed;

/// Records of a scan of which some group looks something up, or that replace one another.
pub struct Raw {
    pub source: SourceId,
    pub scan: ScanId,
    pub of_history: bool,
    /// With the columns that were read of the source; of a history perhaps more than of a stream.
    pub records: Records,
    pub stamped: Vec<Stamped>,
    pub effs: Vec<Option<Eff>>,
    pub visible: Vec<Tick>,
    pub positions: Vec<(Option<i64>, Option<Offset>)>,
    /// By record: the reasons for which it is a dead letter already.
    pub told: Vec<Told>,
    /// Windows that closed before them were gone when these were read.
    pub horizons: IdVec<ScanId, Eff>,
    /// The records that a group may hold.
    pub asked: Vec<(GroupId, Vec<u32>)>,
    /// Of records that replace one another, whoever asks for them: the key of each.
    pub keys: Option<BinaryArray>,
}

/// About how many bytes a record has in columns of its own, once it stands beside others.
pub fn bytes_of_row((raw, row): &RawRow) -> usize {
    const FIXED: usize = 64;
    let varies = |column: &&ArrayRef| column.data_type().primitive_width().is_none();
    FIXED
        + raw
            .records
            .batch
            .columns()
            .iter()
            .filter(varies)
            .map(|column| row_bytes(column, *row as usize))
            .sum::<usize>()
}

/// The reasons for which a record is a dead letter already, a bit each. Whoever copies the record shares it.
#[derive(Clone, Debug)]
pub struct Told {
    some: Arc<[AtomicU8; TOLD_TOGETHER]>,
    at: u8,
}

/// Of so many records the reasons lie together. Of a batch few records are kept for long, and each keeps no more than these.
const TOLD_TOGETHER: usize = 32;

impl Told {
    /// By record, of what is told of each.
    pub fn each(reasons: impl Iterator<Item = u8>) -> Vec<Told> {
        let reasons: Vec<u8> = reasons.collect();
        let together = |of: &[u8]| {
            let some = std::array::from_fn(|at| AtomicU8::new(of.get(at).copied().unwrap_or(0)));
            let some = Arc::new(some);
            (0..of.len() as u8).map(move |at| Told { some: some.clone(), at })
        };
        reasons.chunks(TOLD_TOGETHER).flat_map(together).collect()
    }

    pub fn reasons(&self) -> u8 {
        self.own().load(Ordering::Relaxed)
    }

    /// Whether these are new.
    pub fn add(&self, reasons: u8) -> bool {
        self.own().fetch_or(reasons, Ordering::Relaxed) & reasons == 0
    }

    fn own(&self) -> &AtomicU8 {
        &self.some[usize::from(self.at)]
    }
}

impl Raw {
    /// `asked`: the records that each group may hold; `told`: of each the reasons that are told. `None`: nobody asks for any.
    pub fn of(
        (source, admitted): (SourceId, &Admitted),
        Batch { records, stamped }: Batch,
        positions: &LogPositions,
        mut asked: Vec<(GroupId, Vec<u32>)>,
        told: &dyn Fn(u32) -> u8,
    ) -> Option<Raw> {
        let mut rows: Vec<u32> = asked.iter().flat_map(|(_, rows)| rows.iter().copied()).collect();
        rows.sort_unstable();
        rows.dedup();
        if rows.is_empty() {
            return None;
        }
        let place = |row: &u32| rows.binary_search(row).expect("one of those that are asked for") as u32;
        asked.iter_mut().for_each(|(_, asked)| asked.iter_mut().for_each(|row| *row = place(row)));
        Some(Raw { asked, ..Raw::some((source, admitted), Batch { records, stamped }, positions, &rows, told) })
    }

    /// Some records of a batch, for nobody yet. `told`: of each the reasons that are told.
    pub fn some(
        (source, admitted): (SourceId, &Admitted),
        Batch { records, stamped }: Batch,
        positions: &LogPositions,
        rows: &[u32],
        told: &dyn Fn(u32) -> u8,
    ) -> Raw {
        let each = || rows.iter().map(|row| *row as usize);
        Raw {
            source,
            scan: admitted.scan,
            of_history: !admitted.is_of_stream(),
            records: take_records(records, rows),
            stamped: each().map(|row| stamped[row]).collect(),
            effs: each().map(|row| admitted.effs[row]).collect(),
            visible: each().map(|row| admitted.visible[row]).collect(),
            positions: each().map(|row| positions.get(row)).collect(),
            told: Told::each(rows.iter().map(|row| told(*row))),
            horizons: admitted.horizons.clone(),
            asked: vec![],
            keys: None,
        }
    }

    /// The event time of a record.
    pub fn ts(&self, row: u32) -> EventTime {
        self.stamped[row as usize].ts.unwrap_or(EventTime::BEFORE_ALL)
    }

    /// The dead letter that a record is for a reason.
    pub fn dead_letter(&self, source: &str, row: u32, reason: &str, late_by: Option<Option<Span>>) -> DeadLetter {
        let i = row as usize;
        let (partition, offset) = self.positions[i];
        let payload = match &self.records.payload {
            Payload::Raw(raw) => raw.value(i).to_vec(),
            Payload::Row => {
                let fields = self.records.batch.schema_ref().fields().iter().enumerate();
                let read = fields.filter(|(_, field)| !is_computed(field.name())).map(|(at, _)| at);
                row_text(&self.records.batch, read, i).into_bytes()
            }
        };
        DeadLetter {
            source: source.to_owned(),
            reason: reason.to_owned(),
            partition: partition.and_then(|partition| i32::try_from(partition).ok()),
            offset,
            arrival: self.stamped[i].a,
            payload,
            late_by,
        }
    }
}

/// Some of them.
pub fn take_records(records: &Records, rows: &[u32]) -> Records {
    if rows.len() == records.len() && (0..).zip(rows).all(|(at, row)| at == *row) {
        return records.clone();
    }
    let at = UInt32Array::from(rows.to_vec());
    let each = |all: &BooleanBuffer| rows.iter().map(|row| all.value(*row as usize)).collect::<BooleanBuffer>();
    let payload = match &records.payload {
        Payload::Raw(raw) => {
            let taken = pick(&(Arc::new(raw.clone()) as ArrayRef), Some(&at));
            Payload::Raw(arrow::array::AsArray::as_binary(&taken).clone())
        }
        Payload::Row => Payload::Row,
    };
    Records {
        batch: take_record_batch(&records.batch, &at).expect("rows of its own"),
        undecoded: records.undecoded.iter().map(|all| all.as_ref().map(each)).collect(),
        malformed: records.malformed.as_ref().map(each),
        // No event is of one.
        tombstones: None,
        removed_at: None,
        partition: records.partition,
        offsets: records.offsets.as_ref().map(|all| rows.iter().map(|row| all[*row as usize]).collect()),
        stamps: records.stamps.as_ref().map(|all| rows.iter().map(|row| all[*row as usize]).collect()),
        payload,
        bytes: records.bytes,
    }
}

/// A record of some batch.
pub type RawRow = (Rc<Raw>, u32);

/// Some records of one source, side by side: their first so many columns, which streams and histories have alike.
pub fn gather(rows: &[RawRow], columns: usize) -> Records {
    let mut batches: Vec<&Rc<Raw>> = vec![];
    let mut places = Vec::with_capacity(rows.len());
    for (raw, row) in rows {
        let known = batches.last().is_some_and(|last| Rc::ptr_eq(last, raw));
        let at = match known {
            true => batches.len() - 1,
            false => batches.iter().position(|known| Rc::ptr_eq(known, raw)).unwrap_or_else(|| {
                batches.push(raw);
                batches.len() - 1
            }),
        };
        places.push((at, *row as usize));
    }
    let own: Vec<usize> = (0..columns).collect();
    let parts: Vec<RecordBatch> =
        batches.iter().map(|raw| raw.records.batch.project(&own).expect("columns of its own")).collect();
    // One that is taken back and comes once more is there twice.
    let whole = parts.len() == 1
        && places.len() == parts[0].num_rows()
        && places.iter().enumerate().all(|(at, (_, row))| at == *row);
    let batch = match whole {
        true => parts[0].clone(),
        false => interleave_record_batch(&parts.iter().collect::<Vec<_>>(), &places).expect("columns of one source"),
    };
    let undecoded = |column: usize| {
        let of_batch = |at: usize| batches[at].records.undecoded[column].as_ref();
        let any = (0..batches.len()).any(|at| of_batch(at).is_some());
        let failed = |(at, row): &(usize, usize)| of_batch(*at).is_some_and(|all| all.value(*row));
        any.then(|| places.iter().map(failed).collect::<BooleanBuffer>())
    };
    Records::of_rows(batch, (0..columns).map(undecoded).collect())
}

/// Records with one more column. `failed`: where it did not decode.
pub fn with_column(records: Records, name: &str, values: ArrayRef, failed: Option<BooleanArray>) -> Records {
    let mut fields = records.batch.schema_ref().fields().to_vec();
    fields.push(Arc::new(Field::new(name, values.data_type().clone(), true)));
    let mut columns = records.batch.columns().to_vec();
    columns.push(values);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).expect("as many values as records");
    let mut undecoded = records.undecoded.clone();
    undecoded.push(failed.filter(|failed| failed.true_count() > 0).map(|failed| failed.values().clone()));
    debug_assert!(batch.columns().iter().all(|column| column.len() == batch.num_rows()));
    Records { batch, undecoded, ..records }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_a_record_is_told_of_its_copies() {
        let all = Told::each((0..100).map(|row| row % 2));
        let copies = all.clone();
        assert!(all[33].add(2) && !copies[33].add(3), "both bits are told");
        for (row, (told, copy)) in (0..).zip(all.iter().zip(&copies)) {
            let expected = if row == 33 { 3 } else { row % 2 };
            assert_eq!((told.reasons(), copy.reasons()), (expected, expected), "{row}");
        }
    }
}
