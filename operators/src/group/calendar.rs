//! Windows of whole days as a zone's calendar has them: from one midnight to another, whatever the clocks did in between.
//!
//! ```text
//! Europe/Berlin, one day     [2026-03-28T23:00Z, 2026-03-29T22:00Z)   23 h: 2026-03-29, when clocks go forward
//!                            [2026-03-29T22:00Z, 2026-03-30T22:00Z)   24 h
//!                            [2026-10-24T22:00Z, 2026-10-25T23:00Z)   25 h: 2026-10-25, when clocks go back
//! ```
//!
//! A day begins at the first moment at which a clock on the wall has come to it: where midnight is left out, that is the moment after
//! the gap; where it comes twice, the first one. A day that a zone left out altogether (Samoa, 2011-12-30) has no window.

use chrono::{DateTime, LocalResult, NaiveDateTime, Offset, TimeZone};
use chrono_tz::Tz;
use headwater_clocks::{EventTime, Span, Time};

const SECOND_US: i64 = 1_000_000;
pub(super) const DAY_US: i64 = 86_400 * SECOND_US;
/// No two clocks of the world are further apart, at whatever time.
const OFFSETS_US: i64 = 26 * 3_600 * SECOND_US;
/// Further away from 1970 than this many days a zone is as UTC: it is past what the library of zones can say.
const DAYS_MAX: i64 = 36_500_000;

/// Windows of `size` days, of which one begins every `every` days, counted from `first`. Days are numbered from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Calendar {
    zone: Tz,
    size: i64,
    every: i64,
    first: i64,
}

impl Calendar {
    /// `size` and `every`: days, at least one. `first`: the number of a day on which a window begins.
    pub fn new(zone: Tz, size: i64, every: i64, first: i64) -> Calendar {
        assert!(size > 0 && every > 0, "windows of {size} days every {every}");
        Calendar { zone, size, every, first: first.rem_euclid(every) }
    }

    /// Whose midnights they are.
    pub fn zone(self) -> Tz {
        self.zone
    }

    /// How many days a window has.
    pub fn size(self) -> i64 {
        self.size
    }

    /// How many days lie from one start to the next.
    pub fn every(self) -> i64 {
        self.every
    }

    /// The first day since 1970-01-01 on which a window begins.
    pub fn first(self) -> i64 {
        self.first
    }

    /// The start of the newest window that has begun by `ts`.
    pub(super) fn newest(self, ts: EventTime) -> EventTime {
        self.begins(self.newest_day(ts))
    }

    /// The start of the newest window that began before the one that begins at `start`.
    pub(super) fn before(self, start: EventTime) -> Option<EventTime> {
        let mut day = self.newest_day(start);
        // Where a zone left out days, several begin at once.
        while self.begins(day) >= start {
            if self.begins(day) == EventTime::BEFORE_ALL {
                return None;
            }
            day -= self.every;
        }
        Some(self.begins(day))
    }

    /// When the window ends that begins at `start`.
    pub(super) fn end(self, start: EventTime) -> EventTime {
        self.begins(self.newest_day(start) + self.size)
    }

    /// No window is longer.
    pub(super) fn longest(self) -> Span {
        Span::from_us(self.size.saturating_mul(DAY_US).saturating_add(OFFSETS_US))
    }

    /// The last day, of those on which a window begins, that has begun by `ts`.
    fn newest_day(self, ts: EventTime) -> i64 {
        let day = (ts.us() + self.offset(ts)).div_euclid(DAY_US);
        let mut newest = day - (day - self.first).rem_euclid(self.every);
        while self.begins(newest) > ts {
            newest -= self.every;
        }
        // A clock that was set back shows a day before the one that had begun.
        while self.begins(newest + self.every) <= ts && self.begins(newest) < EventTime::AFTER_ALL {
            newest += self.every;
        }
        newest
    }

    /// What the zone's clocks are ahead of UTC, in microseconds.
    fn offset(self, ts: EventTime) -> i64 {
        utc(ts.us())
            .map_or(0, |utc| i64::from(self.zone.offset_from_utc_datetime(&utc).fix().local_minus_utc()) * SECOND_US)
    }

