//! Dead letters: records that could not be used, one JSON line for each record and reason.
//!
//! ```json
//! {"source":"transactions","reason":"late","partition":0,"offset":17,"arrival":"...","payload":"{...}","late_by_us":5}
//! ```

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use headwater_clocks::{Arrival, Offset, Span, Tick, Time, write_time};
use serde::{Deserialize, Serialize};

use super::lines::{LineMeta, LineSink};
use crate::Result;
use crate::format::text::write_string;

/// A record that could not be used, and why. It travels to the process that writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The source's name.
    pub source: String,
    /// `malformed`, `null event time`, `future`, `expression`, `null key`, `long key` or `late`.
    pub reason: String,
    /// Where it lies: of a stream's record, and of a history's row where the seam is by offset.
    pub partition: Option<i32>,
    /// See `partition`.
    pub offset: Option<Offset>,
    /// Where it has one.
    pub arrival: Option<Arrival>,
    /// The record as it was read; of a Parquet row, its JSON.
    pub payload: Vec<u8>,
    /// Of reason `late` only; within it `None` where it is not known.
    pub late_by: Option<Option<Span>>,
}

impl DeadLetter {
    /// Appends the line, without its end.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(out, |out| match std::str::from_utf8(&self.payload) {
            Ok(text) => {
                out.extend_from_slice(b",\"payload\":");
                write_string(out, text);
            }
            Err(_) => {
                out.extend_from_slice(b",\"payload_base64\":");
                write_string(out, &BASE64_STANDARD.encode(&self.payload));
            }
        });
    }

    /// Where the line would be too long: how long the record was, in its stead.
    fn write_without_payload(&self, out: &mut Vec<u8>) {
        self.write_with(out, |out| {
            out.extend_from_slice(b",\"payload\":null");
            number(out, "payload_bytes", i64::try_from(self.payload.len()).ok());
        });
    }

    /// What a topic knows the letter's record by: `{"source":"transactions","partition":0,"offset":17}`.
    fn write_key(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"source\":");
        write_string(out, &self.source);
        number(out, "partition", self.partition.map(i64::from));
        number(out, "offset", self.offset.map(Offset::number));
        out.push(b'}');
    }

    fn write_with(&self, out: &mut Vec<u8>, payload: impl Fn(&mut Vec<u8>)) {
        out.extend_from_slice(b"{\"source\":");
        write_string(out, &self.source);
        out.extend_from_slice(b",\"reason\":");
        write_string(out, &self.reason);
        number(out, "partition", self.partition.map(i64::from));
        number(out, "offset", self.offset.map(Offset::number));
        out.extend_from_slice(b",\"arrival\":");
        match self.arrival {
            Some(a) => {
                out.push(b'"');
                write_time(out, a.us());
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        payload(out);
        if let Some(late_by) = self.late_by {
            number(out, "late_by_us", late_by.map(Span::us));
        }
        out.push(b'}');
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: Option<i64>) {
    let value = value.map_or("null".into(), |n| n.to_string());
    out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
}

/// Writes dead letters, each with the tick at which it was told (`None`: before the first one, of the history).
///
/// # Errors
/// Those of the sink.
pub fn write(to: &mut dyn LineSink, dead_letters: &[(Option<Tick>, DeadLetter)]) -> Result<()> {
    let mut line = Vec::new();
    for (time, letter) in dead_letters {
        line.clear();
        letter.write(&mut line);
        if line.len() > to.line_bytes_max() {
            line.clear();
            letter.write_without_payload(&mut line);
        }
        to.write(&line, &LineMeta { key: &|out| letter.write_key(out), time: *time })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::samples::WrittenLines;
    use super::*;

    fn letter(reason: &str) -> DeadLetter {
        DeadLetter {
            source: "tx".into(),
            reason: reason.into(),
            partition: None,
            offset: None,
            arrival: None,
            payload: b"{\"a\":\"\xc3\xbc\"}\n".to_vec(),
            late_by: None,
        }
    }

    #[test]
    fn lines() {
        let payload = r#""payload":"{\"a\":\"ü\"}\n""#;
        for (letter, line) in [
            (
                letter("null key"),
                format!(r#"{{"source":"tx","reason":"null key","partition":null,"offset":null,"arrival":null,{payload}}}"#),
            ),
            (
                DeadLetter { partition: Some(3), offset: Some(Offset::at(17)), arrival: Some(Arrival::from_us(1_500_000)), ..letter("future") },
                format!(r#"{{"source":"tx","reason":"future","partition":3,"offset":17,"arrival":"1970-01-01T00:00:01.500Z",{payload}}}"#),
            ),
            (
                DeadLetter { payload: b"\xff\x00".to_vec(), ..letter("malformed") },
                r#"{"source":"tx","reason":"malformed","partition":null,"offset":null,"arrival":null,"payload_base64":"/wA="}"#.into(),
            ),
            (
                DeadLetter { late_by: Some(Some(Span::from_us(5))), ..letter("late") },
                format!(r#"{{"source":"tx","reason":"late","partition":null,"offset":null,"arrival":null,{payload},"late_by_us":5}}"#),
            ),
            (
                DeadLetter { late_by: Some(None), ..letter("late") },
                format!(r#"{{"source":"tx","reason":"late","partition":null,"offset":null,"arrival":null,{payload},"late_by_us":null}}"#),
            ),
        ] {
            let mut out = Vec::new();
            letter.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), line);
        }
    }

    #[test]
    fn a_record_that_makes_too_long_a_line_is_left_out_of_it() {
        let long = DeadLetter {
            payload: vec![b'"'; 250],
            offset: Some(Offset::at(4)),
            partition: Some(0),
            ..letter("malformed")
        };
        let mut kept = WrittenLines::default();
        write(&mut kept, &[(None, letter("late")), (Some(Tick::from_us(7)), long)]).unwrap();
        assert!(kept.lines[0].contains(r#""payload":"{\"a\""#), "{}", kept.lines[0]);
        let head = r#"{"source":"tx","reason":"malformed","partition":0,"offset":4,"arrival":null"#;
        assert_eq!(kept.lines[1], format!(r#"{head},"payload":null,"payload_bytes":250}}"#));
        assert_eq!(kept.keys[1], r#"{"source":"tx","partition":0,"offset":4}"#);
    }
}
