//! The ledgers of a trailing group, one a column set, and the journal: what goes into them, written down as it comes. A checkpoint
//! has little left to write, and a run that goes on from it leaves the rows there until a window comes to them.

use std::cell::RefCell;
use std::rc::Rc;

use arrow::array::RecordBatch;
use headwater_clocks::{EventTime, Span, Tick};

use super::column_sets::ColumnSets;
use super::dense::Dense;
use super::moves::Moves;
use crate::ledger::{Ledger, SegmentError, Segments, time_of};
use crate::limits::Limits;
use crate::saved::Damaged;

/// Where rows are written down, a chunk at a time, and where those of an earlier run are.
pub trait Journal {
    /// Keeps rows of the ledger of a column set (see `accumulators::packed`).
    ///
    /// # Errors
    /// They cannot be kept.
    fn write(&mut self, set: usize, rows: &RecordBatch) -> Result<(), SegmentError>;
    /// A chunk of an earlier run. Each is read once.
    ///
    /// # Errors
    /// It cannot be read back.
    fn read(&mut self, chunk: u64) -> Result<RecordBatch, SegmentError>;
}

#[derive(Default)]
pub struct Ledgers {
    all: Vec<Ledger>,
    /// What goes into the ledgers is written down as it comes, if anybody asks for it.
    journal: Option<Box<dyn Journal>>,
    /// By column set: what was not written into the journal yet.
    unwritten: Vec<Vec<u64>>,
    /// Of a chunk of the journal.
    rows_at_once: usize,
}

impl Ledgers {
    pub fn new(tick: Span, sets: &ColumnSets, segments: Box<dyn Segments>, limits: Limits) -> Ledgers {
        let segments = Rc::new(RefCell::new(segments));
        let shared = Limits { ledger_bytes: limits.ledger_bytes / sets.iter().len(), ..limits };
        let ledger = |set: &super::column_sets::Set| {
            let (windows, lanes) = (set.accumulators.windows(), set.accumulators.lanes());
            Ledger::new(windows, lanes, tick, set.start, Box::new(segments.clone()), shared)
        };
        let all: Vec<Ledger> = sets.iter().map(ledger).collect();
        Ledgers { unwritten: vec![vec![]; all.len()], all, journal: None, rows_at_once: limits.journal_rows }
    }

    pub fn next_due(&self) -> Option<Tick> {
        self.all.iter().filter_map(Ledger::next_due).min()
    }

    pub fn bytes(&self) -> u64 {
        self.all.iter().map(|ledger| ledger.resident_bytes() as u64).sum()
    }

    /// Nothing has left a window of a column set later than at tick `done`.
    pub fn begin_at(&mut self, set: usize, done: Tick) -> Result<(), SegmentError> {
        self.all.get_mut(set).map_or(Ok(()), |ledger| ledger.settle(done))
    }

    /// What grows old by tick `now` moves out.
    pub fn expire(&mut self, dense: &Dense, now: Tick, moves: &mut Moves) -> Result<(), SegmentError> {
        self.thaw(dense, Some(now))?;
        for (set, ledger) in self.all.iter_mut().enumerate() {
            ledger.expire(now, |window, row| moves.leave(set, window, row))?;
            ledger.settle(now)?;
        }
        Ok(())
    }

    /// Puts the row of an event that has come by tick `now` into the ledger of a column set.
    pub fn keep(&mut self, dense: &Dense, set: usize, row: &[u64], now: Tick) -> Result<(), SegmentError> {
        self.all[set].insert(row, now)?;
        if self.journal.is_none() {
            return Ok(());
        }
        self.unwritten[set].extend_from_slice(row);
        if self.unwritten[set].len() < self.rows_at_once * row.len() { Ok(()) } else { self.write(dense, set) }
    }

    /// Takes in rows of a saved ledger. They are in their units already.
    pub fn load(&mut self, dense: &Dense, set: usize, rows: &[u64], now: Tick) -> Result<(), SegmentError> {
        let lanes = dense.sets.get(set).accumulators.lanes();
        rows.chunks_exact(lanes).try_for_each(|row| self.keep(dense, set, row, now))
    }

    /// From now on what goes in is written into a journal.
    pub fn keep_journal(&mut self, journal: Box<dyn Journal>) {
        self.journal = Some(journal);
    }

    /// Writes into the journal what was not yet.
    pub fn write_journal(&mut self, dense: &Dense) -> Result<(), SegmentError> {
        (0..self.all.len()).try_for_each(|set| self.write(dense, set))
    }

    /// Writes down what was noted of a column set, but for what has grown old already: its key may be another's by now.
    fn write(&mut self, dense: &Dense, set: usize) -> Result<(), SegmentError> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        let accumulators = &dense.sets.get(set).accumulators;
        let (rows, lanes, (_, left)) = (&mut self.unwritten[set], accumulators.lanes(), self.all[set].settled());
        let mut kept = 0;
        for from in (0..rows.len()).step_by(lanes) {
            if time_of(&rows[from..]) > left {
                rows.copy_within(from..from + lanes, kept);
                kept += lanes;
            }
        }
        if kept > 0 {
            journal.write(set, &accumulators.pack(&rows[..kept], &dense.keys))?;
        }
        rows.clear();
        Ok(())
    }

    /// A chunk of the journal of an earlier run, whose units are loaded, stays there until a window comes to it.
    pub fn freeze(&mut self, set: usize, chunk: u64, first: EventTime, last: EventTime) {
        self.all.iter_mut().skip(set).take(1).for_each(|ledger| ledger.freeze(chunk, first, last));
    }

    /// Takes in the chunks that a tick needs; `None`: the one that the ledgers begin at.
    pub fn thaw(&mut self, dense: &Dense, now: Option<Tick>) -> Result<(), SegmentError> {
        for (set, ledger) in self.all.iter_mut().enumerate() {
            let now = now.unwrap_or(ledger.settled().0);
            while let Some(chunk) = ledger.due_chunk(now) {
                let batch = self.journal.as_mut().expect("what is frozen is in a journal").read(chunk)?;
                let rows = dense.sets.get(set).accumulators.unpack(&batch, &dense.keys);
                ledger.thaw(&rows.map_err(|Damaged(why)| SegmentError(why))?)?;
            }
        }
        Ok(())
    }
}
