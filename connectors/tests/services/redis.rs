//! The Redis store. Every test has a job of its own, so they may share the server.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::*;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimeUnit};
use headwater_clocks::{EventTime, Span, Tick, Time};
use headwater_connectors::sink::redis::{Redis, RedisLookup, claim, marks};
use headwater_connectors::sink::{GroupShape, Lookup, Marks, RowText, RowWindows, Store};
use redis::Commands;

use crate::needs::{free_port, need, service, skipped};
use crate::until;

const HOUR: i64 = 3_600_000_000;

/// The URL of the server under test.
fn server() -> Option<String> {
    service("HEADWATER_TEST_REDIS")
}

fn admin(url: &str) -> redis::Connection {
    redis::Client::open(url).unwrap().get_connection().unwrap()
}

/// Removes what an earlier run of the test has left.
fn clean(url: &str, job: &str) {
    let keys: Vec<Vec<u8>> = admin(url).keys(format!("{job}:*")).unwrap();
    if !keys.is_empty() {
        let _: () = admin(url).del(keys).unwrap();
    }
}

fn keys(url: &str, job: &str) -> Vec<String> {
    let mut keys: Vec<String> = admin(url).keys(format!("{job}:*")).unwrap();
    keys.sort();
    keys
}

/// `cards` by card and shop, and `hourly` by card and hour; sessions where `size_us` is `None`.
fn group(name: &str, windowed: bool, size_us: Option<i64>) -> GroupShape {
    let us = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let list = DataType::List(Arc::new(Field::new_list_field(DataType::Int64, true)));
    let mut fields = vec![Field::new("card", DataType::Utf8, false), Field::new("shop", DataType::Int64, false)];
    if windowed {
        fields.extend([Field::new("_start", us.clone(), false), Field::new("_end", us.clone(), false)]);
    }
    fields.extend([
        Field::new("n", DataType::Int64, true),
        Field::new("spend", DataType::Float64, true),
        Field::new("fee", DataType::Decimal128(10, 2), true),
        Field::new("who", DataType::Utf8, true),
        Field::new("seen", us, true),
        Field::new("top", list, true),
        Field::new("_time", DataType::Int64, false),
        Field::new("_diff", DataType::Int8, false),
    ]);
    let span = Span::from_us;
    let windows = windowed.then_some(RowWindows { retain: span(HOUR), size: size_us.map(span) });
    GroupShape { name: name.into(), keys: 2, windows, schema: Arc::new(Schema::new(fields)) }
}

/// Card, window start, n, time, diff. The other columns follow n: null where it is.
type Change<'a> = (&'a str, i64, Option<i64>, i64, i8);

fn batch(group: &GroupShape, changes: &[Change]) -> RecordBatch {
    let times = |of: &dyn Fn(&Change) -> Option<i64>| {
        Arc::new(TimestampMicrosecondArray::from(changes.iter().map(of).collect::<Vec<_>>()).with_timezone("UTC"))
            as ArrayRef
    };
    let n = || changes.iter().map(|c| c.2);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(changes.iter().map(|c| c.0))),
        Arc::new(Int64Array::from(vec![7; changes.len()])),
    ];
    if group.windowed() {
        columns.extend([times(&|c| Some(c.1)), times(&|c| Some(c.1 + HOUR))]);
    }
    let spend = n().map(|n| n.map(|n| if n < 0 { f64::NAN } else { n as f64 / 3.0 }));
    let fee = n().map(|n| n.map(i128::from)).collect::<Decimal128Array>();
    columns.extend([
        Arc::new(n().collect::<Int64Array>()) as ArrayRef,
        Arc::new(spend.collect::<Float64Array>()),
        Arc::new(fee.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(n().map(|n| n.map(|n| format!("\"{n}: ü\n"))).collect::<StringArray>()),
        times(&|c| c.2),
        Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(n().map(|n| n.map(|n| [Some(n), None])))),
        Arc::new(changes.iter().map(|c| c.3).collect::<Int64Array>()),
        Arc::new(changes.iter().map(|c| c.4).collect::<Int8Array>()),
    ]);
    RecordBatch::try_new(group.schema.clone(), columns).unwrap()
}

const NULLS: &str = r#"{"n":null,"spend":null,"fee":null,"who":null,"seen":null,"top":null}"#;
const ONE: &str = r#"{"n":1,"spend":0.3333333333333333,"fee":"0.01","who":"\"1: ü\n","seen":"1970-01-01T00:00:00.000001Z","top":[1,null]}"#;
const MINUS: &str =
    r#"{"n":-1,"spend":"NaN","fee":"-0.01","who":"\"-1: ü\n","seen":"1969-12-31T23:59:59.999999Z","top":[-1,null]}"#;

