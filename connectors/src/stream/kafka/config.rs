//! The user's librdkafka properties: checked one by one, completed with what the reading needs, and never able to make it
//! skip or repeat a record.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::settings::{Endpoint, Settings};
use crate::{Error, Result};

/// Where a topic is, and how it is read or written.
#[derive(Clone)]
pub struct KafkaConfig {
    /// `host:port,host:port`
    pub brokers: String,
    /// The topic's name.
    pub topic: String,
    /// librdkafka's properties, passed as they are. They may be secret: neither errors nor logs show a value.
    pub properties: BTreeMap<String, String>,
    /// What the queues of one reader or writer may hold, in bytes, over all its partitions (a fetch that is under way comes on top).
    pub budget_bytes: usize,
}

/// A property that is Headwater's own: its name, its value, and why no other.
pub(crate) type Own = (&'static str, &'static str, &'static str);

/// Another value would skip records, or repeat them.
const OURS: [Own; 6] = [
    ("enable.auto.commit", "false", "offsets are kept in the job's checkpoints"),
    ("auto.commit.enable", "false", "offsets are kept in the job's checkpoints"),
    ("enable.auto.offset.store", "false", "offsets are kept in the job's checkpoints"),
    ("auto.offset.reset", "error", "records that are gone must be an error and not be skipped"),
    ("enable.partition.eof", "true", "the job's clock needs to know where the topic ends"),
    ("allow.auto.create.topics", "false", "a mistyped topic must be an error"),
];

/// Used unless the user says otherwise.
const DEFAULTS: [(&str, &str); 9] = [
    // Manual assignment needs a name, but nothing is ever read from the group.
    ("group.id", "headwater"),
    ("client.id", "headwater"),
    ("isolation.level", "read_committed"),
    // How long the broker sits on a fetch that finds nothing. New records end the wait at once, but a partition whose queue
    // has room again waits for it, and so does the end after a transaction.
    ("fetch.wait.max.ms", "20"),
    // librdkafka's own second starves a reader that catches up.
    ("fetch.queue.backoff.ms", "5"),
    ("fetch.error.backoff.ms", "100"),
    ("reconnect.backoff.ms", "50"),
    ("reconnect.backoff.max.ms", "1000"),
    ("socket.timeout.ms", "10000"),
];

/// What librdkafka holds beside the payload of a queued record, roughly.
const RECORD_OVERHEAD_BYTES: usize = 512;

/// What the queues of one reader or writer may hold, unless somebody says otherwise.
const BUDGET_BYTES: usize = 64 << 20;

/// The keys of a section that [`KafkaConfig::read`] reads.
pub(crate) const KEYS: [&str; 3] = ["brokers", "topic", "properties"];

/// Shows no property's value.
impl fmt::Debug for KafkaConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let properties: BTreeMap<&str, &str> = self.properties.keys().map(|name| (name.as_str(), "***")).collect();
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("properties", &properties)
            .finish()
    }
}

impl KafkaConfig {
    /// Reads `brokers`, `topic` and `properties`.
    pub(crate) fn read(settings: &mut dyn Settings) -> KafkaConfig {
        let brokers = settings.required("brokers", "say where Kafka is, like brokers = \"localhost:9092\"");
        let topic = settings.required("topic", "name the topic");
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !topic.text.chars().all(named) || topic.text.len() > 249 {
            let expected = "expected up to 249 letters, digits, `.`, `_` and `-`";
            settings.error(topic.at, format!("`{}` is no name of a topic: {expected}", topic.text));
        }
        let properties = properties(settings);
        KafkaConfig { brokers: brokers.text, topic: topic.text, properties, budget_bytes: BUDGET_BYTES }
    }

    /// The topic: the same by whichever properties it is reached.
    pub(crate) fn endpoint(&self) -> Option<Endpoint> {
        let place = format!("{} {}", self.topic, self.brokers);
        (!self.topic.is_empty()).then_some(Endpoint::At { what: "topic", place })
    }

