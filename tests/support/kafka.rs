//! Topics: made, filled, cut.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use futures::executor::block_on;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{Event, Log, WAIT, until};

pub struct Topic {
    pub name: String,
    admin: AdminClient<DefaultClientContext>,
    producer: BaseProducer<Deliveries>,
}

/// Why a record did not get into the topic.
#[derive(Default)]
struct Deliveries {
    failed: Mutex<Option<KafkaError>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, _)) = result {
            *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        }
    }
}

impl Topic {
    pub fn new(brokers: &str, name: &str, partitions: usize) -> Topic {
        Topic::with(brokers, name, partitions, &[])
    }

    /// One with settings of its own, as in `cleanup.policy=compact`.
    pub fn with(brokers: &str, name: &str, partitions: usize, settings: &[&str]) -> Topic {
        Topic::made(brokers, name, partitions, settings).unwrap_or_else(|code| panic!("making topic {name}: {code}"))
    }

    /// One that somebody else has made.
    pub fn known(brokers: &str, name: &str) -> Topic {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let producer = config.create_with_context(Deliveries::default()).unwrap();
        Topic { name: name.to_owned(), admin: config.create().unwrap(), producer }
    }

    /// How many records a partition holds.
    pub fn records(&self, partition: i32) -> usize {
        let brokers = self.producer.client().fetch_metadata(Some(&self.name), WAIT).unwrap();
        let broker = &brokers.brokers()[0];
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", format!("{}:{}", broker.host(), broker.port()));
        config.set("group.id", "count").set("enable.partition.eof", "true").set("auto.offset.reset", "earliest");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut all = TopicPartitionList::new();
        all.add_partition_offset(&self.name, partition, Offset::Beginning).unwrap();
        consumer.assign(&all).unwrap();
        let mut records = 0;
        loop {
            match consumer.poll(WAIT).expect("the topic's end") {
                Ok(_) => records += 1,
                Err(KafkaError::PartitionEOF(_)) => return records,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Deletes the topic, and makes one of the same name.
    pub fn anew(self, brokers: &str, partitions: usize) -> Topic {
        let deleted = block_on(self.admin.delete_topics(&[&self.name], &AdminOptions::new())).unwrap();
        deleted.into_iter().for_each(|result| drop(result.unwrap()));
        until("the old topic is gone", || Topic::made(brokers, &self.name, partitions, &[]).ok())
    }

    fn made(brokers: &str, name: &str, partitions: usize, settings: &[&str]) -> Result<Topic, RDKafkaErrorCode> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let mut topic = NewTopic::new(name, partitions as i32, TopicReplication::Fixed(1));
        for (key, value) in settings.iter().filter_map(|setting| setting.split_once('=')) {
            topic = topic.set(key, value);
        }
        let made = block_on(admin.create_topics([&topic], &AdminOptions::new())).unwrap();
        made.into_iter().try_for_each(|result| result.map(drop).map_err(|(_, code)| code))?;
        // In order, once each, whatever happens to the broker meanwhile.
        config.set("enable.idempotence", "true").set("linger.ms", "1").set("message.timeout.ms", "60000");
        let producer = config.create_with_context(Deliveries::default()).unwrap();
        let topic = Topic { name: name.to_owned(), admin, producer };
        topic.until_led(partitions);
        Ok(topic)
    }

    /// A broker has made a topic before it tells of it, and tells of it before it takes records: the first of these would be refused.
    fn until_led(&self, partitions: usize) {
        let client = self.producer.client();
        until("the brokers tell of the topic's partitions", || {
            let known = client.fetch_metadata(Some(&self.name), WAIT).ok()?;
            let led = known.topics()[0].partitions().iter().filter(|p| p.leader() >= 0).count();
            (led == partitions).then_some(())
        });
        until("the partitions have leaders that answer", || {
            let is_led = |partition| client.fetch_watermarks(&self.name, partition, WAIT).is_ok();
            (0..partitions as i32).all(is_led).then_some(())
        });
    }

    /// Gives it so many partitions in all.
    pub fn widen(&self, partitions: usize) {
        let more = NewPartitions::new(&self.name, partitions);
        let made = block_on(self.admin.create_partitions([&more], &AdminOptions::new())).unwrap();
        made.into_iter().for_each(|result| drop(result.unwrap()));
        self.until_led(partitions);
    }

    /// Appends a record, stamped with a time in microseconds.
    pub fn send(&self, partition: usize, payload: Option<&[u8]>, stamp_us: i64) {
        self.send_with(partition, (None, payload), stamp_us, &[]);
    }

    /// The same with a key. Without a payload it removes what the key had.
    pub fn send_with_key(&self, partition: usize, (key, payload): (Option<&[u8]>, Option<&[u8]>), stamp_us: i64) {
        self.send_with(partition, (key, payload), stamp_us, &[]);
    }

    /// The same with headers.
    pub fn send_with(
        &self,
        partition: usize,
        (key, payload): (Option<&[u8]>, Option<&[u8]>),
        stamp_us: i64,
        headers: &[(&str, &[u8])],
    ) {
        let mut record =
            BaseRecord::<[u8], [u8]>::to(&self.name).partition(partition as i32).timestamp(stamp_us / 1000);
        (record.payload, record.key) = (payload, key);
        if !headers.is_empty() {
            let all = OwnedHeaders::new_with_capacity(headers.len());
            let add = |all: OwnedHeaders, (key, value): &(&str, &[u8])| all.insert(Header { key, value: Some(*value) });
            record.headers = Some(headers.iter().fold(all, add));
        }
        let mut next = Some(record);
        while let Some(record) = next.take() {
            if let Err((error, again)) = self.producer.send(record) {
                assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::QueueFull));
                self.producer.poll(std::time::Duration::from_millis(10));
                next = Some(again);
            }
        }
    }

