//! Rows as they were, in a checkpoint: `_key _from _row _place`, where a row that was not there is null. (They were written without `_place`
//! once: then there is one place.)

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use headwater_clocks::{Tick, Time};
use headwater_operators::collection::Values;
use headwater_operators::saved::{Damaged, get, put};
use headwater_operators::value::Datum;

/// What a key had in a place from a tick on; see `Past`.
pub struct PastRow<'a> {
    pub key: &'a [u8],
    pub place: i64,
    pub from: Tick,
    pub row: Option<Values>,
}

/// Rows as they were. `about`: a tick and a text that go before them.
pub fn batch<'a>(
    about: Option<(Tick, &str)>,
    rows: impl Iterator<Item = (&'a [u8], i64, Tick, Option<&'a Values>)>,
) -> RecordBatch {
    let (mut keys, mut from, mut all, mut places) = (BinaryBuilder::new(), vec![], BinaryBuilder::new(), vec![]);
    if let Some((tick, text)) = about {
        keys.append_null();
        all.append_value(text);
        (from, places) = (vec![tick.us()], vec![0]);
    }
    let mut bytes = vec![];
    for (key, place, since, row) in rows {
        keys.append_value(key);
        places.push(place);
        from.push(since.us());
        bytes.clear();
        row.iter().for_each(|values| put(&mut bytes, &values[..]));
        all.append_option(row.map(|_| &bytes));
    }
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("_key", Arc::new(keys.finish()), true),
        ("_from", Arc::new(Int64Array::from(from)), false),
        ("_row", Arc::new(all.finish()), true),
        ("_place", Arc::new(Int64Array::from(places)), false),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}

/// What was said before the rows.
pub fn about(batch: &RecordBatch) -> Result<Option<(Tick, String)>, Damaged> {
    let columns = Columns::of(batch)?;
    if batch.num_rows() == 0 || columns.keys.is_valid(0) {
        return Ok(None);
    }
    Ok(Some((Tick::from_us(columns.from.value(0)), String::from_utf8_lossy(columns.rows.value(0)).into_owned())))
}

/// The rows of keys that `owns` accepts, so that they can be pushed one after the other.
pub fn rows(batch: &RecordBatch, owns: impl Fn(&[u8]) -> bool) -> Result<Vec<PastRow<'_>>, Damaged> {
    let Columns { keys, from, rows, places } = Columns::of(batch)?;
    let mut all = vec![];
    for at in (0..batch.num_rows()).filter(|at| keys.is_valid(*at) && owns(keys.value(*at))) {
        let mut bytes = rows.value(at);
        let row = rows.is_valid(at).then(|| get::<Vec<Datum>>(&mut bytes)).transpose()?.map(Into::into);
        let place = places.map_or(0, |places| places.value(at));
        all.push(PastRow { key: keys.value(at), place, from: Tick::from_us(from.value(at)), row });
    }
    // Each key has them in their order.
    all.sort_by_key(|row| row.from);
    Ok(all)
}

struct Columns<'a> {
    keys: &'a BinaryArray,
    from: &'a Int64Array,
    rows: &'a BinaryArray,
    places: Option<&'a Int64Array>,
}

impl Columns<'_> {
    fn of(batch: &RecordBatch) -> Result<Columns<'_>, Damaged> {
        let column = |name: &str| {
            batch.column_by_name(name).ok_or_else(|| Damaged(format!("past rows have no column `{name}`")))
        };
        let bytes = |name: &str| {
            column(name)?.as_binary_opt::<i32>().ok_or_else(|| Damaged(format!("`{name}` of past rows is no bytes")))
        };
        let times = |name: &str| {
            let times = column(name)?.as_primitive_opt::<Int64Type>();
            times.ok_or_else(|| Damaged(format!("`{name}` of past rows is no number")))
        };
        let places = batch.column_by_name("_place").map(|_| times("_place")).transpose()?;
        Ok(Columns { keys: bytes("_key")?, from: times("_from")?, rows: bytes("_row")?, places })
    }
}
