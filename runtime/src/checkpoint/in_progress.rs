//! The checkpoint that a worker is putting together.

use std::collections::BTreeMap;
use std::time::Duration;

use headwater_clocks::Tick;

use super::contribution::{Contribution, PositionAt, StateFile};
use super::threads::Sending;
use crate::base::id::CheckpointNumber;
use crate::plan::position::Position;
use crate::plan::progress::HistoryProgress;

/// What is written of a checkpoint so far.
#[derive(Default)]
struct Parts {
    /// By groups, and how long that took.
    groups: Option<(Vec<StateFile>, Duration)>,
    /// By each that writes files of its own.
    others: Vec<Vec<StateFile>>,
}

/// The checkpoint that a worker is putting together.
#[derive(Default)]
pub struct CheckpointInProgress {
    /// Its number and its tick.
    pub wanted: Option<(CheckpointNumber, Tick)>,
    pub positions: Option<(CheckpointNumber, Vec<Position>, HistoryProgress)>,
    /// By checkpoint, the files of this worker's log of admissions, until its other files are written.
    pub admissions: BTreeMap<CheckpointNumber, Vec<StateFile>>,
    /// How many of this worker write files of their own into each checkpoint, as views do; and by checkpoint, what is written of it so far.
    pub others: usize,
    parts: BTreeMap<CheckpointNumber, Parts>,
    pub files: Vec<StateFile>,
    /// The number of the checkpoint whose files are all written, and where all processes see them.
    pub files_of: Option<CheckpointNumber>,
    pub took: Duration,
    /// Object stores: the thread that sends them.
    pub sending: Option<Sending>,
    /// By name (see `changelog`), the lines that this worker writes.
    pub lines: BTreeMap<String, PositionAt>,
}

impl CheckpointInProgress {
    /// Another one is wanted. It may be told twice.
    pub fn want(&mut self, number: CheckpointNumber, t: Tick) {
        if self.wanted.is_none_or(|(before, _)| before < number) {
            self.wanted = Some((number, t));
        }
    }

    /// All files of this worker's groups are written.
    pub fn wrote(&mut self, number: CheckpointNumber, files: Vec<StateFile>, took: Duration) {
        self.parts.entry(number).or_default().groups = Some((files, took));
        self.join(number);
    }

    /// All files of one of the others are written.
    pub fn wrote_other(&mut self, number: CheckpointNumber, files: Vec<StateFile>) {
        self.parts.entry(number).or_default().others.push(files);
        self.join(number);
    }

    /// Once all of this worker's files of a checkpoint are written, they are sent.
    fn join(&mut self, number: CheckpointNumber) {
        let others = self.others;
        let is_whole = |parts: &Parts| parts.groups.is_some() && parts.others.len() == others;
        if !self.parts.get(&number).is_some_and(is_whole) {
            return;
        }
        let Some(Parts { groups: Some((files, took)), others }) = self.parts.remove(&number) else { return };
        self.parts = self.parts.split_off(&number);
        (self.files, self.took) = ([files, others.concat()].concat(), took);
        self.admissions = self.admissions.split_off(&number);
        self.files.extend(self.admissions.remove(&number).unwrap_or_default());
        match &self.sending {
            Some(sending) => sending.send(number, self.files.clone()),
            None => self.files_of = Some(number),
        }
    }

    /// Hears what was sent meanwhile.
    pub fn hear(&mut self) {
        if let Some((number, took)) = self.sending.as_ref().and_then(Sending::sent) {
            self.files_of = Some(number);
            self.took += took;
        }
    }

    /// What this worker adds, once all is there; `told`: the last one that it was told of, `in_sinks`: whether everything up to a
    /// tick is.
    pub fn contribution(&self, told: CheckpointNumber, in_sinks: impl Fn(Tick) -> bool) -> Option<Contribution> {
        let (number, _) = self.wanted.filter(|(number, t)| *number > told && in_sinks(*t))?;
        let (_, positions, read) = self.positions.as_ref().filter(|(of, ..)| *of == number)?;
        let files = self.files_of.filter(|of| *of == number).map(|_| self.files.clone())?;
        // They may hear of it after their frontier has passed the tick.
        if self.lines.values().any(|at| at.number != number) {
            return None;
        }
        Some(Contribution { number, positions: positions.clone(), read: read.clone(), files, took: self.took })
    }
}
