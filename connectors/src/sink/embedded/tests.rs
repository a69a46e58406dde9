//! The embedded store in a directory of its own.

use std::fs::File;

use headwater_clocks::{EventTime, Tick, Time};

use super::store::{Embedded, FORMAT_KEY};
use crate::sink::samples::{HOUR, plain, windowed};
use crate::sink::{GroupShape, Lookup, Marks, Store};

fn shapes() -> Vec<GroupShape> {
    vec![plain().shape, windowed().shape]
}

fn scanned(store: &mut Embedded, group: usize) -> Vec<(String, Option<i64>, String, i64)> {
    let mut rows = Vec::new();
    store
        .scan(group, &mut |r| {
            rows.push((r.key, r.window.map(|w| w.0.us()), r.row, r.changed_at.us()));
            Ok(())
        })
        .unwrap();
    rows
}

fn row(key: &str, start: Option<i64>, x: &str, at: i64) -> (String, Option<i64>, String, i64) {
    (format!(r#"{{"card":"{key}"}}"#), start, format!(r#"{{"x":{x}}}"#), at)
}

#[test]
fn the_last_change_of_a_key_and_window_stays() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Embedded::open(&dir.path().join("embedded"), &shapes()).unwrap();
    let reader = &mut store.clone();
    let cards = [
        ("b", 0, Some(1.0), 10, 1),
        ("a", 0, Some(1.0), 10, 1),
        ("a", 0, Some(2.0), 20, 1),
        ("a", 0, Some(1.0), 20, -1),
        ("gone", 0, Some(1.0), 10, 1),
        ("gone", 0, Some(1.0), 20, -1),
    ];
    store.write(0, &plain().batch(&cards), Tick::from_us(20)).unwrap();
    let hours = [("a", HOUR, None, 15, 1), ("a", -HOUR, Some(3.0), 15, 1), ("ab", 0, Some(4.0), 15, 1)];
    store.write(1, &windowed().batch(&hours), Tick::from_us(20)).unwrap();
    store.set_as_of(0, Tick::from_us(20)).unwrap();

    assert_eq!(scanned(reader, 0), [row("a", None, "2.0", 20), row("b", None, "1.0", 10)]);
    assert_eq!(
        scanned(reader, 1),
        [row("a", Some(-HOUR), "3.0", 15), row("a", Some(HOUR), "null", 15), row("ab", Some(0), "4.0", 15)]
    );
    let key = r#"{"card":"a"}"#;
    assert_eq!(reader.get(0, key, None).unwrap().len(), 1);
    assert_eq!(reader.get(1, key, None).unwrap().len(), 2);
    assert_eq!(
        reader.get(1, key, Some(EventTime::from_us(HOUR))).unwrap()[0].window.map(|(_, end)| end.us()),
        Some(2 * HOUR)
    );
    assert_eq!(reader.get(0, r#"{"card":"x"}"#, None).unwrap(), []);
    assert_eq!((reader.as_of(0).unwrap(), reader.as_of(1).unwrap()), (Some(Tick::from_us(20)), None));
}

/// Another version of this binary goes on with the store.
#[test]
fn its_bytes_are_what_they_were() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Embedded::open(&dir.path().join("embedded"), &shapes()).unwrap();
    store.begin_full_refresh(false).unwrap();
    store.write(0, &plain().batch(&[("a", 0, Some(1.5), 10, 1)]), Tick::from_us(100)).unwrap();
    store.write(1, &windowed().batch(&[("b", -HOUR, None, 20, 1)]), Tick::from_us(100)).unwrap();
    store.set_as_of(0, Tick::from_us(50)).unwrap();
    assert!(!store.is_whole(7).unwrap());
    store.sweep(&[]).unwrap();
    let entries = store.rows.iter().map(|entry| entry.into_inner().unwrap());
    let found: Vec<(Vec<u8>, Vec<u8>)> = entries.map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    let number = |number: i64| number.to_le_bytes().to_vec();
    let value = |numbers: [i64; 3], row: &str| {
        [number(numbers[0]), number(numbers[1]), number(numbers[2]), row.into()].concat()
    };
    let [first, second] = [plain().shape.name, windowed().shape.name];
    let key = |group: &str, card: &str, start: i64| {
        let flipped = (start as u64 ^ 1 << 63).to_be_bytes();
        [group.as_bytes(), b"\0{\"card\":\"", card.as_bytes(), b"\"}\0", &flipped].concat()
    };
    let mut expected = vec![
        (format!("\0as_of\0{first}").into_bytes(), number(50)),
        (b"\0format".to_vec(), number(1)),
        (b"\0image".to_vec(), number(1)),
        (format!("\0upto\0{first}").into_bytes(), number(100)),
        (format!("\0upto\0{second}").into_bytes(), number(100)),
        (b"\0whole".to_vec(), number(7)),
        (key(&first, "a", 0), value([1, 10, 0], r#"{"x":1.5}"#)),
        (key(&second, "b", -HOUR), value([1, 20, 0], r#"{"x":null}"#)),
    ];
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn an_image_sweeps_what_it_does_not_have() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("embedded");
    let mut store = Embedded::open(&path, &shapes()).unwrap();
    store.begin_full_refresh(false).unwrap();
    store.write(0, &plain().batch(&[("old", 0, None, 10, 1), ("kept", 0, None, 10, 1)]), Tick::from_us(100)).unwrap();
    store.write(1, &windowed().batch(&[("a", 0, None, 10, 1)]), Tick::from_us(100)).unwrap();
    store.set_as_of(1, Tick::from_us(100)).unwrap();
    assert_eq!(store.sweep(&[]).unwrap(), 0);
    assert!(!store.is_whole(7).unwrap());
    assert_eq!(store.sweep(&[]).unwrap(), 0);
    let mut again = store.again().unwrap();
    drop(store);
    assert!(!again.is_whole(8).unwrap() && again.is_whole(7).unwrap());
    again.begin_full_refresh(false).unwrap();
    assert_eq!(again.sweep(&[0, 1]).unwrap(), 0, "what is spared stays");
    assert!(!again.is_whole(7).unwrap(), "some groups are not all");
    assert_eq!(scanned(&mut again, 0).len() + scanned(&mut again, 1).len(), 3);
    drop(again);

    // The next start has one group only.
    let mut store = Embedded::open(&path, &shapes()[..1]).unwrap();
    assert_eq!(store.marks(0).unwrap(), Marks { upto: Some(Tick::from_us(100)), as_of: None });
    store.begin_full_refresh(false).unwrap();
    store.write(0, &plain().batch(&[("kept", 0, Some(1.0), 10, 1), ("x", 0, None, 10, 1)]), Tick::from_us(50)).unwrap();
    store.write(0, &plain().batch(&[("x", 0, None, 20, -1)]), Tick::from_us(50)).unwrap();
    assert_eq!(store.marks(0).unwrap().upto, Some(Tick::from_us(100)), "it never falls");
    assert_eq!(store.sweep(&[]).unwrap(), 2);
    assert_eq!(scanned(&mut store, 0), [row("kept", None, "1.0", 10)]);
    drop(store);

    let mut store = Embedded::open(&path, &shapes()).unwrap();
    assert_eq!(store.marks(1).unwrap(), Marks::default(), "its marks went with its rows");
    store.begin_full_refresh(true).unwrap();
    store.write(0, &plain().batch(&[]), Tick::from_us(50)).unwrap();
    assert_eq!(store.marks(0).unwrap().upto, Some(Tick::from_us(50)), "but for a full refresh that replaces");
    assert_eq!(store.sweep(&[]).unwrap(), 1);
}

#[test]
fn a_start_that_was_killed_while_it_made_the_store_is_in_nobodys_way() {
    for left in [&["lock", "0.jnl"][..], &["lock", "0.jnl", "version"]] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("embedded");
        std::fs::create_dir_all(path.join("keyspaces")).unwrap();
        left.iter().for_each(|name| drop(File::create_new(path.join(name)).unwrap()));
        let mut store = Embedded::open(&path, &shapes()).unwrap();
        store.write(0, &plain().batch(&[("a", 0, Some(1.0), 10, 1)]), Tick::from_us(10)).unwrap();
        drop(store);
        let mut store = Embedded::open(&path, &shapes()).unwrap();
        assert_eq!(scanned(&mut store, 0), [row("a", None, "1.0", 10)]);
    }
}

#[test]
fn one_process_holds_it_and_another_format_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("embedded");
    let Err(error) = Embedded::read_only(&path, &shapes()) else { panic!("there is none") };
    assert!(error.to_string().contains("no embedded store at"), "{error}");
    let store = Embedded::open(&path, &shapes()).unwrap();
    let Err(error) = Embedded::read_only(&path, &shapes()) else { panic!("it is locked") };
    assert!(error.to_string().contains("a job is running"), "{error}");
    store.put(FORMAT_KEY, 99).unwrap();
    drop(store);
    let Err(error) = Embedded::read_only(&path, &shapes()) else { panic!("it is another format") };
    assert!(error.to_string().contains("has format 99, this binary reads 1"), "{error}");
}

#[test]
fn one_that_is_damaged_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("embedded");
    drop(Embedded::open(&path, &shapes()).unwrap());
    for entry in std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file()) {
        File::create(&entry).unwrap().set_len(3).unwrap();
    }
    let told = Embedded::open(&path, &shapes()).map(drop).unwrap_err().to_string();
    assert!(told.contains("remove its directory: the next start writes every row anew"), "{told}");
    assert!(!told.contains("FjallError"), "{told}");

    let file = dir.path().join("file");
    File::create(&file).unwrap();
    let told = Embedded::open(&file, &shapes()).map(drop).unwrap_err().to_string();
    assert!(told.contains("Not a directory") && !told.contains("FjallError"), "{told}");
}
