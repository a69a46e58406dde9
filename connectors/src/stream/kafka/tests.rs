//! Reading, against librdkafka's own mock cluster. What it cannot do (transactions, offsets by time, settings) is tested on a
//! real broker.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use headwater_clocks::{Arrival, Offset, Span, Time, WallClock};
use rdkafka::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

use super::{KafkaConfig, KafkaStream};
use crate::format::json::Json;
use crate::stream::{Bounds, Reader, Start, Stream};
use crate::{Error, KEY, Payload, Records, Wanted};

type Cluster = MockCluster<'static, DefaultProducerContext>;

const TOPIC: &str = "transactions";

fn cluster(brokers: i32, partitions: i32) -> Cluster {
    let cluster = MockCluster::new(brokers).unwrap();
    cluster.create_topic(TOPIC, partitions, 1).unwrap();
    cluster
}

fn config(cluster: &Cluster) -> KafkaConfig {
    KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        topic: TOPIC.into(),
        properties: BTreeMap::new(),
        budget_bytes: 1 << 20,
    }
}

fn open(cluster: &Cluster) -> KafkaStream {
    KafkaStream::open(config(cluster), Arc::new(Json::default())).unwrap()
}

/// Appends `{"n": n}` for each number, stamped `n` ms, and a tombstone for `None`.
fn produce(cluster: &Cluster, partition: i32, numbers: &[Option<i64>]) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("linger.ms", "0");
    let producer: BaseProducer = config.create().unwrap();
    for (n, number) in numbers.iter().enumerate() {
        let payload = number.map(|n| format!("{{\"n\": {n}}}"));
        let mut record = BaseRecord::<(), String>::to(TOPIC).partition(partition).timestamp(number.unwrap_or(n as i64));
        record.payload = payload.as_ref();
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

fn some(numbers: std::ops::Range<i64>) -> Vec<Option<i64>> {
    numbers.map(Some).collect()
}

fn reader(stream: &KafkaStream, starts: &[(i32, i64)]) -> Box<dyn Reader> {
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let starts: Vec<Start> =
        starts.iter().map(|&(partition, offset)| Start { partition, offset: Offset::at(offset) }).collect();
    stream.reader(&starts, &Wanted { schema, time_unit_ns: 1_000_000 }).unwrap()
}

/// Calls until it gives something.
fn until<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Offset and number of each record until the position gets there.
fn read_to(reader: &mut dyn Reader, partition: i32, position: i64) -> Vec<(i64, i64)> {
    let mut read = Vec::new();
    until("the position", || {
        if let Some(records) = reader.poll(partition, 1 << 20).unwrap() {
            read.extend(pairs(&records));
        }
        (reader.position(partition).number() >= position).then_some(())
    });
    assert_eq!(reader.position(partition).number(), position);
    read
}

fn pairs(records: &Records) -> Vec<(i64, i64)> {
    let numbers = records.batch.column(0).as_primitive::<Int64Type>();
    records
        .offsets
        .as_ref()
        .unwrap()
        .iter()
        .map(|offset| offset.number())
        .zip(numbers.values().iter().copied())
        .collect()
}

#[test]
fn reads_from_its_start_passes_tombstones_and_confirms_the_end() {
    let cluster = cluster(1, 2);
    let mut first = some(0..10);
    first[4] = None;
    produce(&cluster, 0, &first);
    produce(&cluster, 1, &[None, None]);
    let stream = open(&cluster);
    assert_eq!(stream.name(), "topic transactions");
    assert_eq!(
        stream.bounds().unwrap(),
        [(0, 10), (1, 2)].map(|(partition, end)| Bounds { partition, earliest: Offset::at(0), end: Offset::at(end) })
    );

    let before = WallClock::now();
    let mut reader = reader(&stream, &[(1, 0), (0, 2)]);
    assert_eq!((reader.position(0), reader.position(1)), (Offset::at(2), Offset::at(0)));
    let read = read_to(&mut *reader, 0, 10);
    assert_eq!(read, [(2, 2), (3, 3), (5, 5), (6, 6), (7, 7), (8, 8), (9, 9)]);
    assert_eq!(reader.tombstones(), 1);
    assert_eq!(read_to(&mut *reader, 1, 2), []);
    assert_eq!(reader.tombstones(), 3);
    for (partition, end) in [(0, 10), (1, 2)] {
        let confirmed = until("the end", || reader.end_confirmed(partition));
        assert!(confirmed >= before && confirmed <= WallClock::now());
        assert_eq!(reader.end(partition), Some(Offset::at(end)));
    }
}

/// Where the wanted columns have a key, a record without a value is one that has its key alone.
#[test]
fn tombstones_are_records_where_there_are_keys() {
    let cluster = cluster(1, 1);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("linger.ms", "0");
    let producer: BaseProducer = config.create().unwrap();
    let records = [(Some("a"), Some(r#"{"id":"a","n":1}"#)), (Some("a"), None), (None, None)];
    for (n, (key, payload)) in records.iter().enumerate() {
        let mut record = BaseRecord::<str, str>::to(TOPIC).partition(0).timestamp(n as i64 + 1);
        (record.key, record.payload) = (*key, *payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    let key = Field::new("id", DataType::Utf8, true).with_metadata([(KEY.to_owned(), String::new())].into());
    let schema = Arc::new(Schema::new(vec![key, Field::new("n", DataType::Int64, true)]));
    let starts = [Start { partition: 0, offset: Offset::at(0) }];
    let mut reader = open(&cluster).reader(&starts, &Wanted { schema, time_unit_ns: 1_000_000 }).unwrap();
    let (mut read, mut malformed) = (vec![], 0);
    until("three records", || {
        let records = reader.poll(0, 1 << 20).unwrap()?;
        let (ids, numbers) = (records.batch.column(0).as_string::<i32>(), records.batch.column(1));
        malformed += records.malformed.as_ref().map_or(0, |all| all.count_set_bits());
        for i in 0..records.len() {
            let is_tombstone = records.tombstones.as_ref().is_some_and(|all| all.value(i));
            let id = ids.is_valid(i).then(|| ids.value(i).to_owned());
            read.push((id, numbers.is_null(i), is_tombstone, records.stamp(i).map(Time::us)));
        }
        (read.len() == 3).then_some(())
    });
    let a = || Some("a".to_owned());
    assert_eq!(
        read,
        [(a(), false, false, Some(1_000)), (a(), true, true, Some(2_000)), (None, true, true, Some(3_000))]
    );
    assert_eq!((malformed, reader.tombstones()), (1, 0));
}

#[test]
fn a_batch_is_about_as_large_as_asked_and_carries_stamps_and_payloads() {
    let cluster = cluster(1, 1);
    produce(&cluster, 0, &some(0..100));
    let stream = open(&cluster);
    let mut reader = reader(&stream, &[(0, 90)]);
    let one = until("a record", || reader.poll(0, 1).unwrap());
    assert_eq!((one.len(), one.partition), (1, Some(0)));
    assert_eq!(one.stamps.as_deref(), Some(&[Arrival::from_us(90_000)][..]));
    let Payload::Raw(payload) = &one.payload else { panic!("raw") };
    assert_eq!(payload.value(0), br#"{"n": 90}"#);
    assert_eq!(reader.position(0), Offset::at(91));
    assert_eq!(read_to(&mut *reader, 0, 100).len(), 9);
}

#[test]
fn the_end_is_not_confirmed_before_its_records_are_returned() {
    let cluster = cluster(1, 1);
    produce(&cluster, 0, &some(0..5));
    let stream = open(&cluster);
    let mut reader = reader(&stream, &[(0, 0)]);
    until("an answer", || reader.end(0));
    assert_eq!((reader.position(0), reader.end_confirmed(0)), (Offset::at(0), None));
    read_to(&mut *reader, 0, 5);
    let first = until("the end", || reader.end_confirmed(0));
    until("a later time", || reader.end_confirmed(0).filter(|&later| later > first));
    produce(&cluster, 0, &some(5..6));
    until("an answer", || reader.end(0).filter(|&end| end == Offset::at(6)));
    assert_eq!(reader.end_confirmed(0), None);
}

#[test]
fn wakes_when_records_come() {
    let cluster = cluster(1, 1);
    produce(&cluster, 0, &some(0..1));
    let stream = open(&cluster);
    let mut reader = reader(&stream, &[(0, 0)]);
    let (woken, wakes) = mpsc::channel();
    reader.on_ready(Box::new(move || _ = woken.send(())));
    read_to(&mut *reader, 0, 1);
    produce(&cluster, 0, &some(1..2));
    until("a wake and its record", || {
        wakes.recv_timeout(Duration::from_secs(30)).unwrap();
        reader.poll(0, 1 << 20).unwrap()
    });
    drop(reader);
    while wakes.try_recv().is_ok() {}
    assert_eq!(wakes.recv_timeout(Duration::from_millis(50)), Err(mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn an_offset_past_the_end_is_a_gap() {
    let cluster = cluster(1, 1);
    produce(&cluster, 0, &some(0..3));
    let stream = open(&cluster);
    let mut reader = reader(&stream, &[(0, 7)]);
    let error = until("an error", || reader.poll(0, 1 << 20).err());
    assert!(matches!(error, Error::Gap(_)), "{error}");
    let expected = "topic transactions, partition 0: offset 7 was to be read next, and the topic ends at 3; was the topic \
                    made anew?";
    assert_eq!(error.to_string(), expected);
    assert_eq!(reader.end_confirmed(0), None);
}

#[test]
fn a_leader_that_errs_for_a_moment_loses_nothing() {
    let cluster = cluster(1, 1);
    produce(&cluster, 0, &some(0..3));
    let stream = open(&cluster);
    let mut reader = reader(&stream, &[(0, 0)]);
    let mut read = read_to(&mut *reader, 0, 3);
    use RDKafkaRespErr::*;
    cluster.request_errors(
        RDKafkaApiKey::Fetch,
        &[RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_UNKNOWN],
    );
    cluster.request_errors(RDKafkaApiKey::ListOffsets, &[RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE; 3]);
    produce(&cluster, 0, &some(3..6));
    read.extend(read_to(&mut *reader, 0, 6));
    assert_eq!(read, (0..6).map(|n| (n, n)).collect::<Vec<_>>());
    until("the end", || reader.end_confirmed(0));
}

#[test]
fn a_broker_that_is_away_silences_its_own_partitions_only() {
    let cluster = cluster(2, 2);
    for (partition, broker) in [(0, 1), (1, 2)] {
        cluster.partition_leader(TOPIC, partition, Some(broker)).unwrap();
        produce(&cluster, partition, &some(0..3));
    }
    let stream = open(&cluster);
    let mut reader = reader(&stream, &[(0, 0), (1, 0)]);
    let mut read = read_to(&mut *reader, 0, 3);
    read_to(&mut *reader, 1, 3);
    until("both ends", || reader.end_confirmed(0).and(reader.end_confirmed(1)));

    cluster.broker_down(1).unwrap();
    until("the other's end alone", || {
        assert!(reader.poll(0, 1 << 20).unwrap().is_none());
        (reader.end_confirmed(1)? > reader.end_confirmed(0)? + Span::from_us(3_000_000)).then_some(())
    });

    cluster.broker_up(1).unwrap();
    produce(&cluster, 0, &some(3..6));
    read.extend(read_to(&mut *reader, 0, 6));
    assert_eq!(read, (0..6).map(|n| (n, n)).collect::<Vec<_>>());
    let up = WallClock::now();
    until("the end", || reader.end_confirmed(0).filter(|&at| at > up));
}

#[test]
fn open_tells_what_is_wrong() {
    let cluster = cluster(1, 1);
    let case = |change: &dyn Fn(&mut KafkaConfig)| {
        let mut config = config(&cluster);
        change(&mut config);
        KafkaStream::open(config, Arc::new(Json::default())).err().expect("an error").to_string()
    };
    let missing = case(&|config| config.topic = "transaction".into());
    assert!(missing.ends_with("has no topic \"transaction\" (did you mean \"transactions\"?)"), "{missing}");
    let missing = case(&|config| config.topic = "zebra".into());
    assert!(missing.ends_with("has no topic \"zebra\" (there are: transactions)"), "{missing}");
    let two = case(&|config| {
        config.properties =
            BTreeMap::from([("enable.auto.commit".into(), "true".into()), ("sasl.pasword".into(), "hunter2".into())])
    });
    assert!(two.contains("\"enable.auto.commit\" can only be \"false\"") && two.contains("\"sasl.pasword\""), "{two}");
    assert!(!two.contains("hunter2"), "{two}");
}

#[test]
fn a_cluster_that_cannot_tell_promises_the_least() {
    let cluster = cluster(1, 1);
    produce(&cluster, 0, &some(0..3));
    let stream = open(&cluster);
    assert!(!stream.stamped_by_broker().unwrap());
    assert_eq!(stream.retention().unwrap(), None);
    assert_eq!(stream.offsets_at(Arrival::from_us(2_000)).unwrap(), [None]);
    assert_eq!(stream.offsets_at(Arrival::from_us(-1)).unwrap(), [Some(Offset::at(0))]);
    assert_eq!(stream.partitions().unwrap(), [0]);
}

#[test]
fn partitions_that_nobody_knows_are_told_with_their_starts() {
    let cluster = cluster(1, 3);
    produce(&cluster, 2, &some(0..3));
    let stream = open(&cluster);
    let start = |partition| Start { partition, offset: Offset::at(0) };
    assert_eq!(stream.appeared(&[0].into()).unwrap(), [start(1), start(2)]);
    assert_eq!(stream.appeared(&[0, 1, 2].into()).unwrap(), []);
    cluster.broker_down(1).unwrap();
    assert!(stream.appeared(&[0].into()).is_err());
}
