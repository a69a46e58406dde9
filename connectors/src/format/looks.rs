//! What bytes look like that are of another kind than a job says: by how they begin, and with what to do about it.
//!
//! ```text
//! a.jsonl: 1f 8b ...               packed with gzip: let its name end in `.gz`
//! a.jsonl: [{"x":1},               one JSON array: ...
//! a.jsonl: [1]\n{"x":1}\n          (nothing) one bad record is data, and so is the first one
//! ```
//!
//! A file of another kind is an error with its name; a record of a stream is a dead letter, of which this is a hint. So of a file only what
//! is plain is told: no record of its kind begins so, whatever follows.

/// How much of a file is looked at.
pub(crate) const START_BYTES: usize = 64 << 10;

/// Bytes that are no text in UTF-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Look {
    /// Completes "it is ...".
    pub what: &'static str,
    /// Of a file of lines: what to do.
    of_lines: &'static str,
}

const REPACK: &str = "pack it with gzip (`.gz`) or Zstandard (`.zst`) instead";
const AS_PARQUET: &str = "that is not read, write it as Parquet";
const AS_UTF_8: &str = "write it as UTF-8 (`iconv -f UTF-16 -t UTF-8`)";

const SIGNATURES: &[(&[u8], Look)] = &[
    (b"\x1f\x8b\x08", Look { what: "packed with gzip", of_lines: "let its name end in `.gz`" }),
    (b"\x28\xb5\x2f\xfd", Look { what: "packed with Zstandard", of_lines: "let its name end in `.zst`" }),
    (b"\xfd7zXZ\0", Look { what: "packed with xz", of_lines: REPACK }),
    (b"\x04\x22\x4d\x18", Look { what: "packed with LZ4", of_lines: REPACK }),
    (b"\xff\x06\0\0sNaPpY", Look { what: "packed with Snappy", of_lines: REPACK }),
    (b"PK\x03\x04", Look { what: "a ZIP archive", of_lines: REPACK }),
    (b"Obj\x01", Look { what: "an Avro file", of_lines: "that is type = \"avro\"" }),
    (b"ARROW1\0\0", Look { what: "an Arrow file", of_lines: AS_PARQUET }),
    (b"\xff\xfe\0\0", Look { what: "UTF-32", of_lines: "write it as UTF-8 (`iconv -f UTF-32 -t UTF-8`)" }),
    (b"\xff\xfe", Look { what: "UTF-16", of_lines: AS_UTF_8 }),
    (b"\xfe\xff", Look { what: "UTF-16", of_lines: AS_UTF_8 }),
];

/// What bytes are by their first ones; `None`: that does not say.
pub(crate) fn of_bytes(start: &[u8]) -> Option<Look> {
    let found = SIGNATURES.iter().find(|(signature, _)| start.starts_with(signature)).map(|(_, look)| *look);
    found.or_else(|| packed_by_bzip2(start)).or_else(|| parquet(start)).or_else(|| utf_16(start))
}

/// Its level is a digit, and its first block begins with the digits of pi.
fn packed_by_bzip2(start: &[u8]) -> Option<Look> {
    let is_one = start.starts_with(b"BZh") && start.get(4..10) == Some(b"1AY&SY");
    is_one.then_some(Look { what: "packed with bzip2", of_lines: REPACK })
}

/// Behind the mark comes a page, which no text begins with.
fn parquet(start: &[u8]) -> Option<Look> {
    let is_one = start.starts_with(b"PAR1") && start.get(4).is_some_and(|byte| byte.is_ascii_control());
    is_one.then_some(Look { what: "a Parquet file", of_lines: "that is type = \"parquet\"" })
}

/// Without a mark at its start: every other byte is 0.
fn utf_16(start: &[u8]) -> Option<Look> {
    let pairs = start[..start.len().min(32)].chunks_exact(2);
    let is_all = |low: usize| pairs.clone().all(|pair| pair[low] != 0 && pair[1 - low] == 0);
    let is_one = pairs.len() > 1 && (is_all(0) || is_all(1));
    is_one.then_some(Look { what: "UTF-16", of_lines: AS_UTF_8 })
}

