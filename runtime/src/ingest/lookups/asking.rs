//! The keys by which events look up: where these depend on the events alone they are known as soon as the events are there, for as many at once
//! as came together.

use std::ops::Range;

use arrow::array::{Array, BinaryArray};
use headwater_clocks::EventTime;
use headwater_connectors::Records;
use headwater_expression::in_parts;

use super::super::looked_up::{RawRow, gather};
use super::super::looked_up_by::{LookedUpBy, looked_up_by};
use super::super::selection::{Elements, REPEATED_BYTES_MAX};
use super::group::{GroupState, HeldEvent};
use super::picked::{Answers, LookupCodecs, OnKey, Picked};
use crate::base::id::GroupId;
use crate::catalog::opened::{Explode, OpenLookup, Opened};
use crate::job::LookIn;

/// Events of one source that come to a group, and by which keys they look up.
pub(super) struct Asking {
    pub(super) rows: Vec<RawRow>,
    /// Where each is a list whose elements look up: past the last record of each.
    ends: Option<Vec<u32>>,
    /// By lookup. `None`: that depends on what is looked up before.
    keys: Vec<Option<Keys>>,
    /// None of them is older.
    pub(super) oldest: EventTime,
}

/// By record, the key by which it looks up.
#[derive(Default)]
struct Keys(Vec<KeysOfPart>);

/// Of records side by side.
pub(super) struct KeysOfPart {
    first: usize,
    keys: BinaryArray,
    /// By record. `None`: each has a key.
    states: Option<Vec<KeyState>>,
}

#[derive(Clone, Copy, PartialEq)]
enum KeyState {
    There,
    Null,
    /// `on` failed.
    Failed,
}

/// The key of a record.
pub(super) enum Key<'a> {
    Null,
    Failed,
    Of(&'a [u8]),
    /// That of an event that is held.
    Held(&'a OnKey),
}

/// An event that looks up.
pub(super) enum Asked<'a> {
    /// One of those that come; and by record and lookup what it had found when it was saved.
    Comes(&'a Asking, usize, &'a [Option<Picked>]),
    Held(&'a HeldEvent),
}

/// Events of one source as a group sees them.
pub(super) struct Seen<'a> {
    records: Records,
    /// Elements look up.
    explode: Option<&'a Explode>,
}

impl Asking {
    /// The records of an event.
    fn records(&self, event: usize) -> Range<usize> {
        match &self.ends {
            None => event..event + 1,
            Some(ends) => event.checked_sub(1).map_or(0, |before| ends[before] as usize)..ends[event] as usize,
        }
    }

    /// Asks for the rows of groups that events will look up at their ticks, where that depends on them alone.
    pub(super) fn ask_ahead(&self, lookups: &[OpenLookup], answers: &mut Answers) {
        for (lookup, keys) in lookups.iter().zip(&self.keys) {
            let (LookIn::Features(group), Some(keys)) = (lookup.of, keys) else { continue };
            for (event, (raw, row)) in self.rows.iter().enumerate() {
                for record in self.records(event) {
                    if let Key::Of(key) = keys.get(record) {
                        answers.find(group, &key.into(), raw.visible[*row as usize]);
                    }
                }
            }
        }
    }
}

impl Keys {
    fn get(&self, record: usize) -> Key<'_> {
        let at = match self.0.len() {
            1 => 0,
            _ => self.0.partition_point(|part| part.first <= record) - 1,
        };
        let part = &self.0[at];
        part.get(record - part.first)
    }
}

impl KeysOfPart {
    pub(super) fn get(&self, record: usize) -> Key<'_> {
        match self.states.as_ref().map_or(KeyState::There, |states| states[record]) {
            KeyState::There => Key::Of(self.keys.value(record)),
            KeyState::Null => Key::Null,
            KeyState::Failed => Key::Failed,
        }
    }
}

