//! Events that are taken back, against a look at every event that is there at a label's moment.

use arrow::array::types::UInt64Type;
use arrow::array::{AsArray, Int8Array, RecordBatch};
use arrow::datatypes::DataType;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::rows::{FIRST_COLUMN, IS_THERE, NUMBER};
use super::tests::{AGGREGATES, Event, KEYS, Label, column, event_batch, label_batch, model, random_events, shown};
use super::{Enter, Probe, Shard};
use crate::accumulators::ColumnPlan;
use crate::events;

const INPUTS: [DataType; 2] = [DataType::Int64, DataType::Float64];

/// An event that is there until a moment, if there is one.
struct Passing {
    event: Event,
    gone: Option<i64>,
}

/// That they come, and that they go.
fn moves(all: &[Passing]) -> Vec<(Event, i8)> {
    let goes = |one: &Passing| one.gone.map(|visible| (Event { visible, ..one.event.clone() }, -1));
    all.iter().flat_map(|one| [Some((one.event.clone(), 1)), goes(one)]).flatten().collect()
}

fn batch(moves: &[(Event, i8)]) -> RecordBatch {
    let events: Vec<Event> = moves.iter().map(|(event, _)| event.clone()).collect();
    let diffs: Int8Array = moves.iter().map(|(_, diff)| Some(*diff)).collect();
    events::with_diffs(&events::corrected_schema(&INPUTS, false), &event_batch(&events), diffs).unwrap()
}

#[test]
fn as_a_look_at_what_is_there() {
    let lengths = [Some(1), Some(30), Some(200), None];
    let plan = |finite: bool| -> Vec<ColumnPlan> {
        let lengths = lengths.iter().filter(|length| length.is_some() || !finite);
        let of_length = |length: &Option<i64>| {
            let length = *length;
            AGGREGATES.iter().map(move |name| column(name, (*name != "count").then_some(0), length))
        };
        lengths.flat_map(of_length).collect()
    };
    let (mut went, mut of_none) = (0, 0);
    for seed in 0..60 {
        let mut rng = StdRng::seed_from_u64(seed);
        let number = rng.random_range(0..120);
        let passing = |event: Event, rng: &mut StdRng| {
            let after = [1, 20, 300][rng.random_range(0..3)];
            let gone = rng.random_bool(0.5).then(|| event.visible + rng.random_range(1..=after));
            Passing { event, gone }
        };
        let mut all: Vec<Passing> =
            random_events(&mut rng, number).into_iter().map(|event| passing(event, &mut rng)).collect();
        // Another one in the place of one that goes, and others that are the same.
        let again: Vec<Event> = all
            .iter()
            .filter(|_| rng.random_bool(0.3))
            .map(|one| Event { visible: one.gone.unwrap_or(one.event.visible), ..one.event.clone() })
            .collect();
        all.extend(again.into_iter().map(|event| passing(event, &mut rng)));
        went += all.iter().filter(|one| one.gone.is_some()).count();
        let labels: Vec<Label> = (0..60).map(|_| (KEYS[rng.random_range(0..4)], rng.random_range(-150..700))).collect();
        let numbered: Vec<(u64, Label)> = (0..).zip(labels.iter().copied()).collect();
        let columns = plan(seed % 2 == 0);
        let mut probe = Probe::corrected(&columns, &INPUTS, Enter::Visible);
        let shard = probe.begin(&[label_batch(&numbered)]);
        let ordered = shard.order(&moves(&all).chunks(17).map(batch).collect::<Vec<_>>()).unwrap();
        let size = rng.random_range(1..=ordered.num_rows().max(1));
        for start in (0..ordered.num_rows().max(1)).step_by(size) {
            let next = (start + size < ordered.num_rows()).then(|| Shard::begins(&ordered, start + size));
            probe.take(&shard, &ordered.slice(start, size.min(ordered.num_rows() - start)), next);
        }
        let rows = probe.finish().unwrap();
        let numbers = rows.column(NUMBER).as_primitive::<UInt64Type>();
        assert_eq!(rows.num_rows(), labels.len());
        for (at, number) in numbers.values().iter().enumerate() {
            let (key, now) = labels[*number as usize];
            let there = |one: &&Passing| {
                one.event.key == key && one.event.visible <= now && one.gone.is_none_or(|gone| gone > now)
            };
            let mut some = false;
            for (c, plan) in columns.iter().enumerate() {
                let young = |one: &&Passing| plan.length.is_none_or(|length| one.event.ts > now - length.us());
                let inside: Vec<&Event> = all.iter().filter(there).filter(young).map(|one| &one.event).collect();
                some |= !inside.is_empty();
                let expected = model(AGGREGATES[c % AGGREGATES.len()], &inside);
                let found = shown(rows.column(FIRST_COLUMN + c), at);
                assert_eq!(found, expected, "seed {seed}: {} of {key} at {now}", plan.name);
            }
            assert_eq!(rows.column(IS_THERE).as_boolean().value(at), some, "seed {seed}: {key} at {now}");
            of_none += usize::from(!some);
        }
    }
    assert!(went > 1000 && of_none > 100, "{went} {of_none}");
}
