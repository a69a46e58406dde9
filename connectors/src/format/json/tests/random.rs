//! Random records, whole and damaged: `serde_json` says which are well-formed, and what their fields are.

use std::collections::HashMap;

use arrow::datatypes::Int64Type;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::*;

const KEYS: [&str; 8] = ["x", "y", "s", "\\u0078", "other", "a long name for a key", "", "\\\"q"];
const NUMBERS: [&str; 10] =
    ["0", "-1", "12.5", "1e3", "-0.0", "1e999", "1E-7", "123456789012345678", "9223372036854775808", "3"];
const TEXTS: [&str; 7] = ["", "a", "eight ch", "nine char", "\\u00e9 \\n", "\u{1f600} and more of it", "\\\\\\\""];

fn value(rng: &mut StdRng, depth: usize) -> String {
    match rng.random_range(0..if depth > 3 { 5 } else { 7 }) {
        0 | 1 => pick(rng, &NUMBERS).into(),
        2 => format!("\"{}\"", pick(rng, &TEXTS)),
        3 => pick(rng, &["true", "false", "null"]).into(),
        4 => "null".into(),
        5 => object(rng, depth + 1),
        _ => {
            let items: Vec<String> = (0..rng.random_range(0..4)).map(|_| value(rng, depth + 1)).collect();
            format!("[{}]", items.join(pick(rng, &[",", " , "])))
        }
    }
}

fn object(rng: &mut StdRng, depth: usize) -> String {
    let space = pick(rng, &["", "", " ", "\n"]);
    let members: Vec<String> = (0..rng.random_range(0..7))
        .map(|_| format!("\"{}\"{space}:{space}{}", pick(rng, &KEYS), value(rng, depth)))
        .collect();
    format!("{space}{{{space}{}{space}}}{space}", members.join(","))
}

fn pick<'a>(rng: &mut StdRng, of: &[&'a str]) -> &'a str {
    of[rng.random_range(0..of.len())]
}

/// A byte changed, taken out or put in, up to three times.
fn damage(rng: &mut StdRng, record: &mut Vec<u8>) {
    const BYTES: &[u8] = b"{}[]\",:\\ \n\t\0-+.eE0123u/tfn\x7f\x1f\x80\xc3\xa9\xff";
    for _ in 0..rng.random_range(1..=3) {
        let (at, byte) = (rng.random_range(0..record.len().max(1)), BYTES[rng.random_range(0..BYTES.len())]);
        match rng.random_range(0..3) {
            0 if at < record.len() => record[at] = byte,
            1 if at < record.len() => drop(record.remove(at)),
            _ => record.insert(at.min(record.len()), byte),
        }
    }
}

fn well_formed(record: &[u8]) -> bool {
    let text = std::str::from_utf8(record).ok().filter(|text| text.trim_ascii_start().starts_with('{'));
    text.is_some_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The columns x (int64), y (float64) and s (utf8) of a well-formed record, as `show` has them.
fn fields(record: &[u8]) -> Option<[String; 3]> {
    let fields: HashMap<String, Box<RawValue>> = serde_json::from_slice(record).ok()?;
    let field = |name: &str, decode: &dyn Fn(&str) -> Option<String>| match fields.get(name).map(|raw| raw.get()) {
        None | Some("null") => "null".into(),
        Some(raw) => decode(raw).unwrap_or("?".into()),
    };
    Some([
        field("x", &|raw| raw.parse::<i64>().ok().map(|x| x.to_string())),
        field("y", &|raw| raw.parse::<f64>().ok().filter(|y| y.is_finite()).map(|y| format!("{:?}", y + 0.0))),
        field("s", &|raw| serde_json::from_str(raw).ok()),
    ])
}

#[test]
fn random_records_are_judged_as_by_serde_json() {
    let mut rng = StdRng::seed_from_u64(7);
    let columns = [("x", DataType::Int64), ("y", DataType::Float64), ("s", DataType::Utf8)];
    let mut decoder = JsonDecoder::new(&wanted(&columns, MILLIS));
    let (mut broken, mut compared, mut there) = (0, 0, 0);
    for round in 0..400 {
        let records: Vec<Vec<u8>> = (0..250)
            .map(|_| {
                let mut record = object(&mut rng, 0).into_bytes();
                if rng.random_bool(0.6) {
                    damage(&mut rng, &mut record);
                }
                record
            })
            .collect();
        records.iter().for_each(|record| push(&mut decoder, record));
        let decoded = decoder.finish();
        for (row, record) in records.iter().enumerate() {
            let name = || format!("round {round}: {}", String::from_utf8_lossy(record));
            let malformed = decoded.malformed.as_ref().is_some_and(|bits| bits.value(row));
            assert_eq!(malformed, !well_formed(record), "{}", name());
            broken += usize::from(malformed);
            if let Some(expected) = fields(record).filter(|_| !malformed) {
                compared += 1;
                assert_eq!([0, 1, 2].map(|column| show(&decoded, column, row)), expected, "{}", name());
            }
        }
        there += decoded.batch.column(0).as_primitive::<Int64Type>().iter().flatten().count();
    }
    assert!(broken > 10_000 && compared > 30_000 && there > 2_000, "{broken} {compared} {there}");
}
