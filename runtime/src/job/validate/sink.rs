//! `[sinks.NAME]` and `[dead_letters]`: where rows, changes and refused records go.

use super::source;
use crate::base::fault::At;
use crate::job::nearest::expected;
use crate::job::raw::Entry;
use crate::job::section::{Choices, Context, Section};
use crate::job::{ChangesTo, Group, Job, Kafka, Sink, SinkTo, Source, State, Stream, paths, secrets};

const SINK: Choices = Choices {
    tag: "type",
    default: None,
    choices: &[
        ("redis", &["url"]),
        ("embedded", &["path"]),
        ("jsonl", &["path"]),
        ("kafka", &["topic", "brokers", "properties"]),
    ],
    common: &["features"],
};

const DEAD_LETTERS: Choices = Choices {
    tag: "type",
    default: Some("jsonl"),
    choices: &[("jsonl", &["path"]), ("kafka", &["topic", "brokers", "properties"])],
    common: &[],
};

pub const EMBEDDED_ELSEWHERE: &str =
    "the state is in an object store, so say where the embedded store is kept, like path = \"store\"";
const LETTERS_ELSEWHERE: &str = "the state is in an object store, so say where dead letters go, like dead_letters = { path = \"dead_letters.jsonl\" }";

/// Reads a sink; where an embedded one is kept is noted in `state`. `names` are all groups', also of those that are too wrong to be in `groups`.
pub fn read(cx: &mut Context, entry: &Entry, groups: &[Group], names: &[&str], state: &mut State) -> Option<Sink> {
    let (section, kind) = Section::choose(cx, format!("sink `{}`", entry.name), entry, &SINK)?;
    let groups = features(cx, &section, groups, names);
    let to = match kind? {
        "redis" => SinkTo::Redis { url: redis_url(cx, &section) },
        "embedded" => {
            match paths::read(cx, &section, "path", paths::local) {
                Some(path) => state.embedded = path,
                None if paths::is_url(&state.path) && section.get("path").is_none() => {
                    section.missing(cx, "path", EMBEDDED_ELSEWHERE);
                }
                None => {}
            }
            SinkTo::Embedded
        }
        "jsonl" => {
            if section.get("path").is_none() {
                section.missing(cx, "path", "say which file, like path = \"changes.jsonl\"");
            }
            let path = paths::read(cx, &section, "path", paths::local).unwrap_or_default();
            SinkTo::Changes(ChangesTo::Jsonl { path })
        }
        _ => SinkTo::Changes(ChangesTo::Kafka(source::kafka(cx, &section))),
    };
    Some(Sink { name: entry.name.clone(), at: entry.at, to, groups })
}

fn redis_url(cx: &mut Context, section: &Section) -> String {
    if section.get("url").is_none() {
        section.missing(cx, "url", "say where Redis is, like url = \"redis://localhost:6379/0\"");
    }
    let Some((text, at)) = section.text(cx, "url") else { return String::new() };
    let url = &text.text;
    cx.secrets.extend(text.filled.iter().cloned());
    cx.secrets.extend(secrets::of_redis_url(url));
    let known = ["redis", "rediss", "valkey", "valkeys", "redis+unix", "valkey+unix", "unix"];
    let reached = url.split_once("://").is_some_and(|(scheme, rest)| {
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
        known.contains(&scheme) && (scheme.ends_with("unix") || !host.is_empty() && !host.starts_with(':'))
    });
    if !reached {
        // Without the URL itself: it may hold a password that could not be told from the rest.
        cx.error(at, "`url` is no Redis URL: expected one like \"redis://localhost:6379/0\" (or rediss:// for TLS)");
    }
    url.clone()
}

/// The groups that a sink takes, in the order of the job.
fn features(cx: &mut Context, section: &Section, groups: &[Group], names: &[&str]) -> Vec<usize> {
    if section.get("features").is_none() {
        return (0..groups.len()).collect();
    }
    let listed = section.list(cx, "features").unwrap_or_default();
    for (n, name) in listed.iter().enumerate() {
        if !names.contains(&name.text.as_str()) && !cx.torn.names() {
            let hint = expected(&name.text, names.iter().copied());
            cx.error(name.at, format!("unknown feature group `{}`: {hint}", name.text));
        } else if listed[..n].iter().any(|earlier| earlier.text == name.text) {
            cx.error(name.at, format!("feature group `{}` is listed twice", name.text));
        }
    }
    (0..groups.len()).filter(|n| listed.iter().any(|name| name.text == groups[*n].name)).collect()
}

