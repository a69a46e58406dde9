//! What a topic holds.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::{WAIT, micros};

#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub key: Option<String>,
    pub value: String,
    /// Its header `time`.
    pub time: Option<String>,
}

impl Record {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.value).unwrap_or_else(|e| panic!("{e}: {}", self.value))
    }

    pub fn is_mark(&self) -> bool {
        self.value.starts_with("{\"resume\":")
    }
}

/// Every record up to the ends that the topic has now, by partition.
pub fn records(brokers: &str, topic: &str) -> Vec<Vec<Record>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", "tests").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), WAIT).unwrap();
    let partitions = metadata.topics()[0].partitions().len();
    let ends: Vec<i64> = (0..partitions).map(|p| consumer.fetch_watermarks(topic, p as i32, WAIT).unwrap().1).collect();
    let mut starts = TopicPartitionList::new();
    (0..partitions).for_each(|p| starts.add_partition_offset(topic, p as i32, Offset::Beginning).unwrap());
    consumer.assign(&starts).unwrap();
    let mut found: Vec<Vec<Record>> = vec![vec![]; partitions];
    let mut left = ends.iter().filter(|end| **end > 0).count();
    while left > 0 {
        let record = consumer.poll(Duration::from_secs(30)).expect("a record").unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let (p, value) = (record.partition() as usize, text(record.payload().unwrap()));
        let headers = record.headers().into_iter().flat_map(|headers| headers.iter());
        let time = headers.filter(|header| header.key == "time").find_map(|header| header.value.map(text));
        found[p].push(Record { key: record.key().map(text), value, time });
        left -= usize::from(record.offset() + 1 == ends[p]);
    }
    found
}

/// The records that no later mark has made void.
pub fn standing(brokers: &str, topic: &str) -> Vec<Record> {
    let mut all = vec![];
    for records in records(brokers, topic) {
        let mut standing: Vec<Record> = vec![];
        for record in records {
            match record.is_mark().then(|| record.json()["resume"].clone()) {
                None => standing.push(record),
                Some(Value::Null) => standing.clear(),
                Some(t) => {
                    let t = micros(t.as_str().unwrap());
                    standing.retain(|record| record.time.as_deref().is_none_or(|time| micros(time) <= t));
                }
            }
        }
        all.extend(standing);
    }
    all
}
