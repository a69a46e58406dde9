//! The journal: what goes into a ledger, written down as it comes. A checkpoint has little left to write, and a run that goes on
//! from it leaves the rows there until a window comes to them.

use arrow::array::RecordBatch;

use super::Shared;
use crate::ledger::{Ledger, SegmentError};

/// Where rows are written down, a chunk at a time, and where those of an earlier run are.
pub trait Journal {
    /// Keeps rows of a part's ledger (see `accumulators::packed`).
    fn write(&mut self, part: usize, rows: &RecordBatch) -> Result<(), SegmentError>;
    /// A chunk of an earlier run. Each is read once.
    fn read(&mut self, chunk: u64) -> Result<RecordBatch, SegmentError>;
}

/// A journal, and what was not written into it yet.
pub struct Journaled {
    journal: Box<dyn Journal>,
    /// By part.
    unwritten: Vec<Vec<u64>>,
    /// Of a chunk.
    rows_at_once: usize,
}

impl Journaled {
    pub fn new(journal: Box<dyn Journal>, parts: usize, rows_at_once: usize) -> Journaled {
        Journaled { journal, unwritten: vec![vec![]; parts], rows_at_once }
    }

    pub fn read(&mut self, chunk: u64) -> Result<RecordBatch, SegmentError> {
        self.journal.read(chunk)
    }

    /// A row was put into a part's ledger.
    pub fn note(&mut self, shared: &mut Shared, part: usize, row: &[u64], ledger: &Ledger) -> Result<(), SegmentError> {
        self.unwritten[part].extend_from_slice(row);
        if self.unwritten[part].len() < self.rows_at_once * row.len() {
            Ok(())
        } else {
            self.write(shared, part, ledger)
        }
    }

    /// Writes down what was noted of a part, but for what has grown old already: its key may be another's by now.
    pub fn write(&mut self, shared: &mut Shared, part: usize, ledger: &Ledger) -> Result<(), SegmentError> {
        let accumulators = &shared.parts.get(part).accumulators;
        let (rows, lanes, (_, left)) = (&mut self.unwritten[part], accumulators.lanes(), ledger.settled());
        let mut kept = 0;
        for from in (0..rows.len()).step_by(lanes) {
            if rows[from] as i64 > left {
                rows.copy_within(from..from + lanes, kept);
                kept += lanes;
            }
        }
        if kept > 0 {
            self.journal.write(part, &accumulators.pack(&rows[..kept], &shared.keys))?;
        }
        rows.clear();
        Ok(())
    }
}