    /// `topic transactions at localhost:9092`
    pub(crate) fn describe(&self) -> String {
        format!("topic {} at {}", self.topic, self.brokers)
    }

    /// Checks every property, and tells all faults at once.
    pub(super) fn validate(&self) -> Result<()> {
        self.validate_against(&OURS)
    }

    pub(crate) fn validate_against(&self, ours: &[Own]) -> Result<()> {
        let faults: Vec<String> = self.properties.iter().filter_map(|(name, value)| fault(ours, name, value)).collect();
        if faults.is_empty() { Ok(()) } else { Err(Error::Config(faults.join("; "))) }
    }

    /// A client for questions: it joins no group and reads nothing.
    pub(crate) fn asking(&self) -> ClientConfig {
        let mut config = self.reading(1);
        config.remove("group.id");
        config.remove("group.instance.id");
        config
    }

    /// A consumer of so many partitions.
    pub(super) fn reading(&self, partitions: usize) -> ClientConfig {
        let queue_bytes = (self.budget_bytes / partitions.max(1)).max(64 << 10);
        let mut config = self.client(&DEFAULTS);
        // With a queue a partition, these are bounds of each partition.
        config.set("queued.max.messages.kbytes", (queue_bytes >> 10).min(2_097_151).to_string());
        config.set("queued.min.messages", (queue_bytes / RECORD_OVERHEAD_BYTES).clamp(1_000, 100_000).to_string());
        config.set("max.partition.fetch.bytes", queue_bytes.min(1 << 20).to_string());
        for (name, value) in &self.properties {
            if name == "fetch.message.max.bytes" {
                config.remove("max.partition.fetch.bytes");
            }
            config.set(name, value);
        }
        OURS.iter()
            .filter(|(name, ..)| *name != "auto.commit.enable")
            .for_each(|(name, value, _)| _ = config.set(*name, *value));
        config
    }

    /// A client with what is used unless the user says otherwise. The user's own properties are still to be set.
    pub(crate) fn client(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("bootstrap.servers", &self.brokers);
        defaults.iter().for_each(|(name, value)| _ = config.set(*name, *value));
        if self.properties.get("security.protocol").is_some_and(|protocol| protocol.to_lowercase().contains("ssl")) {
            // The OpenSSL that is built in does not know where this system keeps its certificates.
            config.set("ssl.ca.location", "probe");
        }
        config
    }
}

fn properties(settings: &mut dyn Settings) -> BTreeMap<String, String> {
    let mut properties = BTreeMap::new();
    for property in settings.properties("properties") {
        let (name, value) = (property.name, property.value);
        value.filled.iter().for_each(|text| settings.secret(text));
        if name == "bootstrap.servers" || name == "metadata.broker.list" {
            settings.error(property.at, format!("the property `{name}` is written as `brokers`, beside `topic`"));
        }
        if is_secret(&name) {
            settings.secret(&value.text);
        }
        if properties.insert(name.clone(), value.text).is_some() {
            settings.error(property.at, format!("the property `{name}` is given twice"));
        }
    }
    properties
}

/// Whether a property is a secret by its name.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passphrase", "secret", "private.key.pem", "jaas"].iter().any(|part| name.contains(part))
        || ["ssl.key.pem", "ssl_key", "sasl.oauthbearer.config"].contains(&name.as_str())
}

/// What is wrong with a property. Its value may be a secret, so it is not told.
fn fault(ours: &[Own], name: &str, value: &str) -> Option<String> {
    if matches!(name, "bootstrap.servers" | "metadata.broker.list") {
        return Some(format!("property \"{name}\" is not allowed here: name the brokers with `brokers`"));
    }
    if let Some((_, ours, why)) = ours.iter().find(|(own, ..)| *own == name) {
        let same = value.eq_ignore_ascii_case(ours);
        return (!same).then(|| format!("property \"{name}\" can only be \"{ours}\": {why}"));
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(_, message, ..)) if message.starts_with("No such") => {
            Some(format!("librdkafka has no property \"{name}\"{}", did_you_mean(name, KNOWN.iter().copied())))
        }
        Err(KafkaError::ClientConfig(_, message, ..)) => {
            let range = message.split_once("outside allowed range ").map(|(_, range)| format!(": expected {range}"));
            Some(format!("property \"{name}\" cannot have this value{}", range.unwrap_or_default()))
        }
        Err(error) => Some(format!("property \"{name}\" cannot be used: {}", without(&error.to_string(), value))),
    }
}

