//! What the events of a group look up now, and the group's events that are made with it.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::Int8Array;
use headwater_connectors::Records;
use headwater_expression::in_parts;
use headwater_operators::events;

use super::super::admit::Admitted;
use super::super::dead_letters::reason_bit;
use super::super::looked_up::{Raw, RawRow, bytes_of_row};
use super::super::pipeline::bytes_of_batch;
use super::super::selection::{REPEATED_BYTES_MAX, parted};
use super::super::shape::{Batch, Refused, SetEvents};
use super::asking::{Asked, Key, Seen, on};
use super::draft::Part;
use super::group::GroupState;
use super::made::{Made, Suspicion};
use super::picked::{Answers, Look, OnKey, Picked, extend};
use super::table::Tables;
use crate::base::id::GroupId;
use crate::catalog::opened::{OpenLookup, Opened};
use crate::job::LookIn;

/// What some events look up. Keys of tables are held for it.
pub(super) struct Picks {
    /// By record and lookup.
    all: std::vec::IntoIter<Picked>,
    /// By event: how many records it has.
    records: std::vec::IntoIter<usize>,
    lookups: usize,
}

impl Picks {
    /// What the next event looks up; of one that is a list what its elements look up comes one behind the other.
    pub(super) fn next(&mut self) -> Box<[Picked]> {
        let records = self.records.next().expect("as many as events");
        self.all.by_ref().take(records * self.lookups).collect()
    }

    /// Lets go of its keys.
    pub(super) fn let_go(self, group: &GroupState, tables: &mut Tables) {
        group.release(tables, self.all.as_slice());
    }
}

/// What is being looked up.
struct Picking<'a> {
    asked: &'a [Asked<'a>],
    /// By record: of which event it is, and the how manyth.
    places: Vec<(u32, u32)>,
    /// By record and lookup, as far as it is known.
    all: Vec<Picked>,
    lookups: usize,
    /// Some row of a group is asked for.
    waits: bool,
}

impl GroupState {
    /// What some events look up now; of one source, where some keys depend on what is looked up. `None`: rows of other groups are asked for first.
    pub(super) fn pick(
        &self,
        opened: &Opened,
        (id, tables): (GroupId, &mut Tables),
        answers: &mut Answers,
        asked: &[Asked],
    ) -> Option<Picks> {
        let lookups = &opened.groups[id].lookups;
        let records: Vec<usize> = asked.iter().map(|asked| asked.len(lookups.len())).collect();
        let places = (0..).zip(&records).flat_map(|(event, records)| (0..*records as u32).map(move |at| (event, at)));
        let places: Vec<(u32, u32)> = places.collect();
        let all = (0..places.len() * lookups.len()).map(|_| Picked { key: OnKey::Null, row: None }).collect();
        let mut picking = Picking { asked, places, all, lookups: lookups.len(), waits: false };
        for (at, lookup) in lookups.iter().enumerate() {
            match lookup.is_ahead {
                true => self.pick_ahead((at, lookup), tables, answers, &mut picking),
                false => self.pick_behind((opened, id), at, tables, answers, &mut picking),
            }
            if picking.waits {
                break;
            }
        }
        let Picking { all, waits, .. } = picking;
        let picks = Picks { all: all.into_iter(), records: records.into_iter(), lookups: lookups.len() };
        if waits {
            picks.let_go(self, tables);
            return None;
        }
        Some(picks)
    }

    /// Where keys depend on the events alone.
    fn pick_ahead(
        &self,
        (at, lookup): (usize, &OpenLookup),
        tables: &mut Tables,
        answers: &mut Answers,
        picking: &mut Picking,
    ) {
        for record in 0..picking.places.len() {
            let (event, number) = picking.places[record];
            let key = picking.asked[event as usize].key((at, lookup), number as usize, picking.lookups);
            let key = key.expect("a key that depends on the event alone");
            self.find((at, lookup), (record, key), tables, answers, picking);
        }
    }

