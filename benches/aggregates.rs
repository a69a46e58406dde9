//! What one event costs in each aggregate over a trailing window, as the window and the events of a key grow by 10 and 100: on
//! one thread, with exact expiry and a row at every tick at which a key changed. One hot key has a tenth of all events.
//! Floor: `count`, which is what the window itself costs.

mod support;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::DataType;
use headwater_clocks::{Span, Tick};
use headwater_operators::accumulators::{ColumnPlan, result_types};
use headwater_operators::aggregate::Aggregate;
use headwater_operators::group::{Outputs, Plan, State};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::ledger::InMemory;
use headwater_operators::limits::Limits;
use headwater_operators::standalone::Standalone;
use headwater_operators::{changes, events};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const TICK: i64 = 10_000;
/// Between two events.
const PACE: i64 = 1_000;
const BATCH: usize = 10_000;
const MERCHANTS: u32 = 20_000;

/// Events that a window holds, and keys.
struct Size {
    name: &'static str,
    window: usize,
    keys: u32,
}

const SIZES: [Size; 5] = [
    Size { name: "base", window: 10_000, keys: 1_000 },
    Size { name: "window x10", window: 100_000, keys: 1_000 },
    Size { name: "window x100", window: 1_000_000, keys: 1_000 },
    Size { name: "a key x10", window: 10_000, keys: 100 },
    Size { name: "a key x100", window: 10_000, keys: 10 },
];

fn main() {
    // With the input: none, floats, or texts.
    let aggregates = [
        ("count", None),
        ("sum", Some(0)),
        ("avg", Some(0)),
        ("min", Some(0)),
        ("max", Some(0)),
        ("var_pop", Some(0)),
        ("stddev_samp", Some(0)),
        ("first", Some(1)),
        ("last", Some(1)),
        ("count_distinct", Some(1)),
        ("count_distinct", Some(0)),
        ("top_k(3)", Some(1)),
        ("mode", Some(1)),
        ("last_n(5)", Some(1)),
        ("last_n(100)", Some(1)),
        ("approx_count_distinct", Some(1)),
        ("approx_percentile(0.99)", Some(0)),
    ];
    let measured = support::scale(300_000);
    println!("aggregates: ns an event, one thread; {measured} events after the window is full");
    print!("{:30}", "");
    SIZES.iter().for_each(|size| print!("{:>13}", size.name));
    println!(
        "\n{:30}{}",
        "events in the window of a key",
        SIZES.map(|s| format!("{:>13}", s.window * 9 / 10 / s.keys as usize)).concat()
    );
    println!("{:30}{}", "of the hot key", SIZES.map(|s| format!("{:>13}", s.window / 10)).concat());
    for (text, input) in aggregates {
        let aggregate: Aggregate = text.parse().expect("an aggregate");
        print!("{:30}", format!("{text}{}", ["", " of floats", " of texts"][input.map_or(0, |input| input + 1)]));
        for size in &SIZES {
            let costs = (0..support::rounds()).map(|_| cost(aggregate, input, size, measured)).collect();
            print!("{:>13.0}", support::median(costs).as_nanos() as f64 / measured as f64);
        }
        println!();
    }
}

/// How long the measured events take.
fn cost(aggregate: Aggregate, input: Option<usize>, size: &Size, measured: usize) -> Duration {
    let inputs = vec![DataType::Float64, DataType::Utf8];
    let length = Some(Span::from_us(size.window as i64 * PACE));
    let column = ColumnPlan { name: "x".to_owned(), aggregate, input, length };
    let plan = Plan::trailing(vec![column], inputs.clone(), Span::from_us(TICK), Tick::from_us(0));
    let codec = KeyCodec::new(&[DataType::Int64]).unwrap();
    let results = result_types(&plan.columns, &plan.inputs);
    let schema = changes::schema(&[("k".into(), DataType::Int64)], false, &[("x".into(), results[0].clone())]);
    let outputs = Outputs { changes: false, rows_from: Some(Tick::from_us(0)) };
    let limits = Limits::with_ledger_bytes(usize::MAX);
    let state = State::new(&plan, codec, schema, outputs, Box::new(InMemory::default()), limits);
    let mut group = Standalone::new(state);
    let mut rng = StdRng::seed_from_u64(11);
    let mut next = 0;
    let mut feed = |group: &mut Standalone, count: usize| {
        let mut total = Duration::ZERO;
        for first in (next..next + count).step_by(BATCH) {
            let batch = batch(first, BATCH.min(next + count - first), size.keys, &inputs, &mut rng);
            let took = support::timed(|| {
                group.state.insert(0, &batch, Tick::BEFORE_ALL).unwrap();
                group.advance(Tick::from_us((first + BATCH) as i64 * PACE - TICK), usize::MAX).unwrap();
                group.take_rows()
            });
            total += took.1;
        }
        next += count;
        total
    };
    feed(&mut group, size.window);
    feed(&mut group, measured)
}

fn batch(first: usize, count: usize, keys: u32, inputs: &[DataType], rng: &mut StdRng) -> arrow::array::RecordBatch {
    let key =
        |rng: &mut StdRng| if rng.random_range(0..10) == 0 { 0 } else { 1 + i64::from(rng.random_range(0..keys)) };
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count).map(|_| key(rng))));
    let keys = KeyCodec::new(&[DataType::Int64]).unwrap().encode(&[keys]).unwrap();
    let times = |n: usize| (first + n) as i64 * PACE;
    let ts = Int64Array::from_iter_values((0..count).map(times));
    let visible = Int64Array::from_iter_values((0..count).map(|n| (times(n) + TICK - 1) / TICK * TICK));
    let amounts = Float64Array::from_iter_values((0..count).map(|_| f64::from(rng.random_range(1..50_000)) / 100.0));
    let merchants = (0..count).map(|_| format!("merchant-{}", support::card(rng, MERCHANTS)));
    let merchants = StringArray::from_iter_values(merchants);
    let columns: Vec<ArrayRef> = vec![Arc::new(amounts), Arc::new(merchants)];
    events::batch(&events::schema(inputs, false), keys, ts, visible, None, columns).unwrap()
}
