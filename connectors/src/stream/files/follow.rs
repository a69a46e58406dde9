//! One file, read line by line as it grows.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use headwater_clocks::Offset;

use crate::format::BYTE_ORDER_MARK;
use crate::history::longest_record;
use crate::packed::{Packing, unpacked};
use crate::stream::Start;
use crate::{Error, Result};

/// Bytes that are read at a time.
pub(super) const READ_BYTES: usize = 256 << 10;

/// A file that is known.
pub(super) struct KnownFile {
    pub path: String,
    /// One past the last offset that `bounds` has counted.
    pub end: AtomicI64,
}

/// Opens a file.
pub(super) fn open(path: &str) -> Result<File> {
    File::open(path).map_err(|e| Error::world(format!("opening {path}"), e))
}

/// A packed file, and whether it has been read to its end.
struct Unpacked {
    bytes: Box<dyn Read + Send>,
    at_end: bool,
}

/// See the module.
pub(super) struct Follow {
    pub partition: i32,
    pub known: Arc<KnownFile>,
    pub file: File,
    /// What it holds, where it is packed.
    unpacked: Option<Unpacked>,
    /// Lines before it are passed over.
    pub start: Offset,
    /// The offset of the next line.
    pub offset: Offset,
    /// What was read of the file; bytes before `taken` are done with.
    pub buffer: Vec<u8>,
    taken: usize,
    /// How many bytes from `taken` on are known to hold no `\n`.
    searched: usize,
    pub read_to: u64,
    /// The last record had no `\n` yet: what comes up to it is still that record's.
    cut: bool,
    /// Nothing was taken yet: a byte order mark may be ahead.
    at_start: bool,
}

impl Follow {
    /// # Errors
    /// `World`: the file cannot be read.
    pub fn new(known: Arc<KnownFile>, start: &Start, first_offset: Offset) -> Result<Follow> {
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
    ///
    /// # Errors
    /// As of `next_line`.
    pub fn skip(&mut self) -> Result<()> {
        while self.offset < self.start && self.next_line()?.is_some() {}
        Ok(())
    }

    /// Where the next line lies in the buffer, without its `\n`. `None`: it is not there yet.
    ///
    /// # Errors
    /// `World`: the file cannot be read, got shorter, or has a line that is longer than any record may be.
    pub fn next_line(&mut self) -> Result<Option<Range<usize>>> {
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
    pub fn at_end(&self) -> bool {
        let searched_all = self.taken + self.searched == self.buffer.len();
        let read_all = match &self.unpacked {
            Some(unpacked) => unpacked.at_end,
            None => self.file.metadata().is_ok_and(|metadata| metadata.len() == self.read_to),
        };
        searched_all && read_all && !self.has_tail()
    }

    pub fn known_end(&self) -> Offset {
        Offset::at(self.known.end.load(Ordering::Acquire))
    }
}
