//! A history in local files of records that follow one another, as JSON lines do: every file is one piece.
//!
//! What differs between such kinds is a [`Layout`]: where a record ends, whether the first one names the columns, and how the others are
//! decoded. What follows the last record's end, if it is not empty, is a record too. A byte order mark at a file's start is passed over. A
//! file may be packed (`packed`). One that is plainly of another kind, by how it begins, is an error (`format::looks`).

use std::fs::File;
use std::io::{BufRead, BufReader, Chain, Cursor, Read};
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};

use super::{History, Piece, Pinned, PinnedFile, files, find};
use crate::format::records::RecordsBuilder;
use crate::format::{BYTE_ORDER_MARK, Decoder, Message, looks};
use crate::packed::{Packing, unpacked};
use crate::{Error, Records, Result, Wanted};

const BATCH_RECORDS_MAX: usize = 8192;
const BATCH_BYTES_MAX: usize = 8 << 20;
const READ_BYTES: usize = 1 << 20;
/// A longer record is none, but a file of another kind.
const RECORD_BYTES_MAX: usize = 1 << 30;
/// A packed file of a few bytes may be as long as it likes.
const PACKED_RECORD_BYTES_MAX: usize = 64 << 20;

/// How long a record of a file may be, and what is told of a longer one.
pub(crate) fn longest_record(path: &str) -> (usize, &'static str) {
    match Packing::of(path) {
        None => (RECORD_BYTES_MAX, "a line is longer than 1 GiB"),
        Some(_) => (PACKED_RECORD_BYTES_MAX, "a line of this packed file is longer than 64 MiB"),
    }
}

/// What the records of a kind look like.
pub(super) trait Layout: Send + Sync {
    /// Finds the ends of a file's records.
    fn framing(&self) -> Box<dyn Framing>;

    /// Whether the first record of a file says what the others are.
    fn has_header(&self) -> bool;

    /// What a file is that is plainly none of them, by its first bytes, and what to do about it.
    fn is_other(&self, start: &[u8]) -> Option<String>;

    /// Decodes a file's records, given its header if it has one. The error says what is wrong with the file.
    fn decoder(&self, header: Option<&[u8]>, wanted: &Wanted) -> Result<Box<dyn Decoder>, String>;
}

/// Finds the ends of records in bytes that come in pieces.
pub(super) trait Framing: Send {
    /// How many of these bytes, which follow those of the call before, are up to the end of the record, its `\n` included. `None`: it does not
    /// end here.
    fn next(&mut self, bytes: &[u8]) -> Option<usize>;
}

/// A record is a line.
pub(super) struct LineFraming;

impl Framing for LineFraming {
    fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        memchr::memchr(b'\n', bytes).map(|at| at + 1)
    }
}

/// See the module.
pub(super) struct TextHistory<L> {
    pinned: Pinned,
    layout: L,
}

/// Finds the files that a glob names, or takes those that were pinned.
pub(super) fn open<L: Layout>(pattern: &str, pinned: Option<&Pinned>, layout: L) -> Result<TextHistory<L>> {
    let pinned = match pinned {
        Some(pinned) => pinned.clone(),
        None => Pinned::of(find::local(pattern)?.iter().map(|path| files::look(path)).collect::<Result<_>>()?),
    };
    Ok(TextHistory { pinned, layout })
}

impl<L: Layout> TextHistory<L> {
    /// Opens a file, if it is still what was pinned.
    fn open(&self, file: usize) -> Result<RecordReader> {
        let pinned: &PinnedFile = &self.pinned.files[file];
        files::check_same(pinned, &files::look(&pinned.path)?)?;
        let opened = File::open(&pinned.path).map_err(|e| Error::world(format!("opening {}", pinned.path), e))?;
        RecordReader::new(&pinned.path, opened, pinned.size, &self.layout)
    }

