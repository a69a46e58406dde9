use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};

use super::*;
use crate::Payload;
use crate::format::json::Json;
use crate::packed::packed;

struct Log {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Log {
    fn new(text: &str) -> Log {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        std::fs::write(&path, text).unwrap();
        Log { _dir: dir, path }
    }

    fn append(&self, text: &str) {
        std::fs::OpenOptions::new().append(true).open(&self.path).unwrap().write_all(text.as_bytes()).unwrap();
    }

    fn stream(&self, first_offset: i64) -> FileStream {
        FileStream::open(self.path.to_str().unwrap(), Offset::at(first_offset), Arc::new(Json::default())).unwrap()
    }
}

fn wanted() -> Wanted {
    let schema = Arc::new(Schema::new(vec![Field::new("x", DataType::Int64, true)]));
    Wanted { schema, time_unit_ns: 1_000_000 }
}

fn reader(stream: &FileStream, offset: i64) -> Box<dyn Reader> {
    stream.reader(&[Start { partition: 0, offset: Offset::at(offset) }], &wanted()).unwrap()
}

/// The next records as `offset=payload`.
fn poll(reader: &mut dyn Reader, bytes_max: usize) -> String {
    let Some(records) = reader.poll(0, bytes_max).unwrap() else { return "-".into() };
    let Payload::Raw(payload) = &records.payload else { panic!("no payload") };
    let offsets = records.offsets.as_ref().unwrap();
    assert_eq!((records.partition, payload.iter().count(), offsets.len()), (Some(0), records.len(), records.len()));
    assert_eq!(reader.position(0), offsets.last().unwrap().next());
    let texts = offsets.iter().zip(payload.iter().flatten());
    texts.map(|(o, text)| format!("{o}={}", String::from_utf8_lossy(text))).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_line_is_a_record_and_its_number_the_offset() {
    let log = Log::new("a\n\nb\nc");
    let stream = log.stream(5);
    assert_eq!(stream.bounds().unwrap(), [Bounds { partition: 0, earliest: Offset::at(5), end: Offset::at(9) }]);
    assert_eq!(stream.offsets_at(Arrival::from_us(0)).unwrap(), [None]);
    for (start, expected) in [(5, "5=a 6= 7=b 8=c"), (6, "6= 7=b 8=c"), (8, "8=c"), (9, "-"), (12, "-")] {
        let mut reader = reader(&stream, start);
        assert_eq!(reader.position(0), Offset::at(start));
        assert_eq!(poll(&mut *reader, 1 << 20), expected, "from {start}");
        assert_eq!(poll(&mut *reader, 1 << 20), "-");
        let ends = (Offset::at(start.max(9)), Some(Offset::at(9)));
        assert_eq!((reader.position(0), reader.end(0)), ends);
        assert!(reader.end_confirmed(0).is_some());
    }
    let opened = |partition, at| stream.reader(&[Start { partition, offset: Offset::at(at) }], &wanted());
    assert!(matches!(opened(0, 4), Err(Error::Gap(_))));
    assert!(matches!(opened(1, 5), Err(Error::Config(_))));
}

#[test]
fn a_byte_order_mark_at_the_start_is_no_part_of_the_first_line() {
    for (text, expected, end) in [
        ("\u{feff}a\nb\n", "0=a 1=b", 2),
        ("\u{feff}\u{feff}a\n\u{feff}b", "0=\u{feff}a 1=\u{feff}b", 2),
        ("\u{feff}\n", "0=", 1),
        ("\u{feff}", "-", 0),
        ("", "-", 0),
    ] {
        let log = Log::new(text);
        let stream = log.stream(0);
        assert_eq!(stream.bounds().unwrap()[0].end, Offset::at(end), "{text:?}");
        let mut reader = reader(&stream, 0);
        assert_eq!(poll(&mut *reader, 1 << 20), expected, "{text:?}");
        assert!(reader.end_confirmed(0).is_some());
    }
    let log = Log::new("");
    let mut reader = reader(&log.stream(0), 0);
    for (byte, expected) in b"\xef\xbb\xbfa\n\xef".iter().zip(["-", "-", "-", "-", "0=a", "-"]) {
        std::fs::OpenOptions::new().append(true).open(&log.path).unwrap().write_all(&[*byte]).unwrap();
        assert_eq!(poll(&mut *reader, 100), expected);
        assert!(reader.end_confirmed(0).is_some());
    }
}

#[test]
fn a_file_that_lost_lines_is_told() {
    for (left, read, at) in [("", "", 5), ("a\n", "5=a", 6)] {
        let log = Log::new("a\nb\nc\n");
        let stream = log.stream(5);
        stream.bounds().unwrap();
        std::fs::write(&log.path, left).unwrap();
        let mut reader = reader(&stream, 5);
        if !read.is_empty() {
            assert_eq!(poll(&mut *reader, 1), read);
        }
        let told = reader.poll(0, 100).unwrap_err().to_string();
        let expected = format!("the file got shorter: it ends at offset {at}, and had records up to offset 7");
        assert!(told.contains(&expected), "{told}");
    }
}

#[test]
fn a_packed_file_is_read_to_its_end() {
    for name in ["a.jsonl.gz", "a.jsonl.zst"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name).to_str().unwrap().to_owned();
        let bytes = [packed(name, "\u{feff}a\nb".as_bytes()), packed(name, b"c\nd")].concat();
        std::fs::write(&path, &bytes).unwrap();
        let stream = FileStream::open(&path, Offset::at(5), Arc::new(Json::default())).unwrap();
        assert_eq!(stream.bounds().unwrap(), [Bounds { partition: 0, earliest: Offset::at(5), end: Offset::at(8) }]);
        let mut reader = reader(&stream, 5);
        assert!(reader.end_confirmed(0).is_none());
        assert_eq!(poll(&mut *reader, 100), "5=a 6=bc 7=d");
        assert_eq!(poll(&mut *reader, 100), "-");
        assert!(reader.end_confirmed(0).is_some());
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let told = FileStream::open(&path, Offset::at(5), Arc::new(Json::default()))
            .unwrap()
            .bounds()
            .unwrap_err()
            .to_string();
        assert!(told.starts_with(&format!("reading {path}: it is no whole ")), "{told}");
    }
}

#[test]
fn a_line_that_is_being_written_is_waited_for() {
    let log = Log::new("a\n");
    let stream = log.stream(0);
    stream.bounds().unwrap();
    let mut reader = reader(&stream, 0);
    assert!(reader.end_confirmed(0).is_none());
    assert_eq!(poll(&mut *reader, 100), "0=a");
    for (written, expected) in [("", "-"), ("b", "-"), ("c", "-"), ("\nd\ne", "1=bc 2=d"), ("\n", "3=e"), ("\n", "4=")]
    {
        log.append(written);
        assert_eq!(reader.end_confirmed(0).is_none(), !written.is_empty(), "{written:?}");
        assert_eq!(poll(&mut *reader, 100), expected);
        assert_eq!(poll(&mut *reader, 100), "-");
        assert!(reader.end_confirmed(0).is_some());
    }
}

#[test]
fn a_counted_line_without_newline_is_read_once_and_keeps_its_offset() {
    let log = Log::new("a\nb");
    let stream = log.stream(0);
    let mut reader = reader(&stream, 0);
    assert_eq!(poll(&mut *reader, 100), "0=a");
    assert_eq!(poll(&mut *reader, 100), "-");
    assert_eq!(stream.bounds().unwrap()[0].end, Offset::at(2));
    assert!(reader.end_confirmed(0).is_none());
    assert_eq!(poll(&mut *reader, 100), "1=b");
    log.append("c");
    assert_eq!(poll(&mut *reader, 100), "-");
    log.append("\nd\n");
    assert_eq!(poll(&mut *reader, 100), "2=d");
    assert_eq!(stream.bounds().unwrap()[0].end, Offset::at(3));
}

#[test]
fn a_start_ahead_of_the_file_waits_for_its_line() {
    let log = Log::new("a\nb");
    let stream = log.stream(0);
    let mut reader = reader(&stream, 3);
    assert_eq!(poll(&mut *reader, 100), "-");
    log.append("\nc\nd\n");
    assert_eq!(poll(&mut *reader, 100), "3=d");
}

#[test]
fn records_come_in_about_the_bytes_asked_for() {
    let long = "z".repeat(3 * READ_BYTES);
    let log = Log::new(&format!("aaaa\nbbbb\ncccc\n{long}\nd\n"));
    let mut reader = reader(&log.stream(0), 0);
    assert_eq!(poll(&mut *reader, 5), "0=aaaa 1=bbbb");
    assert_eq!(poll(&mut *reader, 0), "2=cccc");
    assert!(reader.end_confirmed(0).is_none());
    assert_eq!(poll(&mut *reader, 1), format!("3={long}"));
    assert_eq!(poll(&mut *reader, 1), "4=d");
}

#[test]
fn lines_are_decoded() {
    let lines: String = (0..20_000).map(|n| format!("{{\"x\":{n}}}\n")).collect();
    let log = Log::new(&lines);
    let mut reader = reader(&log.stream(0), 0);
    let mut next = 0;
    while let Some(records) = reader.poll(0, usize::MAX).unwrap() {
        for value in records.batch.column(0).as_primitive::<Int64Type>().values() {
            assert_eq!(*value, next);
            next += 1;
        }
        assert!(records.len() <= BATCH_RECORDS_MAX && records.malformed.is_none());
    }
    assert_eq!(next, 20_000);
}

#[test]
fn files_are_partitions_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in [("p10", "b\n"), ("p2", "c\n"), ("p1", "a\n")] {
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let stream =
        FileStream::open(&format!("{}/p*", dir.path().display()), Offset::at(0), Arc::new(Json::default())).unwrap();
    assert!(stream.paths().map(|path| path.rsplit('/').next().unwrap()).eq(["p1", "p10", "p2"]));
    let mut reader = stream.reader(&[Start { partition: 2, offset: Offset::at(0) }], &wanted()).unwrap();
    let Payload::Raw(payload) = reader.poll(2, 100).unwrap().unwrap().payload else { panic!("no payload") };
    assert_eq!(payload.value(0), b"c");
}

#[test]
fn growth_wakes() {
    let log = Log::new("a\n");
    let mut reader = reader(&log.stream(0), 0);
    poll(&mut *reader, 100);
    let (wake, woken) = mpsc::channel();
    reader.on_ready(Box::new(move || wake.send(()).unwrap_or(())));
    log.append("b\n");
    woken.recv().unwrap();
    assert_eq!(poll(&mut *reader, 100), "1=b");
    drop(reader);
    assert!(woken.into_iter().count() < 2, "the watching thread goes on");
}

#[test]
fn a_watch_that_ended_is_told() {
    let log = Log::new("a\n");
    let mut reader = reader(&log.stream(0), 0);
    let (waking, woken) = mpsc::channel::<()>();
    reader.on_ready(Box::new(move || {
        let _gone = &waking;
        panic!("of 7")
    }));
    log.append("b\n");
    assert!(woken.recv().is_err(), "it has ended");
    let error = loop {
        match reader.poll(0, 100) {
            Ok(_) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), "watching files for growth: Headwater has a bug: of 7 (thread watch-files)");
}

#[test]
fn a_file_that_gets_shorter_is_an_error() {
    let log = Log::new("a\nb\n");
    let mut reader = reader(&log.stream(0), 0);
    poll(&mut *reader, 100);
    std::fs::write(&log.path, "a\n").unwrap();
    assert!(reader.end_confirmed(0).is_none());
    assert!(matches!(reader.poll(0, 100), Err(Error::World { .. })));
}
