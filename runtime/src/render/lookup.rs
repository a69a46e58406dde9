//! Lookups, rendered: between the sources and the groups whose events are looked up in tables.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_operators::events;
use headwater_operators::exchange::{Columns, Routed};
use timely::dataflow::channels::pact::{Exchange, Pipeline};
use timely::dataflow::operators::Concatenate;
use timely::dataflow::operators::generic::OutputBuilder;
use timely::dataflow::operators::generic::builder_rc::OperatorBuilder;

use super::rendering::{Rendering, Wiring};
use crate::base::id::{Id, ScanId};
use crate::ingest::feed::{Fed, OF_HISTORY};
use crate::ingest::looked_up::Raw;
use crate::ingest::lookups::LookUps;

/// What the feed has put out, with the events that are looked up among the others.
pub fn render<'scope>(fed: Fed<'scope>, of: Rendering, wiring: &Wiring) -> Fed<'scope> {
    let Some(mut lookups) = LookUps::open(&of.shared.opened, &of.shared.start.plan, of.sets()) else { return fed };
    let scope = fed.events.scope();
    let mut builder = OperatorBuilder::new("lookups".to_owned(), scope.clone());
    let activator = Rc::new(scope.activator_for(builder.operator_info().address));
    let mut versions = builder.new_input(fed.versions.clone(), Exchange::new(|routed: &Routed| routed.to));
    let mut raw = builder.new_input(fed.raw.clone(), Pipeline);
    let (events, looked_up) = builder.new_output::<Vec<Routed>>();
    let (letters, told) = builder.new_output::<Vec<DeadLetter>>();
    let (mut events, mut letters) = (OutputBuilder::from(events), OutputBuilder::from(letters));
    let (wiring, workers) = (wiring.clone(), of.workers);
    let (board, local) = (of.shared.board.of(of.side), of.local());
    wiring.to_wake.borrow_mut().push(activator);
    let told_to = wiring.clone();
    builder.build(move |mut capabilities| {
        let mut arrived: VecDeque<(i64, Rc<RefCell<Option<Raw>>>)> = VecDeque::new();
        move |frontiers| {
            versions.for_each_stamp(|_, batches| {
                for routed in batches.flat_map(|batch| batch.drain(..)) {
                    let scan = ScanId::from(routed.group);
                    lookups.take_versions(scan, &routed.columns.0, routed.set == OF_HISTORY);
                }
            });
            raw.for_each_stamp(|sent, batches| {
                let sent = sent.least().copied().unwrap_or(i64::MIN);
                arrived.extend(batches.flat_map(|batch| batch.drain(..)).map(|raw| (sent, raw)));
            });
            let frontier = frontiers.iter().map(|frontier| frontier.frontier().iter().next().copied());
            // When nothing comes any more, what is not done is left.
            let Some(frontier) = frontier.collect::<Option<Vec<i64>>>().and_then(|all| all.into_iter().min()) else {
                capabilities.clear();
                return;
            };
            if capabilities.is_empty() {
                return;
            }
            // What was sent before it, versions and events, is all here.
            while let Some((_, raw)) = arrived.pop_front_if(|(sent, _)| *sent < frontier) {
                raw.borrow_mut().take().into_iter().for_each(|raw| lookups.take_events(raw));
            }
            for (t, horizons) in told_to.lookups.borrow_mut().drain(..) {
                lookups.close_after(t, &horizons);
            }
            let Some(done) = frontier.checked_sub(1) else { return };
            let made = lookups.advance(done);
            let mut routed = vec![];
            for ((group, set), batch) in made.events {
                let split = events::split(batch, workers).expect("events of a schema of ours");
                let (group, set) = (group.number(), set.number());
                routed.extend(split.into_iter().map(|(to, batch)| Routed {
                    to,
                    group,
                    set,
                    columns: Columns::from(batch),
                }));
            }
            if !routed.is_empty() {
                events.activate().session(&capabilities[0]).give_iterator(routed.into_iter());
            }
            if !made.dead_letters.is_empty() {
                letters.activate().session(&capabilities[1]).give_iterator(made.dead_letters.into_iter());
            }
            let mut status = board.worker(local);
            made.tally.add_to(&mut status);
            lookups.tell(&mut status);
            drop(status);
            capabilities.iter_mut().filter(|c| *c.time() < frontier).for_each(|c| c.downgrade(&frontier));
        }
    });
    let events = scope.concatenate([fed.events.clone(), looked_up]);
    let dead_letters = scope.concatenate([fed.dead_letters.clone(), told]);
    Fed { events, dead_letters, ..fed }
}