    pub fn send_event(&self, partition: usize, event: &Event) {
        self.send(partition, Some(event.json().as_bytes()), event.arrived);
    }

    /// Sends what is under way once more where that is needed.
    pub fn poll(&self) {
        self.producer.poll(std::time::Duration::ZERO);
    }

    /// Everything that was sent is in the topic.
    pub fn flush(&self) {
        self.producer.flush(WAIT).unwrap();
        // What a broker that was away has answered may not have been handed over yet.
        super::until("everything is in the topic", || {
            self.poll();
            (self.producer.in_flight_count() == 0).then_some(())
        });
        let failed = self.producer.context().failed.lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(*failed, None, "a record is not in {}", self.name);
    }

    pub fn fill(&self, log: &Log) {
        for (partition, events) in log.iter().enumerate() {
            events.iter().for_each(|event| self.send_event(partition, event));
        }
        self.flush();
    }

    /// Removes the records before an offset.
    pub fn cut(&self, partition: usize, before: i64) {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(&self.name, partition as i32, Offset::Offset(before)).unwrap();
        block_on(self.admin.delete_records(&offsets, &AdminOptions::new())).unwrap();
    }
}

/// A service of a test's own, in its directory: a script of `tests/services`.
pub struct Service {
    script: PathBuf,
    dir: PathBuf,
    pub address: String,
}

impl Service {
    pub fn start(case: &super::Case, which: &str) -> Service {
        Service::start_with(case, which, &[])
    }

    /// `settings`: what the script takes behind the directory.
    pub fn start_with(case: &super::Case, which: &str, settings: &[&str]) -> Service {
        Service::start_in(&case.scripts.join(which), &case.path(which), settings)
    }

    /// With its files in a directory.
    pub fn start_in(script: &Path, dir: &Path, settings: &[&str]) -> Service {
        let mut service = Service { script: script.into(), dir: dir.into(), address: String::new() };
        service.address = service.launch(settings);
        service
    }

    /// Starts it once more: on the same port, with its data.
    pub fn again(&self) -> String {
        self.launch(&[])
    }

    fn launch(&self, settings: &[&str]) -> String {
        let out = Command::new(&self.script).arg("start").arg(&self.dir).args(settings).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap().trim().to_owned()
    }

    /// `TERM`, `KILL`, or `STOP` and `CONT`, which freeze it and wake it.
    pub fn stop(&self, signal: &str) {
        assert!(Command::new(&self.script).arg("stop").arg(&self.dir).arg(signal).status().unwrap().success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("stop").arg(&self.dir).arg("KILL").status();
    }
}
