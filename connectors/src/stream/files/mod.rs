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

mod follow;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use headwater_clocks::{Arrival, Offset, Span, WallClock};

use self::follow::{Follow, KnownFile, READ_BYTES, open};
use super::{Bounds, Reader, Start, Stream, StreamConfig, StreamKind};
use crate::format::records::RecordsBuilder;
use crate::format::{BYTE_ORDER_MARK, Format, FormatKind, Message, Pins};
use crate::history::find;
use crate::packed::{Packing, unpacked};
use crate::settings::{Endpoint, Kind, Settings};
use crate::threads::{Helper, ThreadError};
use crate::{Error, Records, Result, Wanted};

const BATCH_RECORDS_MAX: usize = 8192;
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

    fn looks(&self, value: &[u8]) -> Option<String> {
        self.format.looks(value)
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
    files: Vec<Arc<KnownFile>>,
}

impl FileStream {
    /// Finds the files that a glob names.
    ///
    /// # Errors
    /// `Config`: nothing matches. `World`: a file cannot be looked at.
    pub fn open(pattern: &str, first_offset: Offset, format: Arc<dyn Format>) -> Result<FileStream> {
        let known = |path| Arc::new(KnownFile { path, end: AtomicI64::new(first_offset.number()) });
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
        let bounds = |(partition, known): (usize, &Arc<KnownFile>)| {
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
