//! Where the records of a CSV file end, and where the fields of one record lie.
//!
//! The `csv` crate is not used: it takes broken quotes for something that may have been meant, and nobody would hear of it.

use memchr::{memchr, memchr2};

/// A field of a record, in bytes of its text: without the quotes around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field {
    start: usize,
    end: usize,
    /// There are quotes inside, each written twice.
    doubled: bool,
}

impl Field {
    /// What it says. `plain` is memory for a text with quotes.
    pub fn text<'a>(&self, record: &'a str, plain: &'a mut String) -> &'a str {
        let raw = &record[self.start..self.end];
        if !self.doubled {
            return raw;
        }
        plain.clear();
        let mut rest = raw;
        while let Some((before, after)) = rest.split_once("\"\"") {
            plain.push_str(before);
            plain.push('"');
            rest = after;
        }
        plain.push_str(rest);
        plain
    }
}

/// Finds the fields of one record, given without its line break. `None`: it breaks the rules.
pub(super) fn fields(record: &str, delimiter: u8, found: &mut Vec<Field>) -> Option<()> {
    found.clear();
    let bytes = record.as_bytes();
    let mut at = 0;
    loop {
        let field = if bytes.get(at) == Some(&b'"') { quoted(bytes, at + 1)? } else { bare(bytes, at, delimiter)? };
        found.push(field);
        // Behind a closing quote, if there is one.
        at = field.end + usize::from(at < field.start);
        match bytes.get(at) {
            None => return Some(()),
            Some(byte) if *byte == delimiter => at += 1,
            Some(_) => return None,
        }
    }
}

/// A field whose opening quote lies just before `start`.
fn quoted(bytes: &[u8], start: usize) -> Option<Field> {
    let (mut at, mut doubled) = (start, false);
    loop {
        at += memchr(b'"', &bytes[at..])?;
        if bytes.get(at + 1) != Some(&b'"') {
            return Some(Field { start, end: at, doubled });
        }
        doubled = true;
        at += 2;
    }
}

fn bare(bytes: &[u8], start: usize, delimiter: u8) -> Option<Field> {
    let end = memchr2(delimiter, b'"', &bytes[start..]).map_or(bytes.len(), |len| start + len);
    let whole = bytes.get(end) != Some(&b'"') && memchr2(b'\r', b'\n', &bytes[start..end]).is_none();
    whole.then_some(Field { start, end, doubled: false })
}

/// Finds the ends of the records of a file, given in pieces: the line breaks outside quotes.
///
/// Only a quote at a field's start opens quotes, so that a broken record ends with its line. One whose quotes are not closed ends with
/// the first line after the next quote.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CsvFraming {
    delimiter: u8,
    inside: Inside,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Inside {
    /// At the start of a field.
    Start,
    Bare,
    Quotes,
    /// Behind a quote in quotes: the first of two, or the closing one.
    Quote,
}

impl CsvFraming {
    pub fn new(delimiter: u8) -> CsvFraming {
        CsvFraming { delimiter, inside: Inside::Start }
    }

    /// How many of these bytes, which follow those of the call before, are up to the end of the record, its `\n` included. `None`: it does not
    /// end here.
    pub fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            (at, self.inside) = match (self.inside, bytes[at]) {
                (Inside::Start, b'"') => (at + 1, Inside::Quotes),
                (Inside::Quote, b'"') => (at + 1, Inside::Quotes),
                (Inside::Quotes, _) => (at + memchr(b'"', &bytes[at..])? + 1, Inside::Quote),
                (Inside::Start | Inside::Bare | Inside::Quote, _) => {
                    self.inside = Inside::Bare;
                    at += memchr2(self.delimiter, b'\n', &bytes[at..])? + 1;
                    (at, Inside::Start)
                }
            };
            if self.inside == Inside::Start && bytes[at - 1] == b'\n' {
                return Some(at);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields joined by `|`, or `!`.
    fn found(record: &str) -> String {
        let (mut found, mut plain) = (vec![], String::new());
        match fields(record, b',', &mut found) {
            Some(()) => found.iter().map(|f| f.text(record, &mut plain).to_owned()).collect::<Vec<_>>().join("|"),
            None => "!".into(),
        }
    }

    #[test]
    fn fields_of_a_record() {
        for (record, expected) in [
            ("a,b", "a|b"),
            ("", ""),
            (",", "|"),
            ("a,", "a|"),
            (" a ,b", " a |b"),
            ("\"a\",\"b\"", "a|b"),
            ("\"\",b", "|b"),
            ("\"a,\nb\"\"c\r\n\",d", "a,\nb\"c\r\n|d"),
            ("\"\"\"\"", "\""),
            ("\"\"\"\"\"\"", "\"\""),
            ("\"a\"\"\"", "a\""),
            ("a\"b", "!"),
            ("a,b\"", "!"),
            ("\"a\"b", "!"),
            ("\"a\" ,b", "!"),
            (" \"a\",b", "!"),
            ("\"a", "!"),
            ("\"a\"\"", "!"),
            ("a\nb", "!"),
            ("a\rb", "!"),
            ("a,\r", "!"),
            ("é,\u{1f600}", "é|\u{1f600}"),
        ] {
            assert_eq!(found(record), expected, "{record:?}");
        }
    }

    /// However the bytes come.
    #[test]
    fn records_of_a_file() {
        for (file, expected) in [
            ("a,b\nc,d\n", &["a,b\n", "c,d\n"][..]),
            ("a\r\nb", &["a\r\n", "b"]),
            ("\n\n", &["\n", "\n"]),
            ("\"a\nb\",c\nd\n", &["\"a\nb\",c\n", "d\n"]),
            ("\"a\"\"\nb\"\nc\n", &["\"a\"\"\nb\"\n", "c\n"]),
            ("\"\"\n\"\"\"\n\"\nx", &["\"\"\n", "\"\"\"\n\"\n", "x"]),
            ("a\"b\nc\n", &["a\"b\n", "c\n"]),
            ("\"a\"b\nc\n", &["\"a\"b\n", "c\n"]),
            ("\"a\n1,\"x\"\nc\n", &["\"a\n1,\"x\"\n", "c\n"]),
            ("a,\"b\n", &["a,\"b\n"]),
            ("x, \"b\nc\n", &["x, \"b\n", "c\n"]),
            ("", &[]),
        ] {
            for piece in 1..=file.len().max(1) {
                let (mut framing, mut records, mut record) = (CsvFraming::new(b','), vec![], String::new());
                for mut bytes in file.as_bytes().chunks(piece) {
                    while let Some(end) = framing.next(bytes) {
                        record += std::str::from_utf8(&bytes[..end]).unwrap();
                        records.push(std::mem::take(&mut record));
                        bytes = &bytes[end..];
                    }
                    record += std::str::from_utf8(bytes).unwrap();
                }
                records.extend(Some(record).filter(|tail| !tail.is_empty()));
                assert_eq!(records, expected, "{file:?} in pieces of {piece}");
            }
        }
    }
}
