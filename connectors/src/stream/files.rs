//! A stream in local files of lines: every file is a partition, in the order of their paths from 0; a line is a record,
//! and its number, counted from `first_offset`, the offset. Files may grow while they are read. The format says what a line is; a byte
//! order mark at a file's start is passed over. A file that is packed (`packed`) is finished: it does not grow.
//!
//! ```text
//! first_offset 5      a.jsonl   {"x":1}\n  {"x":2}\n  {"x":3
//!                     offset    5          6          7: a record once `bounds` has counted it, or a \n ends it
//! ```
//!
//! A line that no `\n` ends is a record at the end of a finished file, and half a record in one that is being written. So
//! it is read if `bounds` has counted it, and else waited for. What is written behind one that was read still belongs to
//! it, up to the `\n`, and is passed over: lines keep their offsets.
//!
//! Not promised: a file that gets shorter is an error; one that is put in another's place is not noticed.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use headwater_clocks::{Arrival, Offset, Span, WallClock};

use super::{Bounds, Reader, Start, Stream, StreamConfig, StreamKind};
use crate::format::records::RecordsBuilder;
use crate::format::{BYTE_ORDER_MARK, Format, FormatKind, Message, Pins};
use crate::history::{find, longest_record};
use crate::packed::{Packing, unpacked};
use crate::settings::{Endpoint, Kind, Settings};
use crate::threads::{Helper, ThreadError};
use crate::{Error, Records, Result, Wanted};

const BATCH_RECORDS_MAX: usize = 8192;
const READ_BYTES: usize = 256 << 10;
/// Lines are counted from there on.
const FIRST_OFFSET_MAX: i64 = 1 << 62;
/// How often files are looked at for growth.
const WATCH_EVERY: Duration = Duration::from_millis(5);

/// JSON lines as a kind of stream.
pub static JSONL: &FilesKind = &FilesKind { name: "jsonl", format: crate::format::json::JSON };

/// Lines of CSV as a kind of stream. They have no header: it would have an offset.
pub static CSV: &FilesKind = &FilesKind { name: "csv", format: crate::format::csv::CSV };

/// Files of lines in one format.
#[derive(Debug)]
pub struct FilesKind {
    name: &'static str,
    format: &'static dyn FormatKind,
}

impl Kind for FilesKind {
    fn name(&self) -> &'static str {
        self.name
    }

    fn keys(&self) -> Vec<&'static str> {
        [vec!["path", "first_offset"], self.format.keys()].concat()
    }
}

impl StreamKind for FilesKind {
    fn read(&self, settings: &mut dyn Settings) -> Arc<dyn StreamConfig> {
        if !settings.has("path") {
            let hint = format!("give a glob of its files, like path = \"stream/*.{}\": each is a partition", self.name);
            settings.missing("path", &hint);
        }
        let path = settings.glob("path").unwrap_or_default();
        let first_offset = Offset::at(settings.integer("first_offset", 0, FIRST_OFFSET_MAX).unwrap_or(0));
        Arc::new(Files { kind: self.name, path, first_offset, format: self.format.read(settings) })
    }
}

#[derive(Debug)]
struct Files {
    kind: &'static str,
    path: String,
    first_offset: Offset,
    format: Arc<dyn Format>,
}

impl StreamConfig for Files {
    fn identity(&self) -> &str {
        self.kind
    }

    fn describe(&self) -> String {
        format!("files {}", self.path)
    }

    fn has_envelopes(&self) -> bool {
        self.format.has_objects()
    }

    fn listed(&self) -> Option<&[String]> {
        self.format.listed()
    }

    fn reads(&self, place: &Endpoint) -> bool {
        place.file().is_some_and(|path| find::means_file(&self.path, path))
    }

    fn open(&self, _: &Pins) -> Result<Arc<dyn Stream>> {
        Ok(Arc::new(FileStream::open(&self.path, self.first_offset, self.format.clone())?))
    }
}

/// The files that a glob has found.
pub struct FileStream {
    pattern: String,
    first_offset: Offset,
    format: Arc<dyn Format>,
    files: Vec<Arc<Known>>,
}

struct Known {
    path: String,
    /// One past the last offset that `bounds` has counted.
    end: AtomicI64,
}

