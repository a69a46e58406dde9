//! Questions to the brokers: what there is of the topic, and where its partitions start and end.
//!
//! One client a stream answers them all, apart from the consumers: a broker answers a connection's requests in turn, and a
//! fetch that waits for records would hold up the question behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use headwater_clocks::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use tracing::{info, warn};

use super::KafkaConfig;
use super::config::did_you_mean;
use super::context::{Context, Trouble};
use crate::{Error, Result};

/// How long planning waits for an answer.
const DEADLINE: Duration = Duration::from_secs(30);
const ATTEMPT: Duration = Duration::from_secs(1);
/// How long a wait, or an absence while reading, stays unsaid.
const PATIENCE: Duration = Duration::from_secs(2);

/// Special times of the offsets request, in milliseconds.
pub(super) const END: i64 = -1;
pub(super) const EARLIEST: i64 = -2;

pub(crate) struct Link {
    consumer: BaseConsumer<Context>,
    pub brokers: String,
    pub topic: String,
    use_of: Use,
    away: Mutex<Away>,
}

/// What a topic is for.
#[derive(Clone, Copy)]
pub(crate) enum Use {
    Read,
    Write,
}

/// The partitions whose broker does not answer, and since when.
#[derive(Default)]
struct Away {
    since: BTreeMap<i32, Instant>,
    told: bool,
}

/// What the brokers say of the topic.
pub(super) enum Topic {
    /// Its partitions, ascending, each with its leader.
    Found(Vec<(i32, i32)>),
    /// There is no such topic.
    Missing,
    /// The topic is there, but may not be read.
    Denied,
}

/// Why an attempt did not succeed.
enum Failure {
    /// Trying again will not help.
    Final(Error),
    Again(String),
}

type Attempt<T> = Result<T, Failure>;

impl Link {
    /// # Errors
    /// `Config`: the properties cannot be used so.
    pub fn new(config: &KafkaConfig, use_of: Use) -> Result<Link> {
        let consumer = config.asking().create_with_context(Context::default()).map_err(|error| refused(&error))?;
        let (brokers, topic) = (config.brokers.clone(), config.topic.clone());
        Ok(Link { consumer, brokers, topic, use_of, away: Mutex::default() })
    }

    /// The partitions, ascending.
    ///
    /// # Errors
    /// `Config`: there is no such topic, or it may not be read. `World`: no broker answers in time.
    pub fn partitions(&self) -> Result<Vec<i32>> {
        let leaders = self.leaders()?;
        Ok(leaders.into_iter().map(|(partition, _)| partition).collect())
    }

    /// Some broker that leads a partition.
    ///
    /// # Errors
    /// `Config`: there is no such topic, or it may not be read. `World`: no broker answers in time. Or no partition has a leader.
    pub fn a_broker(&self) -> Result<i32> {
        let leaders = self.leaders()?;
        let doing = || format!("looking for a broker of topic {} at {}", self.topic, self.brokers);
        let led = leaders.into_iter().map(|(_, leader)| leader).find(|&leader| leader >= 0);
        led.ok_or_else(|| Error::transient(doing(), "no partition has a leader"))
    }

    fn leaders(&self) -> Result<Vec<(i32, i32)>> {
        self.wait(&format!("looking for topic {}", self.topic), || self.try_leaders())
    }

    /// For each partition, ascending: the first offset held, and the one past the last.
    ///
    /// # Errors
    /// `Config`: there is no such topic, or it may not be read. `World`: no broker answers in time.
    pub fn bounds(&self) -> Result<Vec<(i32, Offset, Offset)>> {
        self.wait(&format!("asking for the first and last offsets of topic {}", self.topic), || {
            let partitions = self.try_partitions()?;
            let earliest = self.try_offsets(&partitions, EARLIEST)?;
            let ends = self.try_offsets(&partitions, END)?;
            let all = partitions.iter().zip(earliest).zip(ends);
            all.map(|((&p, earliest), end)| match (earliest, end) {
                (Some(earliest), Some(end)) => Ok((p, earliest, end.max(earliest))),
                _ => Err(Failure::Again(format!("no answer for partition {p}"))),
            })
            .collect()
        })
    }

