//! Following Kafka: 3M JSON events of 100k cards, 12 columns over four windows, on 2 workers, read to the end.
//! Floors: a bare consumer that decodes the same JSON on 2 threads; and one that also writes each card's newest row to Redis,
//! coalesced over the events that it takes at once.

#[path = "support/kafka.rs"]
mod kafka;
mod support;

use std::collections::HashMap;
use std::time::Duration;

use headwater::{Job, Options};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{Message, Offset, TopicPartitionList};

const CARDS: u32 = 100_000;
/// Events that the floor with Redis takes at once.
const COALESCED: usize = 50_000;

fn main() {
    let Some(brokers) = kafka::brokers() else { return };
    let redis = std::env::var("HEADWATER_TEST_REDIS").ok();
    let events = support::scale(3_000_000);
    let topic = kafka::topic(&brokers, "live");
    kafka::fill(&brokers, &topic, events, CARDS);
    println!("live: {events} JSON events of {CARDS} cards, 12 columns");
    let (mut decode, mut embedded, mut write, mut stored) = (vec![], vec![], vec![], vec![]);
    for _ in 0..support::rounds() {
        decode.push(support::timed(|| bare(&brokers, &topic, events, None)).1);
        embedded.push(support::timed(|| run(&brokers, &topic, "", events)).1);
        if let Some(url) = &redis {
            write.push(support::timed(|| bare(&brokers, &topic, events, Some(url))).1);
            stored.push(
                support::timed(|| {
                    run(&brokers, &topic, &format!("[sinks.online]\ntype = \"redis\"\nurl = \"{url}\"\n"), events)
                })
                .1,
            );
        }
    }
    let floor = support::median(decode);
    support::line("floor: a bare consumer that decodes, 2 threads", events, floor, None);
    support::line("run into the embedded store", events, support::median(embedded), Some(floor));
    if redis.is_some() {
        let floor = support::median(write);
        support::line("floor: that also writes rows to Redis", events, floor, None);
        support::line("run into Redis", events, support::median(stored), Some(floor));
    }
}

fn run(brokers: &str, topic: &str, sinks: &str, events: usize) {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "name = \"live\"\n[sources.tx]\nevent_time = \"ts\"\ntime_unit = \"us\"\n\
         [sources.tx.schema]\nts = \"timestamp\"\ncard_id = \"string\"\namount = \"float64\"\n\
         [sources.tx.stream]\ntype = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\nformat = \"json\"\n{sinks}{}",
        support::FEATURES
    );
    let job = support::write_job(dir.path(), &text);
    let options = Options { until_end: true, fresh: true, workers: 2, ..Options::default() };
    let status = headwater::run(Job::from_file(job).unwrap(), options).unwrap().wait().unwrap();
    assert_eq!(status.groups[0].counts.events, events as u64);
}

#[derive(serde::Deserialize)]
struct Payment<'a> {
    ts: i64,
    #[serde(borrow)]
    card_id: std::borrow::Cow<'a, str>,
    amount: f64,
}

/// Reads and decodes every record, on 2 threads; with a Redis, writes each card's newest row.
fn bare(brokers: &str, topic: &str, events: usize, redis: Option<&str>) {
    let read: usize = std::thread::scope(|scope| {
        let half = |half: i32| scope.spawn(move || bare_half(brokers, topic, half, redis));
        [half(0), half(1)].into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(read, events);
}

fn bare_half(brokers: &str, topic: &str, half: i32, redis: Option<&str>) -> usize {
    let consumer: BaseConsumer = kafka::client(brokers)
        .set("group.id", "bench")
        .set("enable.partition.eof", "true")
        .set("fetch.queue.backoff.ms", "5")
        .create()
        .unwrap();
    let mut partitions = TopicPartitionList::new();
    for p in (0..kafka::PARTITIONS).filter(|p| p % 2 == half) {
        partitions.add_partition_offset(topic, p, Offset::Beginning).unwrap();
    }
    let (mut open, mut read, mut rows) = (partitions.count(), 0, HashMap::new());
    consumer.assign(&partitions).unwrap();
    let mut store = redis.map(|url| redis::Client::open(url).unwrap().get_connection().unwrap());
    while open > 0 {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let payment: Payment = serde_json::from_slice(message.payload().unwrap()).unwrap();
                read += 1;
                if store.is_some() {
                    let row: &mut (i64, f64) = rows.entry(payment.card_id.into_owned()).or_default();
                    *row = (row.0.max(payment.ts), row.1 + payment.amount);
                }
            }
            Some(Err(_)) => open -= 1,
            None => {}
        }
        if let Some(store) = store.as_mut().filter(|_| rows.len() > COALESCED / 2 || open == 0) {
            write(store, &mut rows);
        }
    }
    read
}

/// Twelve columns and `_changed_at`, as a run writes them.
fn write(store: &mut redis::Connection, rows: &mut HashMap<String, (i64, f64)>) {
    let all: Vec<_> = rows.drain().collect();
    for chunk in all.chunks(500) {
        let mut pipeline = redis::pipe();
        for (card, (ts, amount)) in chunk {
            let fields: Vec<(String, String)> = (0..12).map(|i| (format!("column_{i}"), amount.to_string())).collect();
            pipeline.hset_multiple(format!("bare:card:{card}"), &fields).ignore();
            pipeline.hset(format!("bare:card:{card}"), "_changed_at", ts).ignore();
        }
        pipeline.query::<()>(store).unwrap();
    }
}
