//! What keeps something of each key, and is given what changes of it tick by tick, in their order.

use std::collections::BTreeMap;

use differential_dataflow::AsCollection;
use differential_dataflow::consolidation::consolidate;
use headwater_clocks::Tick;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::Capability;
use timely::dataflow::operators::generic::Operator;

use super::rows::{Bytes, Change, Keyed, Rows};
use crate::keys;

/// What is made of rows by key, on the worker that owns the key.
pub trait PerTick {
    /// What there is before anything comes: rows that are there at the first time.
    fn begin(&mut self) -> Vec<Bytes> {
        vec![]
    }

    /// Takes in what changes at a tick, in the order of keys and rows, each once. Adds to `out` what becomes of it.
    fn tick(&mut self, changes: Vec<Change>, out: &mut Vec<(Bytes, isize)>);
}

/// A change that waits for its tick.
type Waiting = Vec<Change>;

/// Makes rows of rows by key. `logic` is given the number of its worker, and of how many.
pub fn by_tick<'scope, L: PerTick + 'static>(
    rows: Keyed<'scope>,
    name: &str,
    logic: impl FnOnce(usize, usize) -> L,
) -> Rows<'scope> {
    let scope = rows.inner.scope();
    let (worker, workers) = (scope.index(), scope.peers());
    let mut logic = logic(worker, workers);
    let pact =
        Exchange::new(move |((key, _), ..): &((Bytes, Bytes), Tick, isize)| keys::owner(keys::hash(key), workers));
    type Builder = CapacityContainerBuilder<Vec<(Bytes, Tick, isize)>>;
    let stream = rows.inner.unary_frontier::<Builder, _, _, _>(pact, name, move |first, _| {
        let mut first = Some(first);
        let mut waiting: BTreeMap<Tick, (Capability<Tick>, Waiting)> = BTreeMap::new();
        move |(input, frontier), output| {
            if let Some(first) = first.take() {
                let begun = logic.begin().into_iter().map(|row| (row, *first.time(), 1));
                output.session(&first).give_iterator(begun);
            }
            input.for_each(|sent, updates| {
                let Some(sent) = sent.retain_least(0) else { return };
                for (row, time, diff) in updates.drain(..) {
                    let (_, rows) = waiting.entry(time).or_insert_with(|| (sent.delayed(&time), vec![]));
                    rows.push((row, diff));
                }
            });
            while let Some(entry) = waiting.first_entry().filter(|entry| !frontier.less_equal(entry.key())) {
                let (time, (capability, mut changes)) = entry.remove_entry();
                consolidate(&mut changes);
                let mut out = vec![];
                logic.tick(changes, &mut out);
                output.session(&capability).give_iterator(out.into_iter().map(|(row, diff)| (row, time, diff)));
            }
        }
    });
    stream.as_collection()
}

/// The changes of each key.
pub(super) fn by_key(changes: &[Change]) -> impl Iterator<Item = (&Bytes, &[Change])> {
    changes.chunk_by(|a, b| a.0.0 == b.0.0).map(|of_key| (&of_key[0].0.0, of_key))
}
