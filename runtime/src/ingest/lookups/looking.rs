//! What the events of a group look up now, and the group's events that are made with it.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, BinaryArray, Int8Array, new_null_array};
use arrow::compute::cast;
use headwater_clocks::{Eff, Tick};
use headwater_connectors::Records;
use headwater_expression::in_parts;
use headwater_operators::events;

use super::super::admit::Admitted;
use super::super::dead_letters::reason_bit;
use super::super::looked_up::{Raw, RawRow, gather};
use super::super::selection::{Elements, REPEATED_BYTES_MAX};
use super::super::shape::{Batch, Refused};
use super::Made;
use super::group::{GroupState, Suspicion};
use super::picked::{Answers, LookupCodecs, OnKey, Picked, extend};
use super::table::Tables;
use crate::base::id::{GroupId, IdVec, ScanId};
use crate::catalog::opened::{OpenLookup, Opened};
use crate::job::LookIn;

/// Events of one source as a group sees them.
pub(super) struct Seen {
    /// Side by side, each with so many that what is repeated of a list's own record is little.
    parts: Vec<Records>,
    /// By record, where each element of a list is one: of which event, and the how manyth.
    elements: Option<Vec<(u32, u32)>>,
    /// The events whose list did not decode.
    failed: Vec<u32>,
}

/// Events of one source, as the group sees them with what they look up, and that by event.
pub(super) struct Found {
    pub(super) rows: Vec<RawRow>,
    pub(super) seen: Seen,
    pub(super) picked: Vec<Vec<Picked>>,
}

impl Seen {
    fn len(&self) -> usize {
        self.parts.iter().map(Records::len).sum()
    }

    /// The parts, and the place of the first record of each.
    fn parts(&self) -> impl Iterator<Item = (usize, &Records)> {
        self.parts.iter().scan(0, |next, records| Some((std::mem::replace(next, *next + records.len()), records)))
    }

    /// With what each record looks up.
    fn extend<'a>(
        &mut self,
        lookup: &OpenLookup,
        codecs: &LookupCodecs,
        picked: impl Iterator<Item = &'a Picked> + Clone,
    ) {
        let mut first = 0;
        for records in &mut self.parts {
            let own = picked.clone().skip(first).take(records.len());
            first += records.len();
            *records = extend(records.clone(), lookup, codecs, own);
        }
    }

    /// Of which event a record is, and the how manyth.
    fn place(&self, record: usize) -> (usize, usize) {
        match &self.elements {
            None => (record, 0),
            Some(elements) => (elements[record].0 as usize, elements[record].1 as usize),
        }
    }

    /// What there is by event, by record.
    fn each<T: Clone>(&self, by_event: Vec<T>) -> Vec<T> {
        let Some(elements) = &self.elements else { return by_event };
        elements.iter().map(|(event, _)| by_event[*event as usize].clone()).collect()
    }

    /// What there is by record, by event.
    fn by_event<T>(&self, each: Vec<Vec<T>>, events: usize) -> Vec<Vec<T>> {
        if self.elements.is_none() {
            return each;
        }
        let mut all: Vec<Vec<T>> = (0..events).map(|_| vec![]).collect();
        each.into_iter().enumerate().for_each(|(record, some)| all[self.place(record).0].extend(some));
        all
    }
}

