//! What librdkafka's mock cluster cannot do, on a real broker: offsets by time, settings, transactions, records and topics
//! that go away.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::executor::block_on;
use headwater_clocks::{Arrival, Offset, Span, WallClock};
use headwater_connectors::format::json::Json;
use headwater_connectors::stream::kafka::{KafkaConfig, KafkaStream};
use headwater_connectors::stream::{Bounds, Reader, Start, Stream};
use headwater_connectors::{Error, Wanted};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, TopicPartitionList};

use crate::needs::{need, service};
use crate::{WAIT, until};

/// A topic of its own on the broker under test.
struct Topic {
    brokers: String,
    name: String,
    admin: AdminClient<DefaultClientContext>,
}

impl Topic {
    /// `None` when there is no broker to test on.
    fn new(name: &str, partitions: i32, settings: &[(&str, &str)]) -> Option<Topic> {
        let brokers = service("HEADWATER_TEST_KAFKA")?;
        let unique = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let admin = ClientConfig::new().set("bootstrap.servers", &brokers).create().unwrap();
        let topic = Topic { brokers, name: format!("{name}_{unique}"), admin };
        topic.create(partitions, settings);
        Some(topic)
    }

    fn create(&self, partitions: i32, settings: &[(&str, &str)]) {
        let mut topic = NewTopic::new(&self.name, partitions, TopicReplication::Fixed(1));
        topic.config = settings.to_vec();
        let created = block_on(self.admin.create_topics([&topic], &AdminOptions::new())).unwrap();
        created.into_iter().for_each(|result| _ = result.unwrap());
    }

    fn delete(&self) {
        let deleted = block_on(self.admin.delete_topics(&[&self.name], &AdminOptions::new())).unwrap();
        deleted.into_iter().for_each(|result| _ = result.unwrap());
    }

    fn config(&self) -> KafkaConfig {
        KafkaConfig {
            brokers: self.brokers.clone(),
            topic: self.name.clone(),
            properties: BTreeMap::new(),
            budget_bytes: 16 << 20,
        }
    }

    fn open(&self) -> KafkaStream {
        // The broker may take a moment until it knows a topic that was just made.
        until("the topic", || KafkaStream::open(self.config(), Arc::new(Json::default())).ok())
    }

    fn producer(&self, transactions: Option<&str>) -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("linger.ms", "0");
        if let Some(name) = transactions {
            config.set("transactional.id", format!("{}-{name}", self.name));
        }
        let producer: BaseProducer = config.create().unwrap();
        if transactions.is_some() {
            producer.init_transactions(WAIT).unwrap();
        }
        producer
    }

    /// Appends `{"n": n}` for each number, stamped `n` seconds after 1970.
    fn append(&self, producer: &BaseProducer, partition: i32, numbers: std::ops::Range<i64>) {
        for n in numbers {
            let payload = format!("{{\"n\": {n}}}");
            let record = BaseRecord::<(), str>::to(&self.name).partition(partition).timestamp(n * 1000);
            producer.send(record.payload(&payload)).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(WAIT).unwrap();
    }
}

fn reader(stream: &KafkaStream, offset: i64) -> Box<dyn Reader> {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    stream
        .reader(&[Start { partition: 0, offset: Offset::at(offset) }], &Wanted { schema, time_unit_ns: 1_000_000 })
        .unwrap()
}

const NONE: [i64; 0] = [];

/// Reads until the end is confirmed at this offset, from now on; returns the numbers read.
fn read_to_end(reader: &mut dyn Reader, end: i64) -> Vec<i64> {
    let mut numbers = Vec::new();
    let from = WallClock::now();
    until("the end", || {
        while let Some(records) = reader.poll(0, 1 << 20).unwrap() {
            numbers.extend(records.batch.column(0).as_primitive::<Int64Type>().values());
        }
        reader.end_confirmed(0).filter(|&at| at >= from && reader.end(0) == Some(Offset::at(end)))
    });
    assert_eq!(reader.position(0), Offset::at(end));
    numbers
}

#[test]
fn tells_bounds_and_offsets_by_time() {
    let topic = need!(Topic::new("times", 2, &[]));
    topic.append(&topic.producer(None), 0, 100..110);
    let stream = topic.open();
    let bounds = |partition, end| Bounds { partition, earliest: Offset::at(0), end: Offset::at(end) };
    assert_eq!(stream.bounds().unwrap(), [bounds(0, 10), bounds(1, 0)]);
    let cases = [
        (i64::MIN, Some(0), Some(0)),
        (100_000_000, Some(0), None),
        (100_000_001, Some(1), None),
        (104_500_000, Some(5), None),
        (109_000_000, Some(9), None),
        (109_000_001, None, None),
    ];
    for (from_us, first, second) in cases {
        let expected = [first, second].map(|offset| offset.map(Offset::at));
        assert_eq!(stream.offsets_at(Arrival::from_us(from_us)).unwrap(), expected, "from {from_us}");
    }
}

