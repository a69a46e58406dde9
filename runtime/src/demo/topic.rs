//! The topic: librdkafka's mock cluster, and a producer of payments.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::payments::{PARTITIONS, Payment, card_name};
use crate::base::failure::Failure;

/// A Kafka inside this process, until it is dropped.
pub struct Broker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl Broker {
    pub fn start(topic: &str) -> Result<Broker, Failure> {
        let cluster = MockCluster::new(1).map_err(|e| failed("starting the mock cluster", e))?;
        cluster.create_topic(topic, PARTITIONS as i32, 1).map_err(|e| failed("creating the topic", e))?;
        Ok(Broker { cluster })
    }

    pub fn brokers(&self) -> String {
        self.cluster.bootstrap_servers()
    }
}

/// Makes the topic on a real Kafka, where it is not there yet.
pub fn create(brokers: &str, topic: &str) -> Result<(), Failure> {
    let doing = format!("creating topic {topic} at {brokers}");
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(|e| failed(&doing, e))?;
    let new = NewTopic::new(topic, PARTITIONS as i32, TopicReplication::Fixed(1));
    let options = AdminOptions::new().request_timeout(Some(PATIENCE));
    match block_on(admin.create_topics([&new], &options)).map_err(|e| failed(&doing, e))?.pop() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) | Some(Ok(_)) | None => Ok(()),
        Some(Err((_, code))) => Err(Failure::Running(format!("{doing}: {code}"))),
    }
}

pub struct Topic {
    name: String,
    producer: ThreadedProducer<DefaultProducerContext>,
    sent: AtomicU64,
    approved: AtomicU64,
}

const PATIENCE: Duration = Duration::from_secs(10);

impl Topic {
    pub fn open(brokers: &str, name: &str) -> Result<Topic, Failure> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            // Offsets are counted beforehand, so records may not change places.
            .set("enable.idempotence", "true")
            .set("linger.ms", "1")
            .set("compression.type", "zstd")
            .set("topic.metadata.refresh.interval.ms", "-1")
            .create()
            .map_err(|e| failed("making a producer", e))?;
        Ok(Topic { name: name.to_owned(), producer, sent: AtomicU64::new(0), approved: AtomicU64::new(0) })
    }

    /// The first free offset of each partition.
    pub fn ends(&self) -> Result<[i64; PARTITIONS], Failure> {
        let mut ends = [0; PARTITIONS];
        for (partition, end) in ends.iter_mut().enumerate() {
            let held = self.producer.client().fetch_watermarks(&self.name, partition as i32, PATIENCE);
            *end = held.map_err(|e| failed("asking for the topic's ends", e))?.1;
        }
        Ok(ends)
    }

    /// Hands a payment to the producer's own thread, which sends it within a millisecond.
    pub fn send(&self, payment: &Payment) -> Result<(), Failure> {
        let (mut json, key) = (String::with_capacity(160), card_name(payment.card));
        payment.write_json(&mut json);
        let mut record = BaseRecord::to(&self.name).partition(payment.partition() as i32).key(&key).payload(&json);
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.approved.fetch_add(u64::from(payment.approved), Ordering::Relaxed);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), same)) => {
                    record = same;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err((e, _)) => return Err(failed("producing a payment", e)),
            }
        }
    }

    /// How many payments were sent so far, and how many of them are approved.
    pub fn sent(&self) -> (u64, u64) {
        (self.sent.load(Ordering::Relaxed), self.approved.load(Ordering::Relaxed))
    }

    /// Waits until all is written.
    pub fn flush(&self) -> Result<(), Failure> {
        self.producer.flush(PATIENCE).map_err(|e| failed("producing payments", e))
    }
}

fn failed(doing: &str, cause: KafkaError) -> Failure {
    Failure::Running(format!("{doing}: {cause}"))
}
