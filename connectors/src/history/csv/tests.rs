//! Files with headers, quotes and marks.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::super::text::TextHistory;
use super::*;
use crate::{Error, Payload};

fn wanted() -> Wanted {
    let field = |name: &str, t| Field::new(name, t, true);
    let schema = Schema::new(vec![field("n", DataType::Int64), field("s", DataType::Utf8)]);
    Wanted { schema: Arc::new(schema), time_unit_ns: 1_000_000 }
}

fn rows(columns: Option<&str>) -> CsvLayout {
    let columns = columns.map(|names| names.split(' ').map(String::from).collect());
    CsvLayout { columns, dialect: Dialect { delimiter: b',', null: String::new() } }
}

fn history(files: &[&[u8]], columns: Option<&str>) -> (tempfile::TempDir, TextHistory<CsvLayout>) {
    let dir = tempfile::tempdir().unwrap();
    for (n, bytes) in files.iter().enumerate() {
        std::fs::write(dir.path().join(format!("{n}.csv")), bytes).unwrap();
    }
    let history = text::open(&format!("{}/*.csv", dir.path().display()), None, rows(columns)).unwrap();
    (dir, history)
}

/// The records as `n s`, or `!payload`, piece by piece.
fn read(history: &TextHistory<CsvLayout>) -> Result<String> {
    let mut pieces = vec![];
    for piece in history.pieces(&[])? {
        let mut found = vec![];
        for records in history.read(&piece, &wanted())? {
            let records = records?;
            let Payload::Raw(payload) = &records.payload else { panic!("no payload") };
            let (n, s) =
                (records.batch.column(0).as_primitive::<Int64Type>(), records.batch.column(1).as_string::<i32>());
            for row in 0..records.len() {
                let show = |null: bool, text: String| if null { "-".into() } else { text };
                found.push(match records.malformed.as_ref().is_some_and(|bits| bits.value(row)) {
                    true => format!("!{}", String::from_utf8_lossy(payload.value(row))),
                    false => {
                        let n = show(n.is_null(row), n.value(row).to_string());
                        format!("{n} {}", show(s.is_null(row), s.value(row).into()))
                    }
                });
            }
        }
        assert_eq!(piece.rows as usize, found.len());
        pieces.push(found.join("|"));
    }
    Ok(pieces.join(" / "))
}

#[test]
fn files() {
    /// The files, `columns` where the job gives them, and what is read.
    type Case<'a> = (&'a [&'a [u8]], Option<&'a str>, &'a str);
    let cases: &[Case] = &[
        (&[b"s,n\na,1\nb,2\n"], None, "1 a|2 b"),
        (&[b"s,n\r\na,1\r\nb,2"], None, "1 a|2 b"),
        (&[b"\xef\xbb\xbfs,n\na,1\n"], None, "1 a"),
        (&[b"\xef\xbb\xbf\"s\",n\na,1\n"], None, "1 a"),
        (&[b"a,1\nb,2\n"], Some("s n"), "1 a|2 b"),
        (&[b"\xef\xbb\xbfa,1\n"], Some("s n"), "1 a"),
        // By name, whatever the order and the others.
        (&[b"s,n\na,1\n", b"n,x,s\n2,y,b\n", b"x,n\ny,3\n"], None, "1 a / 2 b / 3 -"),
        (&[b"x,x,n\na,b,1\n"], None, "1 -"),
        (&[b"s,n\n\"a\nb\",1\n\"c\"\"\n\",2\n"], None, "1 a\nb|2 c\"\n"),
        (&[b"\"s\",\"a\nheader\",n\na,b,1\n"], None, "1 a"),
        (&[b"s,n\na\nb,2\n\nc,3,4\n"], None, "!a|2 b|!|!c,3,4"),
        (&[b"s,n\na\"b,1\nb,2\n"], None, "!a\"b,1|2 b"),
        (&[b"s,n\n\"a,1\nb,2\n\"c\",3\nd,4\n"], None, "!\"a,1\nb,2\n\"c\",3|4 d"),
        (&[b"s,n\nb,2\n\"a,1\n"], None, "2 b|!\"a,1\n"),
        (&[b"n\n1\n\n2\n"], None, "1 -|- -|2 -"),
        (&[b"s,n\n", b"s,n", b"", b"\xef\xbb\xbf"], None, " /  /  / "),
        (&[b"s,n\n\xff,1\nb,2\n"], None, "!\u{fffd},1|2 b"),
    ];
    for (files, columns, expected) in cases {
        let (_dir, history) = history(files, *columns);
        assert_eq!(read(&history).unwrap(), *expected, "{files:?}");
    }
}

#[test]
fn a_file_that_cannot_be_used_is_named() {
    for (file, wrong) in [
        (&b"s,n,n\na,1,2\n"[..], "it has two columns \"n\""),
        (b"s,n\"\na,1\n", "its header breaks the rules of CSV"),
        (b"s,\xff\na,1\n", "its header is not UTF-8"),
    ] {
        let (dir, history) = history(&[file], None);
        let Err(Error::World { doing, cause, .. }) = read(&history) else { panic!("{wrong} is taken") };
        assert_eq!((doing, cause.as_str()), (format!("reading {}/0.csv", dir.path().display()), wrong));
    }
}

#[test]
fn long_files_come_in_batches_and_records_whole() {
    let text: String = (0..20_000).map(|n| format!("\"{}\n{n}\",{n}\n", "z".repeat(n % 300))).collect();
    let (_dir, history) = history(&[format!("s,n\n{text}").as_bytes()], None);
    let expected: Vec<String> = (0..20_000).map(|n| format!("{n} {}\n{n}", "z".repeat(n % 300))).collect();
    assert_eq!(read(&history).unwrap(), expected.join("|"));
}