impl FileStream {
    /// Finds the files that a glob names.
    pub fn open(pattern: &str, first_offset: Offset, format: Arc<dyn Format>) -> Result<FileStream> {
        let known = |path| Arc::new(Known { path, end: AtomicI64::new(first_offset.number()) });
        let files = find::local(pattern)?.into_iter().map(known).collect();
        Ok(FileStream { pattern: pattern.into(), first_offset, format, files })
    }

    /// The files, by partition.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }
}

impl Stream for FileStream {
    fn name(&self) -> String {
        format!("files {}", self.pattern)
    }

    fn bounds(&self) -> Result<Vec<Bounds>> {
        let bounds = |(partition, known): (usize, &Arc<Known>)| {
            let lines = unpacked(&known.path, open(&known.path)?).and_then(count_lines);
            let lines = lines.map_err(|e| Error::world(format!("reading {}", known.path), e))?;
            let end = Offset::at(self.first_offset.number() + lines.records() as i64);
            known.end.fetch_max(end.number(), Ordering::Release);
            Ok(Bounds { partition: partition as i32, earliest: self.first_offset, end })
        };
        self.files.iter().enumerate().map(bounds).collect()
    }

    /// Lines have no stamps.
    fn offsets_at(&self, _from: Arrival) -> Result<Vec<Option<Offset>>> {
        Ok(vec![None; self.files.len()])
    }

    fn stamped_by_broker(&self) -> Result<bool> {
        Ok(false)
    }

    fn retention(&self) -> Result<Option<Span>> {
        Ok(None)
    }

    fn first_offset(&self) -> Offset {
        self.first_offset
    }

    fn reader(&self, starts: &[Start], wanted: &Wanted) -> Result<Box<dyn Reader>> {
        let follow = |start: &Start| {
            let known = usize::try_from(start.partition).ok().and_then(|at| self.files.get(at));
            let known = known.ok_or_else(|| {
                let files = self.files.len();
                Error::Config(format!(
                    "{} are {files} partitions, and partition {} is to be read",
                    self.name(),
                    start.partition
                ))
            })?;
            if start.offset < self.first_offset {
                return Err(Error::Gap(format!(
                    "{} starts at offset {}, and is to be read from {}",
                    known.path, self.first_offset, start.offset
                )));
            }
            Follow::new(known.clone(), start, self.first_offset)
        };
        let follows = starts.iter().map(follow).collect::<Result<_>>()?;
        let lines = RecordsBuilder::new(self.format.decoder(wanted)?);
        Ok(Box::new(FileReader { follows, lines, watched: Arc::new(()), watch: None }))
    }
}

/// The lines of a file: those that a `\n` ends, and whether more follows the last.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct LineCount {
    ended: u64,
    tail: bool,
}

impl LineCount {
    fn add(&mut self, bytes: &[u8]) {
        self.ended += memchr::memchr_iter(b'\n', bytes).count() as u64;
        self.tail = bytes.last().map_or(self.tail, |byte| *byte != b'\n');
    }

    fn records(self) -> u64 {
        self.ended + u64::from(self.tail)
    }
}

