//! One entry of a group's `columns`: an aggregate, what of, and over which windows.

use headwater_clocks::Span;
use headwater_operators::aggregate::{self, AGGREGATES, Aggregate, Definition, Parameter, Range};

use super::about;
use super::windowed::Windowed;
use crate::base::fault::At;
use crate::job::nearest::{expected, nearest};
use crate::job::raw::{Entry, Kind, Node};
use crate::job::section::{Context, SOME, Section, duration_of, name_is_plain};
use crate::job::{Column, Window, duration};

/// What a column may have besides the parameter of its aggregate.
const KEYS: [&str; 8] = ["agg", "of", "where", "window", "windows", "description", "owner", "tags"];

/// A column, with the place where its very name comes from.
pub struct Placed {
    pub column: Column,
    pub at: At,
    /// For messages.
    pub made_by: String,
}

/// One window as it was typed.
struct Length {
    text: String,
    at: At,
    /// `None`: `all`.
    span: Option<Span>,
}

/// Reads an entry: one column, or one for each of its windows; none where it is too wrong.
pub fn read(cx: &mut Context, entry: &Entry, windowed: Windowed, tick: Span) -> Vec<Placed> {
    let name = entry.name.as_str();
    name_is_plain(cx, "column", name, entry.at, "");
    let Some(section) = Section::open(cx, format!("column `{name}`"), entry, &keys()) else { return Vec::new() };
    let agg = aggregate(cx, &section);
    let of = section.named(cx, "of");
    let filter = section.named(cx, "where");
    let about = about::read(cx, &section);
    if agg.is_some_and(|agg| agg.definition().of_events.is_none()) && section.get("of").is_none() {
        section.missing(cx, "of", "only `count` does without: give a column or an expression");
    }
    let lengths = windows(cx, &section, windowed, tick);
    let Some(agg) = agg else { return Vec::new() };
    let column = |name: String, length| Column {
        name,
        at: entry.at,
        agg,
        of: of.clone(),
        filter: filter.clone(),
        length,
        about: about.clone(),
    };
    let one = |length, at| {
        vec![Placed { column: column(name.into(), length), at, made_by: format!("line {}", entry.at.line) }]
    };
    match lengths {
        Lengths::None => one(None, entry.at),
        Lengths::One(span) => one(span, entry.at),
        Lengths::List(lengths) => lengths
            .into_iter()
            .map(|length| Placed {
                column: column(format!("{name}_{}", length.text), length.span),
                at: length.at,
                made_by: format!("`{name}` over \"{}\" in line {}", length.text, length.at.line),
            })
            .collect(),
    }
}

/// All that some column may have, each once.
pub fn keys() -> Vec<&'static str> {
    let mut keys = KEYS.to_vec();
    for parameter in AGGREGATES.iter().filter_map(|aggregate| aggregate.parameter.as_ref()) {
        if !keys.contains(&parameter.key) {
            keys.push(parameter.key);
        }
    }
    keys
}

/// An argument that is wrong is told, and another one stands for it.
fn aggregate(cx: &mut Context, section: &Section) -> Option<Aggregate> {
    if section.get("agg").is_none() {
        section.missing(cx, "agg", "give an aggregate, like agg = \"count\"");
    }
    let (text, at) = section.text(cx, "agg")?;
    let Some(aggregate) = aggregate::find(&text.text) else {
        cx.error(at, format!("unknown aggregate `{}`: {}", text.text, expected_aggregate(&text.text)));
        return None;
    };
    refuse_arguments_of_others(cx, section, aggregate);
    let argument = aggregate.parameter.as_ref().map(|parameter| {
        if section.get(parameter.key).is_none() {
            section.missing(cx, parameter.key, parameter.hint);
        }
        argument(cx, section, parameter).unwrap_or(1.0)
    });
    Some(aggregate.with(argument).expect("an argument in its range, and 1 is in every range"))
}

/// What a name was meant to be that no aggregate has here: perhaps one has it elsewhere.
fn expected_aggregate(name: &str) -> String {
    if let Some(instead) = aggregate::instead(name) {
        return instead.in_job.to_owned();
    }
    let known = aggregate::every_name().map(|(name, ..)| name);
    match aggregate::meant(name).or_else(|| aggregate::meant(nearest(name, known)?)) {
        None => expected(name, AGGREGATES.iter().map(|aggregate| aggregate.name)),
        Some((aggregate, argument)) => {
            let key = aggregate.parameter.as_ref().map(|parameter| parameter.key);
            let with = key.zip(argument).map(|(key, argument)| format!(" with {key} = {argument}"));
            format!("did you mean `{}`{}?", aggregate.name, with.unwrap_or_default())
        }
    }
}

