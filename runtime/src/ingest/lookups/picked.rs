//! What events look up, by which key; and what is known already of the rows just before them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use arrow::array::{BooleanArray, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use headwater_clocks::Tick;
use headwater_connectors::Records;
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::table::{Pick, Row};

use super::super::looked_up::with_column;
use super::super::selection::pick;
use crate::base::id::GroupId;
use crate::catalog::opened::{LookedUp, OpenLookup};

pub(super) struct LookupCodecs {
    pub(super) key: KeyCodec,
    pub(super) key_types: Vec<DataType>,
    pub(super) values: KeyCodec,
}

/// What an event looks up.
pub(super) struct Picked {
    pub(super) key: OnKey,
    pub(super) row: Pick,
}

#[derive(Clone, PartialEq)]
pub(super) enum OnKey {
    Null,
    /// `on` failed.
    Failed,
    /// Its number in the table, which is held for it.
    Number(u32),
    /// Of the rows of a group.
    Key(Rc<[u8]>),
}

/// The row that a record has found, and whether `on` failed.
pub(super) struct Look {
    pub(super) row: Pick,
    pub(super) failed: bool,
}

impl Look {
    /// About how many bytes it becomes.
    pub(super) fn bytes(&self) -> usize {
        self.row.as_ref().map_or(0, |row| row.values.len())
    }
}

impl Picked {
    /// Its key and the values that it has found in the rows of a group, where there is a key.
    pub(super) fn to_save(&self) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let OnKey::Key(key) = &self.key else { return None };
        Some((key.to_vec(), self.row.as_ref().map(|row| row.values.to_vec())))
    }

    pub(super) fn saved((key, values): &(Vec<u8>, Option<Vec<u8>>)) -> Picked {
        let row = values.as_ref().map(|values| Rc::new(Row { values: values[..].into(), undecoded: None }));
        Picked { key: OnKey::Key(key[..].into()), row }
    }

    pub(super) fn is(&self, other: &Picked) -> bool {
        let same = match (&self.row, &other.row) {
            (None, None) => true,
            (Some(a), Some(b)) => Rc::ptr_eq(a, b),
            _ => false,
        };
        same && self.key == other.key
    }

    pub(super) fn look(&self) -> Look {
        Look { row: self.row.clone(), failed: self.key == OnKey::Failed }
    }
}

/// Asks for the row that a key of another group has just before a tick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    pub features: GroupId,
    pub key: Rc<[u8]>,
    pub before: Tick,
}

/// A key of a group, of which a row is wanted.
type Wanted = (GroupId, Rc<[u8]>);

/// What was asked, and what was answered, by the tick before which. A row just before is what it is: no answer ever changes.
#[derive(Default)]
pub(super) struct Answers {
    by_tick: BTreeMap<Tick, HashMap<Wanted, Option<Pick>>>,
    /// By tick, how many are not answered.
    open: BTreeMap<Tick, usize>,
    /// Not sent yet.
    asked: Vec<Query>,
}

impl Answers {
    /// The row that a key has just before a tick. `None`: it is asked for, and not known yet.
    pub(super) fn find(&mut self, features: GroupId, key: &Rc<[u8]>, before: Tick) -> Option<Pick> {
        let known = self.by_tick.entry(before).or_default();
        let ask = || {
            self.asked.push(Query { features, key: key.clone(), before });
            *self.open.entry(before).or_default() += 1;
            None
        };
        known.entry((features, key.clone())).or_insert_with(ask).clone()
    }

    /// The first tick for which something is not answered.
    pub(super) fn first_asked(&self) -> Option<Tick> {
        self.open.keys().next().copied()
    }

    pub(super) fn answer(&mut self, features: GroupId, key: &[u8], before: Tick, row: Pick) {
        if let Some(asked) = self.by_tick.get_mut(&before).and_then(|of| of.get_mut(&(features, Rc::from(key))))
            && asked.replace(row).is_none()
            && let Entry::Occupied(mut open) = self.open.entry(before)
        {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
    }

    /// Every tick up to one is done.
    pub(super) fn forget(&mut self, done: Tick) {
        self.by_tick = self.by_tick.split_off(&done.just_after());
        // What was replaced before its tick has asked for nothing.
        self.open = self.open.split_off(&done.just_after());
    }

    pub(super) fn take_asked(&mut self) -> Vec<Query> {
        std::mem::take(&mut self.asked)
    }
}

/// Records with what they look up, by column that is named.
pub(super) fn extend<'a>(
    records: Records,
    lookup: &OpenLookup,
    codecs: &LookupCodecs,
    looks: impl Iterator<Item = &'a Look> + Clone,
) -> Records {
    let there: Vec<&Rc<Row>> = looks.clone().filter_map(|look| look.row.as_ref()).collect();
    let decoded = match there.is_empty() || lookup.columns.is_empty() {
        true => vec![],
        false => codecs.values.decode(there.iter().map(|row| &row.values[..])).expect("values that were encoded"),
    };
    let mut places = 0u32..;
    let places = (there.len() < records.len())
        .then(|| looks.clone().map(|look| look.row.as_ref().and_then(|_| places.next())).collect::<UInt32Array>());
    let some_failed = looks.clone().any(|look| look.failed) || there.iter().any(|row| row.undecoded.is_some());
    let of_column = |records: Records, column: &LookedUp| {
        let values = match decoded.get(column.value) {
            Some(values) => pick(values, places.as_ref()),
            None => new_null_array(&column.data_type, records.len()),
        };
        let failed = |look: &Look| {
            let undecoded = look.row.as_ref().and_then(|row| row.undecoded.as_ref());
            look.failed || undecoded.is_some_and(|flags| flags[column.value])
        };
        let failed = some_failed.then(|| looks.clone().map(failed).collect::<BooleanBuffer>());
        with_column(records, &column.name, values, failed.map(|failed| BooleanArray::new(failed, None)))
    };
    lookup.columns.iter().fold(records, of_column)
}