impl Look {
    /// What is wrong with a file of lines.
    pub fn of_lines(self) -> String {
        format!("it is {}: {}", self.what, self.of_lines)
    }

    /// The same of a file that holds no lines either.
    pub fn instead_of(self, kind: &str) -> String {
        format!("it is no {kind} file: it is {}", self.what)
    }

    /// What is wrong with a record.
    pub fn of_record(self) -> String {
        match self.what.strip_prefix("packed with ") {
            Some(_) => format!("it is {}: let Kafka pack what is produced (`compression.type`)", self.what),
            None => format!("it is {}", self.what),
        }
    }
}

/// What is wrong with a file of JSON lines, by its start.
pub(crate) fn no_json_lines(start: &[u8]) -> Option<String> {
    if let Some(look) = of_bytes(start) {
        return Some(look.of_lines());
    }
    let (line, behind) = match memchr::memchr(b'\n', start) {
        Some(end) => (start[..end].trim_ascii(), Some(start[end..].trim_ascii())),
        None => (start.trim_ascii(), None),
    };
    // Of a line that goes on behind what is looked at nobody knows how it ends, and what follows it.
    let is_cut = start.len() >= START_BYTES && behind.is_none_or(<[u8]>::is_empty);
    let is_array = match first_in_array(start).filter(|_| !is_cut) {
        // An array that ends with its line is the whole file, or a bad record among others.
        Some(b'{' | b']') if line.ends_with(b"]") => behind.is_none_or(<[u8]>::is_empty),
        Some(b'{') => true,
        Some(b']') => behind.is_some_and(|behind| behind == b"]"),
        _ => false,
    };
    if is_array {
        return Some("it is one JSON array: JSON lines are one object a line (`jq -c '.[]'` makes them)".into());
    }
    let is_spread = line == b"{" && behind.is_some_and(|behind| behind.starts_with(b"\""));
    is_spread
        .then(|| "its objects lie in several lines: JSON lines are one object a line (`jq -c .` makes them)".into())
}

/// The first byte inside of an array.
fn first_in_array(start: &[u8]) -> Option<u8> {
    start.trim_ascii_start().strip_prefix(b"[")?.trim_ascii_start().first().copied()
}

/// What a record of JSON looks like that is none.
pub(super) fn no_json(value: &[u8]) -> Option<String> {
    if let Some(look) = of_bytes(value) {
        return Some(look.of_record());
    }
    let is_framed = value.first() == Some(&0) && value.len() > 5;
    let text = value.trim_ascii_start();
    let why = match text.first() {
        _ if is_framed && value[5..].trim_ascii_start().starts_with(b"{") => {
            "the id of a schema stands before it: name the registry in `[...stream.registry]`"
        }
        _ if is_framed => {
            "it looks like Avro or Protobuf with the id of a schema before it: say `format`, and name the registry in `[...stream.registry]`"
        }
        Some(b'[') => "it is a JSON array, and a record has to be one object",
        Some(b'"') if text.len() > 2 && matches!(text[1], b'{' | b'\\') => {
            "it is a text with JSON in it, encoded twice"
        }
        Some(_) if std::str::from_utf8(value).is_err() => "it is no text in UTF-8",
        Some(b'{') if memchr::memmem::find(text, b"}\n{").is_some() => {
            "it is several objects, and a record has to be one"
        }
        Some(b'{') | None => return None,
        Some(_) if text.contains(&b',') => "it looks like CSV: say format = \"csv\"",
        Some(_) => return None,
    };
    Some(why.into())
}

