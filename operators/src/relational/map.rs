//! Rows opened as columns, a batch at a time, and what is made of each.

use std::rc::Rc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::{AsCollection, VecCollection};
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use super::{Bytes, Keyed, Rows};
use crate::exchange::Routed;
use crate::key_codec::KeyCodec;
use arrow::array::AsArray;
use arrow::array::types::{Int8Type, Int64Type};

/// What is made of a batch of rows: one for each, but for those that are left out.
pub struct Mapped<O> {
    /// What is made.
    pub made: Vec<O>,
    /// Of which rows, ascending; `None`: of all.
    pub of: Option<Vec<u32>>,
}

/// Makes something of rows. `f` is given their columns, and by how much there are more or fewer of each.
pub fn map<'scope, O: differential_dataflow::Data>(
    rows: Rows<'scope>,
    name: &str,
    codec: KeyCodec,
    mut f: impl FnMut(&[ArrayRef], &[isize]) -> Mapped<O> + 'static,
) -> VecCollection<'scope, i64, O, isize> {
    type Builder<O> = CapacityContainerBuilder<Vec<(O, i64, isize)>>;
    let stream = rows.inner.unary::<Builder<O>, _, _, _>(Pipeline, name, move |_, _| {
        move |input, output| {
            input.for_each(|time, updates| {
                consolidate_updates(updates);
                if updates.is_empty() {
                    return;
                }
                let columns = codec.decode(updates.iter().map(|(row, ..)| row.as_slice())).expect("rows of this codec");
                let diffs: Vec<isize> = updates.iter().map(|(.., diff)| *diff).collect();
                let Mapped { made, of } = f(&columns, &diffs);
                let at = |n: usize| of.as_ref().map_or(n, |of| of[n] as usize);
                let made = made.into_iter().enumerate().map(|(n, row)| (row, updates[at(n)].1, updates[at(n)].2));
                output.session(&time).give_iterator(made);
            });
        }
    });
    stream.as_collection()
}

/// The rows of changes (see `changes`): those of a number among what has rows. `f` may add columns to what comes.
pub fn opened<'scope>(
    changes: Stream<'scope, i64, Vec<Routed>>,
    of: u32,
    codec: Rc<KeyCodec>,
    mut f: impl FnMut(&RecordBatch) -> RecordBatch + 'static,
) -> Rows<'scope> {
    type Builder = CapacityContainerBuilder<Vec<(Bytes, i64, isize)>>;
    let stream = changes.unary::<Builder, _, _, _>(Pipeline, "opened", move |_, _| {
        move |input, output| {
            input.for_each(|time, batches| {
                for routed in batches.drain(..).filter(|routed| routed.group == of) {
                    let batch = f(&routed.columns.0);
                    let (columns, behind) = batch.columns().split_at(batch.num_columns() - 2);
                    let rows = codec.encode(columns).expect("columns of its types");
                    let (times, diffs) = (behind[0].as_primitive::<Int64Type>(), behind[1].as_primitive::<Int8Type>());
                    let changes = times.values().iter().zip(diffs.values());
                    let rows = rows.iter().flatten().zip(changes);
                    let rows = rows.map(|(row, (time, diff))| (row.to_vec(), *time, isize::from(*diff)));
                    output.session(&time).give_iterator(rows);
                }
            });
        }
    });
    stream.as_collection()
}

/// Each row with some columns of its as its key. Where `nulls` is given, a key with a null is equal to none of another collection whose
/// `nulls` is another number; else nulls are equal.
pub fn keyed<'scope>(rows: Rows<'scope>, (types, by): (KeyCodec, Vec<usize>), key: KeyCodec, nulls: Option<u8>) -> Keyed<'scope> {
    let whole = KeyCodec::new(types.types()).expect("types that have a codec");
    map(rows, "keyed", types, move |columns, _| {
        let of_key: Vec<ArrayRef> = by.iter().map(|column| columns[*column].clone()).collect();
        let rows = columns.first().map_or(0, |column| column.len());
        let encoded = whole.encode(columns).expect("columns of its types");
        let keys: Vec<Bytes> = match of_key.is_empty() {
            true => vec![vec![]; rows],
            false => key.encode(&of_key).expect("columns of its types").iter().flatten().map(<[u8]>::to_vec).collect(),
        };
        let has_null = |row: usize| of_key.iter().any(|column| column.is_null(row));
        let marked = |(row, key): (usize, Bytes)| match nulls {
            Some(mark) if has_null(row) => [vec![mark], key].concat(),
            Some(_) => [vec![0], key].concat(),
            None => key,
        };
        let keys = keys.into_iter().enumerate().map(marked);
        Mapped { made: keys.zip(encoded.iter().flatten().map(<[u8]>::to_vec)).collect(), of: None }
    })
}
