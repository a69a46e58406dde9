//! Windows of days and weeks as people have them: `zone` says whose midnight, `starts` on which day of the week.

use std::str::FromStr;

use chrono::Weekday;
use chrono_tz::{TZ_VARIANTS, Tz};
use headwater_clocks::Span;
use headwater_operators::group::Calendar;

use super::windowed::WindowKind;
use crate::base::fault::At;
use crate::job::duration::DAY_US;
use crate::job::nearest::{expected, nearest};
use crate::job::section::{Context, Section};

/// 1970-01-05 was a Monday.
const FIRST_MONDAY: i64 = 4;
const WEEK_DAYS: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// What a window says of a calendar.
pub enum CalendarKeys {
    /// Nothing: it is by the clock.
    Nothing,
    Calendar {
        zone: Tz,
        first: i64,
        starts_at: Option<At>,
        at: At,
    },
    /// Something, and it is wrong.
    Wrong,
}

/// `kind`: of the window, which only two of have a calendar.
pub fn read(cx: &mut Context, section: &Section, kind: WindowKind) -> CalendarKeys {
    let (zone, starts) = (section.get("zone"), section.get("starts"));
    let Some(at) = zone.or(starts).map(|entry| entry.at) else { return CalendarKeys::Nothing };
    if kind == WindowKind::Session {
        cx.error(
            at,
            "`zone` and `starts` go with `tumbling` and `hopping` only: a session begins with its first event",
        );
        return CalendarKeys::Wrong;
    }
    let zone = if zone.is_some() { read_zone(cx, section) } else { Some(Tz::UTC) };
    let first = if starts.is_some() { read_day(cx, section) } else { Some(0) };
    match (zone, first) {
        (Some(zone), Some(first)) => {
            CalendarKeys::Calendar { zone, first, starts_at: starts.map(|entry| entry.at), at }
        }
        _ => CalendarKeys::Wrong,
    }
}

/// Windows of whole days; with a day of the week, of whole weeks.
pub fn windows(cx: &mut Context, asked: &CalendarKeys, (size, every): (Span, Span)) -> Option<Calendar> {
    let CalendarKeys::Calendar { zone, first, starts_at, at } = asked else { return None };
    let (size, every) = (size.us(), every.us());
    if size % DAY_US != 0 || every % DAY_US != 0 {
        let expected = "expected whole days or weeks, like \"1d\" or \"1w\"";
        cx.error(*at, format!("windows of a calendar begin at midnight, and so do the next: {expected}"));
        return None;
    }
    let (size, every) = (size / DAY_US, every / DAY_US);
    if let Some(at) = starts_at.filter(|_| every % 7 != 0) {
        cx.error(
            at,
            "`starts` is a day of the week: expected windows that begin every week, like \"1w\", or every few",
        );
        return None;
    }
    Some(Calendar::new(*zone, size, every, *first))
}

fn read_zone(cx: &mut Context, section: &Section) -> Option<Tz> {
    let named = section.named(cx, "zone")?;
    Tz::from_str(&named.text)
        .map_err(|_| {
            let names = || TZ_VARIANTS.iter().map(|zone| zone.name());
            let hint = match nearest(&named.text, names()) {
                Some(_) => expected(&named.text, names()),
                None => "expected a name of the IANA database, like \"Europe/Berlin\" or \"America/New_York\"".into(),
            };
            cx.error(named.at, format!("there is no time zone `{}`: {hint}", named.text));
        })
        .ok()
}

fn read_day(cx: &mut Context, section: &Section) -> Option<i64> {
    let named = section.named(cx, "starts")?;
    let found = WEEK_DAYS.iter().position(|day| name(*day) == named.text.to_lowercase());
    if found.is_none() {
        let hint = expected(&named.text, WEEK_DAYS.map(name));
        cx.error(named.at, format!("`{}` is no day of the week: {hint}", named.text));
    }
    found.map(|day| FIRST_MONDAY + day as i64)
}

fn name(day: Weekday) -> &'static str {
    match day {
        Weekday::Mon => "monday",
        Weekday::Tue => "tuesday",
        Weekday::Wed => "wednesday",
        Weekday::Thu => "thursday",
        Weekday::Fri => "friday",
        Weekday::Sat => "saturday",
        Weekday::Sun => "sunday",
    }
}

/// ` in Europe/Berlin from monday`: what a calendar adds to the length of its windows.
pub fn shown(calendar: Calendar) -> String {
    let zone = format!(" in {}", calendar.zone().name());
    match calendar.every() % 7 {
        0 => {
            let day = WEEK_DAYS[(calendar.first() - FIRST_MONDAY).rem_euclid(7) as usize];
            format!("{zone} from {}", name(day))
        }
        _ => zone,
    }
}
