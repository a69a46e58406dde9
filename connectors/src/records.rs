//! Records: what a history or a stream hands on, decoded to the columns that the job uses, in log order.

use std::sync::Arc;

use arrow::array::{BinaryArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Field, SchemaRef};
use headwater_clocks::{Arrival, Offset};

use crate::Path;

/// The columns that the job uses of a source, in this order, with their types. Timestamps are always
/// `Timestamp(Microsecond, "UTC")`, floored; floats come without -0.0 and with one NaN.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// One field a column, each of them nullable. Its name is the text of a [`Path`]: a column, or a field inside of one. A field with the
    /// metadata [`PATH`] lies there instead, so that one list can be wanted more than once: of a struct, the type says which fields.
    pub schema: SchemaRef,
    /// The unit of integer times in records of text, in nanoseconds: 1_000_000 for `ms`.
    pub time_unit_ns: i64,
}

/// Key of a wanted field's metadata: the text of the path where it lies, if that is not its name.
pub const PATH: &str = "path";

/// Key of the metadata of a wanted field that is a part of the key which tells records apart. Where some field has it, records without a
/// value are read too: all that they have is their key.
pub const KEY: &str = "key";

/// What [`KEY`] says where records are envelopes of Debezium, in which the columns lie.
pub const DEBEZIUM: &str = "debezium";

impl Wanted {
    /// Whether records are envelopes, in which the columns lie.
    pub(crate) fn is_enveloped(&self) -> bool {
        self.schema.fields().iter().any(|field| field.metadata().get(KEY).is_some_and(|of| of == DEBEZIUM))
    }

    /// By column: where it lies in a record.
    pub fn paths(&self) -> Vec<Path> {
        self.schema.fields().iter().map(|field| path_of(field)).collect()
    }
}

/// Where a wanted column lies.
pub(crate) fn path_of(field: &Field) -> Path {
    path(field.metadata().get(PATH).unwrap_or(field.name()))
}

/// Where the column of this name lies.
pub(crate) fn path(name: &str) -> Path {
    Path::parse(name).unwrap_or_else(|| Path::of([name]))
}

/// A run of records of one partition (of a stream), or of one piece of a history. All parts have one entry a record.
#[derive(Clone, Debug)]
pub struct Records {
    /// The wanted columns, null where a field is null, missing or did not decode.
    pub batch: RecordBatch,
    /// By wanted column: the records whose field is there but did not decode. `None`: every one did.
    pub undecoded: Vec<Option<BooleanBuffer>>,
    /// The records of which nothing can be used (see the format). `None`: there is none.
    pub malformed: Option<BooleanBuffer>,
    /// The records that only say that their key's row is gone, of which only the key is there: those without a value, and others that say
    /// so in some way of their own. `None`: there is none.
    pub tombstones: Option<BooleanBuffer>,
    /// Of tombstones that have a value: when the row went (`BEFORE_ALL` where that is not known: see [`Records::removed_at`]).
    pub removed_at: Option<Arc<[Arrival]>>,
    /// Streams: the partition that all of them are of.
    pub partition: Option<i32>,
    /// Streams: each record's offset, ascending.
    pub offsets: Option<Arc<[Offset]>>,
    /// Kafka: each record's timestamp (`BEFORE_ALL` where a record has none: see [`Records::stamp`]).
    pub stamps: Option<Arc<[Arrival]>>,
    /// What a dead letter of each record quotes.
    pub payload: Payload,
    /// About how many bytes these records hold in memory: what a reader's credits are counted in.
    pub bytes: usize,
}

/// What stands for the timestamp of a record that has none.
pub(crate) const WITHOUT_STAMP: Arrival = Arrival::BEFORE_ALL;

/// What a dead letter quotes.
#[derive(Clone, Debug)]
pub enum Payload {
    /// The record as it was read.
    Raw(BinaryArray),
    /// A row of a file of columns (Parquet, Avro, a lake): its JSON is made from the batch.
    Row,
}

impl Records {
    /// Rows that are of no stream and are not counted in anybody's credits.
    pub fn of_rows(batch: RecordBatch, undecoded: Vec<Option<BooleanBuffer>>) -> Records {
        Records {
            batch,
            undecoded,
            malformed: None,
            tombstones: None,
            removed_at: None,
            partition: None,
            offsets: None,
            stamps: None,
            payload: Payload::Row,
            bytes: 0,
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// The timestamp of a record. `None`: it has none, as all that is not from Kafka.
    pub fn stamp(&self, record: usize) -> Option<Arrival> {
        self.stamps.as_ref().map(|stamps| stamps[record]).filter(|stamp| *stamp != WITHOUT_STAMP)
    }

    /// Whether a record only says that its key's row is gone.
    pub fn is_tombstone(&self, record: usize) -> bool {
        self.tombstones.as_ref().is_some_and(|all| all.value(record))
    }

    /// When the row of a tombstone went, if it says so.
    pub fn removed_at(&self, record: usize) -> Option<Arrival> {
        self.removed_at.as_ref().map(|times| times[record]).filter(|time| *time != WITHOUT_STAMP)
    }

    /// Some of them that lie side by side.
    pub fn slice(&self, from: usize, records: usize) -> Records {
        let bits = |all: &BooleanBuffer| all.slice(from, records);
        let payload = match &self.payload {
            Payload::Raw(raw) => Payload::Raw(raw.slice(from, records)),
            Payload::Row => Payload::Row,
        };
        Records {
            batch: self.batch.slice(from, records),
            undecoded: self.undecoded.iter().map(|all| all.as_ref().map(bits)).collect(),
            malformed: self.malformed.as_ref().map(bits),
            tombstones: self.tombstones.as_ref().map(bits),
            removed_at: self.removed_at.as_ref().map(|all| all[from..from + records].into()),
            partition: self.partition,
            offsets: self.offsets.as_ref().map(|all| all[from..from + records].into()),
            stamps: self.stamps.as_ref().map(|all| all[from..from + records].into()),
            payload,
            bytes: self.bytes * records / self.len().max(1),
        }
    }

    /// The first half of them, and the second.
    pub fn halves(&self) -> [Records; 2] {
        let half = self.len() / 2;
        [self.slice(0, half), self.slice(half, self.len() - half)]
    }

    /// Hands them on as a whole; or in halves, and halves of these, where `take` says that they are too many, as it never says of one.
    ///
    /// # Errors
    /// Those of `take`.
    pub fn in_parts<E>(&self, take: &mut impl FnMut(&Records) -> Result<bool, E>) -> Result<(), E> {
        if take(self)? { Ok(()) } else { self.halves().iter().try_for_each(|half| half.in_parts(take)) }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
