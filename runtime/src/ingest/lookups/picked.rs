//! What events look up, by which key.

use std::rc::Rc;

use arrow::array::{BooleanArray, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::take;
use arrow::datatypes::DataType;
use headwater_connectors::Records;
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::table::{Pick, Row};

use super::super::looked_up::with_column;
use crate::catalog::opened::{LookedUp, OpenLookup};

pub(super) struct LookupCodecs {
    pub(super) key: KeyCodec,
    pub(super) key_types: Vec<DataType>,
    pub(super) values: KeyCodec,
}

/// What an event looks up.
#[derive(Clone)]
pub(super) struct Picked {
    pub(super) key: OnKey,
    pub(super) row: Pick,
}

#[derive(Clone, PartialEq)]
pub(super) enum OnKey {
    Null,
    /// `on` failed.
    Failed,
    Key(Rc<[u8]>),
}

impl Picked {
    pub(super) fn is(&self, other: &Picked) -> bool {
        let same = match (&self.row, &other.row) {
            (None, None) => true,
            (Some(a), Some(b)) => Rc::ptr_eq(a, b),
            _ => false,
        };
        same && self.key == other.key
    }
}

/// Records with what they look up, by column that is named.
pub(super) fn extend<'a>(
    records: Records,
    lookup: &OpenLookup,
    codecs: &LookupCodecs,
    picked: impl Iterator<Item = &'a Picked> + Clone,
) -> Records {
    let there: Vec<&Rc<Row>> = picked.clone().filter_map(|picked| picked.row.as_ref()).collect();
    let mut places = 0u32..;
    let places: UInt32Array = picked.clone().map(|picked| picked.row.as_ref().and_then(|_| places.next())).collect();
    let decoded = match there.is_empty() || lookup.columns.is_empty() {
        true => vec![],
        false => codecs.values.decode(there.iter().map(|row| &row.values[..])).expect("values that were encoded"),
    };
    let of_column = |records: Records, column: &LookedUp| {
        let values = match decoded.get(column.value) {
            Some(values) => take(values, &places, None).expect("places of its own"),
            None => new_null_array(&column.data_type, records.len()),
        };
        let failed = |picked: &Picked| {
            let undecoded = picked.row.as_ref().and_then(|row| row.undecoded.as_ref());
            picked.key == OnKey::Failed || undecoded.is_some_and(|flags| flags[column.value])
        };
        let failed: BooleanBuffer = picked.clone().map(failed).collect();
        with_column(records, &column.name, values, Some(BooleanArray::new(failed, None)))
    };
    lookup.columns.iter().fold(records, of_column)
}
