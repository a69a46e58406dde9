//! Days of zones, by a walk over what their clocks show.

use std::cell::RefCell;
use std::collections::HashMap;

use chrono::{DateTime, TimeZone};
use chrono_tz::Tz;
use headwater_operators::group::Calendar;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

pub const DAY_US: i64 = 24 * HOUR_US;
const HOUR_US: i64 = 3_600_000_000;

/// Zones, and when something is odd there.
const ODD: [(&str, &str); 9] = [
    ("Europe/Berlin", "2026-03-29T01:00:00Z"),
    ("Europe/Berlin", "2026-10-25T01:00:00Z"),
    ("America/New_York", "2026-11-01T06:00:00Z"),
    ("Australia/Lord_Howe", "2026-04-04T15:00:00Z"),
    ("America/Sao_Paulo", "2018-11-04T03:00:00Z"),
    ("America/Havana", "2026-11-01T05:00:00Z"),
    ("Pacific/Apia", "2011-12-30T10:00:00Z"),
    ("Asia/Kolkata", "2026-01-01T00:00:00Z"),
    ("UTC", "1970-01-01T00:00:00Z"),
];

/// A calendar, and about when to look at it.
pub fn random(rng: &mut StdRng) -> (Calendar, i64) {
    let (zone, moment) = ODD.choose(rng).unwrap();
    let size = *[1, 1, 1, 2, 7].choose(rng).unwrap();
    let every = if rng.random() { size } else { rng.random_range(1..=size + 1) };
    let moment = DateTime::parse_from_rfc3339(moment).unwrap().timestamp_micros();
    (Calendar::new(zone.parse().unwrap(), size, every, rng.random_range(0..7)), moment)
}

/// The windows of a calendar that hold a time.
pub fn holding(calendar: Calendar, ts: i64) -> Vec<(i64, i64)> {
    type Windows = HashMap<(String, i64), Vec<(i64, i64)>>;
    thread_local! {
        static KNOWN: RefCell<Windows> = RefCell::default();
    }
    let asked = (format!("{calendar:?}"), ts);
    KNOWN.with(|known| known.borrow_mut().entry(asked).or_insert_with(|| walked(calendar, ts)).clone())
}

fn walked(calendar: Calendar, ts: i64) -> Vec<(i64, i64)> {
    let (zone, size, today) = (calendar.zone(), calendar.size(), shown(calendar.zone(), ts));
    let days = (today - size - 2..today + 3).rev().filter(|day| (day - calendar.first()) % calendar.every() == 0);
    let windows = days.map(|day| (begins(zone, day), begins(zone, day + size)));
    let holding = windows.filter(|(start, end)| (*start..*end).contains(&i128::from(ts)));
    let mut found: Vec<(i64, i64)> =
        holding.filter_map(|(start, end)| Some((i64::try_from(start).ok()?, end as i64))).collect();
    // Of windows that begin at once, since a day was left out, the newest is there.
    found.dedup_by_key(|(start, _)| *start);
    found
}

/// The day that the zone's clocks show.
fn shown(zone: Tz, ts: i64) -> i64 {
    let local = DateTime::from_timestamp_micros(ts)
        .map_or(ts, |time| zone.from_utc_datetime(&time.naive_utc()).naive_local().and_utc().timestamp_micros());
    local.div_euclid(DAY_US)
}

/// When the zone's clocks first show a day, or a later one.
fn begins(zone: Tz, day: i64) -> i128 {
    thread_local! {
        static KNOWN: RefCell<HashMap<(Tz, i64), i128>> = RefCell::default();
    }
    let walk = || {
        let midnight = i128::from(day) * i128::from(DAY_US);
        let Ok(near) = i64::try_from(midnight) else { return midnight };
        if DateTime::from_timestamp_micros(near).is_none() {
            return midnight;
        }
        let quarters = (near - 16 * HOUR_US..near + 28 * HOUR_US).step_by(HOUR_US as usize / 4);
        let first = quarters.into_iter().find(|ts| shown(zone, *ts) >= day);
        i128::from(first.expect("a day begins within a day"))
    };
    KNOWN.with(|known| *known.borrow_mut().entry((zone, day)).or_insert_with(walk))
}
