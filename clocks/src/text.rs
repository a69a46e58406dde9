//! Times and days as text.

use std::fmt::Display;
use std::io::Write;

/// A time in microseconds since 1970 as RFC 3339 in UTC: no fraction where it is zero, three digits where it is whole
/// milliseconds, else six. Years that RFC 3339 cannot hold are written with a sign: `+10000-01-01T00:00:00Z`.
///
/// ```
/// use headwater_clocks::format_time;
/// assert_eq!(format_time(0), "1970-01-01T00:00:00Z");
/// assert_eq!(format_time(1_310_000), "1970-01-01T00:00:01.310Z");
/// assert_eq!(format_time(-1), "1969-12-31T23:59:59.999999Z");
/// ```
pub fn format_time(us: i64) -> String {
    let mut out = Vec::with_capacity(27);
    write_time(&mut out, us);
    String::from_utf8_lossy(&out).into_owned()
}

/// Appends [`format_time`], without quotes.
pub fn write_time(out: &mut Vec<u8>, us: i64) {
    const DAY: i64 = 86_400_000_000;
    write_date(out, us.div_euclid(DAY));
    let (second, fraction) = (us.rem_euclid(DAY) / 1_000_000, us.rem_euclid(1_000_000));
    put(out, format_args!("T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60));
    match fraction {
        0 => {}
        f if f % 1000 == 0 => put(out, format_args!(".{:03}", f / 1000)),
        f => put(out, format_args!(".{f:06}")),
    }
    out.push(b'Z');
}

/// Appends a day since 1970 as `2026-01-31`. The calendar is the Gregorian one, before its beginning too.
pub fn write_date(out: &mut Vec<u8>, days: i64) {
    // Years that begin in March, in eras of 400: the leap day is then the last of its year.
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    match year {
        0..=9999 => put(out, format_args!("{year:04}-{month:02}-{day:02}")),
        _ => put(out, format_args!("{year:+05}-{month:02}-{day:02}")),
    }
}

fn put(out: &mut Vec<u8>, text: impl Display) {
    write!(out, "{text}").expect("a Vec takes what is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        for (us, text) in [
            (1_767_264_432_310_000, "2026-01-01T10:47:12.310Z"),
            (951_782_400_000_000, "2000-02-29T00:00:00Z"),
            (1, "1970-01-01T00:00:00.000001Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
            (-62_167_219_200_000_001, "-0001-12-31T23:59:59.999999Z"),
            (253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
            (253_402_300_800_000_000, "+10000-01-01T00:00:00Z"),
            (i64::MAX, "+294247-01-10T04:00:54.775807Z"),
            (i64::MIN, "-290308-12-21T19:59:05.224192Z"),
        ] {
            assert_eq!(format_time(us), text);
        }
    }
}
