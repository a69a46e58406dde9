//! `[sinks.NAME]` and `[dead_letters]`: where rows, changes and refused records go.

use std::sync::Arc;

use headwater_connectors::settings::{Endpoint, choices};
use headwater_connectors::sink::lines::LinesConfig;
use headwater_connectors::sink::{DEFAULT_DEAD_LETTERS, Home, SINKS, Takes, default_dead_letters};

use crate::base::fault::At;
use crate::base::id::{Id, RowsId};
use crate::job::nearest::expected;
use crate::job::raw::Entry;
use crate::job::section::{Choices, Context, Section};
use crate::job::settings::SectionSettings;
use crate::job::{Job, Sink, State};

/// Reads a sink. `rows`: what has rows, by its number; `names`: also those that are too wrong to be among them.
pub fn read(cx: &mut Context, entry: &Entry, rows: &[&str], names: &[&str], home: &Home) -> Option<Sink> {
    let kinds = choices(SINKS.iter().copied());
    let choices = Choices { tag: "type", default: None, choices: &kinds, common: &["features"] };
    let (section, chosen) = Section::choose(cx, format!("sink `{}`", entry.name), entry, &choices)?;
    let taken = features(cx, &section, rows, names);
    let to = SINKS[chosen?].read(&mut SectionSettings { cx, section: &section }, home);
    Some(Sink { name: entry.name.clone(), at: entry.at, to, rows: taken })
}

/// What a sink takes, in the order of the job.
fn features(cx: &mut Context, section: &Section, rows: &[&str], names: &[&str]) -> Vec<RowsId> {
    let all = (0..rows.len()).map(RowsId::at);
    if section.get("features").is_none() {
        return all.collect();
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
    all.filter(|id| listed.iter().any(|name| name.text == rows[id.index()])).collect()
}

/// Reads `[dead_letters]`.
pub fn dead_letters(cx: &mut Context, job: &Section, state: &State) -> (Arc<dyn LinesConfig>, At) {
    let home = state.home();
    let (default, unsaid) = default_dead_letters(&home);
    let Some(entry) = job.get("dead_letters") else {
        if let Some(message) = unsaid {
            cx.error(state.at, message);
        }
        return (default, At { line: 1, column: 1, file: 0 });
    };
    let lines: Vec<_> = SINKS.iter().copied().filter(|kind| kind.takes() == Takes::Changes).collect();
    let kinds = choices(lines.iter().copied());
    let choices = Choices { tag: "type", default: Some(DEFAULT_DEAD_LETTERS), choices: &kinds, common: &[] };
    let read = Section::choose(cx, "dead_letters".into(), entry, &choices).and_then(|(section, chosen)| {
        lines[chosen?].read_dead_letters(&mut SectionSettings { cx, section: &section }, &home)
    });
    (read.unwrap_or(default), entry.at)
}

/// No two sinks may write to the same place: each would undo what the other did. Nor may one write to what is read.
pub fn check_apart(cx: &mut Context, job: &Job) {
    let dead_letters = job.dead_letters.endpoint();
    for (n, sink) in job.sinks.iter().enumerate() {
        let Some(endpoint) = sink.to.endpoint() else { continue };
        let earlier = job.sinks.iter().take(n).find(|earlier| earlier.to.endpoint().as_ref() == Some(&endpoint));
        if let Some(earlier) = earlier {
            let message = match endpoint {
                Endpoint::Sole(what) => format!("there is one {what}, and sink `{}` is it already", earlier.name),
                Endpoint::At { .. } => {
                    format!("sink `{}` writes to the same place as sink `{}`", sink.name, earlier.name)
                }
            };
            cx.error(sink.at, message);
        }
        if dead_letters.as_ref() == Some(&endpoint) {
            cx.error(sink.at, format!("sink `{}` writes to the same place as the dead letters", sink.name));
        }
        if let Some((what, source)) = reader(job, &endpoint) {
            cx.error(sink.at, format!("sink `{}` writes to the {what} that {source} reads", sink.name));
        }
    }
    if let Some((what, source)) = dead_letters.and_then(|dead_letters| reader(job, &dead_letters)) {
        cx.error(job.dead_letters_at, format!("the dead letters go to the {what} that {source} reads"));
    }
}

/// What kind of place it is, and what reads it.
fn reader(job: &Job, written: &Endpoint) -> Option<(&'static str, String)> {
    let Endpoint::At { what, .. } = written else { return None };
    job.sources.iter().find(|source| source.reads(written)).map(|source| (*what, source.describe()))
}