/// What a record of a format that is no text looks like that is none of it.
pub(super) fn no_binary(value: &[u8]) -> Option<String> {
    let is_json = value.trim_ascii_start().starts_with(b"{\"");
    let json = || is_json.then(|| "it looks like JSON: say format = \"json\"".to_owned());
    of_bytes(value).map(Look::of_record).or_else(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf_16(text: &str, unit: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(unit).collect()
    }

    #[test]
    fn files_of_another_kind_are_known_by_their_start() {
        let lines = "{\"x\":1}\n{\"x\":2}\n";
        let rows: &[(Vec<u8>, &str)] = &[
            (b"\x1f\x8b\x08\0".to_vec(), "it is packed with gzip: let its name end in `.gz`"),
            (b"\x28\xb5\x2f\xfd\0".to_vec(), "it is packed with Zstandard: let its name end in `.zst`"),
            (b"BZh91AY&SY..".to_vec(), "it is packed with bzip2: pack it with gzip"),
            (b"PAR1\x15\x04".to_vec(), "it is a Parquet file: that is type = \"parquet\""),
            (utf_16(lines, u16::to_le_bytes), "it is UTF-16: write it as UTF-8"),
            (utf_16(lines, u16::to_be_bytes), "it is UTF-16"),
            (utf_16(&format!("\u{feff}{lines}"), u16::to_le_bytes), "it is UTF-16"),
            (b"[{\"x\":1},{\"x\":2}]".to_vec(), "it is one JSON array"),
            (b"[{\"x\":1},{\"x\":2}]\n".to_vec(), "it is one JSON array"),
            (b" [\n  {\"x\":1},\n".to_vec(), "it is one JSON array"),
            (b"[\n]\n".to_vec(), "it is one JSON array"),
            (b"[{\"x\":1},\n{\"x\":2}]".to_vec(), "it is one JSON array"),
            (b"{\n  \"x\": 1\n}\n".to_vec(), "its objects lie in several lines"),
            (b"{\r\n\"x\": 1}".to_vec(), "its objects lie in several lines"),
        ];
        for (start, expected) in rows {
            let told = no_json_lines(start).unwrap_or_default();
            assert!(told.starts_with(expected), "{told:?}, not {expected:?}");
        }
    }

    #[test]
    fn a_line_that_goes_on_says_nothing() {
        let long = format!("[{{\"x\":\"{}\"}}]\n{{}}\n", "x".repeat(START_BYTES));
        assert_eq!(no_json_lines(&long.as_bytes()[..START_BYTES]), None);
        let whole = format!("[{{\"x\":\"{}\"}}]\n", "x".repeat(START_BYTES - 11));
        assert_eq!((whole.len(), no_json_lines(whole.as_bytes())), (START_BYTES, None));
    }

    #[test]
    fn one_bad_record_is_data() {
        for lines in [
            "",
            "\n",
            "{}",
            "{\n",
            "{\n{\"x\":1}\n",
            "[]\n{}\n",
            "[{}]\n{}\n",
            "[1,2]\n",
            "[\n{}\n",
            "BZh9,1\n",
            "PAR1,x\n",
            "PK,1\n",
            "x,y\n",
            "\0\0\0\0\n",
            "é\n",
        ] {
            // An array that opens in its line and has an object in the next one is none that could be a record.
            let expected = lines == "[\n{}\n";
            assert_eq!(no_json_lines(lines.as_bytes()).is_some(), expected, "{lines:?}");
        }
    }

    #[test]
    fn records_of_another_kind_have_a_hint() {
        let rows: &[(&[u8], Option<&str>)] = &[
            (b"\x1f\x8b\x08\0", Some("it is packed with gzip: let Kafka pack what is produced (`compression.type`)")),
            (b"\0\0\0\0\x07{\"x\":1}", Some("the id of a schema stands before it: name the registry")),
            (b"\0\0\0\0\x07\x02a", Some("it looks like Avro or Protobuf")),
            (b" [{\"x\":1}]", Some("it is a JSON array, and a record has to be one object")),
            (br#""{\"x\":1}""#, Some("it is a text with JSON in it, encoded twice")),
            (b"\xff\xfa", Some("it is no text in UTF-8")),
            (b"c1,12.5", Some("it looks like CSV: say format = \"csv\"")),
            (b"{\"x\":1}\n{\"x\":2}\n", Some("it is several objects, and a record has to be one")),
            (b"{\"x\":1", None),
            (b"nonsense", None),
            (b"", None),
        ];
        for (value, expected) in rows {
            let told = no_json(value);
            let is_same = expected.map_or(told.is_none(), |part| told.as_deref().is_some_and(|t| t.starts_with(part)));
            assert!(is_same, "{told:?}, not {expected:?}");
        }
    }
}