fn count_lines(mut file: impl Read) -> std::io::Result<LineCount> {
    let mut start = Vec::new();
    (&mut file).take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut start)?;
    let mut count = LineCount::default();
    if start != BYTE_ORDER_MARK {
        count.add(&start);
    }
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(count),
            Ok(len) => count.add(&buffer[..len]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

fn open(path: &str) -> Result<File> {
    File::open(path).map_err(|e| Error::world(format!("opening {path}"), e))
}

struct FileReader {
    follows: Vec<Follow>,
    lines: RecordsBuilder,
    /// The watching thread ends with it.
    watched: Arc<()>,
    watch: Option<Helper<(), ThreadError>>,
}

impl FileReader {
    fn index(&self, partition: i32) -> usize {
        let index = self.follows.iter().position(|follow| follow.partition == partition);
        index.unwrap_or_else(|| panic!("partition {partition} is not this reader's"))
    }

    /// An error if the watching thread has ended, which outlives this reader unless it panics.
    fn check_watch(&mut self) -> Result<()> {
        let Some(ended) = self.watch.take_if(|watch| watch.is_finished()) else { return Ok(()) };
        ended.join().map_err(|e| Error::world("watching files for growth", e))
    }
}

impl Reader for FileReader {
    fn poll(&mut self, partition: i32, bytes_max: usize) -> Result<Option<Records>> {
        self.check_watch()?;
        let index = self.index(partition);
        let follow = &mut self.follows[index];
        follow.skip()?;
        let first = follow.offset;
        while self.lines.len() < BATCH_RECORDS_MAX && (self.lines.is_empty() || self.lines.bytes() < bytes_max) {
            let Some(line) = follow.next_line()? else { break };
            self.lines.push(&Message::of(&follow.buffer[line]));
        }
        if self.lines.is_empty() {
            return Ok(None);
        }
        let offsets = (first.number()..follow.offset.number()).map(Offset::at).collect();
        Ok(Some(Records { partition: Some(partition), offsets: Some(offsets), ..self.lines.finish() }))
    }

    fn position(&self, partition: i32) -> Offset {
        let follow = &self.follows[self.index(partition)];
        follow.offset.max(follow.start)
    }

    fn end_confirmed(&mut self, partition: i32) -> Option<WallClock> {
        let now = WallClock::now();
        let follow = &self.follows[self.index(partition)];
        follow.at_end().then_some(now)
    }

    fn end(&self, partition: i32) -> Option<Offset> {
        let follow = &self.follows[self.index(partition)];
        Some(follow.known_end().max(follow.offset))
    }

    fn tombstones(&self) -> u64 {
        0
    }

    fn on_ready(&mut self, wake: Box<dyn Fn() + Send + Sync>) {
        let growing = self.follows.iter().filter(|follow| Packing::of(&follow.known.path).is_none());
        let files = growing.map(|follow| (follow.file.try_clone(), follow.read_to));
        let files = files.filter_map(|(file, len)| file.ok().map(|file| (file, len))).collect();
        let reader = Arc::downgrade(&self.watched);
        let watch = Helper::start("watch-files", move || {
            watch(files, &reader, &wake);
            Ok(())
        });
        self.watch =
            watch.inspect_err(|e| tracing::warn!("cannot watch files for growth, and will find it later: {e}")).ok();
    }
}

/// Wakes whenever a file's length is not what it was, until the reader is gone.
fn watch(mut files: Vec<(File, u64)>, reader: &Weak<()>, wake: &(dyn Fn() + Send + Sync)) {
    while reader.strong_count() > 0 {
        let mut grown = false;
        for (file, seen) in &mut files {
            // A file that cannot be looked at is told by whoever reads it.
            if let Ok(metadata) = file.metadata()
                && metadata.len() != *seen
            {
                *seen = metadata.len();
                grown = true;
            }
        }
        if grown {
            wake();
        }
        std::thread::sleep(WATCH_EVERY);
    }
}

/// A packed file, and whether it has been read to its end.
struct Unpacked {
    bytes: Box<dyn Read + Send>,
    at_end: bool,
}

/// One file, read line by line as it grows.
struct Follow {
    partition: i32,
    known: Arc<Known>,
    file: File,
    /// What it holds, where it is packed.
    unpacked: Option<Unpacked>,
    /// Lines before it are passed over.
    start: Offset,
    /// The offset of the next line.
    offset: Offset,
    /// What was read of the file; bytes before `taken` are done with.
    buffer: Vec<u8>,
    taken: usize,
    /// How many bytes from `taken` on are known to hold no `\n`.
    searched: usize,
    read_to: u64,
    /// The last record had no `\n` yet: what comes up to it is still that record's.
    cut: bool,
    /// Nothing was taken yet: a byte order mark may be ahead.
    at_start: bool,
}

impl Follow {
    fn new(known: Arc<Known>, start: &Start, first_offset: Offset) -> Result<Follow> {
        let file = open(&known.path)?;
        let unpacked = Packing::of(&known.path).map(|_| {
            let failed = |e| Error::world(format!("reading {}", known.path), e);
            let bytes = unpacked(&known.path, open(&known.path)?).map_err(failed)?;
            Ok::<_, Error>(Unpacked { bytes, at_end: false })
        });
        let mut follow = Follow {
            partition: start.partition,
            file,
            unpacked: unpacked.transpose()?,
            known,
            start: start.offset,
            offset: first_offset,
            buffer: Vec::new(),
            taken: 0,
            searched: 0,
            read_to: 0,
            cut: false,
            at_start: true,
        };
        follow.skip()?;
        Ok(follow)
    }

    /// Passes over the lines before the start, as far as they are there.
    fn skip(&mut self) -> Result<()> {
        while self.offset < self.start && self.next_line()?.is_some() {}
        Ok(())
    }

    /// Where the next line lies in the buffer, without its `\n`. `None`: it is not there yet.
    fn next_line(&mut self) -> Result<Option<Range<usize>>> {
        loop {
            let counted = self.known_end();
            if self.at_start && !self.pass_mark()? {
                return self.nothing_more(counted);
            }
            let from = self.taken + self.searched;
            if let Some(len) = memchr::memchr(b'\n', &self.buffer[from..]) {
                let line = self.take(from + len, from + len + 1);
                if !std::mem::take(&mut self.cut) {
                    self.offset = self.offset.next();
                    return Ok(Some(line));
                }
                continue;
            }
            self.searched = self.buffer.len() - self.taken;
            let (bytes_max, too_long) = longest_record(&self.known.path);
            if self.searched > bytes_max {
                return Err(Error::world(format!("reading {}", self.known.path), too_long));
            }
            if self.fill()? {
                continue;
            }
            if !self.has_tail() {
                return self.nothing_more(counted);
            }
            self.cut = true;
            self.offset = self.offset.next();
            return Ok(Some(self.take(self.buffer.len(), self.buffer.len())));
        }
    }

    /// There is no line now. `counted`: one past the last that was there before it was looked for.
    fn nothing_more(&self, counted: Offset) -> Result<Option<Range<usize>>> {
        if self.offset >= counted {
            return Ok(None);
        }
        let told = format!(
            "the file got shorter: it ends at offset {}, and had records up to offset {}; does something else write to it?",
            self.offset,
            counted.number() - 1
        );
        Err(Error::world(format!("reading {}", self.known.path), told))
    }

    /// Passes over a byte order mark at the file's start. False: what is there may still become one.
    fn pass_mark(&mut self) -> Result<bool> {
        while self.buffer.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(&self.buffer) {
            if !self.fill()? {
                self.searched = self.buffer.len();
                if self.has_tail() {
                    break;
                }
                return Ok(false);
            }
        }
        self.taken = if self.buffer.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
        (self.searched, self.at_start) = (0, false);
        Ok(true)
    }

    /// Whether a record without a `\n` lies at the end of what was read.
    fn has_tail(&self) -> bool {
        self.taken < self.buffer.len() && !self.cut && self.offset < self.known_end()
    }

    fn take(&mut self, end: usize, next: usize) -> Range<usize> {
        let line = self.taken..end;
        (self.taken, self.searched) = (next, 0);
        line
    }

    /// Reads on; false: there is no more now.
    fn fill(&mut self) -> Result<bool> {
        self.buffer.drain(..self.taken);
        self.taken = 0;
        let len = self.buffer.len();
        self.buffer.resize(len + READ_BYTES, 0);
        let read = loop {
            let read = match &mut self.unpacked {
                Some(unpacked) => unpacked.bytes.read(&mut self.buffer[len..]),
                None => self.file.read(&mut self.buffer[len..]),
            };
            match read {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.buffer.truncate(len + read.as_ref().copied().unwrap_or(0));
        let doing = || format!("reading {}", self.known.path);
        let read = read.map_err(|e| Error::world(doing(), e))?;
        if let Some(unpacked) = &mut self.unpacked {
            unpacked.at_end = read == 0;
            return Ok(read > 0);
        }
        self.read_to += read as u64;
        if read == 0 && self.file.metadata().map_err(|e| Error::world(doing(), e))?.len() < self.read_to {
            return Err(Error::world(doing(), "the file got shorter while it was read"));
        }
        Ok(read > 0)
    }

    /// Whether every line that is there now has been read.
    fn at_end(&self) -> bool {
        let searched_all = self.taken + self.searched == self.buffer.len();
        let read_all = match &self.unpacked {
            Some(unpacked) => unpacked.at_end,
            None => self.file.metadata().is_ok_and(|metadata| metadata.len() == self.read_to),
        };
        searched_all && read_all && !self.has_tail()
    }

    fn known_end(&self) -> Offset {
        Offset::at(self.known.end.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::path::PathBuf;
    use std::sync::mpsc;

    use arrow::array::AsArray;
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    use super::*;
    use crate::Payload;
    use crate::format::json::Json;
    use crate::packed::packed;

    struct Log {
        _dir: tempfile::TempDir,
        path: PathBuf,
    }

    impl Log {
        fn new(text: &str) -> Log {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("a.jsonl");
            std::fs::write(&path, text).unwrap();
            Log { _dir: dir, path }
        }

        fn append(&self, text: &str) {
            std::fs::OpenOptions::new().append(true).open(&self.path).unwrap().write_all(text.as_bytes()).unwrap();
        }

        fn stream(&self, first_offset: i64) -> FileStream {
            FileStream::open(self.path.to_str().unwrap(), Offset::at(first_offset), Arc::new(Json::default())).unwrap()
        }
    }

    fn wanted() -> Wanted {
        let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
        Wanted { schema, time_unit_ns: 1_000_000 }
    }

    fn reader(stream: &FileStream, offset: i64) -> Box<dyn Reader> {
        stream.reader(&[Start { partition: 0, offset: Offset::at(offset) }], &wanted()).unwrap()
    }

    /// The next records as `offset=payload`.
    fn poll(reader: &mut dyn Reader, bytes_max: usize) -> String {
        let Some(records) = reader.poll(0, bytes_max).unwrap() else { return "-".into() };
        let Payload::Raw(payload) = &records.payload else { panic!("no payload") };
        let offsets = records.offsets.as_ref().unwrap();
        assert_eq!((records.partition, payload.iter().count(), offsets.len()), (Some(0), records.len(), records.len()));
        assert_eq!(reader.position(0), offsets.last().unwrap().next());
        let texts = offsets.iter().zip(payload.iter().flatten());
        texts.map(|(o, text)| format!("{o}={}", String::from_utf8_lossy(text))).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_line_is_a_record_and_its_number_the_offset() {
        let log = Log::new("a\n\nb\nc");
        let stream = log.stream(5);
        assert_eq!(stream.bounds().unwrap(), [Bounds { partition: 0, earliest: Offset::at(5), end: Offset::at(9) }]);
        assert_eq!(stream.offsets_at(Arrival::from_us(0)).unwrap(), [None]);
        for (start, expected) in [(5, "5=a 6= 7=b 8=c"), (6, "6= 7=b 8=c"), (8, "8=c"), (9, "-"), (12, "-")] {
            let mut reader = reader(&stream, start);
            assert_eq!(reader.position(0), Offset::at(start));
            assert_eq!(poll(&mut *reader, 1 << 20), expected, "from {start}");
            assert_eq!(poll(&mut *reader, 1 << 20), "-");
            let ends = (Offset::at(start.max(9)), Some(Offset::at(9)));
            assert_eq!((reader.position(0), reader.end(0)), ends);
            assert!(reader.end_confirmed(0).is_some());
        }
        let opened = |partition, at| stream.reader(&[Start { partition, offset: Offset::at(at) }], &wanted());
        assert!(matches!(opened(0, 4), Err(Error::Gap(_))));
        assert!(matches!(opened(1, 5), Err(Error::Config(_))));
    }

    #[test]
    fn a_byte_order_mark_at_the_start_is_no_part_of_the_first_line() {
        for (text, expected, end) in [
            ("\u{feff}a\nb\n", "0=a 1=b", 2),
            ("\u{feff}\u{feff}a\n\u{feff}b", "0=\u{feff}a 1=\u{feff}b", 2),
            ("\u{feff}\n", "0=", 1),
            ("\u{feff}", "-", 0),
            ("", "-", 0),
        ] {
            let log = Log::new(text);
            let stream = log.stream(0);
            assert_eq!(stream.bounds().unwrap()[0].end, Offset::at(end), "{text:?}");
            let mut reader = reader(&stream, 0);
            assert_eq!(poll(&mut *reader, 1 << 20), expected, "{text:?}");
            assert!(reader.end_confirmed(0).is_some());
        }
        let log = Log::new("");
        let mut reader = reader(&log.stream(0), 0);
        for (byte, expected) in b"\xef\xbb\xbfa\n\xef".iter().zip(["-", "-", "-", "-", "0=a", "-"]) {
            std::fs::OpenOptions::new().append(true).open(&log.path).unwrap().write_all(&[*byte]).unwrap();
            assert_eq!(poll(&mut *reader, 100), expected);
            assert!(reader.end_confirmed(0).is_some());
        }
    }

    #[test]
    fn a_file_that_lost_lines_is_told() {
        for (left, read, at) in [("", "", 5), ("a\n", "5=a", 6)] {
            let log = Log::new("a\nb\nc\n");
            let stream = log.stream(5);
            stream.bounds().unwrap();
            std::fs::write(&log.path, left).unwrap();
            let mut reader = reader(&stream, 5);
            if !read.is_empty() {
                assert_eq!(poll(&mut *reader, 1), read);
            }
            let told = reader.poll(0, 100).unwrap_err().to_string();
            let expected = format!("the file got shorter: it ends at offset {at}, and had records up to offset 7");
            assert!(told.contains(&expected), "{told}");
        }
    }

    #[test]
    fn a_packed_file_is_read_to_its_end() {
        for name in ["a.jsonl.gz", "a.jsonl.zst"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(name).to_str().unwrap().to_owned();
            let bytes = [packed(name, "\u{feff}a\nb".as_bytes()), packed(name, b"c\nd")].concat();
            std::fs::write(&path, &bytes).unwrap();
            let stream = FileStream::open(&path, Offset::at(5), Arc::new(Json::default())).unwrap();
            assert_eq!(
                stream.bounds().unwrap(),
                [Bounds { partition: 0, earliest: Offset::at(5), end: Offset::at(8) }]
            );
            let mut reader = reader(&stream, 5);
            assert!(reader.end_confirmed(0).is_none());
            assert_eq!(poll(&mut *reader, 100), "5=a 6=bc 7=d");
            assert_eq!(poll(&mut *reader, 100), "-");
            assert!(reader.end_confirmed(0).is_some());
            std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
            let told = FileStream::open(&path, Offset::at(5), Arc::new(Json::default()))
                .unwrap()
                .bounds()
                .unwrap_err()
                .to_string();
            assert!(told.starts_with(&format!("reading {path}: it is no whole ")), "{told}");
        }
    }

    #[test]
    fn a_line_that_is_being_written_is_waited_for() {
        let log = Log::new("a\n");
        let stream = log.stream(0);
        stream.bounds().unwrap();
        let mut reader = reader(&stream, 0);
        assert!(reader.end_confirmed(0).is_none());
        assert_eq!(poll(&mut *reader, 100), "0=a");
        for (written, expected) in
            [("", "-"), ("b", "-"), ("c", "-"), ("\nd\ne", "1=bc 2=d"), ("\n", "3=e"), ("\n", "4=")]
        {
            log.append(written);
            assert_eq!(reader.end_confirmed(0).is_none(), !written.is_empty(), "{written:?}");
            assert_eq!(poll(&mut *reader, 100), expected);
            assert_eq!(poll(&mut *reader, 100), "-");
            assert!(reader.end_confirmed(0).is_some());
        }
    }

    #[test]
    fn a_counted_line_without_newline_is_read_once_and_keeps_its_offset() {
        let log = Log::new("a\nb");
        let stream = log.stream(0);
        let mut reader = reader(&stream, 0);
        assert_eq!(poll(&mut *reader, 100), "0=a");
        assert_eq!(poll(&mut *reader, 100), "-");
        assert_eq!(stream.bounds().unwrap()[0].end, Offset::at(2));
        assert!(reader.end_confirmed(0).is_none());
        assert_eq!(poll(&mut *reader, 100), "1=b");
        log.append("c");
        assert_eq!(poll(&mut *reader, 100), "-");
        log.append("\nd\n");
        assert_eq!(poll(&mut *reader, 100), "2=d");
        assert_eq!(stream.bounds().unwrap()[0].end, Offset::at(3));
    }

    #[test]
    fn a_start_ahead_of_the_file_waits_for_its_line() {
        let log = Log::new("a\nb");
        let stream = log.stream(0);
        let mut reader = reader(&stream, 3);
        assert_eq!(poll(&mut *reader, 100), "-");
        log.append("\nc\nd\n");
        assert_eq!(poll(&mut *reader, 100), "3=d");
    }

    #[test]
    fn records_come_in_about_the_bytes_asked_for() {
        let long = "z".repeat(3 * READ_BYTES);
        let log = Log::new(&format!("aaaa\nbbbb\ncccc\n{long}\nd\n"));
        let mut reader = reader(&log.stream(0), 0);
        assert_eq!(poll(&mut *reader, 5), "0=aaaa 1=bbbb");
        assert_eq!(poll(&mut *reader, 0), "2=cccc");
        assert!(reader.end_confirmed(0).is_none());
        assert_eq!(poll(&mut *reader, 1), format!("3={long}"));
        assert_eq!(poll(&mut *reader, 1), "4=d");
    }

    #[test]
    fn lines_are_decoded() {
        let lines: String = (0..20_000).map(|n| format!("{{\"x\":{n}}}\n")).collect();
        let log = Log::new(&lines);
        let mut reader = reader(&log.stream(0), 0);
        let mut next = 0;
        while let Some(records) = reader.poll(0, usize::MAX).unwrap() {
            for value in records.batch.column(0).as_primitive::<Int64Type>().values() {
                assert_eq!(*value, next);
                next += 1;
            }
            assert!(records.len() <= BATCH_RECORDS_MAX && records.malformed.is_none());
        }
        assert_eq!(next, 20_000);
    }

    #[test]
    fn files_are_partitions_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("p10", "b\n"), ("p2", "c\n"), ("p1", "a\n")] {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let stream =
            FileStream::open(&format!("{}/p*", dir.path().display()), Offset::at(0), Arc::new(Json::default()))
                .unwrap();
        assert!(stream.paths().map(|path| path.rsplit('/').next().unwrap()).eq(["p1", "p10", "p2"]));
        let mut reader = stream.reader(&[Start { partition: 2, offset: Offset::at(0) }], &wanted()).unwrap();
        let Payload::Raw(payload) = reader.poll(2, 100).unwrap().unwrap().payload else { panic!("no payload") };
        assert_eq!(payload.value(0), b"c");
    }

    #[test]
    fn growth_wakes() {
        let log = Log::new("a\n");
        let mut reader = reader(&log.stream(0), 0);
        poll(&mut *reader, 100);
        let (wake, woken) = mpsc::channel();
        reader.on_ready(Box::new(move || wake.send(()).unwrap_or(())));
        log.append("b\n");
        woken.recv().unwrap();
        assert_eq!(poll(&mut *reader, 100), "1=b");
        drop(reader);
        assert!(woken.into_iter().count() < 2, "the watching thread goes on");
    }

    #[test]
    fn a_watch_that_ended_is_told() {
        let log = Log::new("a\n");
        let mut reader = reader(&log.stream(0), 0);
        let (waking, woken) = mpsc::channel::<()>();
        reader.on_ready(Box::new(move || {
            let _gone = &waking;
            panic!("of 7")
        }));
        log.append("b\n");
        assert!(woken.recv().is_err(), "it has ended");
        let error = loop {
            match reader.poll(0, 100) {
                Ok(_) => std::thread::yield_now(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.to_string(), "watching files for growth: Headwater has a bug: of 7 (thread watch-files)");
    }

    #[test]
    fn a_file_that_gets_shorter_is_an_error() {
        let log = Log::new("a\nb\n");
        let mut reader = reader(&log.stream(0), 0);
        poll(&mut *reader, 100);
        std::fs::write(&log.path, "a\n").unwrap();
        assert!(reader.end_confirmed(0).is_none());
        assert!(matches!(reader.poll(0, 100), Err(Error::World { .. })));
    }
}