/// Reads `[dead_letters]`.
pub fn dead_letters(cx: &mut Context, job: &Section, state: &State) -> (ChangesTo, At) {
    let default = default_dead_letters(state);
    let elsewhere = paths::is_url(&state.path);
    let Some(entry) = job.get("dead_letters") else {
        if elsewhere {
            cx.error(state.at, LETTERS_ELSEWHERE);
        }
        return (default, At { line: 1, column: 1 });
    };
    let to = match Section::choose(cx, "dead_letters".into(), entry, &DEAD_LETTERS) {
        Some((section, Some("kafka"))) => ChangesTo::Kafka(source::kafka(cx, &section)),
        Some((section, Some(_))) => {
            if elsewhere && section.get("path").is_none() {
                section.missing(cx, "path", LETTERS_ELSEWHERE);
            }
            let path = paths::read(cx, &section, "path", paths::local);
            path.map_or(default, |path| ChangesTo::Jsonl { path })
        }
        Some((_, None)) | None => default,
    };
    (to, entry.at)
}

/// No two sinks may write to the same place: each would undo what the other did. Nor may one write to what is read.
pub fn check_apart(cx: &mut Context, job: &Job) {
    for (n, sink) in job.sinks.iter().enumerate() {
        if is_empty(&sink.to) {
            continue;
        }
        if let Some(earlier) = job.sinks[..n].iter().find(|earlier| is_same(&earlier.to, &sink.to)) {
            let message = match sink.to {
                SinkTo::Embedded => format!("there is one embedded store, and sink `{}` is it already", earlier.name),
                _ => format!("sink `{}` writes to the same place as sink `{}`", sink.name, earlier.name),
            };
            cx.error(sink.at, message);
        }
        if is_same(&sink.to, &SinkTo::Changes(job.dead_letters.clone())) {
            cx.error(sink.at, format!("sink `{}` writes to the same place as the dead letters", sink.name));
        }
        if let Some(source) = reader(job, &sink.to) {
            cx.error(sink.at, format!("sink `{}` writes to the topic that source `{source}` reads", sink.name));
        }
    }
    if let Some(source) = reader(job, &SinkTo::Changes(job.dead_letters.clone())) {
        cx.error(job.dead_letters_at, format!("the dead letters go to the topic that source `{source}` reads"));
    }
}

/// A topic is the same by whichever properties it is reached.
fn is_same(one: &SinkTo, other: &SinkTo) -> bool {
    match (one, other) {
        (SinkTo::Changes(ChangesTo::Kafka(one)), SinkTo::Changes(ChangesTo::Kafka(other))) => is_same_topic(one, other),
        _ => one == other,
    }
}

fn is_same_topic(one: &Kafka, other: &Kafka) -> bool {
    (&one.brokers, &one.topic) == (&other.brokers, &other.topic)
}

/// The source that reads the topic.
fn reader<'a>(job: &'a Job, to: &SinkTo) -> Option<&'a str> {
    let SinkTo::Changes(ChangesTo::Kafka(written)) = to else { return None };
    let reads = |source: &&Source| match &source.stream {
        Some(Stream::Kafka { kafka, .. }) => !kafka.topic.is_empty() && is_same_topic(kafka, written),
        _ => false,
    };
    job.sources.iter().find(reads).map(|source| source.name.as_str())
}

/// Too wrong to have a place.
fn is_empty(to: &SinkTo) -> bool {
    match to {
        SinkTo::Redis { url } => url.is_empty(),
        SinkTo::Embedded => false,
        SinkTo::Changes(ChangesTo::Jsonl { path }) => path.as_os_str().is_empty(),
        SinkTo::Changes(ChangesTo::Kafka(kafka)) => kafka.topic.is_empty(),
    }
}

/// Where dead letters go when the job does not say.
fn default_dead_letters(state: &State) -> ChangesTo {
    ChangesTo::Jsonl { path: state.local.join("dead_letters.jsonl") }
}
