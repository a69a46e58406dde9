//! Which groups a backfill is asked for.

use crate::base::failure::Failure;
use crate::base::id::GroupId;
use crate::job::nearest::expected;
use crate::job::{Job, Window};

/// In the order of the job.
pub fn groups(job: &Job, features: Option<&[String]>) -> Result<Vec<GroupId>, Failure> {
    let trailing = |id: &GroupId| {
        let group = &job.groups[*id];
        group.window == Window::Trailing && job.refuses_backfill(group).is_none()
    };
    let all: Vec<GroupId> = job.groups.ids().filter(trailing).collect();
    let Some(features) = features else {
        if all.is_empty() {
            return Err(Failure::Usage(
                "the job has no trailing or lifetime group of events that stay: there is nothing to backfill"
                    .to_owned(),
            ));
        }
        return Ok(all);
    };
    let names = || all.iter().map(|id| job.groups[*id].name.as_str());
    let mut asked = vec![];
    for name in features {
        if job.views.find(|view| view.name == *name).is_some() {
            return Err(Failure::Usage(format!(
                "--features: `{name}` is a view: a backfill of views is not built yet"
            )));
        }
        let Some(id) = job.groups.find(|group| group.name == *name) else {
            return Err(Failure::Usage(format!(
                "--features: the job has no group `{name}`: {}",
                expected(name, names())
            )));
        };
        if let Some(why) = job.refuses_backfill(&job.groups[id]) {
            return Err(Failure::Usage(format!(
                "--features: `{name}` {why}: a backfill of such a group is not built yet"
            )));
        }
        let kind = match job.groups[id].window {
            Window::Trailing => None,
            Window::Tumbling { .. } => Some("tumbling"),
            Window::Hopping { .. } => Some("hopping"),
            Window::Calendar(_) => Some("calendar"),
            Window::Session { .. } => Some("session"),
        };
        if let Some(kind) = kind {
            return Err(Failure::Usage(format!(
                "--features: `{name}` has {kind} windows, and its rows are of windows, not of moments: a backfill has trailing and \
                 lifetime groups only"
            )));
        }
        asked.push(id);
    }
    asked.sort_unstable();
    asked.dedup();
    Ok(asked)
}
