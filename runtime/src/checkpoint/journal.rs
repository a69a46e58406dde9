//! The journal of a group on one worker: the rows of its ledgers, a log for each column set. A run that goes on reads a chunk when its time
//! comes.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use arrow::array::RecordBatch;
use headwater_clocks::{Span, Tick};
use headwater_operators::group::{Journal, Piece, State};
use headwater_operators::ledger::SegmentError;

use super::contribution::StateFile;
use super::files::failed;
use super::row_log::RowLog;
use super::state_file;
use super::store::StateStore;
use crate::base::failure::Failure;
use crate::base::id::{CheckpointNumber, ColumnSetId, Generation, GroupId, Id, WorkerId};
use crate::base::peer::Peer;
use crate::plan::side::Side;

#[derive(Clone)]
pub struct GroupJournal(Rc<RefCell<Files>>);

struct Files {
    worker: WorkerId,
    workers: u32,
    /// By column set of the group.
    sets: Vec<RowLog>,
    /// Chunks of an earlier run, by number, until they are read.
    frozen: Vec<Option<(Rc<state_file::Chunks>, usize)>>,
}

impl Journal for GroupJournal {
    fn write(&mut self, set: usize, rows: &RecordBatch) -> Result<(), SegmentError> {
        self.0.borrow_mut().sets[set].write(rows).map_err(|failure| SegmentError(failure.message()))
    }

    fn read(&mut self, chunk: u64) -> Result<RecordBatch, SegmentError> {
        let frozen = self.0.borrow_mut().frozen.get_mut(chunk as usize).and_then(Option::take);
        let (file, at) = frozen.ok_or_else(|| SegmentError(format!("chunk {chunk} of the journal is gone")))?;
        file.read(at).map_err(|e| SegmentError(format!("reading the journal: {e}")))
    }
}

impl GroupJournal {
    /// `longest`: by column set, its longest window.
    pub fn new(
        store: Arc<StateStore>,
        generation: Generation,
        group: GroupId,
        peer: Peer,
        longest: &[Span],
    ) -> GroupJournal {
        let (worker, workers) = peer.of_files();
        let set = |(of, longest): (usize, &Span)| {
            let name = format!("group-{}-worker-{}-ledger-{of}", group.number(), worker.number());
            let like = StateFile::like(name, (group.number(), ColumnSetId::at(of), Piece::Ledger), (worker, workers));
            RowLog::new(store.clone(), generation, like, *longest)
        };
        let sets = longest.iter().enumerate().map(set).collect();
        GroupJournal(Rc::new(RefCell::new(Files { worker, workers, sets, frozen: vec![] })))
    }

    /// Whether the keys in a file of a checkpoint are this worker's, and no other's. `None`: some may be.
    pub fn owns(&self, file: &StateFile) -> Option<bool> {
        let files = self.0.borrow();
        (file.workers == files.workers).then_some(file.worker == files.worker)
    }

    /// Goes on with a file of an earlier run. Its rows stay there until their time comes.
    pub fn carry(&self, state: &mut State, file: &StateFile, path: &Path) -> Result<(), Failure> {
        let Some(of) = state.set_of(file.of.index(), file.side == Side::Shadow) else { return Ok(()) };
        let mut files = self.0.borrow_mut();
        let chunks = Rc::new(state_file::Chunks::open(path).map_err(|e| failed("reading", path, e))?);
        let spans = chunks.spans().map_err(|e| failed("reading", path, e))?;
        for (at, (first, last)) in spans.into_iter().enumerate() {
            state.freeze(of, files.frozen.len() as u64, first, last);
            files.frozen.push(Some((chunks.clone(), at)));
        }
        files.sets[of].carry(file);
        Ok(())
    }

    /// The files of a checkpoint at `t`, up to which all is written.
    pub fn cut(&self, number: CheckpointNumber, t: Tick) -> Result<Vec<StateFile>, Failure> {
        let mut all = vec![];
        for set in &mut self.0.borrow_mut().sets {
            all.extend(set.cut(number, t)?);
        }
        Ok(all)
    }
}
