//! Held ids: what a seam by id compares the records of a stream with.
//!
//! ```text
//! held = the ids of the history's rows with m >= from, dead letters included; a null id is held by nobody
//! ```
//!
//! Sixteen bytes an id, whatever its type. Every process finds them for itself: the pinned files are the same to all. Pieces
//! of which statistics say that they end before `from` are not read.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef};
use headwater_clocks::{MatchTime, WallClock};
use headwater_connectors::Records;
use headwater_connectors::history::{History, Piece};
use headwater_operators::key_codec::KeyCodec;
use xxhash_rust::xxh3::xxh3_128;

use super::narrow::{Narrow, visit};
use crate::base::failure::Failure;
use crate::catalog::opened::Source;
use crate::job;

pub struct HeldIds {
    codec: KeyCodec,
    held: Hashes,
}

type Hashes = HashSet<u128, BuildHasherDefault<AsItIs>>;

impl HeldIds {
    /// Reads the ids of a source with a seam by id.
    pub fn read(
        conf: &job::Source,
        source: &Source,
        history: &dyn History,
        from: MatchTime,
    ) -> Result<HeldIds, Failure> {
        let narrow = Narrow::new(conf, source, true);
        let column = narrow.source.id_column.expect("a seam by id has an id");
        let codec = KeyCodec::new(&[narrow.wanted().schema.field(column).data_type().clone()])
            .map_err(|e| Failure::Running(format!("ids of source {}: {e}", conf.name)))?;
        let mut pieces = narrow.pieces(history)?;
        pieces.retain(|piece| !ends_before(&narrow, piece, from));
        let held: Mutex<Hashes> = Mutex::default();
        let stamper = narrow.stamper();
        visit(&pieces, |(), piece| {
            for records in history.read(piece, narrow.wanted())? {
                let records = records?;
                // A wrong clock holds its id too, so nobody's clock is asked.
                let stamped = stamper.stamp(&records, WallClock::AFTER_ALL);
                let hashes = hashes(&codec, records.batch.column(column));
                let late = stamped.iter().zip(hashes).filter(|(s, _)| s.m.is_some_and(|m| m >= from));
                let ids: Vec<u128> = late.filter_map(|(_, hash)| hash).collect();
                held.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
            }
            Ok(())
        })?;
        let held = held.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(HeldIds { codec, held })
    }

    /// By record: whether the history holds its id. `column`: of the column with the id.
    pub fn holds(&self, records: &Records, column: usize) -> Vec<bool> {
        let hashes = hashes(&self.codec, records.batch.column(column));
        hashes.into_iter().map(|hash| hash.is_some_and(|hash| self.held.contains(&hash))).collect()
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }
}

/// Whether statistics say that no row of a piece has an `m` at or past `from`.
fn ends_before(narrow: &Narrow, piece: &Piece, from: MatchTime) -> bool {
    let before = |column: usize| {
        let range = narrow.times(piece, column);
        range.filter(|range| range.bounds.is_none_or(|(_, newest)| MatchTime::from_us(newest) < from))
    };
    let ts = narrow.source.event_time.and_then(before);
    match narrow.source.arrival_time {
        None => ts.is_some(),
        // A null arrival is the event time.
        Some(column) => before(column).is_some_and(|range| range.nulls == 0 || ts.is_some()),
    }
}

/// Of each id, what stands for it; `None` for a null.
fn hashes(codec: &KeyCodec, ids: &ArrayRef) -> Vec<Option<u128>> {
    let encoded = codec.encode(std::slice::from_ref(ids)).expect("ids keep their type");
    let one = |i: usize| ids.is_valid(i).then(|| xxh3_128(encoded.value(i)));
    (0..ids.len()).map(one).collect()
}

