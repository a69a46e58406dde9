//! Against librdkafka's own mock cluster.

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::*;

type Cluster = MockCluster<'static, DefaultProducerContext>;

const TOPIC: &str = "changes";
const PARTITIONS: i32 = 3;

fn cluster() -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    cluster
}

fn config(cluster: &Cluster) -> KafkaConfig {
    KafkaConfig {
        brokers: cluster.bootstrap_servers(),
        topic: TOPIC.into(),
        properties: Default::default(),
        budget_bytes: 1 << 20,
    }
}

fn open(cluster: &Cluster, resume_us: Option<i64>) -> LineTopic {
    LineTopic::open(&config(cluster), resume_us.map(Tick::from_us), Arc::default()).unwrap()
}

/// Writes a line of a key.
fn write(topic: &mut LineTopic, key: &str, line: &str) -> Result<()> {
    topic.write(
        line.as_bytes(),
        &LineMeta { key: &|out| out.extend_from_slice(key.as_bytes()), time: Some(Tick::from_us(1_500_000)) },
    )
}

/// By partition: each record as `key line time`.
fn read(cluster: &Cluster, records: usize) -> Vec<Vec<String>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.bootstrap_servers()).set("group.id", "test");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut all = TopicPartitionList::new();
    (0..PARTITIONS).for_each(|p| all.add_partition_offset(TOPIC, p, Offset::Beginning).unwrap());
    consumer.assign(&all).unwrap();
    let mut found = vec![vec![]; PARTITIONS as usize];
    while found.iter().map(Vec::len).sum::<usize>() < records {
        let record = consumer.poll(Duration::from_secs(30)).expect("a record").unwrap();
        let text = |bytes: Option<&[u8]>| bytes.map_or("-".into(), |b| String::from_utf8(b.to_vec()).unwrap());
        let time = record.headers().map(|headers| text(headers.get(0).value)).unwrap_or_default();
        found[record.partition() as usize].push(format!("{} {} {time}", text(record.key()), text(record.payload())));
    }
    found
}

#[test]
fn marks_come_first_and_a_key_stays_in_its_order() {
    let cluster = cluster();
    let mut topic = open(&cluster, None);
    topic.flush().unwrap();
    (0..300).for_each(|n| write(&mut topic, &format!("k{}", n % 7), &n.to_string()).unwrap());
    assert_eq!(topic.sync().unwrap(), SinkPosition::new(POSITION, TOPIC));
    drop(topic);
    let mut topic = open(&cluster, Some(2_000_000));
    write(&mut topic, "k0", "again").unwrap();
    topic.flush().unwrap();

    let found = read(&cluster, 300 + 1 + 2 * PARTITIONS as usize);
    for records in &found {
        assert_eq!(records[0], r#"- {"resume":null} "#);
        let resumed = records.iter().position(|r| r == r#"- {"resume":"1970-01-01T00:00:02Z"} "#).unwrap();
        let numbers = records[1..resumed].iter().map(|r| r.split(' ').nth(1).unwrap().parse::<i32>().unwrap());
        assert!(numbers.is_sorted());
        assert!(records.len() - 1 - resumed <= 1);
    }
    let of_key = |key: &str| {
        let holds = |records: &&Vec<String>| records.iter().any(|r| r.starts_with(key));
        found.iter().filter(holds).count()
    };
    (0..7).for_each(|n| assert_eq!(of_key(&format!("k{n} ")), 1));
    assert!(found.iter().flatten().any(|r| r == "k0 again 1970-01-01T00:00:01.500Z"));
}

#[test]
fn a_broker_that_is_away_is_waited_for_and_what_waits_is_bounded() {
    let cluster = cluster();
    let mut topic = open(&cluster, None);
    topic.flush().unwrap();
    cluster.broker_down(1).unwrap();
    let (wrote, writes) = std::sync::mpsc::channel();
    let line = "x".repeat(10_000);
    let writer = std::thread::spawn(move || {
        for n in 0..300 {
            write(&mut topic, &n.to_string(), &line).unwrap();
            wrote.send(n).unwrap();
        }
        topic.flush().unwrap();
    });
    // A budget of 1 MiB takes about a hundred of them.
    let mut last = 0;
    while let Ok(n) = writes.recv_timeout(Duration::from_secs(4)) {
        last = n;
    }
    assert!((50..150).contains(&last), "{last}");
    cluster.broker_up(1).unwrap();
    writer.join().unwrap();
    assert_eq!(read(&cluster, 300 + PARTITIONS as usize).into_iter().flatten().count(), 303);
}

#[test]
fn a_run_that_is_to_stop_does_not_wait_for_ever() {
    let cluster = cluster();
    let stop = Arc::new(AtomicBool::new(true));
    let mut topic = LineTopic::open(&config(&cluster), None, stop).unwrap();
    topic.flush().unwrap();
    cluster.broker_down(1).unwrap();
    write(&mut topic, "k", "line").unwrap();
    let told = topic.flush().unwrap_err().to_string();
    assert!(told.contains("stopped while 1 lines waited; they are written by the next start"), "{told}");
}

#[test]
fn what_a_broker_refuses_ends_it_with_what_to_do() {
    for (code, part) in [
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "needs DESCRIBE and WRITE on the topic"),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, "raise max.message.bytes"),
        (RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD, "must not be compacted"),
    ] {
        let cluster = cluster();
        let mut topic = open(&cluster, None);
        topic.flush().unwrap();
        cluster.request_errors(RDKafkaApiKey::Produce, &[code; 3]);
        let told = write(&mut topic, "k", "line").and_then(|()| topic.flush()).unwrap_err().to_string();
        assert!(told.starts_with("writing topic changes at ") && told.contains(part), "{told}");
    }
    let cluster = cluster();
    let mut topic = open(&cluster, None);
    let told = write(&mut topic, "k", &"x".repeat(2_000_000)).unwrap_err().to_string();
    assert!(told.contains("message.max.bytes"), "{told}");
}

#[test]
fn properties_that_would_lose_lines_are_refused() {
    let cluster = cluster();
    let mut config = config(&cluster);
    for (name, value) in [("acks", "1"), ("compresion.type", "zstd"), ("sasl.password", "hunter2"), ("linger.ms", "20")]
    {
        config.properties.insert(name.into(), value.into());
    }
    let told = LineTopic::check(&config).unwrap_err().to_string();
    let expected = "property \"acks\" can only be \"all\": what was acknowledged must not be lost with a broker; \
                    librdkafka has no property \"compresion.type\" (did you mean \"compression.type\"";
    assert!(told.starts_with(expected), "{told}");
    let own = writing(&config);
    assert_eq!((own.get("acks"), own.get("linger.ms")), (Some("all"), Some("20")));
    config.topic = "change".into();
    config.properties.clear();
    let told = LineTopic::check(&config).unwrap_err().to_string();
    assert!(told.ends_with("has no topic \"change\" (did you mean \"changes\"?)"), "{told}");
}
