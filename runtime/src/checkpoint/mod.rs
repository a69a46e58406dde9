//! Checkpoints: what a run needs to go on from a tick instead of from its history.
//!
//! ```text
//! worker 0   announces (number, T)                                                   all parts there: manifest, written last
//! feed         positions, as it moves past T   \
//! windows      stands at T: parts as Parquet     >  everything up to T is in the sinks: report     (ledgers: see `journal`)
//! lines        where they are left at T        /
//! ```
//!
//! The cut is a dataflow time: what was sent up to `T` is in it, what was sent later is read again. While the history is read
//! there is no `T`: then everybody stops reading for a moment, and the cut lies between slices. Parts carry keys, so any
//! number of workers and processes reads them. They lie under the state path, which all processes have to see: see `store`.
//!
//! The manifest is created last: without it there is no checkpoint. The last few are kept, so that one that is damaged can be
//! passed over. Whose checkpoints count, where two runs meet, is told in `generations`.

mod files;
pub mod generations;
mod journal;
pub mod lease;
mod manifest;
mod parts;
mod sides;
mod store;
mod threads;
mod watched;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use headwater_connectors::sink::lines::Left;
use headwater_connectors::storage::{make_dir, sync_dir};
use headwater_operators::group::{NamedValues, Piece, State};
use headwater_operators::ledger::SegmentError;
use serde::{Deserialize, Serialize};

pub use journal::GroupJournal;
pub use manifest::{FORMAT, Manifest, look, take_over};
pub use sides::{Saved, Sides};
pub use store::{LEDGER, StateStore};
pub use threads::{Committing, Sending};
pub use watched::Whole;

use crate::failure::Failure;
use crate::plan::Side;
use crate::source::history::Read;
use crate::source::last_record::LastRecord;

/// How many are kept.
const KEPT: usize = 3;

/// How far a partition was read, and its `eff` there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Of the plan.
    pub reading: u32,
    pub partition: i32,
    pub offset: i64,
    pub eff: Option<i64>,
    /// The newest tick at which a record before it counts that was read after `T` had passed its own.
    pub admitted: Option<i64>,
    /// The last record before it, where one was read.
    pub last: Option<LastRecord>,
}

/// A file of a checkpoint, as it has to be found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The checkpoint in whose directory it lies.
    pub number: u64,
    pub group: u32,
    /// Of which worker, and of how many: the files of a group and a worker belong together. (0: an earlier version wrote it.)
    pub worker: u32,
    #[serde(default)]
    pub workers: u32,
    pub piece: Piece,
    /// Of which part of the group.
    pub of: u32,
    /// Where the state was worked out that it is of.
    #[serde(default)]
    pub side: Side,
    pub name: String,
    pub bytes: u64,
    pub xxh3: u64,
    /// Of a ledger: the first and the last event time.
    #[serde(default)]
    pub span: Option<(i64, i64)>,
}

impl Part {
    pub fn name(&self) -> store::PartName {
        (self.number, self.name.clone())
    }
}

/// What a worker has put into a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contribution {
    pub number: u64,
    pub positions: Vec<Position>,
    /// How far this worker's pieces of the history were read.
    pub read: Read,
    pub parts: Vec<Part>,
    /// How long it took to write and send them.
    pub took: Duration,
}

/// The checkpoint that a worker is putting together.
#[derive(Default)]
pub struct Local {
    /// Its number and its tick.
    pub wanted: Option<(u64, i64)>,
    pub positions: Option<(u64, Vec<Position>, Read)>,
    pub parts: Vec<Part>,
    /// Whether all parts are written, and where all processes see them.
    pub parts_of: Option<u64>,
    pub took: Duration,
    /// Object stores: the thread that sends them.
    pub sending: Option<Sending>,
    /// By name (see `changelog`), the lines that this worker writes.
    pub lines: BTreeMap<String, Noted>,
}

/// Where lines are left at the tick of a checkpoint.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    pub number: u64,
    pub left: Option<Left>,
}

/// What a checkpoint calls a sink's changelog.
pub fn changelog(sink: &str) -> String {
    format!("sinks.{sink}")
}

/// What it calls the dead letters, and those of what is worked out beside the rows.
pub const DEAD_LETTERS: &str = "dead_letters";
pub const LETTERS_BESIDE: &str = "dead_letters.beside";

impl Local {
    /// Another one is wanted. It may be told twice.
    pub fn want(&mut self, number: u64, t: i64) {
        if self.wanted.is_none_or(|(before, _)| before < number) {
            self.wanted = Some((number, t));
        }
    }

    /// All parts of a checkpoint are written.
    pub fn wrote(&mut self, number: u64, parts: Vec<Part>, took: Duration) {
        (self.parts, self.took) = (parts, took);
        match &self.sending {
            Some(sending) => sending.send(number, self.parts.clone()),
            None => self.parts_of = Some(number),
        }
    }

