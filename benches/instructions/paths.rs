//! The main paths, each as a function of how many events it works on: on one thread, of the same events every time.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use headwater_clocks::{Span, Tick};
use headwater_connectors::Wanted;
use headwater_connectors::format::json::JsonDecoder;
use headwater_connectors::format::text::Object;
use headwater_connectors::format::{Decoder, Message};
use headwater_operators::accumulators::{ColumnPlan, result_types};
use headwater_operators::group::{Outputs, Plan, State, Window};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::ledger::InMemory;
use headwater_operators::limits::Limits;
use headwater_operators::standalone::Standalone;
use headwater_operators::{changes, events};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A path: what it is called, what an event of it goes through, and how it is walked with so many events.
pub struct Path {
    pub name: &'static str,
    pub what: &'static str,
    pub walk: fn(usize),
}

pub const PATHS: &[Path] = &[
    Path { name: "decode", what: "three fields of a JSON object of five", walk: decode },
    Path { name: "text", what: "a row of 12 columns as JSON", walk: text },
    Path { name: "split", what: "a batch of events, parted by the hash of their keys", walk: split },
    Path {
        name: "trailing",
        what: "12 columns, steps of 2,000 events, windows of 2 to 8 steps",
        walk: |n| trailing(n, STEP, 2 * STEP),
    },
    Path {
        name: "trailing, short windows",
        what: "the same, windows of a fifth of a step and more",
        walk: |n| trailing(n, STEP, STEP / 5),
    },
    Path {
        name: "trailing, small steps",
        what: "the first in steps of 100 events",
        walk: |n| trailing(n, 100, 2 * STEP),
    },
    Path { name: "trailing, a changelog", what: "the first with every change told", walk: changelog },
    Path { name: "tumbling", what: "three columns over windows of 100 events", walk: tumbling },
    Path { name: "hopping", what: "the same, each event in four windows", walk: hopping },
    Path { name: "session", what: "three columns over sessions", walk: session },
    Path { name: "distinct", what: "count_distinct and top_k of texts", walk: distinct },
];

/// Events of a step.
const STEP: usize = 2_000;
/// Microseconds between two events, and between two ticks.
const PACE: i64 = 1_000;
const TICK: i64 = 10_000;

fn span(us: i64) -> Span {
    Span::from_us(us)
}
const KEYS: u32 = 1_000;