impl<'a> Asked<'a> {
    pub(super) fn row(&self) -> &'a RawRow {
        match self {
            Asked::Comes(asking, event, _) => &asking.rows[*event],
            Asked::Held(held) => &held.raw,
        }
    }

    /// How many records it has; of so many lookups.
    pub(super) fn len(&self, lookups: usize) -> usize {
        match self {
            Asked::Comes(asking, event, _) => asking.records(*event).len(),
            Asked::Held(held) => held.picked.len() / lookups.max(1),
        }
    }

    /// By which key its record of this number looks up. Of one that is held this is told by what it has found. `None`: that depends on what is
    /// looked up before.
    pub(super) fn key(&self, (lookup, open): (usize, &OpenLookup), number: usize, lookups: usize) -> Option<Key<'a>> {
        match self {
            Asked::Comes(asking, event, _) => {
                let keys = asking.keys[lookup].as_ref()?;
                Some(keys.get(asking.records(*event).start + number))
            }
            Asked::Held(held) => open.is_ahead.then(|| Key::Held(&held.picked[number * lookups + lookup].key)),
        }
    }

    /// What it had found before; `at`: by record and lookup.
    pub(super) fn before(&self, at: usize) -> Option<&'a Picked> {
        match self {
            Asked::Comes(.., saved) => saved.get(at)?.as_ref(),
            Asked::Held(held) => held.picked.get(at),
        }
    }
}

impl Seen<'_> {
    /// Hands the records on in parts that are small, each with the event of each record where that is an element of a list. Returns the events
    /// whose list did not decode.
    pub(super) fn each_part(&self, each: &mut dyn FnMut(&Records, Option<&[u32]>)) -> Vec<u32> {
        let Some(explode) = self.explode else {
            each(&self.records, None);
            return vec![];
        };
        let (parts, failed) = Elements::of(&self.records, explode, REPEATED_BYTES_MAX);
        parts.for_each(|Elements { records, of }| each(&records, Some(&of)));
        failed
    }
}

impl GroupState {
    /// Some events of one source that come to the group.
    pub(super) fn asking(&self, opened: &Opened, id: GroupId, rows: Vec<RawRow>) -> Asking {
        let lookups = &opened.groups[id].lookups;
        let oldest = rows.iter().map(|(raw, row)| raw.ts(*row)).min().unwrap_or(EventTime::AFTER_ALL);
        let mut keys: Vec<Option<Keys>> = lookups.iter().map(|lookup| lookup.is_ahead.then(Keys::default)).collect();
        let is_exploded = opened.groups[id].explode.is_some() && !lookups.is_empty();
        if rows.is_empty() || !is_exploded && keys.iter().all(Option::is_none) {
            return Asking { rows, ends: None, keys, oldest };
        }
        let mut records_of = is_exploded.then(|| vec![0; rows.len()]);
        let mut first = 0;
        self.seen(opened, id, &rows).each_part(&mut |records, of| {
            for (at, keys) in keys.iter_mut().enumerate() {
                if let Some(keys) = keys {
                    for rows in in_parts(records.len()) {
                        let part = on(&lookups[at], &self.codecs[at], &records.slice(rows.start, rows.len()));
                        keys.0.push(KeysOfPart { first: first + rows.start, ..part });
                    }
                }
            }
            if let (Some(records_of), Some(of)) = (&mut records_of, of) {
                of.iter().for_each(|event| records_of[*event as usize] += 1);
            }
            first += records.len();
        });
        let ends = records_of.map(|mut ends| {
            ends.iter_mut().fold(0, |sum, end| {
                *end += sum;
                *end
            });
            ends
        });
        Asking { rows, ends, keys, oldest }
    }

    /// Some events of one source, as the group sees them. A list that is exploded is so here if its elements look something up.
    pub(super) fn seen<'o>(&self, opened: &'o Opened, id: GroupId, rows: &[RawRow]) -> Seen<'o> {
        let source = rows[0].0.source;
        debug_assert!(self.shapers[&source].group == id);
        let columns = opened.sources[source].wanted.schema.fields().len();
        let records = gather(rows, columns);
        let records = self.shapers[&source].view().of(&records).into_owned();
        let explode = opened.groups[id].explode.as_ref().filter(|_| !self.scans.is_empty());
        Seen { records, explode }
    }
}

/// The key by which each record looks up.
pub(super) fn on(lookup: &OpenLookup, codecs: &LookupCodecs, records: &Records) -> KeysOfPart {
    let LookedUpBy { columns, failed } = looked_up_by(lookup, &codecs.key_types, records);
    let keys: BinaryArray = codecs.key.encode(&columns).expect("columns of the key's types");
    let all_there = failed.is_none() && columns.iter().all(|column| column.logical_null_count() == 0);
    let state = |row: usize| {
        if failed.as_ref().is_some_and(|failed| failed.value(row)) {
            KeyState::Failed
        } else if columns.iter().any(|column| column.is_null(row)) {
            KeyState::Null
        } else {
            KeyState::There
        }
    };
    let states = (!all_there).then(|| (0..records.len()).map(state).collect());
    KeysOfPart { first: 0, keys, states }
}
