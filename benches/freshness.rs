//! Freshness: from the moment an event is produced until its row can be read, at 20k events/s, into the embedded store.
//! Floor: a bare consumer that sees the same event, in the same run.

#[path = "support/kafka.rs"]
mod kafka;
mod support;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headwater::{Handle, Job, Options};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::Producer;
use rdkafka::{Message, Offset, TopicPartitionList};

const EVENTS_PER_SECOND: usize = 20_000;
const SECONDS: u64 = 15;
/// The first seconds are not counted.
const WARM_SECONDS: u64 = 3;

fn main() {
    let Some(brokers) = kafka::brokers() else { return };
    let topic = kafka::topic(&brokers, "freshness");
    let stop = Arc::new(AtomicBool::new(false));
    let sent: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
    let relayed: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let readable: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let relay = std::thread::spawn({
        let (brokers, topic, stop, sent, relayed) =
            (brokers.clone(), topic.clone(), stop.clone(), sent.clone(), relayed.clone());
        move || relay(&brokers, &topic, &stop, &sent, &relayed)
    });
    let produce = std::thread::spawn({
        let (brokers, topic, stop, sent) = (brokers.clone(), topic.clone(), stop.clone(), sent.clone());
        move || produce(&brokers, &topic, &stop, &sent)
    });
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "name = \"freshness\"\n[sources.tx]\nevent_time = \"ts\"\ntime_unit = \"us\"\n\
         [sources.tx.schema]\nts = \"timestamp\"\ncard_id = \"string\"\namount = \"float64\"\n\
         [sources.tx.stream]\ntype = \"kafka\"\nbrokers = \"{brokers}\"\ntopic = \"{topic}\"\nformat = \"json\"\n{}",
        support::FEATURES
    );
    let job = Job::from_file(support::write_job(dir.path(), &text)).unwrap();
    let run = headwater::run(job, Options { fresh: true, ..Options::default() }).unwrap();
    while run.status().is_none() && !run.is_finished() {
        std::thread::sleep(Duration::from_millis(1));
    }
    look(&run, &stop, &sent, &readable);
    run.stop();
    let status = run.wait().unwrap();
    produce.join().unwrap();
    relay.join().unwrap();
    println!(
        "freshness: {EVENTS_PER_SECOND} events/s, {} events in rows",
        status.groups.iter().map(|group| group.counts.events).sum::<u64>()
    );
    support::percentiles("floor: produced -> seen by a bare consumer", &relayed.lock().unwrap());
    support::percentiles("produced -> row readable", &readable.lock().unwrap());
}

/// Produces at a fixed rate; every 5 ms one event is a probe with a key of its own.
fn produce(brokers: &str, topic: &str, stop: &AtomicBool, sent: &Mutex<HashMap<String, Instant>>) {
    let producer = kafka::producer(brokers);
    let mut rng = StdRng::seed_from_u64(1);
    let start = Instant::now();
    let (mut events, mut probes) = (0, 0);
    while start.elapsed() < Duration::from_secs(SECONDS) {
        let due = (start.elapsed().as_secs_f64() * EVENTS_PER_SECOND as f64) as usize;
        while events < due {
            let card = format!("card-{:06}", support::card(&mut rng, 20_000));
            kafka::send(
                &producer,
                topic,
                events as i32 % kafka::PARTITIONS,
                &kafka::payment(kafka::now_us(), &card, 9.99),
            );
            events += 1;
            if events % (EVENTS_PER_SECOND / 200) == 0 {
                let card = format!("probe-{probes}");
                if start.elapsed() > Duration::from_secs(WARM_SECONDS) {
                    sent.lock().unwrap().insert(card.clone(), Instant::now());
                }
                kafka::send(
                    &producer,
                    topic,
                    rng.random_range(0..kafka::PARTITIONS),
                    &kafka::payment(kafka::now_us(), &card, 1.0),
                );
                probes += 1;
            }
        }
        producer.poll(Duration::from_millis(1));
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    stop.store(true, Ordering::Relaxed);
}

fn relay(
    brokers: &str,
    topic: &str,
    stop: &AtomicBool,
    sent: &Mutex<HashMap<String, Instant>>,
    seen: &Mutex<Vec<Duration>>,
) {
    let consumer: BaseConsumer =
        kafka::client(brokers).set("group.id", "relay").set("fetch.wait.max.ms", "10").create().unwrap();
    let mut partitions = TopicPartitionList::new();
    for p in 0..kafka::PARTITIONS {
        partitions.add_partition_offset(topic, p, Offset::Beginning).unwrap();
    }
    consumer.assign(&partitions).unwrap();
    while !stop.load(Ordering::Relaxed) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(20)) else { continue };
        let payload = std::str::from_utf8(message.payload().unwrap()).unwrap();
        let Some(at) = payload.find("\"probe-") else { continue };
        let card = payload[at + 1..].split('"').next().unwrap();
        if let Some(at) = sent.lock().unwrap().get(card) {
            seen.lock().unwrap().push(at.elapsed());
        }
    }
}

/// Looks for the rows of the probes until each is there.
fn look(run: &Handle, stop: &AtomicBool, sent: &Mutex<HashMap<String, Instant>>, readable: &Mutex<Vec<Duration>>) {
    let mut found: HashMap<String, ()> = HashMap::new();
    while !stop.load(Ordering::Relaxed) {
        let waiting: Vec<(String, Instant)> = sent
            .lock()
            .unwrap()
            .iter()
            .filter(|(card, _)| !found.contains_key(*card))
            .map(|(c, t)| (c.clone(), *t))
            .collect();
        for (card, at) in waiting {
            if !run.get("card", &[("card_id", &card)]).unwrap().is_empty() {
                readable.lock().unwrap().push(at.elapsed());
                found.insert(card, ());
            }
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}