    /// Where keys depend on what is looked up before. That is put beside the events for a while, of some at a time.
    fn pick_behind(
        &self,
        (opened, id): (&Opened, GroupId),
        at: usize,
        tables: &mut Tables,
        answers: &mut Answers,
        picking: &mut Picking,
    ) {
        let (lookups, rows) = (&opened.groups[id].lookups, picking.asked.iter().map(|asked| asked.row().clone()));
        let rows: Vec<RawRow> = rows.collect();
        let mut first = 0;
        let mut look_up = |records: &Records| {
            let looks: Vec<Look> = {
                let of_part = first * lookups.len()..(first + records.len()) * lookups.len();
                picking.all[of_part].iter().map(Picked::look).collect()
            };
            let bytes = |record: usize| looks[record * lookups.len()..][..at].iter().map(Look::bytes).sum();
            let evaluated = parted(records.len(), REPEATED_BYTES_MAX, bytes)
                .flat_map(|some| in_parts(some.len()).map(move |rows| some.start + rows.start..some.start + rows.end));
            for some in evaluated {
                let own = &looks[some.start * lookups.len()..some.end * lookups.len()];
                let of_lookup = |lookup: usize| own.iter().skip(lookup).step_by(lookups.len());
                let known = self.extended(&lookups[..at], slice(records, &some), of_lookup);
                let keys = on(&lookups[at], &self.codecs[at], &known);
                for record in some.clone() {
                    let found = (first + record, keys.get(record - some.start));
                    self.find((at, &lookups[at]), found, tables, answers, picking);
                }
            }
            first += records.len();
        };
        for some in parted(rows.len(), REPEATED_BYTES_MAX, |event| bytes_of_row(&rows[event])) {
            self.seen(opened, id, &rows[some]).each_part(&mut |records, _| look_up(records));
        }
    }

    /// What a record finds by a key.
    fn find(
        &self,
        (at, lookup): (usize, &OpenLookup),
        (record, key): (usize, Key),
        tables: &mut Tables,
        answers: &mut Answers,
        picking: &mut Picking,
    ) {
        let (event, number) = picking.places[record];
        let (asked, place) = (&picking.asked[event as usize], number as usize * picking.lookups + at);
        let (raw, row) = asked.row();
        let picked = match lookup.of {
            LookIn::Table(_) => {
                let scan = self.scans[at].expect("a table is read by a scan");
                let table = &mut tables.get_mut(&scan).expect("a table that is looked up in").table;
                let key = match key {
                    Key::Null => OnKey::Null,
                    Key::Failed => OnKey::Failed,
                    Key::Of(key) => OnKey::Number(table.hold(key)),
                    Key::Held(key) => {
                        if let OnKey::Number(number) = key {
                            table.hold_again(*number);
                        }
                        key.clone()
                    }
                };
                let found = match &key {
                    OnKey::Number(number) => table.pick_of(*number, raw.ts(*row)),
                    _ => None,
                };
                Picked { key, row: found }
            }
            LookIn::Features(group) => {
                let key = match key {
                    Key::Null => OnKey::Null,
                    Key::Failed => OnKey::Failed,
                    Key::Of(key) => OnKey::Key(key.into()),
                    Key::Held(key) => key.clone(),
                };
                let found = match &key {
                    OnKey::Key(by) => match asked.before(place).filter(|old| old.key == key) {
                        Some(old) => Some(old.row.clone()),
                        None => answers.find(group, by, raw.visible[*row as usize]),
                    },
                    _ => Some(None),
                };
                picking.waits |= found.is_none();
                Picked { key, row: found.flatten() }
            }
        };
        picking.all[record * picking.lookups + at] = picked;
    }

    /// Records with what they look up. `looks`: by lookup, of these records.
    fn extended<'a, I: Iterator<Item = &'a Look> + Clone>(
        &self,
        lookups: &[OpenLookup],
        records: Records,
        looks: impl Fn(usize) -> I,
    ) -> Records {
        let each = lookups.iter().zip(&self.codecs).enumerate();
        each.fold(records, |records, (at, (lookup, codecs))| extend(records, lookup, codecs, looks(at)))
    }

    /// Makes the group's events of some events of a part, so many of which what they look up is little at a time. Returns by event for which
    /// reasons it is a dead letter.
    pub(super) fn shape(
        &self,
        opened: &Opened,
        part: &Part,
        events: Range<usize>,
        made: &mut Made,
    ) -> BTreeMap<u32, Suspicion> {
        let mut refused = BTreeMap::<u32, Suspicion>::new();
        let own = |event: usize| bytes_of_row(&part.rows[events.start + event]);
        for some in parted(events.len(), REPEATED_BYTES_MAX, own) {
            self.shape_some(opened, part, events.start + some.start..events.start + some.end, made, &mut refused);
        }
        refused
    }

