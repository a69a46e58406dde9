//! What a feature means, in plain words.

use headwater_clocks::{EventTime, Span, Tick};
use headwater_operators::group::Fixed;

use crate::base::id::{GroupId, SourceId};
use crate::job::validate::calendar;
use crate::job::view::{LinkedBy, Links};
use crate::job::{Changes, Column, Group, Job, LookIn, Lookup, Named, Source, Table, Window, duration};

/// What a row of the group is about, what it takes and how long it is there. `near`: a time to show a window at.
/// `near`: a time of which examples are.
pub fn of_rows(group: &Group, lateness: Span, near: Tick) -> Vec<String> {
    let key = keys(group);
    let show = duration::display;
    let rows = match group.window {
        Window::Trailing if group.columns.iter().all(|column| column.length.is_none()) => {
            return vec![format!("a row for each {key}, of all that has come by now, however late")];
        }
        Window::Trailing => {
            return vec![
                format!(
                    "a row for each {key}, right as of now: it falls as events grow old, and is gone with the last of them"
                ),
                "an event that comes late counts while it is young enough for a window".to_owned(),
            ];
        }
        Window::Tumbling { size } => {
            let one = window_at(near, Fixed::Even { size, every: size });
            format!("a row for each {key} and {}, such as {one}", show(size))
        }
        Window::Hopping { size, every } => {
            let (one, next) = two_windows(near, Fixed::Even { size, every });
            format!(
                "a row for each {key} and {} that begins every {}, such as {one} and {next}",
                show(size),
                show(every)
            )
        }
        Window::Calendar(calendar) => {
            let (one, next) = two_windows(near, Fixed::Calendar(calendar));
            let (size, every) = (days(calendar.size()), days(calendar.every()));
            let zone = calendar::shown(calendar);
            let meet = calendar.size() == calendar.every();
            let every = if meet { String::new() } else { format!(" that begins every {every}") };
            format!("a row for each {key} and {size}{every}{zone}, such as {one} and {next}")
        }
        Window::Session { gap } => {
            let gap = show(gap);
            format!("a row for each {key} and session: events less than {gap} apart; it ends {gap} after the last")
        }
    };
    let takes = match group.window {
        Window::Session { gap } => {
            format!("an event is taken until {} after it happened (gap + lateness)", show(gap + lateness))
        }
        Window::Trailing | Window::Tumbling { .. } | Window::Hopping { .. } | Window::Calendar(_) => match lateness {
            Span::ZERO => "an event is taken until the window's end (lateness 0s)".to_owned(),
            _ => format!("an event is taken until {} past the window's end (lateness)", show(lateness)),
        },
    };
    let stays = format!("a row is kept in the store until {} past its end (retain)", show(group.retain));
    vec![rows, format!("{takes}; later ones are dead letters"), stays]
}

/// How far back rows can be read, and what is kept for it.
pub fn of_history(history: Span) -> String {
    let length = duration::display(history);
    format!(
        "readable at any time of the last {length} (history): in memory, each row and what it was at every change of the last {length}"
    )
}

/// What becomes of a source's events, and how long their keys are remembered.
pub fn of_replaced(job: &Job, source: SourceId, replaced: &Table) -> String {
    let key = replaced.key.iter().map(|key| key.text.as_str()).collect::<Vec<_>>().join(", ");
    let what = match replaced.changes {
        Changes::Upsert => "a record is all that is known of it from then on",
        Changes::Debezium => "a record is an envelope of Debezium, which says what has become of it",
    };
    let mut readers = job.groups.iter().filter(|group| group.sources.contains(&source));
    let is_lifetime =
        |group: &Group| group.window == Window::Trailing && group.columns.iter().any(|column| column.length.is_none());
    let remembered = match readers.find(|group| is_lifetime(group)) {
        Some(group) => format!("for ever, since a column of {} is over all time", group.name),
        None => "as long as a window may hold their events".to_owned(),
    };
    format!("by {key}: {what}; keys are remembered {remembered}; a changed job is computed anew")
}

/// What a group looks up, what may correct it, and how much of that is remembered.
pub fn of_lookups(job: &Job, group: &Group) -> Vec<String> {
    let one = |lookup: &Lookup| {
        let on = lookup.on.iter().map(|on| on.text.as_str()).collect::<Vec<_>>().join(", ");
        let (there, what) = match lookup.of {
            LookIn::Table(table) => (format!("table {}", job.sources[table].name), of_table(&job.sources[table])),
            LookIn::Features(features) => (
                format!("features {}", job.groups[features].name),
                "the row just before, which never changes".to_owned(),
            ),
        };
        format!("looked up in {there} by {on}, as {}: {what}", lookup.name)
    };
    let mut lines: Vec<String> = group.lookups.iter().map(one).collect();
    if group.lookups.iter().any(|lookup| lookup.table().is_some()) {
        let is_lifetime =
            group.window == Window::Trailing && group.columns.iter().any(|column| column.length.is_none());
        lines.push(match is_lifetime {
            true => "versions are remembered for ever, since a column is over all time".to_owned(),
            false => "versions are remembered as long as a window may hold an event of their time, and a day longer"
                .to_owned(),
        });
    }
    lines
}

