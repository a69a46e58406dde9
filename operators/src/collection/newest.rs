//! Rows for a store: the newest of each unit that has changed, once a step; at first, and when a store asks for it, every row.

use std::collections::BTreeSet;

use arrow::array::RecordBatch;
use headwater_clocks::Tick;

use super::reader::RowReader;
use super::trace::{RowBatch, RowTrace, each_row_at, each_version};
use super::version::{BEFORE, Version};
use crate::changes::{Changes, Keys};

/// Reads newest rows. As changes, where `_time` is the tick at which the row changed last; a row that went has a `_diff` of -1 and
/// nulls. Rows that go are told before rows that come, since one may take another's place.
pub struct Newest {
    changes: Changes,
    windowed: bool,
    /// From then on rows are asked for: by the last tick at the latest.
    from: Tick,
    last: Tick,
    /// What changed before that is told as of then: nobody saw it before.
    shown_from: Tick,
    /// The number of the newest full refresh that was asked for.
    refresh: u64,
    /// Whether every row is due; and whether any was ever told. While a full refresh is due rows that go are told too: another worker's store
    /// may have taken what was sent before for a part of it.
    refresh_due: bool,
    emitted: bool,
    /// The units whose rows have changed since and are not told yet, where no full refresh is due.
    pending: BTreeSet<u32>,
    /// What went meanwhile: its keys may be forgotten by the time that it is told.
    gone: Vec<RecordBatch>,
}

/// The version of a unit before a batch and after it; each with the time at which that changed.
#[derive(Clone, Copy, Default)]
struct Turn<'b> {
    unit: u32,
    old: Option<(&'b Version, Tick)>,
    new: Option<&'b Version>,
}

impl Newest {
    /// `from`: the tick from which on rows are asked for; `skip_refresh`: the store has every row that was there before the run.
    pub fn new(changes: Changes, windowed: bool, from: Tick, skip_refresh: bool) -> Newest {
        let (last, refresh) = (Tick::AFTER_ALL, 0);
        Newest {
            changes,
            windowed,
            from,
            last,
            shown_from: Tick::BEFORE_ALL,
            refresh,
            refresh_due: !skip_refresh,
            emitted: skip_refresh,
            pending: BTreeSet::new(),
            gone: vec![],
        }
    }

    /// Rows are shown from a tick on, though they were there before.
    pub fn show_from(&mut self, tick: Tick) {
        (self.from, self.shown_from) = (self.from.max(tick), tick);
    }

    /// Hears of the newest full refresh that was asked for: its number, and the tick from which on every row is told once more.
    pub fn refresh(&mut self, (number, from): (u64, Tick)) {
        if number > std::mem::replace(&mut self.refresh, number) {
            (self.from, self.refresh_due) = (self.from.max(from), true);
        }
    }

    /// No tick follows this one: by then rows are asked for.
    pub fn ask_by(&mut self, last: Tick) {
        self.last = last;
    }

    /// Whether the two have one place in the store.
    fn share_place(&self, old: &Version, new: &Version) -> bool {
        old.key == new.key && (!self.windowed || old.values[0] == new.values[0])
    }

    fn tell_gone(&mut self, turns: &[Turn]) {
        let bounds = if self.windowed { 2 } else { 0 };
        for Turn { old, new, .. } in turns {
            let Some((old, time)) = old.filter(|(old, _)| old.is_stored()) else { continue };
            if !new.is_some_and(|new| new.is_stored() && self.share_place(old, new)) {
                self.changes.push(old.key, &old.values[..bounds], time, -1);
            }
        }
    }

    fn tell_come(&mut self, row: &Version) {
        if row.is_stored() {
            self.changes.push(row.key, &row.values, row.at.max(self.shown_from), 1);
        }
    }
}

impl RowReader for Newest {
    fn read(&mut self, batch: Option<&RowBatch>, trace: &RowTrace, done: Tick, keys: &Keys) -> Vec<RecordBatch> {
        let turns = batch.map_or(vec![], turns);
        if self.emitted {
            self.tell_gone(&turns);
        }
        // Before that not even what was there before the run is known.
        if done == BEFORE {
            return vec![];
        }
        if done < self.from.min(self.last) {
            self.gone.extend(self.changes.take(keys));
            if !self.refresh_due {
                self.pending.extend(turns.iter().map(|turn| turn.unit));
            }
            return vec![];
        }
        self.emitted = true;
        let pending = std::mem::take(&mut self.pending);
        if std::mem::take(&mut self.refresh_due) {
            each_row_at(trace, Tick::AFTER_ALL, |_, row| self.tell_come(row));
        } else if !pending.is_empty() {
            let is_due = |unit| pending.contains(&unit) || turns.binary_search_by_key(&unit, |turn| turn.unit).is_ok();
            each_row_at(trace, Tick::AFTER_ALL, |unit, row| {
                if is_due(unit) {
                    self.tell_come(row)
                }
            });
        } else {
            turns.iter().filter_map(|turn| turn.new).for_each(|row| self.tell_come(row));
        }
        self.gone.drain(..).chain(self.changes.take(keys)).collect()
    }
}

