//! What the events of a group look up now, and the group's events that are made with it.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, BinaryArray, Int8Array, new_null_array};
use arrow::compute::cast;
use headwater_clocks::{Eff, Tick};
use headwater_connectors::Records;
use headwater_operators::events;

use super::super::admit::Admitted;
use super::super::dead_letters::reason_bit;
use super::super::looked_up::{RawRow, gather};
use super::super::shape::{Batch, Refused};
use super::Made;
use super::group::{GroupState, Suspicion};
use super::picked::{Answers, LookupCodecs, OnKey, Picked, extend};
use super::table::Tables;
use crate::base::id::{GroupId, IdVec, ScanId};
use crate::catalog::opened::{OpenLookup, Opened};
use crate::job::LookIn;

impl GroupState {
    /// What some events of one source look up now: the records with it, and by event. `None`: rows of other groups are asked for first. `before`:
    /// by event and lookup, what it had looked up before.
    pub(super) fn pick<'a>(
        &self,
        opened: &Opened,
        (id, tables): (GroupId, &Tables),
        answers: &mut Answers,
        rows: &[RawRow],
        before: &dyn Fn(usize, usize) -> Option<&'a Picked>,
    ) -> Option<(Records, Vec<Vec<Picked>>)> {
        let mut records = self.seen(opened, id, rows);
        let mut all: Vec<Vec<Picked>> = rows.iter().map(|_| Vec::with_capacity(self.scans.len())).collect();
        for (at, lookup) in opened.groups[id].lookups.iter().enumerate() {
            let keys = self.on(lookup, &self.codecs[at], &records);
            let mut is_asked = false;
            for (event, ((key, (raw, row)), picked)) in keys.into_iter().zip(rows).zip(&mut all).enumerate() {
                let found = match (&key, lookup.of) {
                    (OnKey::Null | OnKey::Failed, _) => Some(None),
                    (OnKey::Key(key), LookIn::Table(_)) => {
                        let scan = self.scans[at].expect("a table is read by a scan");
                        Some(tables[&scan].table.pick(key, raw.ts(*row)))
                    }
                    (OnKey::Key(by), LookIn::Features(group)) => match before(event, at).filter(|old| old.key == key) {
                        Some(old) => Some(old.row.clone()),
                        None => answers.find(group, by, raw.visible[*row as usize]),
                    },
                };
                is_asked |= found.is_none();
                picked.push(Picked { key, row: found.flatten() });
            }
            if is_asked {
                return None;
            }
            records = extend(records, lookup, &self.codecs[at], all.iter().map(|picked| &picked[at]));
        }
        Some((records, all))
    }

    /// Asks for the rows that events will look up at their ticks, where that depends on them alone.
    pub(super) fn ask_ahead(&self, opened: &Opened, id: GroupId, answers: &mut Answers, rows: &[RawRow]) {
        if rows.is_empty() || !self.asks_ahead {
            return;
        }
        let records = self.seen(opened, id, rows);
        for (lookup, codecs) in opened.groups[id].lookups.iter().zip(&self.codecs).filter(|(of, _)| of.is_ahead) {
            let LookIn::Features(group) = lookup.of else { continue };
            for (key, (raw, row)) in self.on(lookup, codecs, &records).into_iter().zip(rows) {
                if let OnKey::Key(key) = &key {
                    answers.find(group, key, raw.visible[*row as usize]);
                }
            }
        }
    }

    /// The records of some events of one source, with what they looked up.
    pub(super) fn extended(&self, opened: &Opened, id: GroupId, rows: &[RawRow], picked: &[Vec<Picked>]) -> Records {
        let lookups = opened.groups[id].lookups.iter().zip(&self.codecs).enumerate();
        lookups.fold(self.seen(opened, id, rows), |records, (at, (lookup, codecs))| {
            extend(records, lookup, codecs, picked.iter().map(|picked| &picked[at]))
        })
    }

    /// As the group sees them.
    pub(super) fn seen(&self, opened: &Opened, id: GroupId, rows: &[RawRow]) -> Records {
        let source = rows[0].0.source;
        debug_assert!(self.shapers[&source].group == id);
        let columns = opened.sources[source].wanted.schema.fields().len();
        let records = gather(rows, columns);
        self.shapers[&source].view().of(&records).into_owned()
    }

    /// The key by which each record looks up.
    pub(super) fn on(&self, lookup: &OpenLookup, codecs: &LookupCodecs, records: &Records) -> Vec<OnKey> {
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

    /// Makes the group's events of some records with what they look up. Returns by record for which reasons it is a dead letter.
    pub(super) fn shape(
        &self,
        rows: &[RawRow],
        records: &Records,
        visible: &[Tick],
        diff: i8,
        made: &mut Made,
    ) -> BTreeMap<u32, Suspicion> {
        let effs = rows.iter().map(|(raw, row)| raw.effs[*row as usize]).collect();
        self.shape_as(rows, records, Judged { visible, effs, horizons: &rows[0].0.horizons }, diff, made)
    }

    /// The same, judged by other records than these.
    pub(super) fn shape_as(
        &self,
        rows: &[RawRow],
        records: &Records,
        judged: Judged,
        diff: i8,
        made: &mut Made,
    ) -> BTreeMap<u32, Suspicion> {
        let (first, _) = &rows[0];
        let stamped: Vec<_> = rows.iter().map(|(raw, row)| raw.stamped[*row as usize]).collect();
        let mut admitted = Admitted::none(first.scan, rows.len());
        admitted.taken = vec![true; rows.len()];
        admitted.events = (0..rows.len() as u32).collect();
        admitted.visible = judged.visible.to_vec();
        admitted.effs = judged.effs;
        admitted.horizons = judged.horizons.clone();
        let shaper = &self.shapers[&first.source];
        let mut refused = BTreeMap::new();
        for of_set in shaper.shape_seen(Batch { records, stamped: &stamped }, &[admitted]) {
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
            note_refused(of_set.refused, &mut refused);
        }
        refused
    }
}

/// By what events are judged.
pub(super) struct Judged<'a> {
    /// By event: the tick from which on it counts; and by which effective time windows take it.
    pub(super) visible: &'a [Tick],
    pub(super) effs: Vec<Option<Eff>>,
    /// Windows that closed before them are gone.
    pub(super) horizons: &'a IdVec<ScanId, Eff>,
}

fn note_refused(refused: Refused, all: &mut BTreeMap<u32, Suspicion>) {
    let Refused { expression, null_key, long_key, late } = refused;
    for (reason, rows) in [("expression", expression), ("null key", null_key), ("long key", long_key)] {
        rows.into_iter().for_each(|row| all.entry(row).or_default().0 |= reason_bit(reason));
    }
    for (row, by) in late {
        let what = all.entry(row).or_default();
        *what = (what.0 | reason_bit("late"), by.max(what.1));
    }
}
