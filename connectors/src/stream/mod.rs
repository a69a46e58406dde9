//! A stream: partitions of records with offsets, that go on while they are read.

pub mod files;
pub mod kafka;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::{Field, SchemaRef};
use headwater_clocks::{Arrival, Offset, Span, WallClock};

use crate::format::Pins;
use crate::settings::{Endpoint, Kind, Settings};
use crate::{Error, Records, Result, Wanted};

/// Every kind of stream. A new one is its file and a line here.
pub static STREAMS: &[&dyn StreamKind] = &[kafka::KAFKA, files::JSONL, files::CSV];

/// A kind of stream.
pub trait StreamKind: Kind {
    /// Reads `[sources.NAME.stream]`.
    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn StreamConfig>;
}

/// A stream as a job has set it.
pub trait StreamConfig: Debug + Send + Sync {
    /// What of it the meaning of a state depends on: a state goes on with a stream of the same identity, wherever that is reached. It is written
    /// down with the state, so it never changes for the same stream.
    fn identity(&self) -> &str;

    /// What it is and where: `topic transactions at localhost:9092`.
    fn describe(&self) -> String;

    /// Whether it reads what lies at a place.
    fn reads(&self, place: &Endpoint) -> bool;

    /// Whether its records have timestamps beside what they hold.
    fn has_stamps(&self) -> bool {
        false
    }

    /// Whether the keys of its records without a value are understood, should there be any.
    fn has_tombstones(&self) -> bool {
        true
    }

    /// Whether its records may be envelopes of Debezium.
    fn has_envelopes(&self) -> bool {
        false
    }

    /// The column in which lies what is known of a record beside its value, if anything is.
    fn metadata(&self) -> Option<Field> {
        None
    }

    /// The columns of its records, where the job lists all of them: no record has another, but for what lies beside its value.
    fn listed(&self) -> Option<&[String]> {
        None
    }

    /// Whether its records say which columns there are, and of which type, so that the job need not.
    fn gives_columns(&self) -> bool {
        false
    }

    /// What a record that is malformed looks like, and what to do about it, where that is plain to see: a sentence.
    fn looks(&self, _value: &[u8]) -> Option<String> {
        None
    }

    /// Those columns, without looking for the stream itself; and what they follow from is pinned. Blocks.
    ///
    /// # Errors
    ///
    /// As of `open`.
    fn columns(&self, _pinned: &mut Pins) -> Result<Option<SchemaRef>> {
        Ok(None)
    }

    /// Finds it. `pinned`: what was found once and stays (see [`Stream::pin`]). Blocks.
    ///
    /// # Errors
    ///
    /// `Config`: it is not there, or cannot be set so. `World`: nobody answers.
    fn open(&self, pinned: &Pins) -> Result<Arc<dyn Stream>>;
}

/// How long records are waited for that a stream should have.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a partition holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Its number.
    pub partition: i32,
    /// The first offset still held.
    pub earliest: Offset,
    /// One past the last offset.
    pub end: Offset,
}

/// Where reading starts (inclusive).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The partition's number.
    pub partition: i32,
    /// The first offset that is read.
    pub offset: Offset,
}

/// For planning. All methods block (with a deadline of their own).
///
/// # Errors
/// Of all methods: `World`, nobody answers in time, or what answers makes no sense; it says what was being done. `Config`: what the job names is
/// not there, or lets nobody in. `Gap`: what is to be read is gone.
#[allow(clippy::missing_errors_doc)]
pub trait Stream: Send + Sync {
    /// How messages name it: `topic transactions`.
    fn name(&self) -> String;

    /// The columns of its records, if its format says them.
    fn schema(&self) -> Option<SchemaRef> {
        None
    }

    /// What a state that was read from it depends on, by what it is kept: the same again has to be given to `open`.
    fn pin(&self) -> Option<(&str, &str)> {
        None
    }

    /// By partition, ascending.
    fn bounds(&self) -> Result<Vec<Bounds>>;

    /// By partition, ascending: the first offset whose record's timestamp is at or after `from`, `None` where the broker
    /// knows no later stamp (then every record held must be looked at).
    fn offsets_at(&self, from: Arrival) -> Result<Vec<Option<Offset>>>;

    /// Whether record timestamps are the broker's own (`message.timestamp.type=LogAppendTime`).
    fn stamped_by_broker(&self) -> Result<bool>;

    /// How long the stream keeps records by time alone, if it does (`retention.ms`).
    fn retention(&self) -> Result<Option<Span>>;

    /// The offset of a partition's first record, as long as it is held.
    fn first_offset(&self) -> Offset {
        Offset::at(0)
    }

    /// Whether it may get partitions while it is read.
    fn grows(&self) -> bool {
        false
    }

    /// The partitions that are there now and none of these, each with the first offset held. Asks once: a broker that is away is not
    /// waited for.
    fn appeared(&self, _known: &BTreeSet<i32>) -> Result<Vec<Start>> {
        Ok(vec![])
    }

    /// A reader of these partitions from these offsets on. One a worker; partitions are disjoint between workers.
    ///
    /// # Errors
    /// `Gap` too: a start is no longer held. `Config`: a wanted column cannot be decoded.
    fn reader(&self, starts: &[Start], wanted: &Wanted) -> Result<Box<dyn Reader>>;
}

/// Reads some partitions of a stream. Lives on one thread and never blocks; a broker that goes away is waited for
/// (logged once, and again when it is back).
pub trait Reader: Send {
    /// The next records of this partition, in order, of about `bytes_max` bytes at most (at least one record, if one is
    /// there). `None`: nothing there now.
    ///
    /// # Errors
    /// `Gap`: retention has removed a start before it was read. `World`: the partition cannot be read any more.
    fn poll(&mut self, partition: i32, bytes_max: usize) -> Result<Option<Records>>;

    /// The next offset that `poll` would return: past every record returned and every offset known to hold none.
    fn position(&self, partition: i32) -> Offset;

    /// The wall-clock time at which the broker last confirmed that nothing lies at or past `position`: a request sent
    /// at that time was answered so. `None`: not at the end, or not known.
    fn end_confirmed(&mut self, partition: i32) -> Option<WallClock>;

    /// The end last seen (one past the last offset), for lag. `None`: not known yet.
    fn end(&self, partition: i32) -> Option<Offset>;

    /// Records without a value (tombstones) passed over so far.
    fn tombstones(&self) -> u64;

    /// Called from another thread when there may be something to poll.
    fn on_ready(&mut self, wake: Box<dyn Fn() + Send + Sync>);
}

/// The next records of a partition, waited for; `None`: it has none before `end`. For planning.
///
/// # Errors
/// Those of `poll`. `World`: it has come no further for a minute.
pub fn next(
    stream: &dyn Stream,
    reader: &mut dyn Reader,
    partition: i32,
    end: Offset,
    bytes_max: usize,
) -> Result<Option<Records>> {
    let (mut at, mut since) = (reader.position(partition), Instant::now());
    while at < end {
        if let Some(records) = reader.poll(partition, bytes_max)? {
            return Ok(Some(records));
        }
        let before = std::mem::replace(&mut at, reader.position(partition));
        if at != before {
            since = Instant::now();
        } else if since.elapsed() > PATIENCE {
            let doing = format!("reading {}, partition {partition} at offset {at}", stream.name());
            return Err(Error::transient(doing, format!("nothing has come for {} s", PATIENCE.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}
