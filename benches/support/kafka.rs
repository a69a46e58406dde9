//! A topic of payments on the broker that `HEADWATER_TEST_KAFKA` names.

#![allow(dead_code)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

pub const PARTITIONS: i32 = 4;

pub fn brokers() -> Option<String> {
    let brokers = std::env::var("HEADWATER_TEST_KAFKA").ok();
    if brokers.is_none() {
        println!("skipped: HEADWATER_TEST_KAFKA is not set; `./dev bench` starts a broker");
    }
    brokers
}

pub fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64
}

/// Makes a topic with a name of its own.
pub fn topic(brokers: &str, name: &str) -> String {
    let topic = format!("{name}-{}", now_us());
    let admin: AdminClient<DefaultClientContext> = client(brokers).create().unwrap();
    let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
    let made = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(admin.create_topics([&new], &AdminOptions::new()))
        .unwrap();
    made[0].as_ref().unwrap();
    topic
}

pub fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

pub fn producer(brokers: &str) -> BaseProducer {
    client(brokers).set("linger.ms", "1").set("queue.buffering.max.messages", "1000000").create().unwrap()
}

pub fn send(producer: &BaseProducer, topic: &str, partition: i32, payload: &str) {
    loop {
        let record = BaseRecord::<(), str>::to(topic).partition(partition).payload(payload);
        match producer.send(record) {
            Ok(()) => return,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(10));
            }
            Err((e, _)) => panic!("producing: {e}"),
        }
    }
}

pub fn payment(ts_us: i64, card: &str, amount: f64) -> String {
    format!(
        r#"{{"ts":{ts_us},"card_id":"{card}","amount":{amount:.2},"merchant":"merchant-17","country":"DE","status":"approved","device":"pos-4711"}}"#
    )
}

/// Fills a topic with `events` payments of `cards` cards, over 29 days up to now.
pub fn fill(brokers: &str, topic: &str, events: usize, cards: u32) {
    let producer = producer(brokers);
    let mut rng = StdRng::seed_from_u64(7);
    let (end, span) = (now_us(), 29 * super::support::DAY_US);
    for i in 0..events {
        let ts = end - span + (i as i128 * i128::from(span) / events as i128) as i64;
        let card = format!("card-{:06}", super::support::card(&mut rng, cards));
        let payload = payment(ts, &card, f64::from(rng.random_range(1..50_000)) / 100.0);
        send(&producer, topic, i as i32 % PARTITIONS, &payload);
        if i % 1000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(60)).unwrap();
}
