//! The topic's own settings, as its brokers describe them.

use std::time::Duration;

use futures::executor::block_on;
use headwater_clocks::Span;
use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tracing::debug;

use super::KafkaConfig;
use super::context::Context;
use super::link::refused;
use crate::{Error, Result};

const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct TopicSettings {
    pub stamped_by_broker: bool,
    pub retention: Option<Span>,
}

/// Asks a broker for the settings. A broker that cannot or may not tell leaves them at what promises least: stamps are not its own,
/// and records do not go by age.
pub(super) fn describe(config: &KafkaConfig, broker: i32) -> Result<TopicSettings> {
    let admin: AdminClient<Context> =
        config.asking().create_with_context(Context::default()).map_err(|e| refused(&e))?;
    // Any broker knows; the controller, which librdkafka would wait for, need not be reachable.
    let options = AdminOptions::new().request_timeout(Some(DEADLINE)).broker_id(broker);
    let answer = block_on(admin.describe_configs(&[ResourceSpecifier::Topic(&config.topic)], &options));
    let untold = |code: RDKafkaErrorCode| {
        debug!("topic {}: its settings are not told: {code}", config.topic);
        Ok(TopicSettings::default())
    };
    match answer.map(|mut topics| topics.pop()) {
        Ok(Some(Ok(topic))) => Ok(read(&topic)),
        Ok(Some(Err(code))) => untold(code),
        Ok(None) => untold(RDKafkaErrorCode::UnknownTopicOrPartition),
        Err(error) => match code_of(&error) {
            Some(code) if !is_absence(code) => untold(code),
            _ => Err(Error::transient(format!("asking for the settings of topic {}", config.topic), error)),
        },
    }
}

fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

fn is_absence(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode::*;
    matches!(code, OperationTimedOut | BrokerTransportFailure | AllBrokersDown | RequestTimedOut | Resolve)
}

fn read(topic: &ConfigResource) -> TopicSettings {
    let value = |name| topic.get(name).and_then(|entry| entry.value.as_deref());
    let by_age = value("cleanup.policy").is_none_or(|policy| policy.split(',').any(|p| p.trim() == "delete"));
    let retention_ms = value("retention.ms").and_then(|ms| ms.parse::<i64>().ok()).filter(|&ms| by_age && ms >= 0);
    TopicSettings {
        stamped_by_broker: value("message.timestamp.type") == Some("LogAppendTime"),
        retention: retention_ms.map(|ms| Span::from_us(ms.saturating_mul(1000))),
    }
}
