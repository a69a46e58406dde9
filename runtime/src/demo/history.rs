//! The history: a month of payments in Parquet, a file a day. Of its newest rows it says where in the topic they are; what is
//! older came before this topic.
//!
//! ```text
//! history   day 1 ... day 30 | the newest rows, with partition and offset
//! topic                      | the same payments again             | live payments
//! ```

use std::fs::File;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arrow::array::{
    ArrayRef, Decimal128Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::error::ArrowError;
use headwater_clocks::{Arrival, EventTime, Span, Time, WallClock};
use headwater_connectors::threads::guarded;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::payments::{PARTITIONS, Payment, card_name, merchant_name};
use crate::base::failure::Failure;

pub const DAYS: usize = 30;
const DAY_US: i64 = 86_400_000_000;

pub struct History {
    pub events: u64,
    pub cards: u32,
    pub ended: WallClock,
    /// How many of the newest the topic holds too.
    pub overlap: usize,
    /// The first offset of the topic's partitions that is free.
    pub free: [i64; PARTITIONS],
}

/// What was written.
pub struct Written {
    pub approved: u64,
    /// The payments that the topic is to hold, in its order.
    pub in_topic: Vec<Payment>,
}

impl History {
    /// Writes the files into `dir`. `written`: the rows so far.
    pub fn write(&self, dir: &Path, written: &AtomicU64) -> Result<Written, Failure> {
        let failed =
            |e: &dyn std::fmt::Display| Failure::Running(format!("writing the history {}: {e}", dir.display()));
        std::fs::create_dir_all(dir).map_err(|e| failed(&e))?;
        let next = AtomicUsize::new(0);
        let work = || -> Result<Written, ArrowError> {
            let mut mine = Written { approved: 0, in_topic: vec![] };
            loop {
                let day = next.fetch_add(1, Ordering::Relaxed);
                if day >= DAYS {
                    return Ok(mine);
                }
                let payments = self.day(day);
                mine.approved += payments.iter().filter(|p| p.approved).count() as u64;
                let overlap = if day == DAYS - 1 { self.overlap.min(payments.len()) } else { 0 };
                let offsets = self.offsets(&payments, overlap);
                write_file(&dir.join(format!("day-{:02}.parquet", day + 1)), &payments, &offsets)?;
                written.fetch_add(payments.len() as u64, Ordering::Relaxed);
                mine.in_topic.extend_from_slice(&payments[payments.len() - overlap..]);
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..threads).map(|_| scope.spawn(|| guarded(|| work().map_err(|e| failed(&e))))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
        });
        let mut sum = Written { approved: 0, in_topic: vec![] };
        for one in all {
            let one: Written = one?;
            sum.approved += one.approved;
            sum.in_topic.extend(one.in_topic);
        }
        Ok(sum)
    }

    /// A day's payments, in the order in which the system heard of them.
    fn day(&self, day: usize) -> Vec<Payment> {
        let mut rng = StdRng::seed_from_u64(day as u64);
        let start = self.ended - Span::from_us((DAYS - day) as i64 * DAY_US);
        let count = self.events * (day as u64 + 1) / DAYS as u64 - self.events * day as u64 / DAYS as u64;
        let mut one = |_| {
            let (card, ts) = (rng.random_range(0..self.cards), start + Span::from_us(rng.random_range(1..=DAY_US)));
            Payment::random(&mut rng, card, EventTime::from_us(ts.us()), Arrival::from_us(self.ended.us()))
        };
        let mut payments: Vec<Payment> = (0..count).map(&mut one).collect();
        payments.sort_by_key(|p| p.ingested);
        payments
    }

    /// Where the topic holds the last `overlap` payments.
    fn offsets(&self, payments: &[Payment], overlap: usize) -> Vec<Option<i64>> {
        let mut free = self.free;
        let mut offsets = vec![None; payments.len() - overlap];
        for payment in &payments[payments.len() - overlap..] {
            let next = &mut free[payment.partition()];
            offsets.push(Some(*next));
            *next += 1;
        }
        offsets
    }
}

fn write_file(path: &Path, payments: &[Payment], offsets: &[Option<i64>]) -> Result<(), ArrowError> {
    let batch = batch(payments, offsets)?;
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

fn batch(payments: &[Payment], offsets: &[Option<i64>]) -> Result<RecordBatch, ArrowError> {
    let times = |time: fn(&Payment) -> i64| {
        Arc::new(TimestampMicrosecondArray::from_iter_values(payments.iter().map(time)).with_timezone("UTC"))
    };
    let cards = StringArray::from_iter_values(payments.iter().map(|p| card_name(p.card)));
    let merchants = StringArray::from_iter_values(payments.iter().map(|p| merchant_name(p.merchant)));
    let amounts = Decimal128Array::from_iter_values(payments.iter().map(|p| i128::from(p.cents)));
    let statuses = StringArray::from_iter_values(payments.iter().map(Payment::status));
    let partition = |(p, offset): (&Payment, &Option<i64>)| offset.map(|_| p.partition() as i32);
    let partitions: Int32Array = payments.iter().zip(offsets).map(partition).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("card_id", Arc::new(cards) as ArrayRef, false),
        ("merchant", Arc::new(merchants), false),
        ("amount", Arc::new(amounts.with_precision_and_scale(18, 2)?), false),
        ("status", Arc::new(statuses), false),
        ("ts", times(|p| p.ts.us()), false),
        ("ingested_at", times(|p| p.ingested.us()), false),
        ("kafka_partition", Arc::new(partitions), true),
        ("kafka_offset", Arc::new(Int64Array::from(offsets.to_vec())), true),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_rows_say_where_they_are_in_the_topic() {
        let history =
            History { events: 300, cards: 10, ended: WallClock::from_us(100 * DAY_US), overlap: 4, free: [5, 5, 5] };
        let dir = tempfile::tempdir().unwrap();
        let rows = AtomicU64::new(0);
        let written = history.write(dir.path(), &rows).unwrap();
        assert_eq!((rows.into_inner(), written.in_topic.len()), (300, 4));
        assert!(written.approved > 200, "{}", written.approved);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), DAYS);
        let last = history.day(DAYS - 1);
        assert_eq!(written.in_topic, last[last.len() - 4..]);
        assert!(
            last.iter().all(|p| p.ingested.past(history.ended) <= Span::ZERO && p.ingested.past(p.ts) >= Span::ZERO)
        );
        let offsets = history.offsets(&last, 4);
        assert_eq!(offsets.iter().flatten().count(), 4);
        assert_eq!(offsets[6].map(|o| o >= 5), Some(true));
    }
}