fn row(card: &str, window: Option<i64>, row: &str, changed_at_us: i64) -> RowText {
    let card = serde_json::to_string(card).unwrap();
    let key = format!(r#"{{"card":{card},"shop":7}}"#);
    let window = window.map(|start| (EventTime::from_us(start), EventTime::from_us(start + HOUR)));
    RowText { key, window, row: row.into(), changed_at: Tick::from_us(changed_at_us) }
}

fn scan(lookup: &mut impl Lookup, group: usize) -> Vec<RowText> {
    let mut rows = Vec::new();
    lookup
        .scan(group, &mut |row| {
            rows.push(row);
            Ok(())
        })
        .unwrap();
    rows
}

fn open(url: &str, job: &str, groups: &[GroupShape]) -> Redis {
    let generation = claim(url, job, None).unwrap();
    Redis::open(url, job, groups, generation, Arc::default()).unwrap()
}

#[test]
fn rows_there_and_back() {
    let url = need!(server());
    let job = "hw-rows";
    clean(&url, job);
    let groups = [group("cards", false, None), group("hourly", true, Some(HOUR)), group("sessions", true, None)];
    let mut store = open(&url, job, &groups);
    let cards = [
        ("c1", 0, Some(1), 10, 1),
        ("_as_of", 0, Some(-1), 10, 1),
        ("a:b%3A_", 0, Some(1), 10, 1),
        ("ü*?[x]\"\\", 0, None, 10, 1),
        ("gone", 0, Some(1), 10, 1),
    ];
    store.write(0, &batch(&groups[0], &cards), Tick::from_us(20)).unwrap();
    let cards = [("c1", 0, Some(1), 15, -1), ("c1", 0, None, 15, 1), ("gone", 0, Some(1), 15, -1)];
    store.write(0, &batch(&groups[0], &cards), Tick::from_us(30)).unwrap();
    let hours = [("c1", 0, Some(1), 20, 1), ("c1", -HOUR, None, 20, 1), ("c", HOUR, Some(1), 20, 1)];
    store.write(1, &batch(&groups[1], &hours), Tick::from_us(20)).unwrap();
    store.write(2, &batch(&groups[2], &hours[..1]), Tick::from_us(20)).unwrap();
    store.set_as_of(0, Tick::from_us(30)).unwrap();

    assert_eq!(
        keys(&url, job),
        [
            "hw-rows:_generation",
            "hw-rows:cards:%5Fas_of:7",
            "hw-rows:cards:_as_of",
            "hw-rows:cards:_upto",
            "hw-rows:cards:a%3Ab%253A_:7",
            "hw-rows:cards:c1:7",
            "hw-rows:cards:ü*?[x]\"\\:7",
            "hw-rows:hourly:_upto",
            "hw-rows:hourly:c1:7:-3600000000",
            "hw-rows:hourly:c1:7:0",
            "hw-rows:hourly:c:7:3600000000",
            "hw-rows:sessions:_upto",
            "hw-rows:sessions:c1:7:0",
        ]
    );
    let nulls: Vec<(String, String)> = admin(&url).hgetall("hw-rows:cards:c1:7").unwrap();
    assert_eq!(nulls, [("_changed_at".into(), "15".into())], "a field that became null is gone");
    let mut fields: Vec<(String, String)> = admin(&url).hgetall("hw-rows:cards:%5Fas_of:7").unwrap();
    fields.sort();
    let plain = [
        ("_changed_at", "10"),
        ("fee", "-0.01"),
        ("n", "-1"),
        ("seen", "1969-12-31T23:59:59.999999Z"),
        ("spend", "NaN"),
        ("top", "[-1,null]"),
        ("who", "\"-1: ü\n"),
    ];
    assert_eq!(fields, plain.map(|(name, text)| (name.to_string(), text.to_string())));
    let ttl: i64 = admin(&url).pttl("hw-rows:hourly:c1:7:0").unwrap();
    assert!((24 * 3_600_000..=26 * 3_600_000).contains(&ttl), "{ttl} ms");

    let mut lookup = RedisLookup::open(&url, job, &groups).unwrap();
    let expected = [
        row("_as_of", None, MINUS, 10),
        row("a:b%3A_", None, ONE, 10),
        row("c1", None, NULLS, 15),
        row("ü*?[x]\"\\", None, NULLS, 10),
    ];
    assert_eq!(scan(&mut lookup, 0), expected);
    for expected in &expected {
        assert_eq!(lookup.get(0, &expected.key, None).unwrap(), std::slice::from_ref(expected));
    }
    let hours = [row("c", Some(HOUR), ONE, 20), row("c1", Some(-HOUR), NULLS, 20), row("c1", Some(0), ONE, 20)];
    assert_eq!(scan(&mut lookup, 1), hours);
    assert_eq!(lookup.get(1, &hours[1].key, None).unwrap(), hours[1..]);
    assert_eq!(lookup.get(1, &hours[1].key, Some(EventTime::from_us(0))).unwrap(), hours[2..]);
    assert_eq!(lookup.get(1, &hours[1].key, Some(EventTime::from_us(5))).unwrap(), []);
    assert_eq!(scan(&mut lookup, 2), hours[2..]);
    assert_eq!((lookup.as_of(0).unwrap(), lookup.as_of(1).unwrap()), (Some(Tick::from_us(30)), None));
}

#[test]
fn many_rows_in_many_transactions() {
    let url = need!(server());
    let job = "hw-many";
    clean(&url, job);
    let groups = [group("cards", false, None)];
    let mut store = open(&url, job, &groups);
    let names: Vec<String> = (0..2000).map(|i| format!("card{i:05}")).collect();
    let changes: Vec<Change> = names.iter().map(|name| (name.as_str(), 0, Some(1), 10, 1)).collect();
    store.begin_full_refresh(false).unwrap();
    store.write(0, &batch(&groups[0], &changes), Tick::from_us(10)).unwrap();
    assert_eq!(store.sweep(&[]).unwrap(), 0);
    let rows = scan(&mut RedisLookup::open(&url, job, &groups).unwrap(), 0);
    assert_eq!(rows, names.iter().map(|name| row(name, None, ONE, 10)).collect::<Vec<_>>());
}

#[test]
fn an_older_start_can_write_no_more() {
    let url = need!(server());
    let job = "hw-fence";
    clean(&url, job);
    let groups = [group("cards", false, None)];
    let mut old = open(&url, job, &groups);
    old.write(0, &batch(&groups[0], &[("a", 0, Some(1), 10, 1)]), Tick::from_us(10)).unwrap();
    assert_eq!(claim(&url, job, Some(41)).unwrap(), 42);
    assert_eq!(claim(&url, job, Some(7)).unwrap(), 43);
    let change = batch(&groups[0], &[("b", 0, Some(1), 10, 1)]);
    for (what, answer) in [
        ("with _upto as it is", old.write(0, &change, Tick::from_us(10))),
        ("with _upto raised", old.write(0, &change, Tick::from_us(20))),
        ("as_of", old.set_as_of(0, Tick::from_us(10))),
        ("image", old.begin_full_refresh(false)),
        ("sweep", old.sweep(&[]).map(drop)),
    ] {
        let error = answer.expect_err(what).to_string();
        assert!(
            error.contains("a newer start of this job has taken over (generation 43, this process has 1)"),
            "{error}"
        );
    }
    assert_eq!(marks(&url, job, "cards").unwrap(), Marks { upto: Some(Tick::from_us(10)), as_of: None });
    assert_eq!(scan(&mut RedisLookup::open(&url, job, &groups).unwrap(), 0), [row("a", None, ONE, 10)]);
}

#[test]
fn upto_never_falls_but_for_an_image_that_replaces() {
    let url = need!(server());
    let job = "hw-upto";
    clean(&url, job);
    let groups = [group("cards", false, None)];
    let none = batch(&groups[0], &[]);
    let held = || marks(&url, job, "cards").unwrap().upto.map(Time::us);
    let (mut a, mut b) = (open(&url, job, &groups), None);
    a.write(0, &none, Tick::from_us(100)).unwrap();
    a.write(0, &none, Tick::from_us(50)).unwrap();
    assert_eq!(held(), Some(100));
    let b = b.insert(open(&url, job, &groups));
    b.begin_full_refresh(false).unwrap();
    b.write(0, &none, Tick::from_us(60)).unwrap();
    assert_eq!(held(), Some(100));
    b.begin_full_refresh(true).unwrap();
    b.write(0, &none, Tick::from_us(60)).unwrap();
    b.write(0, &none, Tick::from_us(55)).unwrap();
    assert_eq!(held(), Some(60));
    b.sweep(&[]).unwrap();
    b.set_as_of(0, Tick::from_us(60)).unwrap();
    assert_eq!(
        marks(&url, job, "cards").unwrap(),
        Marks { upto: Some(Tick::from_us(60)), as_of: Some(Tick::from_us(60)) }
    );
}

#[test]
fn a_sweep_leaves_the_image_of_all_workers_and_nothing_else() {
    let url = need!(server());
    let (job, other) = ("hw-sweep", "hw-sweepX");
    clean(&url, job);
    let groups = [group("cards", false, None), group("gone", false, None)];
    let mut before = open(&url, job, &groups);
    before.begin_full_refresh(false).unwrap();
    for (group, of) in groups.iter().enumerate() {
        before
            .write(group, &batch(of, &[("a", 0, Some(1), 10, 1), ("b", 0, Some(1), 10, 1)]), Tick::from_us(10))
            .unwrap();
        before.set_as_of(group, Tick::from_us(10)).unwrap();
    }
    let _: () = admin(&url).hset(format!("{job}:cards:a:7"), "old_column", 1).unwrap();
    let _: () = admin(&url).set(format!("{other}:cards:a:7"), "another job's").unwrap();

    let groups = &groups[..1];
    let generation = claim(&url, job, None).unwrap();
    let worker = || Redis::open(&url, job, groups, generation, Arc::default()).unwrap();
    let (mut one, mut two) = (worker(), worker());
    one.begin_full_refresh(false).unwrap();
    two.begin_full_refresh(false).unwrap();
    one.write(0, &batch(&groups[0], &[("a", 0, None, 20, 1)]), Tick::from_us(20)).unwrap();
    two.write(0, &batch(&groups[0], &[("c", 0, Some(1), 20, 1)]), Tick::from_us(20)).unwrap();
    two.write(0, &batch(&groups[0], &[("d", 0, Some(1), 20, 1)]), Tick::from_us(20)).unwrap();
    two.write(0, &batch(&groups[0], &[("d", 0, Some(1), 21, -1)]), Tick::from_us(21)).unwrap();
    assert_eq!(one.sweep(&[]).unwrap(), 3, "b, and both of the group that is gone");
    // The other worker learns of the sweep when it writes again.
    two.write(0, &batch(&groups[0], &[("e", 0, Some(1), 30, 1)]), Tick::from_us(30)).unwrap();
    assert_eq!(
        keys(&url, job),
        [
            "hw-sweep:_generation",
            "hw-sweep:cards:_as_of",
            "hw-sweep:cards:_upto",
            "hw-sweep:cards:a:7",
            "hw-sweep:cards:c:7",
            "hw-sweep:cards:e:7",
        ]
    );
    let fields: Vec<String> = admin(&url).hkeys(format!("{job}:cards:a:7")).unwrap();
    assert_eq!(fields, ["_changed_at"]);
    assert_eq!(keys(&url, other), [format!("{other}:cards:a:7")]);
    clean(&url, other);
}

#[test]
fn a_connection_that_is_cut_is_made_again() {
    let url = need!(server());
    let job = "hw-cut";
    clean(&url, job);
    let groups = [group("cards", false, None)];
    let mut store = open(&url, job, &groups);
    let mut lookup = RedisLookup::open(&url, job, &groups).unwrap();
    for i in 1..4 {
        store.write(0, &batch(&groups[0], &[("a", 0, Some(1), i, 1)]), Tick::from_us(i)).unwrap();
        store.set_as_of(0, Tick::from_us(i)).unwrap();
        assert_eq!(lookup.as_of(0).unwrap(), Some(Tick::from_us(i)));
        cut(&url, job);
    }
    assert!(!store.needs_full_refresh());
}

/// Ends every connection of a job.
fn cut(url: &str, job: &str) {
    let clients: String = redis::cmd("CLIENT").arg("LIST").query(&mut admin(url)).unwrap();
    for line in clients.lines().filter(|line| line.contains(&format!("name=headwater-{job} "))) {
        let id = line.split(' ').find_map(|word| word.strip_prefix("id=")).unwrap();
        let _: () = redis::cmd("CLIENT").arg("KILL").arg("ID").arg(id).query(&mut admin(url)).unwrap();
    }
}

/// A full refresh that follows another before that was swept.
#[test]
fn an_image_has_nothing_of_the_one_before() {
    let url = need!(server());
    let job = "hw-images";
    clean(&url, job);
    let groups = [group("cards", false, None)];
    let generation = claim(&url, job, None).unwrap();
    let worker = || Redis::open(&url, job, &groups, generation, Arc::default()).unwrap();
    let (mut one, mut two) = (worker(), worker());
    one.begin_full_refresh(false).unwrap();
    two.begin_full_refresh(false).unwrap();
    one.write(0, &batch(&groups[0], &[("a", 0, Some(1), 10, 1), ("b", 0, Some(1), 10, 1)]), Tick::from_us(10)).unwrap();
    // The other worker is ahead, and has a row that the first full refresh does not know.
    two.begin_full_refresh(false).unwrap();
    two.write(0, &batch(&groups[0], &[("c", 0, Some(1), 20, 1)]), Tick::from_us(20)).unwrap();
    assert_eq!(one.sweep(&[]).unwrap(), 0);
    one.begin_full_refresh(false).unwrap();
    one.write(0, &batch(&groups[0], &[("a", 0, Some(1), 10, 1)]), Tick::from_us(20)).unwrap();
    assert_eq!(one.sweep(&[]).unwrap(), 1, "b has gone meanwhile");
    let left = ["_generation", "cards:_upto", "cards:a:7", "cards:c:7"];
    assert_eq!(keys(&url, job), left.map(|key| format!("{job}:{key}")));
}

/// A Redis that went back to a moment within the full refresh no longer knows of all rows that the full refresh has.
#[test]
fn an_image_of_which_some_is_lost_sweeps_nothing() {
    let url = need!(server());
    let job = "hw-torn";
    clean(&url, job);
    let groups = [group("cards", false, None)];
    let mut store = open(&url, job, &groups);
    store.begin_full_refresh(false).unwrap();
    store
        .write(0, &batch(&groups[0], &[("a", 0, Some(1), 10, 1), ("b", 0, Some(1), 10, 1)]), Tick::from_us(10))
        .unwrap();
    let _: () = admin(&url).srem(format!("{job}:_image:1:1"), format!("{job}:cards:b:7")).unwrap();
    let _: () = admin(&url).set(format!("{job}:cards:_upto"), 5).unwrap();
    cut(&url, job);
    assert_eq!(store.sweep(&[]).unwrap(), 0);
    assert!(store.needs_full_refresh());
    assert_eq!(scan(&mut RedisLookup::open(&url, job, &groups).unwrap(), 0).len(), 2, "no row went");
    store.begin_full_refresh(false).unwrap();
    store.write(0, &batch(&groups[0], &[("a", 0, Some(1), 10, 1)]), Tick::from_us(10)).unwrap();
    assert_eq!(store.sweep(&[]).unwrap(), 1, "b is not in the new one");
}

#[test]
fn a_redis_that_lost_its_marks_needs_an_image() {
    let url = need!(server());
    let job = "hw-lost";
    let groups = [group("cards", false, None)];
    let change = batch(&groups[0], &[("a", 0, Some(1), 10, 1)]);
    for lost in ["cards:_as_of", "_generation", "*"] {
        clean(&url, job);
        let mut store = open(&url, job, &groups);
        store.write(0, &change, Tick::from_us(10)).unwrap();
        store.set_as_of(0, Tick::from_us(10)).unwrap();
        clean_some(&url, &format!("{job}:{lost}"));
        store.write(0, &change, Tick::from_us(20)).unwrap();
        store.set_as_of(0, Tick::from_us(20)).unwrap();
        assert!(store.needs_full_refresh(), "{lost}");
        assert_ne!(marks(&url, job, "cards").unwrap().as_of, Some(Tick::from_us(20)), "{lost}");
        store.begin_full_refresh(false).unwrap();
        store.write(0, &change, Tick::from_us(20)).unwrap();
        store.sweep(&[]).unwrap();
        store.set_as_of(0, Tick::from_us(20)).unwrap();
        assert!(!store.needs_full_refresh(), "{lost}");
        assert_eq!(
            marks(&url, job, "cards").unwrap(),
            Marks { upto: Some(Tick::from_us(20)), as_of: Some(Tick::from_us(20)) }
        );
    }
}

fn clean_some(url: &str, pattern: &str) {
    let keys: Vec<String> = admin(url).keys(pattern).unwrap();
    let _: () = admin(url).del(keys).unwrap();
}

#[test]
fn users_and_passwords() {
    let url = need!(server());
    let job = "hw-acl";
    clean(&url, job);
    let rules = ["on", ">s3cret", "~hw-acl:*", "+@all", "-@dangerous", "+info", "+client|setname"];
    let _: () =
        redis::cmd("ACL").arg("SETUSER").arg("hw-user").arg("reset").arg(&rules).query(&mut admin(&url)).unwrap();
    let _: () = redis::cmd("ACL")
        .arg("SETUSER")
        .arg("hw-reader")
        .arg("reset")
        .arg(&["on", ">s3cret", "~*", "+@read"])
        .query(&mut admin(&url))
        .unwrap();
    let groups = [group("cards", false, None)];
    let with = |user: &str| url.replacen("redis://", &format!("redis://{user}@"), 1);

    let mut store = open(&with("hw-user:s3cret"), job, &groups);
    store.begin_full_refresh(false).unwrap();
    store.write(0, &batch(&groups[0], &[("a", 0, Some(1), 10, 1)]), Tick::from_us(10)).unwrap();
    store.sweep(&[]).unwrap();
    store.set_as_of(0, Tick::from_us(10)).unwrap();
    assert_eq!(scan(&mut RedisLookup::open(&with("hw-user:s3cret"), job, &groups).unwrap(), 0).len(), 1);
    assert_eq!(scan(&mut RedisLookup::open(&with("hw-reader:s3cret"), job, &groups).unwrap(), 0).len(), 1);

    for (user, says) in [("hw-user:wr0ng", "authentication failed"), ("hw-reader:s3cret", "permissions")] {
        let error = claim(&with(user), job, None).unwrap_err();
        assert!(matches!(error, headwater_connectors::Error::Config(_)), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(says), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("wr0ng"), "{text}");
    }
    let _: () = redis::cmd("ACL").arg("DELUSER").arg(&["hw-user", "hw-reader"]).query(&mut admin(&url)).unwrap();
    let error = claim("redis://hw-user:s3cret@:bad:/x", job, None).unwrap_err().to_string();
    assert!(error.contains("not a Redis URL") && !error.contains("s3cret"), "{error}");
}

/// A server of a test's own, without persistence.
fn start(port: u16) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
    let started = command.stdout(Stdio::null()).spawn();
    started.map_err(|e| skipped(&format!("redis-server cannot be started: {e}"))).ok()
}

