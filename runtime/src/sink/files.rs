//! The files that process 0 writes: changelogs and dead letters.

use std::cell::RefCell;
use std::rc::Rc;

use arrow::array::types::Int64Type;
use arrow::array::{AsArray, RecordBatch};
use headwater_connectors::Error;
use headwater_connectors::sink::changelog::ChangelogFile;
use headwater_connectors::sink::dead_letters::{DeadLetter, DeadLetterFile};
use headwater_operators::exchange::Routed;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

/// Writes changes in order of time, as far as the frontier has closed it. The output carries nothing: its frontier is what
/// is in the file.
pub fn write_changelog<'scope>(
    changes: Stream<'scope, i64, Vec<Routed>>,
    mut file: Option<ChangelogFile>,
    groups: Vec<usize>,
    fault: Rc<RefCell<Option<Error>>>,
) -> Stream<'scope, i64, Vec<()>> {
    let mut builder = OperatorBuilder::new("changelog".to_owned(), changes.scope());
    let mut input = builder.new_input(changes, Exchange::new(|routed: &Routed| routed.to));
    let (output, written) = builder.new_output::<Vec<()>>();
    let _output: OutputBuilder<_, CapacityContainerBuilder<Vec<()>>> = OutputBuilder::from(output);
    builder.build(move |mut capabilities| {
        let mut waiting: Vec<(usize, RecordBatch)> = vec![];
        move |frontiers| {
            let _ = &_output;
            input.for_each_stamp(|_, batches| {
                let routed = batches.flat_map(|batch| batch.drain(..));
                waiting.extend(
                    routed.map(|r| (r.group as usize, r.columns.0)).filter(|(group, _)| groups.contains(group)),
                );
            });
            let Some(frontier) = frontiers[0].frontier().iter().next().copied() else {
                capabilities.clear();
                return;
            };
            let closed = close(&mut waiting, frontier);
            if let (Some(file), false) = (&mut file, closed.is_empty())
                && let Err(e) = file.write(&closed).and_then(|()| file.flush())
            {
                *fault.borrow_mut() = Some(e);
                return;
            }
            if let Some(capability) = capabilities.first_mut().filter(|c| *c.time() < frontier) {
                capability.downgrade(&frontier);
            }
        }
    });
    written
}

/// Takes out the changes with a tick before `frontier`; each batch is in order of time.
fn close(waiting: &mut Vec<(usize, RecordBatch)>, frontier: i64) -> Vec<(usize, RecordBatch)> {
    let mut closed = vec![];
    waiting.retain_mut(|(group, batch)| {
        let times = batch.column(batch.num_columns() - 2).as_primitive::<Int64Type>();
        let rows = times.values().partition_point(|t| *t < frontier);
        if rows > 0 {
            closed.push((*group, batch.slice(0, rows)));
            *batch = batch.slice(rows, batch.num_rows() - rows);
        }
        batch.num_rows() > 0
    });
    closed
}

/// Writes dead letters, in the order in which they come.
pub fn write_letters<'scope>(
    letters: Stream<'scope, i64, Vec<DeadLetter>>,
    mut file: Option<DeadLetterFile>,
    fault: Rc<RefCell<Option<Error>>>,
) -> Stream<'scope, i64, Vec<()>> {
    let mut builder = OperatorBuilder::new("dead_letters".to_owned(), letters.scope());
    let mut input = builder.new_input(letters, Exchange::new(|_: &DeadLetter| 0));
    let (output, written) = builder.new_output::<Vec<()>>();
    let _output: OutputBuilder<_, CapacityContainerBuilder<Vec<()>>> = OutputBuilder::from(output);
    builder.build(move |mut capabilities| {
        move |frontiers| {
            let _ = &_output;
            let mut came = vec![];
            input.for_each_stamp(|_, batches| came.extend(batches.flat_map(|batch| batch.drain(..))));
            if let (Some(file), false) = (&mut file, came.is_empty())
                && let Err(e) = file.write(&came).and_then(|()| file.flush())
            {
                *fault.borrow_mut() = Some(e);
                return;
            }
            match (frontiers[0].frontier().iter().next(), capabilities.first_mut()) {
                (None, _) => capabilities.clear(),
                (Some(frontier), Some(capability)) if capability.time() < frontier => capability.downgrade(frontier),
                _ => {}
            }
        }
    });
    written
}
