//! Texts of jobs, put together from parts.

pub const HISTORY: &str = r#"
[sources.events.history]
type = "parquet"
path = "history/*.parquet"
"#;

pub const BY_OFFSET: &str = r#"by = "offset", partition = "kafka_partition", offset = "kafka_offset""#;

pub const SCHEMA: &str = r#"
[sources.events.schema]
card    = "string"
amount  = "float64"
status  = "string"
ts      = "timestamp"
arrived = "timestamp"
"#;

pub const REDIS_SINK: &str = r#"
[sinks.online]
type = "redis"
url  = "{REDIS}"
"#;

pub const ALL_SINKS: &str = r#"
[sinks.online]
type = "redis"
url  = "{REDIS}"
[sinks.local]
type = "embedded"
[sinks.changes]
type = "jsonl"
path = "changes.jsonl"
"#;

/// A job with the source `events`. `history`: its table, or the schema in its stead.
pub fn job(history: &str, seam: &str, rest: &str) -> String {
    let stream = r#"
[sources.events.stream]
type    = "kafka"
brokers = "{BROKERS}"
topic   = "{TOPIC}"
format  = "json"
"#;
    let times = "event_time = \"ts\"\narrival_time = \"arrived\"\n";
    let seam = if seam.is_empty() { String::new() } else { format!("seam = {{ {seam} }}\n") };
    format!("name = \"{{NAME}}\"\n[sources.events]\n{times}{seam}{history}{stream}{rest}")
}

/// The aggregates of the group `cards`, each over these windows (`None`: all).
pub fn cards(windows: &[(&str, Option<i64>)]) -> String {
    let names: Vec<String> = windows.iter().map(|(name, _)| format!("{name:?}")).collect();
    let names = names.join(", ");
    format!(
        r#"
[features.cards]
source = "events"
key    = "card"
where  = "status = 'approved'"
[features.cards.columns]
n     = {{ agg = "count", windows = [{names}] }}
spend = {{ agg = "sum", of = "amount", windows = [{names}] }}
least = {{ agg = "min", of = "amount", windows = [{names}] }}
most  = {{ agg = "max", of = "amount", windows = [{names}] }}
"#
    )
}