    /// A decoder of a file's records, of which the header is read here.
    fn decoder(&self, reader: &mut RecordReader, wanted: &Wanted) -> Result<Box<dyn Decoder>> {
        let mut header = None;
        if self.layout.has_header() {
            reader.next(&mut |record| header = Some(record.to_vec()))?;
        }
        let decoder = self.layout.decoder(header.as_deref(), wanted);
        decoder.map_err(|wrong| Error::world(format!("reading {}", reader.path), wrong))
    }
}

impl<L: Layout> History for TextHistory<L> {
    fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    fn schema(&self) -> Option<SchemaRef> {
        None
    }

    fn pieces(&self, columns: &[&str]) -> Result<Vec<Piece>> {
        let nothing = Wanted { schema: Arc::new(Schema::empty()), time_unit_ns: 1 };
        let piece = |(file, pinned): (usize, &PinnedFile)| {
            let mut reader = self.open(file)?;
            self.decoder(&mut reader, &nothing)?;
            let mut rows = 0;
            while reader.next(&mut |_| rows += 1)? {}
            Ok(Piece { file, row_group: 0, rows, bytes: pinned.size, statistics: vec![None; columns.len()] })
        };
        self.pinned.files.iter().enumerate().map(piece).collect()
    }

    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>> {
        let mut reader = self.open(piece.file)?;
        let decoder = self.decoder(&mut reader, wanted)?;
        Ok(Box::new(Batches { reader, records: RecordsBuilder::new(decoder), done: false }))
    }
}

/// The bytes of a file: those that were looked at to see what it is, and the others.
type Bytes = Chain<Cursor<Vec<u8>>, Box<dyn Read + Send>>;

/// The records of one file, one by one.
struct RecordReader {
    path: String,
    reader: BufReader<Bytes>,
    framing: Box<dyn Framing>,
    /// A record that does not lie in the reader's buffer as a whole.
    record: Vec<u8>,
}

impl RecordReader {
    /// Reads at most `size` bytes of the file.
    fn new(path: &str, file: File, size: u64, layout: &dyn Layout) -> Result<RecordReader> {
        let failed = |e: std::io::Error| Error::world(format!("reading {path}"), e);
        let mut file = unpacked(path, file.take(size)).map_err(failed)?;
        let mut start = Vec::new();
        (&mut file).take(looks::START_BYTES as u64).read_to_end(&mut start).map_err(failed)?;
        if start.starts_with(BYTE_ORDER_MARK) {
            start.drain(..BYTE_ORDER_MARK.len());
        }
        if let Some(other) = layout.is_other(&start) {
            return Err(Error::world(format!("reading {path}"), other));
        }
        let reader = BufReader::with_capacity(READ_BYTES, Cursor::new(start).chain(file));
        Ok(RecordReader { path: path.into(), reader, framing: layout.framing(), record: Vec::new() })
    }

    /// Hands over the next record, without its `\n`; false: there is none.
    fn next(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<bool> {
        loop {
            let failed = |e: std::io::Error| Error::world(format!("reading {}", self.path), e);
            let buffer = self.reader.fill_buf().map_err(failed)?;
            if buffer.is_empty() {
                let there = !self.record.is_empty();
                if there {
                    take(&std::mem::take(&mut self.record));
                }
                return Ok(there);
            }
            let Some(end) = self.framing.next(buffer) else {
                self.record.extend_from_slice(buffer);
                let used = buffer.len();
                self.reader.consume(used);
                let (bytes_max, too_long) = longest_record(&self.path);
                if self.record.len() > bytes_max {
                    return Err(Error::world(format!("reading {}", self.path), too_long));
                }
                continue;
            };
            let tail = &buffer[..end - 1];
            if self.record.is_empty() {
                take(tail);
            } else {
                self.record.extend_from_slice(tail);
                take(&self.record);
                self.record.clear();
            }
            self.reader.consume(end);
            return Ok(true);
        }
    }
}

struct Batches {
    reader: RecordReader,
    records: RecordsBuilder,
    done: bool,
}

impl Batches {
    fn batch(&mut self) -> Result<Option<Records>> {
        let records = &mut self.records;
        while records.len() < BATCH_RECORDS_MAX && records.bytes() < BATCH_BYTES_MAX {
            if !self.reader.next(&mut |record| records.push(&Message::of(record)))? {
                break;
            }
        }
        Ok(if records.is_empty() { None } else { Some(records.finish()) })
    }
}

impl Iterator for Batches {
    type Item = Result<Records>;