    /// The first moment at which the zone's clocks have come to a day.
    fn begins(self, day: i64) -> EventTime {
        let midnight = day.saturating_mul(DAY_US);
        let Some(local) = utc(midnight) else { return EventTime::from_us(midnight) };
        EventTime::from_us(match self.zone.from_local_datetime(&local) {
            LocalResult::Single(one) => one.timestamp_micros(),
            LocalResult::Ambiguous(one, other) => one.min(other).timestamp_micros(),
            LocalResult::None => self.after_gap(midnight),
        })
    }

    /// The moment at which the zone's clocks jumped over a time: they do so at whole seconds.
    fn after_gap(self, midnight: i64) -> i64 {
        let (mut before, mut after) = (-OFFSETS_US / SECOND_US, OFFSETS_US / SECOND_US);
        while after - before > 1 {
            let middle = before + (after - before) / 2;
            let moment = midnight + middle * SECOND_US;
            if moment + self.offset(EventTime::from_us(moment)) < midnight { before = middle } else { after = middle }
        }
        midnight + after * SECOND_US
    }
}

/// A time as the library of zones has it, without a zone.
fn utc(us: i64) -> Option<NaiveDateTime> {
    let is_near = us.div_euclid(DAY_US).abs() <= DAYS_MAX;
    DateTime::from_timestamp_micros(us).filter(|_| is_near).map(|time| time.naive_utc())
}

#[cfg(test)]
mod tests {
    use chrono_tz::TZ_VARIANTS;
    use rand::rngs::StdRng;
    use rand::seq::IndexedRandom;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::group::Fixed;

    const HOUR_US: i64 = 3_600 * SECOND_US;

    fn calendar(zone: &str, size: i64, every: i64, first: i64) -> Calendar {
        Calendar::new(zone.parse().unwrap(), size, every, first)
    }

