//! A topic read to its end.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

/// By partition, in the order of offsets, which begin at 0 and have no holes.
pub type Records = Vec<Vec<Option<Vec<u8>>>>;

pub fn read(brokers: &str, topic: &str, partitions: usize) -> Records {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "chaos").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assigned = TopicPartitionList::new();
    for p in 0..partitions {
        assigned.add_partition_offset(topic, p as i32, Offset::Beginning).unwrap();
    }
    consumer.assign(&assigned).unwrap();
    let end = |p| consumer.fetch_watermarks(topic, p as i32, Duration::from_secs(20)).unwrap().1 as usize;
    let ends: Vec<usize> = (0..partitions).map(end).collect();
    let mut records: Records = vec![vec![]; partitions];
    let began = Instant::now();
    while records.iter().zip(&ends).any(|(read, end)| read.len() < *end) {
        assert!(began.elapsed() < Duration::from_secs(60), "the topic cannot be read");
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let of = &mut records[message.partition() as usize];
        assert_eq!(of.len() as i64, message.offset(), "a hole in the topic");
        of.push(message.payload().map(<[u8]>::to_vec));
    }
    records
}

pub fn dump(path: &Path, records: &Records) {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for (p, records) in records.iter().enumerate() {
        for (o, payload) in records.iter().enumerate() {
            let payload = payload.as_deref().map_or("(none)".into(), String::from_utf8_lossy);
            writeln!(file, "{p}\t{o}\t{payload}").unwrap();
        }
    }
}