fn without(message: &str, secret: &str) -> String {
    if secret.is_empty() { message.to_owned() } else { message.replace(secret, "***") }
}

/// ` (did you mean "a" or "b"?)`, or nothing when no name is near.
pub(super) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut near: Vec<(f64, &str)> = known.map(|other| (strsim::jaro_winkler(name, other), other)).collect();
    near.retain(|(likeness, _)| *likeness > 0.8);
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let names: Vec<String> = near.iter().take(3).map(|(_, other)| format!("\"{other}\"")).collect();
    if names.is_empty() { String::new() } else { format!(" (did you mean {}?)", names.join(" or ")) }
}

/// Names to suggest for a mistyped one; librdkafka itself knows more.
const KNOWN: [&str; 66] = [
    "acks",
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.level",
    "compression.type",
    "connections.max.idle.ms",
    "debug",
    "enable.ssl.certificate.verification",
    "fetch.error.backoff.ms",
    "fetch.max.bytes",
    "fetch.message.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "group.id",
    "group.instance.id",
    "isolation.level",
    "linger.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "message.max.bytes",
    "metadata.max.age.ms",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queue.buffering.max.ms",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.ms",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.config",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
    "sticky.partitioning.linger.ms",
    "topic.metadata.refresh.interval.ms",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_checked_and_their_values_not_told() {
        let cases = [
            ("client.rack", "hunter2", None),
            ("isolation.level", "read_uncommitted", None),
            ("enable.auto.commit", "False", None),
            ("enable.auto.commit", "true", Some("can only be \"false\": offsets are kept in the job's checkpoints")),
            ("auto.offset.reset", "latest", Some("can only be \"error\"")),
            ("bootstrap.servers", "hunter2:9092", Some("name the brokers with `brokers`")),
            ("sasl.pasword", "hunter2", Some("has no property \"sasl.pasword\" (did you mean \"sasl.password\"")),
            ("xyz", "hunter2", Some("has no property \"xyz\"")),
            ("security.protocol", "hunter2", Some("\"security.protocol\" cannot have this value")),
            ("fetch.wait.max.ms", "400000", Some("cannot have this value: expected 0..300000")),
            ("client.rack", "hunter2\0", Some("\"client.rack\" cannot be used")),
        ];
        for (name, value, expected) in cases {
            let found = fault(&OURS, name, value);
            match expected {
                Some(part) => assert!(found.as_ref().is_some_and(|f| f.contains(part)), "{name}: {found:?}"),
                None => assert_eq!(found, None, "{name}"),
            }
            assert!(!found.unwrap_or_default().contains("hunter2"), "{name} tells its value");
        }
    }

    #[test]
    fn the_budget_is_divided_between_the_partitions() {
        let properties = BTreeMap::from([("fetch.wait.max.ms".to_owned(), "7".to_owned())]);
        let config = KafkaConfig { brokers: "b:1".into(), topic: "t".into(), properties, budget_bytes: 64 << 20 };
        let reading = config.reading(8);
        assert_eq!(reading.get("queued.max.messages.kbytes"), Some("8192"));
        assert_eq!(reading.get("queued.min.messages"), Some("16384"));
        assert_eq!(reading.get("fetch.wait.max.ms"), Some("7"));
        assert_eq!(reading.get("auto.offset.reset"), Some("error"));
        assert!(reading.create_native_config().is_ok());
        assert_eq!(config.asking().get("group.id"), None);
    }
}