    fn shape_some(
        &self,
        opened: &Opened,
        part: &Part,
        events: Range<usize>,
        made: &mut Made,
        refused: &mut BTreeMap<u32, Suspicion>,
    ) {
        let seen: Seen = self.seen(opened, part.group, &part.rows[events.clone()]);
        let mut first = part.records(events.clone()).start;
        let failed = seen.each_part(&mut |records, of| {
            let bytes = |record: usize| part.bytes(first + record);
            for some in parted(records.len(), REPEATED_BYTES_MAX, bytes) {
                let own = first + some.start..first + some.end;
                let known = self.extended(&opened.groups[part.group].lookups, slice(records, &some), |lookup| {
                    part.looks_of(lookup, own.clone())
                });
                let of_record = |record: usize| of.map_or(record, |of| of[record] as usize);
                let events: Vec<usize> = some.map(|record| events.start + of_record(record)).collect();
                self.shape_records(part, (&known, &events), made, refused);
            }
            first += records.len();
        });
        failed.iter().for_each(|event| {
            refused.entry(events.start as u32 + *event).or_default().0 |= reason_bit("expression");
        });
    }

    /// `events`: by record, of which event it is.
    fn shape_records(
        &self,
        part: &Part,
        (records, events): (&Records, &[usize]),
        made: &mut Made,
        refused: &mut BTreeMap<u32, Suspicion>,
    ) {
        let (first, _) = &part.rows[0];
        let stamped = |event: &usize| {
            let (raw, row) = &part.rows[*event];
            raw.stamped[*row as usize]
        };
        let stamped: Vec<_> = events.iter().map(stamped).collect();
        let mut admitted = Admitted::none(first.scan, records.len());
        admitted.taken = vec![true; records.len()];
        admitted.events = (0..records.len() as u32).collect();
        admitted.visible = events.iter().map(|event| part.entries[*event].visible).collect();
        admitted.effs = events.iter().map(|event| part.entries[*event].eff).collect();
        admitted.horizons = part.horizons.clone();
        let shaper = &self.shapers[&first.source];
        shaper.shape_seen(Batch { records, stamped: &stamped }, &[admitted], &mut |of_set| {
            let SetEvents { set, rows, events: shaped, refused: of_records } = of_set;
            if let Some(shaped) = shaped {
                let shaped = match &self.corrected {
                    None => shaped,
                    Some(schema) => {
                        let diff = |record: &u32| part.entries[events[*record as usize]].diff;
                        let diffs = Int8Array::from_iter_values(rows.iter().map(diff));
                        events::with_diffs(schema, &shaped, diffs).expect("as many of both")
                    }
                };
                made.bytes += bytes_of_batch(&shaped);
                made.events.push(((shaper.group, set), shaped));
            }
            note_refused(of_records, events, refused);
            true
        });
    }
}

/// Some of the records.
fn slice(records: &Records, some: &Range<usize>) -> Records {
    match some.len() == records.len() {
        true => records.clone(),
        false => records.slice(some.start, some.len()),
    }
}

/// Parts of those that were read of one source, when the same windows were closed.
pub(super) fn read_alike<T>(all: Vec<T>, raw: impl Fn(&T) -> &Raw) -> Vec<Vec<T>> {
    parts(all, |one, other| {
        let (one, other) = (raw(one), raw(other));
        one.source == other.source && one.horizons == other.horizons
    })
}

/// Parts of those that are alike.
pub(super) fn parts<T>(all: Vec<T>, is_alike: impl Fn(&T, &T) -> bool) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = vec![];
    for one in all {
        match parts.iter_mut().rev().find(|part| is_alike(&one, &part[0])) {
            Some(part) => part.push(one),
            None => parts.push(vec![one]),
        }
    }
    parts
}

/// `events`: by record, of which event it is.
fn note_refused(refused: Refused, events: &[usize], all: &mut BTreeMap<u32, Suspicion>) {
    let event = |record: u32| events[record as usize] as u32;
    let Refused { expression, null_key, long_key, late } = refused;
    for (reason, records) in [("expression", expression), ("null key", null_key), ("long key", long_key)] {
        records.into_iter().for_each(|record| all.entry(event(record)).or_default().0 |= reason_bit(reason));
    }
    for (record, by) in late {
        let what = all.entry(event(record)).or_default();
        *what = (what.0 | reason_bit("late"), by.max(what.1));
    }
}