impl GroupState {
    /// What some events of one source look up now: the records with it, and by event. `None`: rows of other groups are asked for first. `before`:
    /// by event and lookup, what it had looked up before. Of an event that is a list what its elements look up comes one behind the other.
    pub(super) fn pick<'a>(
        &self,
        opened: &Opened,
        (id, tables): (GroupId, &Tables),
        answers: &mut Answers,
        rows: &[RawRow],
        before: &dyn Fn(usize, usize) -> Option<&'a Picked>,
    ) -> Option<(Seen, Vec<Vec<Picked>>)> {
        let mut seen = self.seen(opened, id, rows);
        let lookups = &opened.groups[id].lookups;
        let mut all: Vec<Vec<Picked>> = (0..seen.len()).map(|_| Vec::with_capacity(self.scans.len())).collect();
        for (at, lookup) in lookups.iter().enumerate() {
            let keys = self.on(lookup, &self.codecs[at], &seen);
            let mut is_asked = false;
            for (record, (key, picked)) in keys.into_iter().zip(&mut all).enumerate() {
                let (event, number) = seen.place(record);
                let (raw, row) = &rows[event];
                let found = match (&key, lookup.of) {
                    (OnKey::Null | OnKey::Failed, _) => Some(None),
                    (OnKey::Key(key), LookIn::Table(_)) => {
                        let scan = self.scans[at].expect("a table is read by a scan");
                        Some(tables[&scan].table.pick(key, raw.ts(*row)))
                    }
                    (OnKey::Key(by), LookIn::Features(group)) => {
                        match before(event, number * lookups.len() + at).filter(|old| old.key == key) {
                            Some(old) => Some(old.row.clone()),
                            None => answers.find(group, by, raw.visible[*row as usize]),
                        }
                    }
                };
                is_asked |= found.is_none();
                picked.push(Picked { key, row: found.flatten() });
            }
            if is_asked {
                return None;
            }
            let picked = all.iter().map(|picked| &picked[at]);
            seen.extend(lookup, &self.codecs[at], picked);
        }
        let all = seen.by_event(all, rows.len());
        Some((seen, all))
    }

    /// Asks for the rows that events will look up at their ticks, where that depends on them alone.
    pub(super) fn ask_ahead(&self, opened: &Opened, id: GroupId, answers: &mut Answers, rows: &[RawRow]) {
        if rows.is_empty() || !self.asks_ahead {
            return;
        }
        let seen = self.seen(opened, id, rows);
        for (lookup, codecs) in opened.groups[id].lookups.iter().zip(&self.codecs).filter(|(of, _)| of.is_ahead) {
            let LookIn::Features(group) = lookup.of else { continue };
            for (record, key) in self.on(lookup, codecs, &seen).into_iter().enumerate() {
                let (raw, row) = &rows[seen.place(record).0];
                if let OnKey::Key(key) = &key {
                    answers.find(group, key, raw.visible[*row as usize]);
                }
            }
        }
    }

    /// Some events of one source, with what they looked up.
    pub(super) fn extended(&self, opened: &Opened, id: GroupId, rows: &[RawRow], picked: &[Vec<Picked>]) -> Seen {
        let mut seen = self.seen(opened, id, rows);
        let lookups = &opened.groups[id].lookups;
        for (at, (lookup, codecs)) in lookups.iter().zip(&self.codecs).enumerate() {
            let of_lookup = picked.iter().flat_map(|picked| picked.iter().skip(at).step_by(lookups.len()));
            seen.extend(lookup, codecs, of_lookup);
        }
        seen
    }

    /// As the group sees them. A list that is exploded is so here if its elements look something up.
    pub(super) fn seen(&self, opened: &Opened, id: GroupId, rows: &[RawRow]) -> Seen {
        let source = rows[0].0.source;
        debug_assert!(self.shapers[&source].group == id);
        let columns = opened.sources[source].wanted.schema.fields().len();
        let records = gather(rows, columns);
        let records = self.shapers[&source].view().of(&records).into_owned();
        let explode = opened.groups[id].explode.as_ref().filter(|_| !self.scans.is_empty());
        let Some(explode) = explode else { return Seen { parts: vec![records], elements: None, failed: vec![] } };
        let (parts, failed) = Elements::of(&records, explode, REPEATED_BYTES_MAX);
        let (parts, of): (Vec<_>, Vec<_>) = parts.map(|part| (part.records, part.of)).unzip();
        let of = of.concat();
        let numbered = of.chunk_by(|a, b| a == b).flat_map(|same| same.iter().copied().zip(0..));
        Seen { parts, elements: Some(numbered.collect()), failed }
    }

    /// The key by which each record looks up.
    fn on(&self, lookup: &OpenLookup, codecs: &LookupCodecs, seen: &Seen) -> Vec<OnKey> {
        let parts = seen
            .parts
            .iter()
            .flat_map(|records| in_parts(records.len()).map(move |rows| records.slice(rows.start, rows.len())));
        parts.flat_map(|records| self.on_part(lookup, codecs, &records)).collect()
    }

    fn on_part(&self, lookup: &OpenLookup, codecs: &LookupCodecs, records: &Records) -> Vec<OnKey> {
        let undecoded = |name: &str| records.undecoded[records.batch.schema_ref().index_of(name).ok()?].clone();
        let evaluated: Vec<_> = lookup.on.iter().map(|on| on.evaluate(&records.batch, &undecoded)).collect();
        let of_type = |(on, wanted): (&headwater_expression::Evaluated, _)| match on.values.data_type() == wanted {
            true => on.values.clone(),
            // Past the type's ends there is no such key.
            false => cast(&on.values, wanted).unwrap_or_else(|_| new_null_array(wanted, on.values.len())),
        };
        let columns: Vec<ArrayRef> = evaluated.iter().zip(&codecs.key_types).map(of_type).collect();
        let keys: BinaryArray = codecs.key.encode(&columns).expect("columns of the key's types");
        let one = |row: usize| {
            if evaluated.iter().any(|on| on.failed.as_ref().is_some_and(|failed| failed.value(row))) {
                OnKey::Failed
            } else if columns.iter().any(|column| column.is_null(row)) {
                OnKey::Null
            } else {
                OnKey::Key(keys.value(row).into())
            }
        };
        (0..records.len()).map(one).collect()
    }

    /// Makes the group's events of some events with what they look up. Returns by event for which reasons it is a dead letter.
    pub(super) fn shape(
        &self,
        rows: &[RawRow],
        seen: &Seen,
        visible: &[Tick],
        diff: i8,
        made: &mut Made,
    ) -> BTreeMap<u32, Suspicion> {
        let effs = rows.iter().map(|(raw, row)| raw.effs[*row as usize]).collect();
        self.shape_as(rows, seen, Judged { visible, effs, horizons: &rows[0].0.horizons }, diff, made)
    }

    /// The same, judged by other records than these.
    pub(super) fn shape_as(
        &self,
        rows: &[RawRow],
        seen: &Seen,
        judged: Judged,
        diff: i8,
        made: &mut Made,
    ) -> BTreeMap<u32, Suspicion> {
        let (first, _) = &rows[0];
        let stamped: Vec<_> = rows.iter().map(|(raw, row)| raw.stamped[*row as usize]).collect();
        let (stamped, visible, effs) = (seen.each(stamped), seen.each(judged.visible.to_vec()), seen.each(judged.effs));
        let shaper = &self.shapers[&first.source];
        let mut refused = BTreeMap::<u32, Suspicion>::new();
        seen.failed.iter().for_each(|event| refused.entry(*event).or_default().0 |= reason_bit("expression"));
        for (at, records) in seen.parts() {
            let own = at..at + records.len();
            let mut admitted = Admitted::none(first.scan, records.len());
            admitted.taken = vec![true; records.len()];
            admitted.events = (0..records.len() as u32).collect();
            admitted.visible = visible[own.clone()].to_vec();
            admitted.effs = effs[own.clone()].to_vec();
            admitted.horizons = judged.horizons.clone();
            shaper.shape_seen(Batch { records, stamped: &stamped[own] }, &[admitted], &mut |of_set| {
                if let Some(events) = of_set.events {
                    let events = match &self.corrected {
                        None => events,
                        Some(schema) => {
                            let diffs = Int8Array::from(vec![diff; events.num_rows()]);
                            events::with_diffs(schema, &events, diffs).expect("as many of both")
                        }
                    };
                    made.events.push(((shaper.group, of_set.set), events));
                }
                note_refused(of_set.refused, (seen, at), &mut refused);
                true
            });
        }
        refused
    }
}