    fn at(text: &str) -> EventTime {
        EventTime::from_us(DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
    }

    #[test]
    fn days_and_weeks_of_zones() {
        // Monday, 1970-01-05.
        const MONDAY: i64 = 4;
        let day = |zone| calendar(zone, 1, 1, 0);
        for (calendar, ts, start, end, hours) in [
            (day("Europe/Berlin"), "2026-03-29T00:59:59Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z", 23),
            (day("Europe/Berlin"), "2026-03-29T22:00:00Z", "2026-03-29T22:00:00Z", "2026-03-30T22:00:00Z", 24),
            (day("Europe/Berlin"), "2026-10-25T22:59:59Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z", 25),
            (day("UTC"), "1969-12-31T23:59:59Z", "1969-12-31T00:00:00Z", "1970-01-01T00:00:00Z", 24),
            // Half an hour, forward and back.
            (day("Australia/Lord_Howe"), "2026-04-04T13:00:00Z", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z", 24),
            // No midnight: the day begins at one o'clock.
            (day("America/Sao_Paulo"), "2018-11-04T03:00:00Z", "2018-11-04T03:00:00Z", "2018-11-05T02:00:00Z", 23),
            // Midnight twice: the first.
            (day("America/Havana"), "2026-11-01T04:00:00Z", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z", 25),
            // A minute past midnight clocks went back to the day before, which was over.
            (day("America/St_Johns"), "2010-11-07T02:40:00Z", "2010-11-07T02:30:00Z", "2010-11-08T03:30:00Z", 25),
            // There was no 2011-12-30.
            (day("Pacific/Apia"), "2011-12-30T09:59:59Z", "2011-12-29T10:00:00Z", "2011-12-30T10:00:00Z", 24),
            (day("Pacific/Apia"), "2011-12-30T10:00:00Z", "2011-12-30T10:00:00Z", "2011-12-31T10:00:00Z", 24),
            (
                calendar("UTC", 7, 7, MONDAY),
                "2026-11-30T12:00:00Z",
                "2026-11-30T00:00:00Z",
                "2026-12-07T00:00:00Z",
                168,
            ),
            (calendar("UTC", 7, 7, 0), "2026-11-30T12:00:00Z", "2026-11-26T00:00:00Z", "2026-12-03T00:00:00Z", 168),
            (
                calendar("America/New_York", 7, 7, MONDAY + 6),
                "2026-03-08T08:00:00Z",
                "2026-03-08T05:00:00Z",
                "2026-03-15T04:00:00Z",
                167,
            ),
            // As far as the rules of today reach.
            (day("Europe/Berlin"), "2060-07-01T12:00:00Z", "2060-06-30T22:00:00Z", "2060-07-01T22:00:00Z", 24),
        ] {
            let found = (calendar.newest(at(ts)), calendar.end(calendar.newest(at(ts))));
            assert_eq!(found, (at(start), at(end)), "{calendar:?} {ts}");
            assert_eq!((found.1 - found.0).us() / HOUR_US, hours, "{calendar:?} {ts}");
            assert!(found.1 - found.0 <= calendar.longest());
        }
    }

    /// What a day is, by a walk over its seconds: the first at which the zone's clocks show that day or a later one.
    fn walked(zone: Tz, from: i64, to: i64) -> Vec<(EventTime, i64)> {
        let local_day = |ts: i64| {
            let local = zone.from_utc_datetime(&DateTime::from_timestamp_micros(ts).unwrap().naive_utc()).naive_local();
            local.and_utc().timestamp_micros().div_euclid(DAY_US)
        };
        let mut latest = local_day(from);
        let mut days = vec![];
        for ts in (from..to).step_by(SECOND_US as usize * 30) {
            let day = local_day(ts);
            if day > latest {
                days.push((EventTime::from_us(ts), day));
                latest = day;
            }
        }
        days
    }

    #[test]
    fn any_zone_is_as_its_clocks_show() {
        let mut rng = StdRng::seed_from_u64(1506);
        for _ in 0..300 {
            let zone = *TZ_VARIANTS.choose(&mut rng).unwrap();
            let from = rng.random_range(at("1972-06-30T00:00:00Z").us()..at("2037-01-01T00:00:00Z").us());
            let from = from - from.rem_euclid(30 * SECOND_US);
            // Most days are dull: look where the offset changes.
            let calendar = Calendar::new(zone, 1, 1, 0);
            let offset = |us| calendar.offset(EventTime::from_us(us));
            let change = (0..400).map(|day| from + day * DAY_US).find(|ts| offset(*ts) != offset(ts + DAY_US));
            let from = change.unwrap_or(from) - 2 * DAY_US;
            for (start, day) in walked(zone, from, from + 5 * DAY_US) {
                let what = (zone, start, day);
                assert_eq!((calendar.newest(start), calendar.begins(day)), (start, start), "{what:?}");
                assert_eq!(calendar.end(calendar.newest(start.just_before())), start, "{what:?}");
                assert_eq!(calendar.before(start), Some(calendar.newest(start.just_before())), "{what:?}");
            }
        }
    }

    #[test]
    fn windows_hold_what_lies_in_them_and_end_where_the_next_begins() {
        let mut rng = StdRng::seed_from_u64(1507);
        for n in 0..3_000 {
            let zone = *TZ_VARIANTS.choose(&mut rng).unwrap();
            let (size, every) = (rng.random_range(1..15), rng.random_range(1..10));
            let calendar = Calendar::new(zone, size, every, rng.random_range(-20..20));
            let ts = match n % 10 {
                0 => *[i64::MIN, i64::MIN + 1, i64::MAX, i64::MAX - 1, 0, -1].choose(&mut rng).unwrap(),
                1 => rng.random::<i64>(),
                _ => rng.random_range(at("1800-01-01T00:00:00Z").us()..at("2200-01-01T00:00:00Z").us()),
            };
            let ts = EventTime::from_us(ts);
            let start = calendar.newest(ts);
            let what = (calendar, ts, start);
            assert!(start <= ts && calendar.newest(start) == start, "{what:?}");
            let end = calendar.end(start);
            assert!(end >= start && end - start <= calendar.longest(), "{what:?} {end}");
            assert_eq!(
                Fixed::Calendar(calendar).holds(start, ts),
                ts < end && start > EventTime::BEFORE_ALL,
                "{what:?} {end}"
            );
            if let Some(before) = calendar.before(start) {
                assert!(before < start && calendar.newest(start.just_before()) == before, "{what:?} {before}");
            }
        }
    }
}
