//! Dead letters: records that could not be used, one JSON line for each record and reason.
//!
//! ```json
//! {"source":"transactions","reason":"late","partition":0,"offset":17,"arrival":"...","payload":"{...}","late_by_us":5}
//! ```

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use super::line_file::LineFile;
use crate::Result;
use crate::format::text::{write_string, write_time};

/// A record that could not be used, and why. It travels to the process that writes it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DeadLetter {
    pub source: String,
    /// `malformed`, `null event time`, `future`, `expression`, `null key` or `late`.
    pub reason: String,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    pub arrival_us: Option<i64>,
    /// The record as it was read; of a Parquet row, its JSON.
    pub payload: Vec<u8>,
    /// Of reason `late` only; within it `None` where it is not known.
    pub late_by_us: Option<Option<i64>>,
}

impl DeadLetter {
    /// Appends the line with its end.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"source\":");
        write_string(out, &self.source);
        out.extend_from_slice(b",\"reason\":");
        write_string(out, &self.reason);
        number(out, "partition", self.partition.map(i64::from));
        number(out, "offset", self.offset);
        out.extend_from_slice(b",\"arrival\":");
        match self.arrival_us {
            Some(us) => {
                out.push(b'"');
                write_time(out, us);
                out.push(b'"');
            }
            None => out.extend_from_slice(b"null"),
        }
        match std::str::from_utf8(&self.payload) {
            Ok(text) => {
                out.extend_from_slice(b",\"payload\":");
                write_string(out, text);
            }
            Err(_) => {
                out.extend_from_slice(b",\"payload_base64\":");
                write_string(out, &BASE64_STANDARD.encode(&self.payload));
            }
        }
        if let Some(late_by_us) = self.late_by_us {
            number(out, "late_by_us", late_by_us);
        }
        out.extend_from_slice(b"}\n");
    }
}

fn number(out: &mut Vec<u8>, name: &str, value: Option<i64>) {
    let value = value.map_or("null".into(), |n| n.to_string());
    out.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
}

/// Dead letters in a JSONL file. Written by one process.
pub struct DeadLetterFile {
    file: LineFile,
}

impl DeadLetterFile {
    /// A fresh run's: replaces an old file and makes missing directories.
    pub fn create(path: &Path) -> Result<DeadLetterFile> {
        Ok(DeadLetterFile { file: LineFile::create(path)? })
    }

    /// A restart's: the old file cut back to its first `bytes`, as `bytes` told them before a checkpoint.
    pub fn resume(path: &Path, bytes: u64) -> Result<DeadLetterFile> {
        Ok(DeadLetterFile { file: LineFile::open(path, bytes)? })
    }

    pub fn write(&mut self, letters: &[DeadLetter]) -> Result<()> {
        let mut lines = Vec::new();
        for letter in letters {
            letter.write(&mut lines);
        }
        self.file.write(&lines)
    }

    /// What the file holds once it is flushed, in bytes: where a checkpoint leaves it.
    pub fn bytes(&self) -> u64 {
        self.file.bytes()
    }

    /// Other processes see what has been written.
    pub fn flush(&mut self) -> Result<()> {
        self.file.flush()
    }

    /// What has been written is on the disk.
    pub fn sync(&mut self) -> Result<()> {
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(reason: &str) -> DeadLetter {
        DeadLetter {
            source: "tx".into(),
            reason: reason.into(),
            partition: None,
            offset: None,
            arrival_us: None,
            payload: b"{\"a\":\"\xc3\xbc\"}\n".to_vec(),
            late_by_us: None,
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
                DeadLetter { partition: Some(3), offset: Some(17), arrival_us: Some(1_500_000), ..letter("future") },
                format!(r#"{{"source":"tx","reason":"future","partition":3,"offset":17,"arrival":"1970-01-01T00:00:01.500Z",{payload}}}"#),
            ),
            (
                DeadLetter { payload: b"\xff\x00".to_vec(), ..letter("malformed") },
                r#"{"source":"tx","reason":"malformed","partition":null,"offset":null,"arrival":null,"payload_base64":"/wA="}"#.into(),
            ),
            (
                DeadLetter { late_by_us: Some(Some(5)), ..letter("late") },
                format!(r#"{{"source":"tx","reason":"late","partition":null,"offset":null,"arrival":null,{payload},"late_by_us":5}}"#),
            ),
            (
                DeadLetter { late_by_us: Some(None), ..letter("late") },
                format!(r#"{{"source":"tx","reason":"late","partition":null,"offset":null,"arrival":null,{payload},"late_by_us":null}}"#),
            ),
        ] {
            let mut out = Vec::new();
            letter.write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), line + "\n");
        }
    }

    #[test]
    fn a_restart_cuts_back_and_goes_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/dead_letters.jsonl");
        let mut file = DeadLetterFile::create(&path).unwrap();
        file.write(&[letter("late"), letter("future")]).unwrap();
        let kept = file.bytes();
        file.write(&[letter("expression")]).unwrap();
        file.sync().unwrap();
        drop(file);
        let mut file = DeadLetterFile::resume(&path, kept).unwrap();
        file.write(&[letter("null key")]).unwrap();
        file.flush().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.len() as u64, file.bytes());
        let reasons: Vec<_> = text.lines().map(|l| l.split('"').nth(7).unwrap()).collect();
        assert_eq!(reasons, ["late", "future", "null key"]);
    }
}
