//! `[serve_log]`: where it is written down what was served.

use std::time::Duration;

use headwater_clocks::Span;

use crate::base::id::GroupId;
use crate::base::id::IdVec;
use crate::job::duration::SECOND_US;
use crate::job::raw::Kind;
use crate::job::section::{Context, SOME, Section};
use crate::job::{Group, ServeLog, Window, paths};

pub const KEYS: [&str; 3] = ["path", "sample", "roll_every"];

/// Reads it; `None` where there is no such table, or it says nothing.
pub fn read(cx: &mut Context, section: &Section, groups: &IdVec<GroupId, Group>) -> Option<ServeLog> {
    let entry = section.get("serve_log")?;
    let table = Section::open(cx, "the serve log".into(), entry, &KEYS)?;
    if table.get("path").is_none() {
        table.missing(cx, "path", "a directory or a URL, like path = \"serve_log\"");
    }
    if !groups.iter().any(|group| group.window == Window::Trailing) {
        cx.error(entry.at, "a serve log has rows of trailing and lifetime groups, and the job has none");
    }
    let path = paths::read(cx, &table, "path", paths::local_or_url);
    let sample = sample(cx, &table).unwrap_or(1.0);
    let every = table.duration(cx, "roll_every", SOME).unwrap_or(Span::from_us(60 * SECOND_US));
    Some(ServeLog { path: path?, sample, roll_every: Duration::from_micros(every.us().unsigned_abs()) })
}

/// Of how many of the keys it has rows.
fn sample(cx: &mut Context, table: &Section) -> Option<f64> {
    let node = &table.get("sample")?.value;
    let found = match &node.kind {
        Kind::Float(share) if (0.0..=1.0).contains(share) && *share > 0.0 => return Some(*share),
        Kind::Integer(1) => return Some(1.0),
        Kind::Float(share) => share.to_string(),
        Kind::Integer(share) => share.to_string(),
        Kind::Broken => return None,
        other => other.describe().into(),
    };
    cx.error(node.at, format!("`sample` must be a share of the keys above 0, up to 1, like 0.1, not {found}"));
    None
}
