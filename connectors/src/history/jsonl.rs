//! A history in local JSON-lines files: every file is one piece.
//!
//! Only `\n` ends a line. A blank line is a record (and malformed), and so is what follows the last `\n`, if it is not empty.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use arrow::datatypes::SchemaRef;

use super::{History, Piece, Pinned, PinnedFile, files, find};
use crate::format::json::lines::Lines;
use crate::{Error, Records, Result, Wanted};

const BATCH_RECORDS_MAX: usize = 8192;
const BATCH_BYTES_MAX: usize = 8 << 20;
const READ_BYTES: usize = 1 << 20;
/// A longer line is no line, but a file of another kind.
pub(crate) const LINE_BYTES_MAX: usize = 1 << 30;

pub struct JsonlHistory {
    pinned: Pinned,
}

/// Finds the files that a glob names, or takes those that were pinned.
pub fn open(pattern: &str, pinned: Option<&Pinned>) -> Result<JsonlHistory> {
    let pinned = match pinned {
        Some(pinned) => pinned.clone(),
        None => Pinned { files: find::local(pattern)?.iter().map(|path| files::look(path)).collect::<Result<_>>()? },
    };
    Ok(JsonlHistory { pinned })
}

impl JsonlHistory {
    /// Opens a file, if it is still what was pinned.
    fn open(&self, file: usize) -> Result<(File, &PinnedFile)> {
        let pinned = &self.pinned.files[file];
        files::check_same(pinned, &files::look(&pinned.path)?)?;
        let opened = File::open(&pinned.path).map_err(|e| Error::world(format!("opening {}", pinned.path), e))?;
        Ok((opened, pinned))
    }
}

impl History for JsonlHistory {
    fn pinned(&self) -> &Pinned {
        &self.pinned
    }

    fn schema(&self) -> Option<SchemaRef> {
        None
    }

    fn pieces(&self, columns: &[&str]) -> Result<Vec<Piece>> {
        let piece = |file| {
            let (opened, pinned) = self.open(file)?;
            let rows = count_lines(opened).map_err(|e| Error::world(format!("reading {}", pinned.path), e))?.records();
            Ok(Piece { file, row_group: 0, rows, bytes: pinned.size, statistics: vec![None; columns.len()] })
        };
        (0..self.pinned.files.len()).map(piece).collect()
    }

    fn read(&self, piece: &Piece, wanted: &Wanted) -> Result<Box<dyn Iterator<Item = Result<Records>> + Send>> {
        let (file, pinned) = self.open(piece.file)?;
        Ok(Box::new(Batches {
            path: pinned.path.clone(),
            reader: BufReader::with_capacity(READ_BYTES, file.take(pinned.size)),
            lines: Lines::new(wanted),
            line: Vec::new(),
            done: false,
        }))
    }
}

/// The lines of a file: those that a `\n` ends, and whether more follows the last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct LineCount {
    pub ended: u64,
    pub tail: bool,
}

impl LineCount {
    pub fn records(self) -> u64 {
        self.ended + u64::from(self.tail)
    }
}

pub(crate) fn count_lines(mut file: impl Read) -> std::io::Result<LineCount> {
    let mut buffer = vec![0; READ_BYTES];
    let mut count = LineCount::default();
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(count),
            Ok(len) => {
                count.ended += memchr::memchr_iter(b'\n', &buffer[..len]).count() as u64;
                count.tail = buffer[len - 1] != b'\n';
            }
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

struct Batches<R> {
    path: String,
    reader: R,
    lines: Lines,
    /// A line that does not lie in the reader's buffer as a whole.
    line: Vec<u8>,
    done: bool,
}

impl<R: BufRead> Batches<R> {
    fn batch(&mut self) -> Result<Option<Records>> {
        while self.lines.len() < BATCH_RECORDS_MAX && self.lines.bytes() < BATCH_BYTES_MAX {
            let buffer = self.reader.fill_buf().map_err(|e| Error::world(format!("reading {}", self.path), e))?;
            if buffer.is_empty() {
                if !self.line.is_empty() {
                    self.lines.push(&std::mem::take(&mut self.line));
                }
                break;
            }
            let used = match memchr::memchr(b'\n', buffer) {
                Some(end) if self.line.is_empty() => {
                    self.lines.push(&buffer[..end]);
                    end + 1
                }
                Some(end) => {
                    self.line.extend_from_slice(&buffer[..end]);
                    self.lines.push(&self.line);
                    self.line.clear();
                    end + 1
                }
                None => {
                    self.line.extend_from_slice(buffer);
                    buffer.len()
                }
            };
            self.reader.consume(used);
            if self.line.len() > LINE_BYTES_MAX {
                return Err(Error::world(format!("reading {}", self.path), "a line is longer than 1 GiB"));
            }
        }
        Ok(if self.lines.is_empty() { None } else { Some(self.lines.finish()) })
    }
}

impl<R: BufRead> Iterator for Batches<R> {
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
    use std::sync::Arc;

    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;
    use crate::Payload;

    fn wanted() -> Wanted {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        Wanted { schema, time_unit_ns: 1_000_000 }
    }

    fn write(bytes: &[u8]) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap().to_string();
        (dir, path)
    }

    /// The payloads of all records, and which are malformed.
    fn read(history: &JsonlHistory) -> Vec<(String, bool)> {
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
            ("{}\u{2028}\n{}\u{b}\n", &[("{}\u{2028}", true), ("{}\u{b}", true)]),
        ];
        for (text, expected) in rows {
            let (_dir, path) = write(text.as_bytes());
            let found = read(&open(&path, None).unwrap());
            let found: Vec<(&str, bool)> = found.iter().map(|(text, bad)| (text.as_str(), *bad)).collect();
            assert_eq!(found, *expected, "{text:?}");
        }
    }

    #[test]
    fn long_files_come_in_batches_and_long_lines_whole() {
        let long = format!("{{\"y\":\"{}\"}}", "z".repeat(3 * READ_BYTES));
        let lines: Vec<String> =
            (0..20_000).map(|n| if n % 9_999 == 5 { long.clone() } else { format!("{{\"x\":{n}}}") }).collect();
        let (_dir, path) = write(lines.join("\n").as_bytes());
        let history = open(&path, None).unwrap();
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
        let history = open(&path, None).unwrap();
        let piece = history.pieces(&[]).unwrap().remove(0);
        let pinned: Pinned = serde_json::from_str(&serde_json::to_string(history.pinned()).unwrap()).unwrap();
        assert!(open("nothing/here/*", Some(&pinned)).unwrap().read(&piece, &wanted()).is_ok());

        std::fs::write(&path, b"{}\n{}\n").unwrap();
        assert!(matches!(history.read(&piece, &wanted()), Err(Error::Changed(_))));
        assert!(matches!(open("nothing/here/*", Some(&pinned)).unwrap().pieces(&[]), Err(Error::Changed(_))));

        std::fs::remove_file(&path).unwrap();
        assert!(matches!(history.read(&piece, &wanted()), Err(Error::Changed(message)) if message.contains("is gone")));
    }

    #[test]
    fn files_come_in_the_order_of_their_paths() {
        let (dir, path) = write(b"{\"x\":2}");
        std::fs::write(dir.path().join("B.jsonl"), b"{\"x\":1}").unwrap();
        let history = open(&path.replace("a.jsonl", "*.jsonl"), None).unwrap();
        assert_eq!(
            read(&history).iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>(),
            ["{\"x\":1}", "{\"x\":2}"]
        );
        assert!(matches!(open("/nowhere/*.jsonl", None), Err(Error::Config(_))));
    }
}