    fn next(&mut self) -> Option<Result<Records>> {
        if self.done {
            return None;
        }
        let batch = self.batch().transpose();
        self.done = !matches!(batch, Some(Ok(_)));
        batch
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::super::jsonl::JsonlLayout;
    use super::*;
    use crate::Payload;
    use crate::packed::packed;

    fn wanted() -> Wanted {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        Wanted { schema, time_unit_ns: 1_000_000 }
    }

    fn write(bytes: &[u8]) -> (tempfile::TempDir, String) {
        write_as("a.jsonl", bytes)
    }

    fn write_as(name: &str, bytes: &[u8]) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap().to_string();
        (dir, path)
    }

    /// The payloads of all records, and which are malformed.
    fn read(history: &TextHistory<JsonlLayout>) -> Vec<(String, bool)> {
        let mut all = Vec::new();
        for piece in history.pieces(&["x"]).unwrap() {
            let before = all.len();
            for records in history.read(&piece, &wanted()).unwrap() {
                let records = records.unwrap();
                assert!(records.len() <= BATCH_RECORDS_MAX && records.bytes > 0);
                let Payload::Raw(payload) = &records.payload else { panic!("no payload") };
                assert_eq!((payload.len(), records.partition, records.offsets.is_none()), (records.len(), None, true));
                let malformed = |row| records.malformed.as_ref().is_some_and(|bits| bits.value(row));
                all.extend(
                    (0..records.len()).map(|row| (String::from_utf8_lossy(payload.value(row)).into(), malformed(row))),
                );
            }
            assert_eq!(piece.rows as usize, all.len() - before);
            assert_eq!(piece.statistics, [None]);
        }
        all
    }

    #[test]
    fn only_a_newline_ends_a_line() {
        let rows: &[(&str, &[(&str, bool)])] = &[
            ("", &[]),
            ("\n", &[("", true)]),
            ("\n\n", &[("", true), ("", true)]),
            ("{}", &[("{}", false)]),
            ("{}\n", &[("{}", false)]),
            ("{}\r\n{}\n", &[("{}\r", false), ("{}", false)]),
            ("{}\r{}\n", &[("{}\r{}", true)]),
            ("{}\n\n{}", &[("{}", false), ("", true), ("{}", false)]),
            ("{}\n ", &[("{}", false), (" ", true)]),
            ("\u{feff}{}\n{}", &[("{}", false), ("{}", false)]),
            ("\u{feff}", &[]),
            ("\u{feff}\n", &[("", true)]),
            ("\u{feff}\u{feff}{}\n", &[("\u{feff}{}", true)]),
            ("{}\n\u{feff}{}\n", &[("{}", false), ("\u{feff}{}", true)]),
            ("{}\u{2028}\n{}\u{b}\n", &[("{}\u{2028}", true), ("{}\u{b}", true)]),
        ];
        for (text, expected) in rows {
            let (_dir, path) = write(text.as_bytes());
            let found = read(&open(&path, None, JsonlLayout::default()).unwrap());
            let found: Vec<(&str, bool)> = found.iter().map(|(text, bad)| (text.as_str(), *bad)).collect();
            assert_eq!(found, *expected, "{text:?}");
        }
    }

