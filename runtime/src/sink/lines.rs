//! The lines that process 0's first worker writes: changelogs and dead letters, each with the order that it promises.

use std::cell::RefCell;
use std::rc::Rc;

use arrow::array::types::Int64Type;
use arrow::array::{AsArray, RecordBatch};
use headwater_clocks::{Tick, Time};
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_operators::exchange::RowChanges;
use timely::container::CapacityContainerBuilder;
use timely::dataflow::Stream;
use timely::dataflow::channels::pact::Exchange;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;
use timely::scheduling::Activator;

use super::writer::Writer;
use crate::base::id::{CheckpointNumber, Id, RowsId};
use crate::checkpoint::in_progress::CheckpointInProgress;

/// What is woken when the clock has announced something.
pub type ToWake = Rc<RefCell<Vec<Rc<Activator>>>>;

/// All changes of an interval of ticks, each of a group. (What writes them knows no ids.)
pub type Step = Vec<(usize, RecordBatch)>;
/// Dead letters, each with the tick at which it was told; `None`: with the history.
pub type TimedDeadLetters = Vec<(Option<Tick>, DeadLetter)>;

/// What lines are called in a checkpoint, and who writes them: nobody, on most workers.
pub struct NamedLines<P> {
    pub name: String,
    pub writer: Option<Writer<P>>,
}

impl<P: Send + 'static> NamedLines<P> {
    /// The checkpoint that has to know where the lines are left: its number and its tick.
    fn wanted(&self, checkpoint: &RefCell<CheckpointInProgress>) -> Option<(CheckpointNumber, Tick)> {
        let writer = self.writer.as_ref()?;
        checkpoint.borrow().wanted.filter(|(number, _)| *number > writer.asked)
    }

    /// Tells the checkpoint the newest position.
    fn tell(&self, checkpoint: &RefCell<CheckpointInProgress>) {
        if let Some(position) = self.writer.as_ref().and_then(Writer::position) {
            checkpoint.borrow_mut().lines.insert(self.name.clone(), position);
        }
    }
}

/// Writes changes in order of time, as far as the frontier has closed it. The output carries nothing: its frontier is what is
/// written.
pub fn write_changelog<'scope>(
    changes: Stream<'scope, Tick, Vec<RowChanges>>,
    mut lines: NamedLines<Step>,
    groups: Vec<RowsId>,
    checkpoint: Rc<RefCell<CheckpointInProgress>>,
    to_wake: ToWake,
) -> Stream<'scope, Tick, Vec<()>> {
    let scope = changes.scope();
    let mut builder = OperatorBuilder::new("changelog".to_owned(), scope);
    let address = builder.operator_info().address;
    let mut input = builder.new_input(changes, Exchange::new(|routed: &RowChanges| routed.to));
    let (output, written) = builder.new_output::<Vec<()>>();
    let _output: OutputBuilder<_, CapacityContainerBuilder<Vec<()>>> = OutputBuilder::from(output);
    lines.writer.iter().for_each(|writer| writer.wakes(scope.worker().sync_activator_for(address.to_vec())));
    to_wake.borrow_mut().push(Rc::new(scope.activator_for(address)));
    builder.build(move |mut capabilities| {
        let mut waiting: Step = vec![];
        move |frontiers| {
            let _ = &_output;
            input.for_each(|_, batch| {
                let taken = batch.drain(..).filter(|routed| groups.contains(&routed.of));
                waiting.extend(taken.map(|routed| (routed.of.index(), routed.columns.0)));
            });
            let Some(frontier) = Tick::of_frontier(frontiers[0].frontier()) else {
                capabilities.clear();
                return;
            };
            let wanted = lines.wanted(&checkpoint).filter(|(_, t)| *t < frontier);
            let mut reached = frontier.just_before();
            if let Some(writer) = &mut lines.writer {
                if let Some((number, t)) = wanted {
                    hand_over(writer, close(&mut waiting, t.just_after()));
                    writer.ask_position(number);
                }
                hand_over(writer, close(&mut waiting, frontier));
                reached = writer.reached(reached);
            }
            lines.tell(&checkpoint);
            let next = reached.just_after().min(frontier);
            capabilities.iter_mut().filter(|c| *c.time() < next).for_each(|c| c.downgrade(&next));
        }
    });
    written
}

fn hand_over(writer: &mut Writer<Step>, step: Step) {
    let rows = step.iter().map(|(_, batch)| batch.num_rows()).sum();
    if rows > 0 {
        writer.write(step, rows);
    }
}