fn decode(count: usize) {
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let schema = Schema::new(vec![
        field("ts", DataType::Timestamp(TimeUnit::Microsecond, None)),
        field("card_id", DataType::Utf8),
        field("amount", DataType::Float64),
    ]);
    let mut decoder = JsonDecoder::new(&Wanted { schema: Arc::new(schema), time_unit_ns: 1_000 });
    let mut rng = rng();
    let mut payment = |n: usize| {
        let (card, cents) = (rng.random_range(0..KEYS), rng.random_range(100..50_000));
        let amount = format!("{}.{:02}", cents / 100, cents % 100);
        let ts = 1_767_225_600_000_000 + n;
        format!(r#"{{"ts":{ts},"card_id":"card-{card:06}","amount":{amount},"merchant":"m{card}","country":"DE"}}"#)
    };
    let texts: Vec<String> = (0..1_000).map(&mut payment).collect();
    for n in 0..count {
        decoder.push(&Message::of(texts[n % texts.len()].as_bytes()));
        if n % STEP == STEP - 1 {
            decoder.finish();
        }
    }
    decoder.finish();
}

fn text(count: usize) {
    let mut rng = rng();
    let mut column = |n: usize| -> (String, ArrayRef) {
        let array: ArrayRef = match n % 3 {
            0 => Arc::new(Int64Array::from_iter_values((0..1_000).map(|_| rng.random_range(0..10_000)))),
            _ => Arc::new(Float64Array::from_iter_values((0..1_000).map(|_| amount(&mut rng)))),
        };
        (format!("column_{n}"), array)
    };
    let batch = RecordBatch::try_from_iter((0..12).map(&mut column)).expect("columns of one length");
    let row = Object::new(&batch, 0..12);
    let mut out = vec![];
    for n in 0..count {
        out.clear();
        row.write(&mut out, n % 1_000);
    }
}

fn split(count: usize) {
    let (mut rng, schema) = (rng(), events::schema(&INPUTS, false));
    for first in (0..count).step_by(10_000) {
        let batch = batch(&schema, first, 10_000.min(count - first), &mut rng);
        events::split(batch, 4).expect("events");
    }
}

/// Inputs: floats and texts.
const INPUTS: [DataType; 2] = [DataType::Float64, DataType::Utf8];

/// Steps of so many events. `shortest`: how many are in the shortest window.
fn trailing(count: usize, step: usize, shortest: usize) {
    group(twelve(shortest), count, step, Outputs { changes: false, rows_from: Some(Tick::from_us(0)) });
}

fn changelog(count: usize) {
    group(twelve(2 * STEP), count, STEP, Outputs { changes: true, rows_from: None });
}

/// `count`, `sum` and `max` over four windows.
fn twelve(shortest: usize) -> Plan {
    let columns = ["count", "sum", "max"].into_iter().flat_map(|aggregate| {
        let length = |n: i64| Some(span(shortest as i64 * PACE * n));
        [1, 2, 3, 4].map(|n| column(aggregate, (aggregate != "count").then_some(0), length(n)))
    });
    Plan::trailing(columns.collect(), INPUTS.to_vec(), span(TICK), Tick::from_us(0))
}

fn tumbling(count: usize) {
    windowed(count, Window::Hopping { size: span(100 * PACE), every: span(100 * PACE) });
}

fn hopping(count: usize) {
    windowed(count, Window::Hopping { size: span(400 * PACE), every: span(100 * PACE) });
}

fn session(count: usize) {
    windowed(count, Window::Session { gap: span(500 * PACE) });
}

fn windowed(count: usize, window: Window) {
    let columns = ["count", "sum", "max"].map(|aggregate| column(aggregate, (aggregate != "count").then_some(0), None));
    let retain = span(1_000 * PACE);
    let plan =
        Plan { window, retain, ..Plan::trailing(columns.to_vec(), INPUTS.to_vec(), span(TICK), Tick::from_us(0)) };
    group(plan, count, STEP, Outputs { changes: false, rows_from: Some(Tick::from_us(0)) });
}

fn distinct(count: usize) {
    let columns =
        ["count_distinct", "top_k(3)"].map(|aggregate| column(aggregate, Some(1), Some(span(4 * STEP as i64 * PACE))));
    let plan = Plan::trailing(columns.to_vec(), INPUTS.to_vec(), span(TICK), Tick::from_us(0));
    group(plan, count, STEP, Outputs { changes: false, rows_from: Some(Tick::from_us(0)) });
}

fn column(aggregate: &str, input: Option<usize>, length: Option<Span>) -> ColumnPlan {
    let aggregate = aggregate.parse().expect("an aggregate");
    ColumnPlan { name: format!("{aggregate}_{length:?}"), aggregate, input, length }
}

/// Takes events in steps, and what rows they make.
fn group(plan: Plan, count: usize, step: usize, outputs: Outputs) {
    let windowed = plan.window != Window::Trailing;
    let codec = KeyCodec::new(&[DataType::Int64]).expect("a key");
    let results = result_types(&plan.columns, &plan.inputs);
    let columns: Vec<_> = plan.columns.iter().map(|column| column.name.clone()).zip(results).collect();
    let schema = changes::schema(&[("k".into(), DataType::Int64)], windowed, &columns);
    let limits = Limits::with_ledger_bytes(usize::MAX);
    let mut group = Standalone::new(State::new(&plan, codec, schema, outputs, Box::new(InMemory::default()), limits));
    let (mut rng, schema) = (rng(), events::schema(&INPUTS, windowed));
    for first in (0..count).step_by(step) {
        let batch = batch(&schema, first, step.min(count - first), &mut rng);
        group.state.insert(0, &batch, Tick::BEFORE_ALL).expect("events");
        group.advance(Tick::from_us((first + step) as i64 * PACE - TICK), usize::MAX).expect("a ledger in memory");
        group.take_rows();
        group.take_changes();
    }
}

fn batch(schema: &arrow::datatypes::SchemaRef, first: usize, count: usize, rng: &mut StdRng) -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count).map(|_| skewed(rng, KEYS))));
    let keys = KeyCodec::new(&[DataType::Int64]).and_then(|codec| codec.encode(&[keys])).expect("keys");
    let times = |n: usize| (first + n) as i64 * PACE;
    let ts = Int64Array::from_iter_values((0..count).map(times));
    let visible = Int64Array::from_iter_values((0..count).map(|n| (times(n) + TICK - 1) / TICK * TICK));
    let amounts = Float64Array::from_iter_values((0..count).map(|_| amount(rng)));
    let merchants = StringArray::from_iter_values((0..count).map(|_| format!("merchant-{}", skewed(rng, 20_000))));
    let columns: Vec<ArrayRef> = vec![Arc::new(amounts), Arc::new(merchants)];
    let open = (schema.fields().len() > events::first_input(false) + INPUTS.len()).then(|| ts.clone());
    events::batch(schema, keys, ts, visible, open, columns).expect("events")
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(11)
}

/// Few have many.
fn skewed(rng: &mut StdRng, most: u32) -> i64 {
    let x: f64 = rng.random();
    ((x * x * x) * f64::from(most)) as i64
}

fn amount(rng: &mut StdRng) -> f64 {
    f64::from(rng.random_range(100..50_000)) / 100.0
}