/// Parts of those that were read of one source, when the same windows were closed.
pub(super) fn read_alike<T>(all: Vec<T>, raw: impl Fn(&T) -> &Raw) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = vec![];
    for one in all {
        let is_alike = |part: &&mut Vec<T>| {
            let (this, other) = (raw(&one), raw(&part[0]));
            this.source == other.source && this.horizons == other.horizons
        };
        match parts.iter_mut().rev().find(is_alike) {
            Some(part) => part.push(one),
            None => parts.push(vec![one]),
        }
    }
    parts
}

/// By what events are judged.
pub(super) struct Judged<'a> {
    /// By event: the tick from which on it counts; and by which effective time windows take it.
    pub(super) visible: &'a [Tick],
    pub(super) effs: Vec<Option<Eff>>,
    /// Windows that closed before them are gone.
    pub(super) horizons: &'a IdVec<ScanId, Eff>,
}

/// Of the part whose first record stands at `first`.
fn note_refused(refused: Refused, (seen, first): (&Seen, usize), all: &mut BTreeMap<u32, Suspicion>) {
    let event = |record: u32| seen.place(first + record as usize).0 as u32;
    let Refused { expression, null_key, long_key, late } = refused;
    for (reason, records) in [("expression", expression), ("null key", null_key), ("long key", long_key)] {
        records.into_iter().for_each(|record| all.entry(event(record)).or_default().0 |= reason_bit(reason));
    }
    for (record, by) in late {
        let what = all.entry(event(record)).or_default();
        *what = (what.0 | reason_bit("late"), by.max(what.1));
    }
}
