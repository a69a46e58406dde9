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
use timely::scheduling::Activator;

use crate::checkpoint::{Local, Noted};

/// What is woken when the clock has announced something.
pub type ToWake = Rc<RefCell<Vec<Rc<Activator>>>>;

/// Writes changes in order of time, as far as the frontier has closed it. The output carries nothing: its frontier is what
/// is in the file. `sink`: its number, by which a checkpoint knows the file's length.
pub fn write_changelog<'scope>(
    changes: Stream<'scope, i64, Vec<Routed>>,
    mut file: Option<ChangelogFile>,
    (sink, groups): (usize, Vec<usize>),
    checkpoint: Rc<RefCell<Local>>,
    (to_wake, fault): (ToWake, Rc<RefCell<Option<Error>>>),
) -> Stream<'scope, i64, Vec<()>> {
    let mut builder = OperatorBuilder::new("changelog".to_owned(), changes.scope());
    to_wake.borrow_mut().push(Rc::new(changes.scope().activator_for(builder.operator_info().address)));
    let mut input = builder.new_input(changes, Exchange::new(|routed: &Routed| routed.to));
    let (output, written) = builder.new_output::<Vec<()>>();
    let _output: OutputBuilder<_, CapacityContainerBuilder<Vec<()>>> = OutputBuilder::from(output);
    builder.build(move |mut capabilities| {
        let (mut waiting, mut noted): (Vec<(usize, RecordBatch)>, u64) = (vec![], 0);
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
            let mut step = |file: &mut ChangelogFile| {
                let wanted = checkpoint.borrow().wanted.filter(|(number, t)| *number > noted && *t < frontier);
                if let Some((number, t)) = wanted {
                    write_closed(file, &mut waiting, t.saturating_add(1))?;
                    file.sync()?;
                    checkpoint.borrow_mut().changelogs[sink] = Some(Noted { number, bytes: file.bytes() });
                    noted = number;
                }
                write_closed(file, &mut waiting, frontier)
            };
            if let Some(Err(e)) = file.as_mut().map(&mut step) {
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

fn write_closed(file: &mut ChangelogFile, waiting: &mut Vec<(usize, RecordBatch)>, frontier: i64) -> Result<(), Error> {
    let closed = close(waiting, frontier);
    if closed.is_empty() { Ok(()) } else { file.write(&closed).and_then(|()| file.flush()) }
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

/// Writes dead letters, in the order in which they come, once the frontier has passed the time at which they were sent: a
/// checkpoint at that time or a later one has them all, and one before has none of them.
pub fn write_letters<'scope>(
    letters: Stream<'scope, i64, Vec<DeadLetter>>,
    mut file: Option<DeadLetterFile>,
    checkpoint: Rc<RefCell<Local>>,
    (to_wake, fault): (ToWake, Rc<RefCell<Option<Error>>>),
) -> Stream<'scope, i64, Vec<()>> {
    let mut builder = OperatorBuilder::new("dead_letters".to_owned(), letters.scope());
    to_wake.borrow_mut().push(Rc::new(letters.scope().activator_for(builder.operator_info().address)));
    let mut input = builder.new_input(letters, Exchange::new(|_: &DeadLetter| 0));
    let (output, written) = builder.new_output::<Vec<()>>();
    let _output: OutputBuilder<_, CapacityContainerBuilder<Vec<()>>> = OutputBuilder::from(output);
    builder.build(move |mut capabilities| {
        let (mut waiting, mut noted): (Vec<(i64, DeadLetter)>, u64) = (vec![], 0);
        move |frontiers| {
            let _ = &_output;
            input.for_each_stamp(|sent, batches| {
                let sent = sent.least().copied().unwrap_or(i64::MIN);
                waiting.extend(batches.flat_map(|batch| batch.drain(..)).map(|letter| (sent, letter)));
            });
            let frontier = frontiers[0].frontier().iter().next().copied();
            // A clean stop may take a checkpoint at the tick before the frontier: what was sent since then is not in it.
            let closed = frontier.map_or(i64::MAX, |frontier| frontier.saturating_sub(1));
            let mut step = |file: &mut DeadLetterFile| {
                let wanted = checkpoint.borrow().wanted.filter(|(number, _)| *number > noted);
                if let Some((number, t)) = wanted {
                    write_sent(file, &mut waiting, t)?;
                    if closed < t {
                        return Ok(());
                    }
                    file.sync()?;
                    checkpoint.borrow_mut().letters = Some(Noted { number, bytes: file.bytes() });
                    noted = number;
                }
                write_sent(file, &mut waiting, closed)
            };
            if let Some(Err(e)) = file.as_mut().map(&mut step) {
                *fault.borrow_mut() = Some(e);
                return;
            }
            match (frontier, capabilities.first_mut()) {
                (None, _) => capabilities.clear(),
                (Some(frontier), Some(capability)) if *capability.time() < frontier => capability.downgrade(&frontier),
                _ => {}
            }
        }
    });
    written
}

/// Writes what was sent up to a dataflow time.
fn write_sent(file: &mut DeadLetterFile, waiting: &mut Vec<(i64, DeadLetter)>, upto: i64) -> Result<(), Error> {
    let letters: Vec<DeadLetter> =
        waiting.extract_if(.., |(sent, _)| *sent <= upto).map(|(_, letter)| letter).collect();
    if letters.is_empty() { Ok(()) } else { file.write(&letters).and_then(|()| file.flush()) }
}

#[cfg(test)]
mod tests {
    use timely::dataflow::InputHandle;
    use timely::dataflow::operators::Input;

    use super::*;

    fn letter(offset: i64) -> DeadLetter {
        DeadLetter {
            source: "s".to_owned(),
            reason: "malformed".to_owned(),
            partition: Some(0),
            offset: Some(offset),
            arrival_us: None,
            payload: vec![],
            late_by_us: None,
        }
    }

    /// A clean stop takes its checkpoint at a tick that everybody has passed.
    #[test]
    fn letters_sent_after_the_tick_of_a_checkpoint_are_not_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letters");
        timely::execute_directly(move |worker| {
            let file = DeadLetterFile::create(&path).unwrap();
            let lines = || std::fs::read_to_string(&path).unwrap();
            let checkpoint: Rc<RefCell<Local>> = Rc::default();
            let mut input: InputHandle<i64, _> = InputHandle::new();
            worker.dataflow(|scope| {
                let letters = scope.input_from(&mut input);
                write_letters(letters, Some(file), checkpoint.clone(), Default::default());
            });
            input.advance_to(6);
            input.send(letter(1));
            input.advance_to(7);
            input.send(letter(2));
            input.flush();
            for _ in 0..10 {
                worker.step();
            }
            let first = lines();
            assert_eq!(first.lines().count(), 1, "a checkpoint at 6 may still come");
            checkpoint.borrow_mut().want(1, 6);
            input.send(letter(3));
            input.advance_to(8);
            for _ in 0..10 {
                worker.step();
            }
            let noted = checkpoint.borrow().letters.unwrap();
            assert_eq!((noted.number, noted.bytes as usize), (1, first.len()));
            assert_eq!(lines().lines().count(), 3);
        });
    }
}