#[test]
fn a_server_that_is_started_anew_is_waited_for_and_gets_everything_again() {
    let port = free_port();
    let mut child = need!(start(port));
    let (url, job) = (format!("redis://127.0.0.1:{port}"), "hw-anew");
    let groups = [group("cards", false, None)];
    let generation = until("a server", || claim(&url, job, None).ok());
    let stop = Arc::new(AtomicBool::new(false));
    let mut store = Redis::open(&url, job, &groups, generation, stop.clone()).unwrap();
    let changes = [("a", 0, Some(1), 10, 1), ("b", 0, Some(1), 10, 1)];
    store.write(0, &batch(&groups[0], &changes), Tick::from_us(10)).unwrap();
    store.set_as_of(0, Tick::from_us(10)).unwrap();

    child.kill().unwrap();
    child.wait().unwrap();
    std::thread::scope(|scope| {
        let waiting =
            scope.spawn(|| store.write(0, &batch(&groups[0], &changes[..1]), Tick::from_us(20)).map(|()| store));
        child = start(port).unwrap();
        let mut store = waiting.join().unwrap().unwrap();
        store.set_as_of(0, Tick::from_us(20)).unwrap();
        assert!(store.needs_full_refresh());
        assert_eq!(marks(&url, job, "cards").unwrap(), Marks { upto: Some(Tick::from_us(20)), as_of: None });
        store.begin_full_refresh(false).unwrap();
        store.write(0, &batch(&groups[0], &changes), Tick::from_us(20)).unwrap();
        store.sweep(&[]).unwrap();
        store.set_as_of(0, Tick::from_us(20)).unwrap();
        assert_eq!(scan(&mut RedisLookup::open(&url, job, &groups).unwrap(), 0).len(), 2);

        child.kill().unwrap();
        child.wait().unwrap();
        stop.store(true, Ordering::Relaxed);
        let error = store.write(0, &batch(&groups[0], &changes), Tick::from_us(30)).unwrap_err().to_string();
        assert!(error.contains("stopped while waiting for redis://127.0.0.1"), "{error}");
        let error = claim(&url, job, None).unwrap_err();
        assert!(matches!(error, headwater_connectors::Error::World { transient: true, .. }), "{error:?}");
    });
}