/// What is hashed already is not hashed again.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only hashes of ids are looked up");
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

    use super::*;
    use crate::base::id::{Id, SourceId};
    use crate::catalog::opened::Opened;
    use crate::ingest::testing::{open, write_parquet};

    fn read(opened: &Opened, from: i64) -> HeldIds {
        let from = MatchTime::from_us(from);
        let source = &opened.sources[SourceId::at(0)];
        HeldIds::read(&opened.job.sources[SourceId::at(0)], source, source.history.as_deref().unwrap(), from).unwrap()
    }

    /// Records with these ids alone, as the source decodes them.
    fn holds(held: &HeldIds, ids: ArrayRef) -> Vec<bool> {
        let batch = RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).unwrap();
        held.holds(&Records { partition: Some(0), ..Records::of_rows(batch, vec![None]) }, 0)
    }

    #[test]
    fn ids_of_the_overlap() {
        let dir = tempfile::tempdir().unwrap();
        let lines = [
            r#"{"ts":10,"a":99,"id":"old"}"#,
            r#"{"ts":10,"a":100,"id":"first"}"#,
            r#"{"ts":10,"a":200,"id":null}"#,
            r#"{"ts":120,"id":"without arrival"}"#,
            r#"{"ts":20,"id":"without arrival, old"}"#,
            r#"{"a":150,"id":"without event time"}"#,
            r#"{"id":"without times"}"#,
            r#"{"ts":"?","a":150,"id":"malformed"}"#,
            r#"{"ts":10,"a":150,"id":7}"#,
            r#"{"ts":9000000000000000,"a":150,"id":"wrong clock"}"#,
        ];
        std::fs::write(dir.path().join("1.jsonl"), lines.join("\n")).unwrap();
        let schema = r#"schema = { ts = "int64", a = "int64", id = "string", card = "string" }"#;
        let source = format!(
            "event_time = \"ts\"\narrival_time = \"a\"\ntime_unit = \"us\"\n\
             seam = {{ by = \"id\", id = \"id\", overlap = \"1h\" }}\n{schema}\n\
             history = {{ type = \"jsonl\", path = \"*.jsonl\" }}"
        );
        let held = read(&open(dir.path(), &source), 100);
        let rows = [
            ("old", false),
            ("first", true),
            ("without arrival", true),
            ("without arrival, old", false),
            ("without event time", true),
            ("without times", false),
            ("malformed", false),
            ("7", false),
            ("wrong clock", true),
            ("unknown", false),
        ];
        let (ids, expected): (Vec<&str>, Vec<bool>) = rows.into_iter().unzip();
        assert_eq!(holds(&held, Arc::new(StringArray::from(ids))), expected);
        assert_eq!(holds(&held, Arc::new(StringArray::from(vec![None::<&str>]))), [false], "a null is held by nobody");
        assert_eq!(held.len(), 4);
    }

    #[test]
    fn pieces_before_the_overlap_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let times = |values: Vec<Option<i64>>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
        };
        let ids: Vec<i64> = (0..40).collect();
        let columns: [(&str, ArrayRef); 4] = [
            ("ts", times((0..40).map(Some).collect())),
            // In the second group of rows, one did not arrive: it came when it happened.
            ("a", times((0..40).map(|i| (i != 12).then_some(i)).collect())),
            ("id", Arc::new(Int64Array::from(ids.clone()))),
            ("card", Arc::new(StringArray::from(vec!["c"; 40]))),
        ];
        write_parquet(&dir.path().join("1.parquet"), &columns, 10);
        for (times, opened_by) in [("event_time = \"ts\"\narrival_time = \"a\"", "a"), ("event_time = \"ts\"", "ts")] {
            let source = format!(
                "{times}\nseam = {{ by = \"id\", id = \"id\", overlap = \"1h\" }}\n\
                 history = {{ type = \"parquet\", path = \"*.parquet\" }}"
            );
            let opened = open(dir.path(), &source);
            for from in [i64::MIN, 0, 9, 10, 19, 25, 39, 40] {
                let expected: Vec<bool> = ids.iter().map(|id| *id >= from).collect();
                assert_eq!(holds(&read(&opened, from), columns[2].1.clone()), expected, "by {opened_by} from {from}");
            }
            let narrow = Narrow::new(&opened.job.sources[SourceId::at(0)], &opened.sources[SourceId::at(0)], true);
            let pieces = narrow.pieces(opened.sources[SourceId::at(0)].history.as_deref().unwrap()).unwrap();
            let left_out =
                |from| pieces.iter().filter(|piece| ends_before(&narrow, piece, MatchTime::from_us(from))).count();
            assert_eq!([0, 9, 10, 20, 29, 40].map(left_out), [0, 0, 1, 2, 2, 4], "by {opened_by}");
        }
    }
}