    #[test]
    fn packed_files_are_read_as_others_are() {
        for name in ["a.jsonl.gz", "a.jsonl.zst"] {
            let lines: String = (0..30_000).map(|n| format!("{{\"x\":{n}}}\n")).collect();
            let parts = ["\u{feff}", &lines, "{}\n", "last"].map(|part| packed(name, part.as_bytes()));
            let (_dir, path) = write_as(name, &parts.concat());
            let found = read(&open(&path, None, JsonlLayout::default()).unwrap());
            assert_eq!(found.len(), 30_002);
            assert_eq!((&found[0], &found[30_001]), (&("{\"x\":0}".into(), false), &("last".into(), true)));
            std::fs::write(&path, &parts[1][..parts[1].len() - 9]).unwrap();
            let told = open(&path, None, JsonlLayout::default()).unwrap().pieces(&[]).unwrap_err().to_string();
            assert!(told.starts_with(&format!("reading {path}: it is no whole ")), "{told}");
            // A small file that is a large line.
            std::fs::write(&path, packed(name, &vec![b'x'; PACKED_RECORD_BYTES_MAX + (4 << 20)])).unwrap();
            let told = open(&path, None, JsonlLayout::default()).unwrap().pieces(&[]).unwrap_err().to_string();
            assert_eq!(told, format!("reading {path}: a line of this packed file is longer than 64 MiB"));
        }
    }

    #[test]
    fn long_files_come_in_batches_and_long_lines_whole() {
        let long = format!("{{\"y\":\"{}\"}}", "z".repeat(3 * READ_BYTES));
        let lines: Vec<String> =
            (0..20_000).map(|n| if n % 9_999 == 5 { long.clone() } else { format!("{{\"x\":{n}}}") }).collect();
        let (_dir, path) = write(lines.join("\n").as_bytes());
        let history = open(&path, None, JsonlLayout::default()).unwrap();
        let found = read(&history);
        assert!(found.iter().map(|(text, _)| text).eq(&lines));
        let piece = &history.pieces(&[]).unwrap()[0];
        let sum: i64 = history
            .read(piece, &wanted())
            .unwrap()
            .flat_map(|records| {
                records.unwrap().batch.column(0).as_primitive::<Int64Type>().iter().flatten().collect::<Vec<_>>()
            })
            .sum();
        assert_eq!(sum, (0..20_000).filter(|n| n % 9_999 != 5).sum::<i64>());
    }

    #[test]
    fn a_file_that_changes_or_goes_after_the_pin_is_refused() {
        let (_dir, path) = write(b"{}\n");
        let history = open(&path, None, JsonlLayout::default()).unwrap();
        let piece = history.pieces(&[]).unwrap().remove(0);
        let pinned: Pinned = serde_json::from_str(&serde_json::to_string(history.pinned()).unwrap()).unwrap();
        assert!(open("nothing/here/*", Some(&pinned), JsonlLayout::default()).unwrap().read(&piece, &wanted()).is_ok());

        std::fs::write(&path, b"{}\n{}\n").unwrap();
        assert!(matches!(history.read(&piece, &wanted()), Err(Error::Changed(_))));
        assert!(matches!(
            open("nothing/here/*", Some(&pinned), JsonlLayout::default()).unwrap().pieces(&[]),
            Err(Error::Changed(_))
        ));

        std::fs::remove_file(&path).unwrap();
        assert!(matches!(history.read(&piece, &wanted()), Err(Error::Changed(message)) if message.contains("is gone")));
    }

    #[test]
    fn files_come_in_the_order_of_their_paths() {
        let (dir, path) = write(b"{\"x\":2}");
        std::fs::write(dir.path().join("B.jsonl"), b"{\"x\":1}").unwrap();
        let history = open(&path.replace("a.jsonl", "*.jsonl"), None, JsonlLayout::default()).unwrap();
        assert_eq!(
            read(&history).iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(),
            ["{\"x\":1}", "{\"x\":2}"]
        );
        assert!(matches!(open("/nowhere/*.jsonl", None, JsonlLayout::default()), Err(Error::Config(_))));
    }
}