fn refuse_arguments_of_others(cx: &mut Context, section: &Section, aggregate: &Definition) {
    let own = aggregate.parameter.as_ref().map(|parameter| parameter.key);
    for key in keys().into_iter().filter(|key| !KEYS.contains(key) && Some(*key) != own) {
        if let Some(entry) = section.get(key) {
            let takes = |other: &&&Definition| other.parameter.as_ref().is_some_and(|parameter| parameter.key == key);
            let owners: Vec<String> =
                AGGREGATES.iter().filter(takes).map(|other| format!("{:?}", other.name)).collect();
            cx.error(entry.at, format!("`{key}` goes with agg = {} only", owners.join(" or ")));
        }
    }
}

fn argument(cx: &mut Context, section: &Section, parameter: &Parameter) -> Option<f64> {
    let Node { at, kind } = &section.get(parameter.key)?.value;
    let found = match (kind, parameter.range) {
        (Kind::Integer(number), Range::Count(_) | Range::Share) if parameter.range.contains(*number as f64) => {
            return Some(*number as f64);
        }
        (Kind::Float(number), Range::Share) if parameter.range.contains(*number) => return Some(*number),
        (Kind::Integer(number), _) => number.to_string(),
        (Kind::Float(number), Range::Share) => number.to_string(),
        (Kind::Broken, _) => return None,
        (other, _) => other.describe().to_owned(),
    };
    cx.error(*at, format!("`{}` must be {}, not {found}", parameter.key, parameter.range));
    None
}

enum Lengths {
    None,
    One(Option<Span>),
    List(Vec<Length>),
}

fn windows(cx: &mut Context, section: &Section, windowed: Windowed, tick: Span) -> Lengths {
    let (one, list) = (section.get("window"), section.get("windows"));
    if !matches!(windowed, Windowed::Trailing | Windowed::Window(Window::Trailing)) {
        for entry in [one, list].into_iter().flatten() {
            cx.error(entry.at, format!("`{}` has no place here: the group has a window of its own", entry.name));
        }
        return Lengths::None;
    }
    match (one, list) {
        (None, None) => {
            let hint = "give the column one, like window = \"1h\" (or \"all\"), or the group, like window = { tumbling = \"1h\" }";
            section.missing(cx, "window", hint);
            Lengths::None
        }
        (Some(one), Some(list)) => {
            let second = if one.at < list.at { list } else { one };
            cx.error(second.at, "a column has `window` or `windows`, not both");
            Lengths::None
        }
        (Some(one), None) => match &one.value.kind {
            Kind::Array(_) => {
                cx.error(one.value.at, "`window` is one duration or \"all\": a list of them is `windows`");
                Lengths::None
            }
            _ => length(cx, "window", &one.value, tick).map_or(Lengths::None, |length| Lengths::One(length.span)),
        },
        (None, Some(list)) => Lengths::List(lengths(cx, &list.value, tick)),
    }
}

fn lengths(cx: &mut Context, value: &Node, tick: Span) -> Vec<Length> {
    let Kind::Array(nodes) = &value.kind else {
        if !matches!(value.kind, Kind::Broken) {
            let found = value.kind.describe();
            cx.error(value.at, format!("`windows` must be a list, like [\"1h\", \"all\"], not {found}"));
        }
        return Vec::new();
    };
    if nodes.is_empty() {
        cx.error(value.at, "`windows` is empty: expected at least one, like [\"1h\"]");
    }
    let mut lengths: Vec<Length> = Vec::new();
    for length in nodes.iter().filter_map(|node| length(cx, "windows", node, tick)).collect::<Vec<_>>() {
        match lengths.iter().find(|earlier| earlier.span == length.span) {
            Some(earlier) => {
                cx.error(length.at, format!("`{}` is the same window as `{}` before it", length.text, earlier.text))
            }
            None => lengths.push(length),
        }
    }
    lengths
}

fn length(cx: &mut Context, key: &str, node: &Node, tick: Span) -> Option<Length> {
    if let Kind::String(text) = &node.kind
        && text.text == "all"
    {
        return Some(Length { text: text.text.clone(), at: node.at, span: None });
    }
    let span = duration_of(cx, key, node, SOME)?;
    if span < tick {
        let tick = duration::display(tick);
        cx.warning(
            node.at,
            format!("this window is shorter than the tick of {tick}: events may pass through it unseen"),
        );
    }
    let Kind::String(text) = &node.kind else { return None };
    Some(Length { text: text.text.clone(), at: node.at, span: Some(span) })
}