#[test]
fn tells_the_settings() {
    type Case<'a> = (&'a [(&'a str, &'a str)], bool, Option<i64>);
    let cases: [Case; 5] = [
        (&[("retention.ms", "3600000")], false, Some(3_600_000_000)),
        (&[("retention.ms", "-1")], false, None),
        (&[("retention.ms", "3600000"), ("cleanup.policy", "compact")], false, None),
        (&[("retention.ms", "3600000"), ("cleanup.policy", "compact,delete")], false, Some(3_600_000_000)),
        (&[("message.timestamp.type", "LogAppendTime"), ("retention.ms", "1000")], true, Some(1_000_000)),
    ];
    for (settings, by_broker, retention_us) in cases {
        let topic = need!(Topic::new("settings", 1, settings));
        let stream = topic.open();
        assert_eq!(stream.stamped_by_broker().unwrap(), by_broker, "{settings:?}");
        assert_eq!(stream.retention().unwrap(), retention_us.map(Span::from_us), "{settings:?}");
    }
}

#[test]
fn confirms_ends_that_have_no_record_before_them() {
    let topic = need!(Topic::new("ends", 1, &[]));
    let stream = topic.open();
    let mut reader = reader(&stream, 0);
    assert_eq!(read_to_end(&mut *reader, 0), NONE);

    let (a, b) = (topic.producer(Some("a")), topic.producer(Some("b")));
    a.begin_transaction().unwrap();
    topic.append(&a, 0, 0..3);
    // An open transaction is past the end.
    assert_eq!(read_to_end(&mut *reader, 0), NONE);
    a.commit_transaction(WAIT).unwrap();
    // Offset 3 is the marker.
    assert_eq!(read_to_end(&mut *reader, 4), [0, 1, 2]);

    a.begin_transaction().unwrap();
    topic.append(&a, 0, 3..5);
    a.abort_transaction(WAIT).unwrap();
    assert_eq!(read_to_end(&mut *reader, 7), NONE);

    // Two that overlap: the end lies between a's aborted records and b's first one, with no marker before it.
    a.begin_transaction().unwrap();
    topic.append(&a, 0, 5..7);
    b.begin_transaction().unwrap();
    topic.append(&b, 0, 7..9);
    a.abort_transaction(WAIT).unwrap();
    assert_eq!(read_to_end(&mut *reader, 9), NONE);
    b.commit_transaction(WAIT).unwrap();
    assert_eq!(read_to_end(&mut *reader, 13), [7, 8]);

    topic.append(&topic.producer(None), 0, 9..10);
    assert_eq!(read_to_end(&mut *reader, 14), [9]);
    assert_eq!(stream.bounds().unwrap(), [Bounds { partition: 0, earliest: Offset::at(0), end: Offset::at(14) }]);
}

#[test]
fn a_start_that_is_gone_is_a_gap() {
    let topic = need!(Topic::new("gone", 1, &[]));
    topic.append(&topic.producer(None), 0, 0..10);
    let stream = topic.open();
    let mut before = TopicPartitionList::new();
    before.add_partition_offset(&topic.name, 0, rdkafka::Offset::Offset(6)).unwrap();
    block_on(topic.admin.delete_records(&before, &AdminOptions::new())).unwrap();
    assert_eq!(stream.bounds().unwrap(), [Bounds { partition: 0, earliest: Offset::at(6), end: Offset::at(10) }]);

    let error = {
        let mut reader = reader(&stream, 2);
        until("an error", || reader.poll(0, 1 << 20).err())
    };
    assert!(matches!(error, Error::Gap(_)), "{error}");
    let expected = "partition 0: offset 2 was to be read next, and the topic now starts at 6: retention has removed 4 \
                    offsets before they were read";
    assert_eq!(error.to_string(), format!("topic {}, {expected}", topic.name));
    assert_eq!(read_to_end(&mut *reader(&stream, 6), 10), [6, 7, 8, 9]);
}

#[test]
fn a_topic_that_is_made_anew_is_a_gap() {
    let topic = need!(Topic::new("anew", 1, &[]));
    topic.append(&topic.producer(None), 0, 0..10);
    let stream = topic.open();
    let mut reader = reader(&stream, 0);
    assert_eq!(read_to_end(&mut *reader, 10), (0..10).collect::<Vec<_>>());
    topic.delete();
    until("a new topic", || {
        let topic_again = NewTopic::new(&topic.name, 1, TopicReplication::Fixed(1));
        block_on(topic.admin.create_topics([&topic_again], &AdminOptions::new())).ok()?.pop()?.ok()
    });
    topic.append(&topic.producer(None), 0, 0..3);
    let error = until("an error", || reader.poll(0, 1 << 20).err());
    assert!(matches!(error, Error::Gap(_)), "{error}");
    assert!(error.to_string().contains("made anew"), "{error}");
}

#[test]
fn a_topic_that_is_deleted_ends_the_reading() {
    let topic = need!(Topic::new("deleted", 1, &[]));
    topic.append(&topic.producer(None), 0, 0..3);
    let stream = topic.open();
    let mut reader = reader(&stream, 0);
    assert_eq!(read_to_end(&mut *reader, 3), [0, 1, 2]);
    topic.delete();
    let error = until("an error", || reader.poll(0, 1 << 20).err());
    assert!(matches!(error, Error::World { .. }), "{error}");
    assert!(error.to_string().ends_with("the topic is not there any more: was it deleted?"), "{error}");
}

#[test]
fn a_mistyped_topic_gets_a_suggestion() {
    let topic = need!(Topic::new("payments", 1, &[]));
    topic.open();
    let mut config = topic.config();
    config.topic = topic.name.replace("payments", "paymets");
    let error = KafkaStream::open(config, Arc::new(Json::default())).err().unwrap();
    assert!(matches!(error, Error::Config(_)), "{error}");
    assert!(error.to_string().contains(&format!("did you mean \"{}\"", topic.name)), "{error}");
}
