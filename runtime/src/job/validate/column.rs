//! One entry of a group's `columns`: an aggregate, what of, and over which windows.

use super::windowed::Windowed;
use crate::base::fault::At;
use crate::job::nearest::expected;
use crate::job::raw::{Entry, Kind, Node};
use crate::job::section::{Context, Section, duration_of, name_is_plain};
use crate::job::{Agg, Column, Window, duration};

const KEYS: [&str; 7] = ["agg", "of", "window", "windows", "k", "n", "p"];

/// The most values that `top_k` and `last_n` list.
const LIST_MAX: i64 = 10_000;

/// In the order in which messages list them; `k`, `n` and `p` are read later.
const AGGS: [Agg; 16] = [
    Agg::Count,
    Agg::Sum,
    Agg::Avg,
    Agg::Min,
    Agg::Max,
    Agg::VarPop,
    Agg::VarSamp,
    Agg::StddevPop,
    Agg::StddevSamp,
    Agg::First,
    Agg::Last,
    Agg::CountDistinct,
    Agg::TopK { k: 1 },
    Agg::LastN { n: 1 },
    Agg::ApproxCountDistinct,
    Agg::ApproxPercentile { p: 0.5 },
];

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
    us: Option<i64>,
}

/// Reads an entry: one column, or one for each of its windows; none where it is too wrong.
pub fn read(cx: &mut Context, entry: &Entry, windowed: Windowed, tick_us: i64) -> Vec<Placed> {
    let name = entry.name.as_str();
    name_is_plain(cx, "column", name, entry.at, "");
    let Some(section) = Section::open(cx, format!("column `{name}`"), entry, &KEYS) else { return Vec::new() };
    let agg = aggregate(cx, &section);
    let of = section.named(cx, "of");
    if agg.is_some_and(|agg| agg != Agg::Count) && section.get("of").is_none() {
        section.missing(cx, "of", "only `count` does without: give a column or an expression");
    }
    let lengths = windows(cx, &section, windowed, tick_us);
    let Some(agg) = agg else { return Vec::new() };
    let column = |name: String, length_us| Column { name, at: entry.at, agg, of: of.clone(), length_us };
    let one = |length_us, at| {
        vec![Placed { column: column(name.into(), length_us), at, made_by: format!("line {}", entry.at.line) }]
    };
    match lengths {
        Lengths::None => one(None, entry.at),
        Lengths::One(us) => one(us, entry.at),
        Lengths::List(lengths) => lengths
            .into_iter()
            .map(|length| Placed {
                column: column(format!("{name}_{}", length.text), length.us),
                at: length.at,
                made_by: format!("`{name}` over \"{}\" in line {}", length.text, length.at.line),
            })
            .collect(),
    }
}

fn aggregate(cx: &mut Context, section: &Section) -> Option<Agg> {
    let names = || AGGS.iter().map(|agg| agg.name());
    if section.get("agg").is_none() {
        section.missing(cx, "agg", "give an aggregate, like agg = \"count\"");
    }
    let (text, at) = section.text(cx, "agg")?;
    let Some(agg) = AGGS.iter().find(|agg| agg.name() == text.text) else {
        cx.error(at, format!("unknown aggregate `{}`: {}", text.text, expected(&text.text, names())));
        return None;
    };
    let needs = match agg {
        Agg::TopK { .. } => "k",
        Agg::LastN { .. } => "n",
        Agg::ApproxPercentile { .. } => "p",
        _ => "",
    };
    for (key, owner) in [("k", "top_k"), ("n", "last_n"), ("p", "approx_percentile")] {
        match section.get(key) {
            Some(entry) if key != needs => cx.error(entry.at, format!("`{key}` goes with agg = \"{owner}\" only")),
            None if key == needs && key == "p" => section.missing(cx, key, "say which, like p = 0.99"),
            None if key == needs => section.missing(cx, key, &format!("say how many values, like {key} = 3")),
            _ => {}
        }
    }
    let count = |cx: &mut Context, key| section.integer(cx, key, 1, LIST_MAX).map_or(1, |count| count as usize);
    Some(match agg {
        Agg::TopK { .. } => Agg::TopK { k: count(cx, "k") },
        Agg::LastN { .. } => Agg::LastN { n: count(cx, "n") },
        Agg::ApproxPercentile { .. } => Agg::ApproxPercentile { p: share(cx, section).unwrap_or(0.5) },
        other => *other,
    })
}

fn share(cx: &mut Context, section: &Section) -> Option<f64> {
    let Node { at, kind } = &section.get("p")?.value;
    let p = match kind {
        Kind::Float(p) => *p,
        Kind::Integer(p) => *p as f64,
        Kind::Broken => return None,
        other => {
            cx.error(*at, format!("`p` must be a number from 0 to 1, not {}", other.describe()));
            return None;
        }
    };
    if !(0.0..=1.0).contains(&p) {
        cx.error(*at, format!("`p` must be a number from 0 to 1, not {p}"));
        return None;
    }
    Some(p)
}

enum Lengths {
    None,
    One(Option<i64>),
    List(Vec<Length>),
}

fn windows(cx: &mut Context, section: &Section, windowed: Windowed, tick_us: i64) -> Lengths {
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
            _ => length(cx, "window", &one.value, tick_us).map_or(Lengths::None, |length| Lengths::One(length.us)),
        },
        (None, Some(list)) => Lengths::List(lengths(cx, &list.value, tick_us)),
    }
}

fn lengths(cx: &mut Context, value: &Node, tick_us: i64) -> Vec<Length> {
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
    for length in nodes.iter().filter_map(|node| length(cx, "windows", node, tick_us)).collect::<Vec<_>>() {
        match lengths.iter().find(|earlier| earlier.us == length.us) {
            Some(earlier) => {
                cx.error(length.at, format!("`{}` is the same window as `{}` before it", length.text, earlier.text))
            }
            None => lengths.push(length),
        }
    }
    lengths
}

fn length(cx: &mut Context, key: &str, node: &Node, tick_us: i64) -> Option<Length> {
    if let Kind::String(text) = &node.kind
        && text.text == "all"
    {
        return Some(Length { text: text.text.clone(), at: node.at, us: None });
    }
    let us = duration_of(cx, key, node, 1)?;
    if us < tick_us {
        let tick = duration::display(tick_us);
        cx.warning(
            node.at,
            format!("this window is shorter than the tick of {tick}: events may pass through it unseen"),
        );
    }
    let Kind::String(text) = &node.kind else { return None };
    Some(Length { text: text.text.clone(), at: node.at, us: Some(us) })
}