/// Takes out the changes with a tick before `frontier`; each batch is in order of time.
fn close(waiting: &mut Vec<(usize, RecordBatch)>, frontier: Tick) -> Vec<(usize, RecordBatch)> {
    let mut closed = vec![];
    waiting.retain_mut(|(group, batch)| {
        let times = batch.column(batch.num_columns() - 2).as_primitive::<Int64Type>();
        let rows = times.values().partition_point(|t| *t < frontier.us());
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
pub fn write_dead_letters<'scope>(
    dead_letters: Stream<'scope, Tick, Vec<DeadLetter>>,
    mut lines: NamedLines<TimedDeadLetters>,
    checkpoint: Rc<RefCell<CheckpointInProgress>>,
    to_wake: ToWake,
) -> Stream<'scope, Tick, Vec<()>> {
    let scope = dead_letters.scope();
    let mut builder = OperatorBuilder::new("dead_letters".to_owned(), scope);
    let address = builder.operator_info().address;
    let mut input = builder.new_input(dead_letters, Exchange::new(|_: &DeadLetter| 0));
    let (output, written) = builder.new_output::<Vec<()>>();
    let _output: OutputBuilder<_, CapacityContainerBuilder<Vec<()>>> = OutputBuilder::from(output);
    lines.writer.iter().for_each(|writer| writer.wakes(scope.worker().sync_activator_for(address.to_vec())));
    to_wake.borrow_mut().push(Rc::new(scope.activator_for(address)));
    builder.build(move |mut capabilities| {
        let mut waiting: Vec<(Tick, DeadLetter)> = vec![];
        move |frontiers| {
            let _ = &_output;
            input.for_each(|sent, batch| {
                let sent = sent.least().copied().unwrap_or(Tick::BEFORE_ALL);
                waiting.extend(batch.drain(..).map(|letter| (sent, letter)));
            });
            let frontier = Tick::of_frontier(frontiers[0].frontier()).unwrap_or(Tick::AFTER_ALL);
            let wanted = lines.wanted(&checkpoint);
            let mut reached = frontier.just_before();
            if let Some(writer) = &mut lines.writer {
                match wanted {
                    Some((_, t)) if t >= frontier => hand_over_sent(writer, &mut waiting, t),
                    _ => {
                        if let Some((number, t)) = wanted {
                            hand_over_sent(writer, &mut waiting, t);
                            writer.ask_position(number);
                        }
                        // A clean stop may take a checkpoint at the tick before the frontier: what was sent since is not in it.
                        let closed = if frontier == Tick::AFTER_ALL { frontier } else { frontier.just_before() };
                        hand_over_sent(writer, &mut waiting, closed);
                    }
                }
                reached = writer.reached(reached);
            }
            lines.tell(&checkpoint);
            let next = reached.just_after().min(frontier);
            if next == Tick::AFTER_ALL {
                capabilities.clear();
            }
            capabilities.iter_mut().filter(|c| *c.time() < next).for_each(|c| c.downgrade(&next));
        }
    });
    written
}

/// Hands over what was sent up to a dataflow time.
fn hand_over_sent(writer: &mut Writer<TimedDeadLetters>, waiting: &mut Vec<(Tick, DeadLetter)>, upto: Tick) {
    let sent = waiting.extract_if(.., |(sent, _)| *sent <= upto);
    let tick = |sent: Tick| Some(sent).filter(|sent| sent.slice().is_none());
    let dead_letters: TimedDeadLetters = sent.map(|(sent, letter)| (tick(sent), letter)).collect();
    if !dead_letters.is_empty() {
        let rows = dead_letters.len();
        writer.write(dead_letters, rows);
    }
}

#[cfg(test)]
mod tests {
    use headwater_clocks::Offset;
    use headwater_connectors::sink::dead_letters;
    use headwater_connectors::sink::lines::file::WaitingFile;
    use headwater_connectors::sink::lines::{LineSink, SinkPosition};
    use timely::dataflow::InputHandle;
    use timely::dataflow::operators::Input;

    use super::*;
    use crate::base::failures::Failures;

    fn letter(offset: i64) -> DeadLetter {
        DeadLetter {
            source: "s".to_owned(),
            reason: "malformed".to_owned(),
            partition: Some(0),
            offset: Some(Offset::at(offset)),
            arrival: None,
            payload: vec![],
            late_by: None,
        }
    }

    /// A clean stop takes its checkpoint at a tick that everybody has passed.
    #[test]
    fn dead_letters_sent_after_the_tick_of_a_checkpoint_are_not_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("letters");
        timely::execute_directly(move |worker| {
            let write = |to: &mut dyn LineSink, dead_letters: TimedDeadLetters| dead_letters::write(to, &dead_letters);
            let file = WaitingFile::at(path.clone()).open(None).unwrap();
            let writer = Writer::start(file, Default::default(), Box::new(write), &Failures::new().0).unwrap();
            let lines = || std::fs::read_to_string(&path).unwrap();
            let checkpoint: Rc<RefCell<CheckpointInProgress>> = Rc::default();
            let mut input: InputHandle<Tick, _> = InputHandle::new();
            worker.dataflow(|scope| {
                let dead_letters = scope.input_from(&mut input);
                let lines = NamedLines { name: "letters".to_owned(), writer: Some(writer) };
                write_dead_letters(dead_letters, lines, checkpoint.clone(), Default::default());
            });
            input.advance_to(Tick::from_us(6));
            input.send(letter(1));
            input.advance_to(Tick::from_us(7));
            input.send(letter(2));
            input.flush();
            worker.step_while(|| lines().is_empty());
            let first = lines();
            assert_eq!(first.lines().count(), 1, "a checkpoint at 6 may still come");
            checkpoint.borrow_mut().want(CheckpointNumber::of(1), Tick::from_us(6));
            input.send(letter(3));
            input.advance_to(Tick::from_us(8));
            worker.step_while(|| lines().lines().count() < 3 || checkpoint.borrow().lines.is_empty());
            let at = checkpoint.borrow().lines["letters"].clone();
            assert_eq!(at.number, CheckpointNumber::of(1));
            assert_eq!(at.position, Some(SinkPosition::new("Bytes", first.len())));
        });
    }
}
