//! Events with what they have looked up, or look up anew, of which a group's events are to be made. They are gathered over many ticks, since what
//! is made of columns is made of many rows for the price of few.
//!
//! ```text
//! tick 3    an event comes                    +1 with what it looks up
//! tick 9    a version comes that concerns it  -1 with that    +1 with what it looks up now
//! ```
//!
//! All of one event is of one part, in its order.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use headwater_clocks::{Eff, Tick};

use super::super::looked_up::{RawRow, bytes_of_row};
use super::super::selection::{REPEATED_BYTES_MAX, parted};
use super::picked::Look;
use crate::base::id::{GroupId, IdVec, ScanId};

/// Read live, events have other horizons at each announced tick: not all parts are searched for one that has those of an event.
const PARTS_LOOKED_AT: usize = 32;

/// What is to be made.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) parts: VecDeque<Part>,
    /// How many records it has.
    pub(super) records: usize,
    /// The tick from which on something is.
    pub(super) from: Option<Tick>,
}

/// Of events of one source, which were read when the same windows were closed.
pub(super) struct Part {
    pub(super) group: GroupId,
    /// Windows that closed before them are gone.
    pub(super) horizons: IdVec<ScanId, Eff>,
    pub(super) rows: Vec<RawRow>,
    pub(super) entries: Vec<Entry>,
    /// By record and lookup, in the order of the events.
    pub(super) looks: Vec<Look>,
    lookups: usize,
    /// So many events are made.
    pub(super) made: usize,
}

/// What becomes of an event.
pub(super) struct Entry {
    /// The tick from which on it counts; by which effective time windows take it; and whether it comes or goes.
    pub(super) visible: Tick,
    pub(super) eff: Option<Eff>,
    pub(super) diff: i8,
    pub(super) fate: Fate,
    /// Past the last of its records.
    end: u32,
}

/// What is to be noted once it is known what is wrong with an event.
#[derive(Clone, Copy)]
pub(super) enum Fate {
    /// It comes, and is held under this number.
    Comes(Option<u32>),
    /// It goes, as it was.
    Goes,
    /// It is held under this number, and comes once more as it is now.
    ComesAgain(u32),
}

impl Part {
    /// `lookups`: how many the group has.
    pub(super) fn new(group: GroupId, lookups: usize, horizons: IdVec<ScanId, Eff>) -> Part {
        Part { group, horizons, rows: vec![], entries: vec![], looks: vec![], lookups, made: 0 }
    }

    /// `looks`: by record and lookup.
    pub(super) fn push(
        &mut self,
        row: RawRow,
        (visible, eff): (Tick, Option<Eff>),
        (diff, fate): (i8, Fate),
        looks: impl Iterator<Item = Look>,
    ) {
        self.looks.extend(looks);
        let records = match self.lookups {
            0 => self.rows.len() + 1,
            lookups => self.looks.len() / lookups,
        };
        self.rows.push(row);
        self.entries.push(Entry { visible, eff, diff, fate, end: records as u32 });
    }

    /// The records of some events.
    pub(super) fn records(&self, events: Range<usize>) -> Range<usize> {
        let start = |event: usize| event.checked_sub(1).map_or(0, |before| self.entries[before].end as usize);
        start(events.start)..start(events.end)
    }

    /// What records look up in one place.
    pub(super) fn looks_of(&self, lookup: usize, records: Range<usize>) -> impl Iterator<Item = &Look> + Clone {
        let all = &self.looks[records.start * self.lookups..records.end * self.lookups];
        all.iter().skip(lookup).step_by(self.lookups.max(1))
    }

    /// About how many bytes that becomes which a record looks up.
    pub(super) fn bytes(&self, record: usize) -> usize {
        self.looks[record * self.lookups..(record + 1) * self.lookups].iter().map(Look::bytes).sum()
    }

    /// The events that are to be made next, so many that they are little with what they look up. `None`: all are made.
    pub(super) fn next(&self) -> Option<Range<usize>> {
        let bytes = |event: usize| {
            let event = self.made + event;
            let looked_up: usize = self.records(event..event + 1).map(|record| self.bytes(record)).sum();
            looked_up + bytes_of_row(&self.rows[event])
        };
        let first = parted(self.rows.len() - self.made, REPEATED_BYTES_MAX, bytes).next()?;
        Some(self.made..self.made + first.end)
    }

    /// Whether it is of what was read with a record.
    fn is_of(&self, group: GroupId, row: &RawRow) -> bool {
        let is_alike = |known: &RawRow| {
            Rc::ptr_eq(&known.0, &row.0) || known.0.source == row.0.source && self.horizons == row.0.horizons
        };
        self.group == group && self.rows.last().is_some_and(is_alike)
    }
}

impl Draft {
    /// An event of a group with so many lookups comes or goes at a tick.
    pub(super) fn push(
        &mut self,
        (group, lookups): (GroupId, usize),
        row: RawRow,
        (tick, visible): (Tick, Tick),
        becomes: (i8, Fate),
        looks: impl Iterator<Item = Look>,
    ) {
        self.from.get_or_insert(tick);
        let eff = row.0.effs[row.1 as usize];
        // What an event was before is of this part or of one before it.
        let first = self.parts.len().saturating_sub(PARTS_LOOKED_AT);
        let at = self.parts.range(first..).rposition(|part| part.is_of(group, &row));
        let at = at.map(|at| first + at).unwrap_or_else(|| {
            self.parts.push_back(Part::new(group, lookups, row.0.horizons.clone()));
            self.parts.len() - 1
        });
        let part = &mut self.parts[at];
        let before = part.entries.last().map_or(0, |entry| entry.end);
        part.push(row, (visible, eff), becomes, looks);
        self.records += (part.entries.last().map_or(0, |entry| entry.end) - before) as usize;
    }
}
