//! A long exact window: 50M events of 100k cards over 30 days, with `count`, `sum`, `max` and the exact number of merchants, on 2
//! workers; then three days of a stream in which a tenth of the history grows old, event by event. What counts is the memory: it
//! depends on cards, and on the merchants of each card, not on events.
//! Floor: the pairs of a card and a merchant alone, in a table of 16 bytes an entry.

mod support;

use std::collections::HashSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{Float64Array, StringArray, TimestampMicrosecondArray};
use rand::SeedableRng;
use rand::rngs::StdRng;
use support::{DAY_US, END_US};

const CARDS: u32 = 100_000;
const MERCHANTS: u32 = 20_000;

fn main() {
    let rows = support::scale(50_000_000);
    let dir = tempfile::tempdir().unwrap();
    let pairs = write_events(dir.path(), rows);
    let job = support::write_job(dir.path(), &JOB.replace("SOURCE", support::SOURCE));
    let args = ["run", "--until-end", "--fresh", "--workers", "2"];
    let support::Run { peak, took, .. } =
        support::watched(Command::new(env!("CARGO_BIN_EXE_headwater")).args(args).arg(&job));
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!("long_window: {rows} events over 30 days, {CARDS} cards, {pairs} pairs of card and merchant");
    println!("floor: the pairs alone                       {:>8.0} MiB", mib(pairs * 16));
    println!("run, 2 workers, at its peak                  {:>8.0} MiB", mib(peak));
    support::line("run: bootstrap and three days of expiry", rows + rows / 100, took, None);
}

const JOB: &str = r#"
name = "long"
SOURCE
[features.card.columns]
n         = { agg = "count", window = "30d" }
spend     = { agg = "sum", of = "amount", window = "30d" }
top       = { agg = "max", of = "amount", window = "30d" }
merchants = { agg = "count_distinct", of = "merchant", window = "30d" }
"#;

/// Writes history and stream. Returns how many pairs of card and merchant the history has.
fn write_events(dir: &Path, rows: usize) -> usize {
    let mut rng = StdRng::seed_from_u64(42);
    let mut pairs = HashSet::new();
    support::parquet(dir, rows, |first, many| {
        let time = |i: usize| END_US - ((rows - first - i) as i128 * i128::from(30 * DAY_US) / rows as i128) as i64;
        let drawn: Vec<(u32, u32)> =
            (0..many).map(|_| (support::card(&mut rng, CARDS), support::card(&mut rng, MERCHANTS))).collect();
        pairs.extend(drawn.iter().map(|(card, merchant)| u64::from(*card) << 32 | u64::from(*merchant)));
        let cards = drawn.iter().map(|(card, _)| format!("card-{card:06}"));
        let merchants = drawn.iter().map(|(_, merchant)| format!("merchant-{merchant:05}"));
        vec![
            ("ts", Arc::new(TimestampMicrosecondArray::from_iter_values((0..many).map(time)).with_timezone("UTC"))),
            ("card_id", Arc::new(StringArray::from_iter_values(cards))),
            ("merchant", Arc::new(StringArray::from_iter_values(merchants))),
            ("amount", Arc::new(Float64Array::from_iter_values((0..many).map(|_| support::amount(&mut rng))))),
        ]
    });
    let mut lines = String::new();
    for i in 0..rows / 100 {
        let ts = END_US + 1 + (i as i128 * i128::from(3 * DAY_US) / (rows / 100) as i128) as i64;
        let (card, merchant) = (support::card(&mut rng, CARDS), support::card(&mut rng, MERCHANTS));
        let amount = support::amount(&mut rng);
        writeln!(
            lines,
            r#"{{"ts":{ts},"card_id":"card-{card:06}","merchant":"merchant-{merchant:05}","amount":{amount}}}"#
        )
        .unwrap();
    }
    std::fs::create_dir_all(dir.join("stream")).unwrap();
    std::fs::write(dir.join("stream/0.jsonl"), lines).unwrap();
    pairs.len()
}