    /// Hears what was sent meanwhile.
    pub fn hear(&mut self) {
        if let Some((number, took)) = self.sending.as_ref().and_then(Sending::sent) {
            self.parts_of = Some(number);
            self.took += took;
        }
    }

    /// What this worker adds, once all is there; `told`: the last one that it was told of, `in_sinks`: whether everything up to a
    /// tick is.
    pub fn contribution(&self, told: u64, in_sinks: impl Fn(i64) -> bool) -> Option<Contribution> {
        let (number, _) = self.wanted.filter(|(number, t)| *number > told && in_sinks(*t))?;
        let (_, positions, read) = self.positions.as_ref().filter(|(of, ..)| *of == number)?;
        let parts = self.parts_of.filter(|of| *of == number).map(|_| self.parts.clone())?;
        // They may hear of it after their frontier has passed the tick.
        if self.lines.values().any(|noted| noted.number != number) {
            return None;
        }
        Some(Contribution { number, positions: positions.clone(), read: read.clone(), parts, took: self.took })
    }
}

fn failed(doing: &str, path: &Path, cause: impl std::fmt::Display) -> Failure {
    Failure::Running(format!("{doing} {}: {cause}", path.display()))
}

/// Writes a group's parts of one worker, where every tick up to `t` is finished.
pub fn write(
    store: &StateStore,
    number: u64,
    (group, worker, workers): (u32, u32, u32),
    state: &mut State,
    journal: &GroupJournal,
    t: i64,
) -> Result<Vec<Part>, Failure> {
    store.forget_brought()?;
    let dir = store.written(number, worker);
    make_dir(&dir).map_err(|e| failed("creating", &dir, e))?;
    let mut writers: BTreeMap<(Piece, usize), (String, parts::Writer)> = BTreeMap::new();
    let mut each = |piece, part: usize, batch: &RecordBatch| {
        let failed = |e: &dyn std::fmt::Display| SegmentError(format!("writing to {}: {e}", dir.display()));
        let (_, writer) = match writers.entry((piece, part)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let name = format!("group-{group}-worker-{worker}-{}-{part}.parquet", word(piece));
                let writer = parts::Writer::create(&dir.join(&name), batch.schema()).map_err(|e| failed(&e))?;
                new.insert((name, writer))
            }
        };
        writer.write(batch).map_err(|e| failed(&e))
    };
    state.save(t.saturating_add(1), &mut each).map_err(|e| Failure::Running(e.to_string()))?;
    let mut parts = vec![];
    for ((piece, part), (name, writer)) in writers {
        let (bytes, xxh3) = writer.finish().map_err(|e| failed("writing to", &dir, e))?;
        let (of, side, span) = (part as u32, Side::Shown, None);
        parts.push(Part { number, group, worker, workers, piece, of, side, name, bytes, xxh3, span });
    }
    parts.extend(journal.cut(number, t)?);
    sync_dir(&dir).map_err(|e| failed("writing to", &dir, e))?;
    Ok(parts)
}

fn word(piece: Piece) -> &'static str {
    match piece {
        Piece::Values => "values",
        Piece::Units => "units",
        Piece::Ledger => "ledger",
        Piece::Pending => "pending",
    }
}

/// Fills a group's state with what all workers had of it, for the keys that `owns` accepts. If there were as many as now, its ledger
/// stays in the journal.
pub fn read(
    store: &StateStore,
    manifest: &Manifest,
    group: u32,
    (state, journal): (&mut State, &GroupJournal),
    owns: impl Fn(&[u8]) -> bool,
) -> Result<(), Failure> {
    let is_asked = |part: &&Part| part.group == group && state.resumes(part.side == Side::Beside);
    let mut of_group: Vec<&Part> = manifest.parts.iter().filter(is_asked).collect();
    of_group.sort_by_key(|part| (part.side, part.worker, part.piece, part.of));
    for of_worker in of_group.chunk_by(|a, b| (a.side, a.worker) == (b.side, b.worker)) {
        let mut values = NamedValues::of(of_worker[0].side == Side::Beside);
        for part in of_worker.iter().filter(|part| journal.owns(part) != Some(false)) {
            let path = store.part(part)?.map_err(Failure::Running)?;
            if part.piece == Piece::Ledger && journal.owns(part) == Some(true) {
                journal.carry(state, part, &path)?;
                continue;
            }
            for batch in parts::read(&path).map_err(|e| failed("reading", &path, e))? {
                let batch = batch.map_err(|e| failed("reading", &path, e))?;
                state
                    .load((part.piece, part.of as usize), &batch, &mut values, &owns)
                    .map_err(|e| failed("reading", &path, e))?;
            }
        }
    }
    state.thaw().map_err(|e| Failure::Running(e.to_string()))
}