    /// The partitions that are there and none of these, each with the first offset held. Asks once, and keeps failures to itself.
    ///
    /// # Errors
    /// `World`: the topic is not there, or a broker does not answer at once.
    pub fn appeared(&self, known: &BTreeSet<i32>) -> Result<Vec<(i32, Offset)>> {
        let failed =
            |cause: &dyn Display| Error::transient(format!("looking for new partitions of {}", self.topic), cause);
        let Topic::Found(leaders) = self.topic(ATTEMPT).map_err(|e| failed(&e))? else {
            return Err(failed(&"the topic is not there, or may not be read"));
        };
        let new: Vec<i32> =
            leaders.into_iter().map(|(partition, _)| partition).filter(|p| !known.contains(p)).collect();
        if new.is_empty() {
            return Ok(vec![]);
        }
        let earliest = self.offsets(&new, EARLIEST, ATTEMPT).map_err(|e| failed(&e))?;
        let held = |(partition, offset): (i32, Option<Offset>)| Some((partition, offset?));
        let all: Option<Vec<_>> = new.into_iter().zip(earliest).map(held).collect();
        all.ok_or_else(|| failed(&"no answer for one of them"))
    }

    /// For each partition, ascending: the first offset with a timestamp at or after this one.
    ///
    /// # Errors
    /// `Config`: there is no such topic, or it may not be read. `World`: no broker answers in time.
    pub fn offsets_at(&self, time_ms: i64) -> Result<Vec<Option<Offset>>> {
        self.wait(&format!("asking for offsets by time of topic {}", self.topic), || {
            let partitions = self.try_partitions()?;
            self.try_offsets(&partitions, time_ms)
        })
    }

    /// One request a broker: for each of these partitions, the first offset with a timestamp at or after this one (or
    /// `END`, `EARLIEST`); `None` where there is none.
    ///
    /// # Errors
    /// A broker does not answer, or refuses.
    pub fn offsets(
        &self,
        partitions: &[i32],
        time_ms: i64,
        timeout: Duration,
    ) -> Result<Vec<Option<Offset>>, KafkaError> {
        let mut asked = TopicPartitionList::with_capacity(partitions.len());
        for &partition in partitions {
            asked.add_partition_offset(&self.topic, partition, rdkafka::Offset::from_raw(time_ms))?;
        }
        let answer = self.consumer.offsets_for_times(asked, timeout)?;
        let found: BTreeMap<i32, Option<Offset>> = answer
            .elements()
            .into_iter()
            .map(|found| found.error().map(|()| (found.partition(), offset_of(&found))))
            .collect::<Result<_, _>>()?;
        Ok(partitions.iter().map(|p| found.get(p).copied().flatten()).collect())
    }

    pub(super) fn topic(&self, timeout: Duration) -> Result<Topic, KafkaError> {
        use RDKafkaErrorCode::*;
        let metadata = self.consumer.fetch_metadata(Some(&self.topic), timeout)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        match topic.map(|topic| (topic, topic.error().map(RDKafkaErrorCode::from))) {
            Some((topic, None)) if !topic.partitions().is_empty() => Ok(Topic::Found(leaders(topic))),
            Some((_, Some(TopicAuthorizationFailed))) => Ok(Topic::Denied),
            Some((_, Some(UnknownTopicOrPartition | UnknownTopic | InvalidTopic))) => Ok(Topic::Missing),
            Some((_, Some(code))) => Err(KafkaError::MetadataFetch(code)),
            _ => Err(KafkaError::MetadataFetch(LeaderNotAvailable)),
        }
    }

    /// The client's last error of its own, which says more than the failure of what was asked.
    pub fn trouble(&self) -> Option<Trouble> {
        // Errors lie in the client's own queue; a poll hands over at least one event.
        (0..32).for_each(|_| _ = self.consumer.poll(Duration::ZERO));
        self.consumer.client().context().take_trouble()
    }

