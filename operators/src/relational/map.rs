//! Rows opened as columns, a batch at a time, and what is made of each.

use arrow::array::types::{Int8Type, Int64Type};
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use differential_dataflow::consolidation::consolidate_updates;
use differential_dataflow::{AsCollection, VecCollection};
use headwater_clocks::Tick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Pipeline;
use timely::dataflow::operators::generic::Operator;

use super::rows::{Bytes, Rows};
use crate::exchange::RowChanges;
use crate::id::RowsId;
use crate::key_codec::KeyCodec;

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
) -> VecCollection<'scope, Tick, O, isize> {
    type Builder<O> = CapacityContainerBuilder<Vec<(O, Tick, isize)>>;
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

/// The rows of changes (see `changes`): those of one group or view. `f` may add columns to what comes, and part it.
pub fn opened<'scope>(
    changes: Stream<'scope, Tick, Vec<RowChanges>>,
    of: RowsId,
    codec: KeyCodec,
    mut f: impl FnMut(&RecordBatch) -> Vec<RecordBatch> + 'static,
) -> Rows<'scope> {
    type Builder = CapacityContainerBuilder<Vec<(Bytes, Tick, isize)>>;
    let stream = changes.unary::<Builder, _, _, _>(Pipeline, "opened", move |_, _| {
        move |input, output| {
            input.for_each(|time, batches| {
                let own = batches.drain(..).filter(|routed| routed.of == of);
                for batch in own.flat_map(|routed| f(&routed.columns.0)) {
                    let (columns, behind) = batch.columns().split_at(batch.num_columns() - 2);
                    let rows = codec.encode(columns).expect("columns of its types");
                    let (times, diffs) = (behind[0].as_primitive::<Int64Type>(), behind[1].as_primitive::<Int8Type>());
                    let changes = times.values().iter().zip(diffs.values());
                    let rows = rows.iter().flatten().zip(changes);
                    let rows = rows.map(|(row, (time, diff))| (row.to_vec(), Tick::from_us(*time), isize::from(*diff)));
                    output.session(&time).give_iterator(rows);
                }
            });
        }
    });
    stream.as_collection()
}

/// A row that comes or goes at a tick: of what, its key and its values.
pub type Held<S> = ((S, Bytes, Bytes), Tick, isize);

/// The rows of what is held, those of one of them. `f` is given the columns of their keys and values, and makes those of the rows.
pub fn held<'scope, S: PartialEq + Clone + 'static>(
    stream: Stream<'scope, Tick, Vec<Held<S>>>,
    of: S,
    (keys, values): (KeyCodec, KeyCodec),
    codec: KeyCodec,
    mut f: impl FnMut(Vec<ArrayRef>, usize) -> Vec<ArrayRef> + 'static,
) -> Rows<'scope> {
    type Builder = CapacityContainerBuilder<Vec<(Bytes, Tick, isize)>>;
    let stream = stream.unary::<Builder, _, _, _>(Pipeline, "held", move |_, _| {
        move |input, output| {
            input.for_each(|time, held| {
                let mine: Vec<Held<S>> = held.drain(..).filter(|((whose, ..), ..)| *whose == of).collect();
                if mine.is_empty() {
                    return;
                }
                let mut columns =
                    keys.decode(mine.iter().map(|((_, key, _), ..)| key.as_slice())).expect("keys of this codec");
                if !values.types().is_empty() {
                    let values = values.decode(mine.iter().map(|((.., row), ..)| row.as_slice()));
                    columns.extend(values.expect("values of this codec"));
                }
                let rows = codec.encode(&f(columns, mine.len())).expect("columns of its types");
                let rows = rows.iter().flatten().zip(&mine).map(|(row, (_, time, diff))| (row.to_vec(), *time, *diff));
                output.session(&time).give_iterator(rows);
            });
        }
    });
    stream.as_collection()
}