/// What becomes of each unit of a batch.
fn turns(batch: &RowBatch) -> Vec<Turn<'_>> {
    let mut all: Vec<Turn> = vec![];
    each_version(batch, |unit, version, times| {
        let (count, time) =
            times.filter(|(time, _)| *time > BEFORE).fold((0, BEFORE), |(n, _), (t, diff)| (n + diff, t));
        if all.last().is_none_or(|turn| turn.unit != unit) {
            all.push(Turn { unit, ..Turn::default() });
        }
        let turn = all.last_mut().expect("one was just put there");
        match count {
            0 => {}
            1.. => turn.new = Some(version),
            _ => turn.old = Some((version, time)),
        }
    });
    all
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::sync::Arc;

    use arrow::array::types::{Int8Type, Int64Type};
    use arrow::array::{ArrayRef, AsArray, StringArray};
    use arrow::datatypes::DataType;
    use differential_dataflow::operators::arrange::{TraceAgent, TraceWriter};
    use differential_dataflow::trace::{Description, Span, Trace};
    use timely::dataflow::operators::generic::OperatorInfo;
    use timely::progress::{Antichain, Stamp};

    use super::*;
    use crate::collection::trace::{RowSpine, Update, batch};
    use crate::collection::version::Phase;
    use crate::key_codec::KeyCodec;
    use crate::keys::Interner;
    use crate::value::Datum;

    /// A group of two keys, with a reader of its rows.
    struct Reading {
        codec: KeyCodec,
        numbers: Interner,
        newest: Newest,
        trace: RowTrace,
        writer: TraceWriter<RowSpine>,
        lower: Tick,
    }

    impl Reading {
        fn new(from: i64, skip_refresh: bool) -> Reading {
            let codec = KeyCodec::new(&[DataType::Utf8]).unwrap();
            let card: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
            let mut numbers = Interner::new(0);
            codec.encode(&[card]).unwrap().iter().flatten().for_each(|key| _ = numbers.intern(key));
            let columns = [("n".to_owned(), DataType::Int64)];
            let schema = crate::changes::schema(&[("card".to_owned(), DataType::Utf8)], true, &columns);
            let newest = Newest::new(Changes::new(schema, 1), true, Tick::from_us(from), skip_refresh);
            let info = OperatorInfo::new(0, 0, [].into());
            let (trace, writer) = TraceAgent::new(RowSpine::new(info.clone(), None, None), info, None);
            Reading { codec, numbers, newest, trace, writer, lower: Tick::BEFORE_ALL }
        }

        /// Time and diff of what is told of these updates.
        fn told(&mut self, mut updates: Vec<Update>, done: Tick) -> Vec<(i64, i8)> {
            let bounds = [std::mem::replace(&mut self.lower, done.just_after()), done.just_after(), BEFORE]
                .map(Antichain::from_elem);
            let [first, next, since] = bounds;
            let rows = batch(&mut updates);
            self.writer.insert(Span::new(Description::new(first, next, since), rows.clone()), Stamp::new());
            let keys = Keys { codec: &self.codec, numbers: &self.numbers };
            let told = self.newest.read(rows.as_ref(), &self.trace, done, &keys);
            let all = told.iter().flat_map(|rows| {
                let times = rows["_time"].as_primitive::<Int64Type>().values().to_vec();
                times.into_iter().zip(rows["_diff"].as_primitive::<Int8Type>().values().to_vec())
            });
            all.collect()
        }
    }

    fn row(unit: u32, at: i64, phase: Phase) -> (u32, Version) {
        let values = [0, 5, 7].map(Datum::int);
        (unit, Version { at: Tick::from_us(at), again: false, phase, key: unit, values: Rc::new(values) })
    }

    /// Rows that were sent before a full refresh may reach a store of another worker within it.
    #[test]
    fn what_goes_while_a_full_refresh_is_due_is_told() {
        let (stored, left) = (Phase::Stored, Phase::Left);
        let mut reading = Reading::new(0, false);
        let at = Tick::from_us;
        let come = vec![(row(0, 1, stored), at(1), 1), (row(1, 1, left), at(2), 1)];
        assert_eq!(reading.told(come, at(2)), [(1, 1)], "nothing was there to go");
        reading.newest.refresh((1, at(6)));
        assert_eq!(reading.told(vec![(row(0, 1, stored), at(5), -1), (row(0, 1, left), at(5), 1)], at(5)), []);
        assert_eq!(reading.told(vec![], at(6)), [(5, -1)]);
    }

    /// A store that has all rows as they were is told those that have changed until it asks, and no others.
    #[test]
    fn what_comes_before_rows_are_asked_for_is_told_then() {
        let at = Tick::from_us;
        let change = |unit, from, to| {
            vec![(row(unit, from, Phase::Stored), at(to), -1), (row(unit, to, Phase::Stored), at(to), 1)]
        };
        let mut reading = Reading::new(6, true);
        let before = [0, 1, 2].map(|unit| (row(unit, -5, Phase::Stored), BEFORE, 1));
        assert_eq!(reading.told(before.into(), BEFORE), []);
        assert_eq!(reading.told(change(0, -5, 3), at(4)), []);
        assert_eq!(reading.told(change(1, -5, 6), at(6)), [(3, 1), (6, 1)]);
        assert_eq!(reading.told(change(0, 3, 7), at(7)), [(7, 1)]);
    }
}