    /// Notes that these partitions' broker did not answer while they are read: told once it lasts.
    pub fn failed(&self, partitions: &[i32], cause: &str) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        partitions.iter().for_each(|&p| _ = away.since.entry(p).or_insert(now));
        if !away.told && away.since.values().any(|since| now - *since >= PATIENCE) {
            away.told = true;
            let which: Vec<String> = away.since.keys().map(i32::to_string).collect();
            warn!(
                "topic {}: the broker of partitions {} does not answer ({}): {cause}. Reading goes on when it is back",
                self.topic,
                which.join(", "),
                self.brokers
            );
        }
    }

    /// Notes that these partitions' broker answers.
    pub fn answered(&self, partitions: &[i32]) {
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.since.is_empty() {
            return;
        }
        let longest = away.since.values().min().map(Instant::elapsed).unwrap_or_default();
        partitions.iter().for_each(|p| _ = away.since.remove(p));
        if away.since.is_empty() && std::mem::take(&mut away.told) {
            info!(
                "topic {}: the brokers answer again after {:.1} s, reading goes on",
                self.topic,
                longest.as_secs_f64()
            );
        }
    }

    fn try_partitions(&self) -> Attempt<Vec<i32>> {
        Ok(self.try_leaders()?.into_iter().map(|(partition, _)| partition).collect())
    }

    fn try_leaders(&self) -> Attempt<Vec<(i32, i32)>> {
        match self.topic(ATTEMPT).map_err(|error| self.again(error))? {
            Topic::Found(partitions) => Ok(partitions),
            Topic::Missing => Err(Failure::Final(self.missing())),
            Topic::Denied => Err(Failure::Final(self.denied())),
        }
    }

    fn try_offsets(&self, partitions: &[i32], time_ms: i64) -> Attempt<Vec<Option<Offset>>> {
        self.offsets(partitions, time_ms, ATTEMPT).map_err(|error| self.again(error))
    }

    /// A failed question: final if the brokers refuse who we are.
    fn again(&self, error: KafkaError) -> Failure {
        match self.trouble() {
            Some(trouble) if trouble.is_refusal() => {
                Failure::Final(Error::world(format!("logging in to Kafka at {}", self.brokers), login_help(&trouble)))
            }
            Some(trouble) => Failure::Again(trouble.reason),
            None => {
                Failure::Again(error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string()))
            }
        }
    }

    /// Tries until it succeeds or the deadline has passed.
    fn wait<T>(&self, doing: &str, attempt: impl Fn() -> Attempt<T>) -> Result<T> {
        let begun = Instant::now();
        let (mut told, mut last) = (false, String::new());
        while begun.elapsed() < DEADLINE {
            match attempt() {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                // A mere timeout says less than the cause before it.
                Err(Failure::Again(cause)) if last.is_empty() || !cause.contains("timed out") => last = cause,
                Err(Failure::Again(_)) => {}
            }
            if !told && begun.elapsed() >= PATIENCE {
                told = true;
                warn!("{doing}: waiting for Kafka at {}: {last}", self.brokers);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(Error::transient(format!("{doing} at {}, for {} s", self.brokers, DEADLINE.as_secs()), last))
    }

    fn missing(&self) -> Error {
        let names: BTreeSet<String> = match self.consumer.fetch_metadata(None, ATTEMPT) {
            Ok(all) => all.topics().iter().map(|t| t.name().to_owned()).filter(|n| !n.starts_with("__")).collect(),
            Err(_) => BTreeSet::new(),
        };
        let near = did_you_mean(&self.topic, names.iter().map(String::as_str));
        let near = if near.is_empty() && !names.is_empty() && names.len() <= 10 {
            format!(" (there are: {})", names.into_iter().collect::<Vec<_>>().join(", "))
        } else {
            near
        };
        Error::Config(format!("Kafka at {} has no topic \"{}\"{near}", self.brokers, self.topic))
    }

    pub fn denied(&self) -> Error {
        let (doing, needs) = match self.use_of {
            Use::Read => ("reading", "READ"),
            Use::Write => ("writing", "WRITE"),
        };
        let help = format!(
            "the brokers do not allow it: the user of these properties needs DESCRIBE and {needs} on the topic"
        );
        Error::world(format!("{doing} topic {} at {}", self.topic, self.brokers), help)
    }
}

/// What to do about credentials that were refused.
pub(crate) fn login_help(trouble: &Trouble) -> String {
    format!("{} (see the properties sasl.* and security.protocol)", trouble.reason)
}

/// librdkafka would not make a client of these properties.
pub(crate) fn refused(error: &KafkaError) -> Error {
    match error {
        KafkaError::ClientCreation(message) => Error::Config(format!("properties of the topic: {message}")),
        KafkaError::ClientConfig(_, _, name, _) => Error::Config(format!("property \"{name}\" cannot have this value")),
        other => Error::Config(format!("properties of the topic: {other}")),
    }
}

fn offset_of(found: &TopicPartitionListElem) -> Option<Offset> {
    found.offset().to_raw().filter(|&number| number >= 0).map(Offset::at)
}

fn leaders(topic: &MetadataTopic) -> Vec<(i32, i32)> {
    let mut leaders: Vec<(i32, i32)> = topic.partitions().iter().map(|p| (p.id(), p.leader())).collect();
    leaders.sort_unstable();
    leaders
}

/// The cause of a failure, to be shown.
pub(super) fn cause(trouble: Option<Trouble>, error: impl Display) -> String {
    trouble.map_or_else(|| error.to_string(), |trouble| trouble.reason)
}