fn of_table(table: &Source) -> String {
    match (&table.stream, table.lateness) {
        (None, _) => "no version comes later, so nothing is corrected".to_owned(),
        (Some(_), Span::ZERO) => "a version is in force from when it is known, so nothing is corrected".to_owned(),
        (Some(_), _) => {
            let late = duration::display(table.lateness);
            format!("a version that comes up to {late} late corrects its rows, and events are remembered so long")
        }
    }
}

/// Which entities hang together.
pub fn of_links(links: &Links) -> String {
    let shared = |names: &[Named]| names.iter().map(|named| named.text.as_str()).collect::<Vec<_>>().join(" or ");
    let most = links.max_degree;
    match &links.by {
        LinkedBy::Things { entity, shared: of } => {
            format!(
                "{} that share {}, directly or through others; what more than {most} share links none",
                entity.text,
                shared(of)
            )
        }
        LinkedBy::Entities { a, b } => {
            format!(
                "{} and {} of one row, directly or through others; one with more than {most} others links none",
                a.text, b.text
            )
        }
    }
}

/// Who looks up in a group's rows, and what that means for it.
pub fn of_lookers(job: &Job, id: GroupId) -> Option<String> {
    let looks = |group: &&Group| group.lookups.iter().any(|lookup| lookup.features() == Some(id));
    let names: Vec<&str> = job.groups.iter().filter(looks).map(|group| group.name.as_str()).collect();
    let why = "its history is taken in tick by tick, from as far back as they reach";
    (!names.is_empty()).then(|| format!("its rows are looked up by {}: {why}", names.join(", ")))
}

/// `[2026-01-01T10:00:00Z, 2026-01-01T11:00:00Z)`: the newest window that has begun.
fn window_at(t: Tick, windows: Fixed) -> String {
    shown(windows, windows.newest(t.left(Span::ZERO)))
}

/// The newest window that has begun, and the one that begins after it.
fn two_windows(t: Tick, windows: Fixed) -> (String, String) {
    let start = windows.newest(t.left(Span::ZERO));
    let next = windows.newest(start + windows.apart());
    (shown(windows, start), shown(windows, next))
}

fn shown(windows: Fixed, start: EventTime) -> String {
    format!("[{start}, {})", windows.end(start))
}

fn days(days: i64) -> String {
    if days == 1 { "day".to_owned() } else { format!("{days} days") }
}

/// `events of the last 1h, by card_id, where status = 'approved'`
pub fn of_column(group: &Group, column: &Column) -> String {
    let filter = match (&group.filter, &column.filter) {
        (Some(group), Some(column)) => format!(", where ({}) and ({})", group.text, column.text),
        (Some(one), None) | (None, Some(one)) => format!(", where {}", one.text),
        (None, None) => String::new(),
    };
    let what = column.agg.meaning(column.of.as_ref().map(|of| of.text.as_str()));
    let over = if column.of.is_some() { "over" } else { "of" };
    format!("{what} {over} {}, by {}{filter}", window(group, column), keys(group))
}

fn keys(group: &Group) -> String {
    let keys = group.key.iter().map(|key| match key.is_sql {
        true => format!("{} = {}", key.name, key.of.text),
        false => key.name.clone(),
    });
    let keys = keys.collect::<Vec<_>>().join(" and ");
    match &group.explode {
        Some(list) => format!("{keys} of each element of {}", list.text),
        None => keys,
    }
}

fn window(group: &Group, column: &Column) -> String {
    match (group.window, column.length) {
        (Window::Trailing, Some(length)) => format!("the last {}", duration::display(length)),
        (Window::Trailing, None) => "all time".to_owned(),
        (Window::Tumbling { size } | Window::Hopping { size, .. }, _) => {
            format!("each window of {}", duration::display(size))
        }
        (Window::Calendar(calendar), _) => format!("each {}{}", days(calendar.size()), calendar::shown(calendar)),
        (Window::Session { .. }, _) => "each session".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use headwater_operators::group::Calendar;

    use super::*;

    #[test]
    fn a_window_near_a_time() {
        let days = |days: i64| Span::from_us(days * Span::DAY.us());
        // Weeks since 1970 begin on Thursdays.
        let week = window_at(Tick::from_us(1_767_571_200_000_000), Fixed::Even { size: days(7), every: days(7) });
        assert_eq!(week, "[2026-01-01T00:00:00Z, 2026-01-08T00:00:00Z)");
        let two_days = Fixed::Even { size: days(2), every: days(1) };
        assert_eq!(window_at(Tick::from_us(-1), two_days), "[1969-12-31T00:00:00Z, 1970-01-02T00:00:00Z)");
        // Clocks go back on the second of them.
        let days = Fixed::Calendar(Calendar::new(chrono_tz::Europe::Berlin, 1, 1, 0));
        assert_eq!(
            two_windows(Tick::from_us(1_792_836_000_000_000), days),
            (
                "[2026-10-23T22:00:00Z, 2026-10-24T22:00:00Z)".to_owned(),
                "[2026-10-24T22:00:00Z, 2026-10-25T23:00:00Z)".to_owned()
            )
        );
    }
}
