//! Rows in Redis to the letter: keys, fields, marks; and what a later start makes of an earlier one's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::*;

fn event(card: &str, amount: Option<f64>, second: i64) -> Event {
    let ts = START + second * SECOND;
    Event { card: card.to_owned(), amount, ok: true, ts, arrived: ts }
}

fn hash(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
    fields.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

fn string(connection: &mut redis::Connection, key: &str) -> Option<String> {
    redis::cmd("GET").arg(key).query(connection).unwrap()
}

#[test]
fn keys_fields_and_marks() {
    let case = need!(Case::new("layout"));
    let topic = Topic::new(&case.kafka, &case.name, 1);
    topic.fill(&vec![vec![
        event("c1", Some(61.5), 0),
        event("a:b", Some(-0.0), 1),
        event("_x", None, 2),
        event("100%_", Some(1e300), 3),
        event("", Some(0.1), 4),
        event("ü \"q\"\\\n", Some(2.0), 5),
        event("c1", Some(-61.25), 7200),
    ]]);
    let groups = r#"
[features.cards]
source = "events"
key    = "card"
columns = { n = { agg = "count", windows = ["1h", "all"] }, spend = { agg = "sum", of = "amount", windows = ["1h", "all"] }, mean = { agg = "avg", of = "amount", window = "all" } }
[features.pairs]
source = "events"
key    = ["card", "status"]
columns = { last_hour = { agg = "count", window = "1h" } }
"#;
    let path = case.job("job.toml", &job(SCHEMA, "", &(REDIS_SINK.to_owned() + groups)));
    finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0);

    let connection = &mut connect(&case.redis);
    let stored = snapshot(connection, &case.name, "cards");
    let at = |second: i64| (START + second * SECOND).to_string();
    let (old, new) = (|second: i64| at(second + 3600), at(7200));
    let row = |spend: &str, second: i64| {
        hash(&[("n_1h", "0"), ("n_all", "1"), ("spend_all", spend), ("mean", spend), ("_changed_at", &old(second))])
    };
    let c1 = hash(&[
        ("n_1h", "1"),
        ("n_all", "2"),
        ("spend_1h", "-61.25"),
        ("spend_all", "0.25"),
        ("mean", "0.125"),
        ("_changed_at", &new),
    ]);
    let expected: BTreeMap<String, _> = [
        ("c1", c1),
        ("a%3Ab", row("0.0", 1)),
        ("%5Fx", hash(&[("n_1h", "0"), ("n_all", "1"), ("_changed_at", &old(2))])),
        ("100%25_", row("1e+300", 3)),
        ("", row("0.1", 4)),
        ("ü \"q\"\\\n", row("2.0", 5)),
    ]
    .map(|(key, hash)| (key.to_owned(), hash))
    .into();
    for (key, fields) in &expected {
        assert_eq!(stored.hashes.get(key), Some(fields), "{key:?}");
    }
    assert_eq!(stored.hashes.len(), expected.len());
    assert_eq!((stored.as_of, stored.upto), (Some(START + 7200 * SECOND), Some(START + 7200 * SECOND)));

    let name = &case.name;
    let pairs: Vec<String> = keys(connection, name).into_iter().filter(|key| key.contains(":pairs:")).collect();
    let marks = [format!("{name}:pairs:_as_of"), format!("{name}:pairs:_upto"), format!("{name}:pairs:c1:approved")];
    assert_eq!(pairs, marks, "rows that cease to exist are deleted");
    assert_eq!(keys(connection, name).len(), expected.len() + 2 + 3 + 1, "and nothing else is there");
    assert_eq!(string(connection, &format!("{name}:_generation")).as_deref(), Some("1"));
    let ttl: i64 = redis::cmd("TTL").arg(format!("{name}:cards:c1")).query(connection).unwrap();
    assert_eq!(ttl, -1, "trailing rows stay");

    finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0);
    assert_eq!(string(connection, &format!("{name}:_generation")).as_deref(), Some("2"));
    assert_eq!(snapshot(connection, name, "cards"), stored, "the same again");

    // A Redis that has lost the generation does not give it once more.
    let () = redis::cmd("DEL").arg(format!("{name}:_generation")).query(connection).unwrap();
    finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0);
    assert_eq!(string(connection, &format!("{name}:_generation")).as_deref(), Some("3"));
}

/// Another job of the same name, over what the first has left: a group and a column are gone, and other rows are there.
#[test]
fn what_is_no_longer_the_jobs_goes() {
    let case = need!(Case::new("sweep"));
    let topic = Topic::new(&case.kafka, &case.name, 1);
    topic.fill(&vec![vec![event("c1", Some(1.0), 0), event("c2", Some(2.0), 1), event("gone", Some(3.0), 2)]]);
    let first = r#"
[features.cards]
source = "events"
key    = "card"
columns = { n = { agg = "count", window = "1h" }, spend = { agg = "sum", of = "amount", window = "1h" } }
[features.dropped]
source = "events"
key    = "card"
columns = { n = { agg = "count", window = "all" } }
"#;
    let second = r#"
[features.cards]
source = "events"
key    = "card"
columns = { n = { agg = "count", window = "1h" }, most = { agg = "max", of = "amount", window = "1h" } }
"#;
    let path = case.job("job.toml", &job(SCHEMA, "", &(REDIS_SINK.to_owned() + first)));
    finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0);
    let connection = &mut connect(&case.redis);
    assert_eq!(keys(connection, &case.name).len(), 2 * (3 + 2) + 1);
    let mark = format!("{}:elsewhere", case.name.replacen("sweep", "swept", 1));
    let () = redis::cmd("SET").arg(&mark).arg("not ours").query(connection).unwrap();

    let late = [("c1", 5.0, 3500), ("c2", 4.0, 3601)].map(|(card, amount, second)| event(card, Some(amount), second));
    late.iter().for_each(|event| topic.send_event(0, event));
    topic.send_event(0, &event("c1", None, 3602));
    topic.flush();
    let path = case.job("job.toml", &job(SCHEMA, "", &(REDIS_SINK.to_owned() + second)));
    finish(run(&["run", path.to_str().unwrap(), "--until-end", "--workers", "3"]), 0);
    let stored = snapshot(connection, &case.name, "cards");
    let at = |second: i64| (START + second * SECOND).to_string();
    let expected: BTreeMap<String, _> = [
        ("c1", hash(&[("n", "2"), ("most", "5.0"), ("_changed_at", &at(3602))])),
        ("c2", hash(&[("n", "1"), ("most", "4.0"), ("_changed_at", &at(3601))])),
    ]
    .map(|(key, hash)| (key.to_owned(), hash))
    .into();
    assert_eq!(stored.hashes, expected);
    let left: Vec<String> = keys(connection, &case.name);
    assert_eq!(left.len(), 2 + 2 + 1, "{left:?}");
    assert_eq!(string(connection, &mark).as_deref(), Some("not ours"));
    let () = redis::cmd("DEL").arg(&mark).query(connection).unwrap();
}

/// A fresh run that ends before what the store holds puts the store back to where it ends, at its end.
#[test]
fn a_fresh_run_that_ends_earlier_replaces_all() {
    let case = need!(Case::new("replaces"));
    let mut random = Random(70);
    let log = vec![random.events(2000, 30, START, START + HOUR)];
    let topic = Topic::new(&case.kafka, &case.name, 1);
    topic.fill(&log);
    let path = case.job("job.toml", &job(SCHEMA, "", &(REDIS_SINK.to_owned() + &cards(&WINDOWS))));
    finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0);
    let connection = &mut connect(&case.redis);
    let before = snapshot(connection, &case.name, "cards");

    // The same job on a topic with the first half. Not fresh, it ends where the store is.
    let half = format!("{}_half", case.name);
    let shorter = vec![log[0][..1000].to_vec()];
    Topic::new(&case.kafka, &half, 1).fill(&shorter);
    let s = up(log[0][0].arrived, TICK);
    let text = job(SCHEMA, "", &(REDIS_SINK.to_owned() + &cards(&WINDOWS))).replace("{TOPIC}", &half);
    let path = case.job("half.toml", &text);
    finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0);
    let stored = snapshot(connection, &case.name, "cards");
    assert!(stored.as_of >= before.upto, "no reader sees values go back");
    let expected = rows(&visible(&shorter, s, TICK), &WINDOWS, stored.as_of.unwrap());
    assert_rows("not fresh", &stored.rows(&expected), &expected);

    finish(run(&["run", path.to_str().unwrap(), "--until-end", "--fresh"]), 0);
    let stored = snapshot(connection, &case.name, "cards");
    let t = up(shorter[0].last().unwrap().arrived, TICK);
    assert_eq!((stored.as_of, stored.upto), (Some(t), Some(t)));
    let expected = rows(&visible(&shorter, s, TICK), &WINDOWS, t);
    assert_rows("fresh", &stored.rows(&expected), &expected);
}

/// Reads the group again and again; says at once what no reader may ever see.
fn watch(url: &str, job: &str, stop: &AtomicBool) -> usize {
    let mut connection = connect(url);
    let mut before: Option<Snapshot> = None;
    let mut looks = 0;
    while !stop.load(Ordering::Relaxed) {
        let now = snapshot(&mut connection, job, "cards");
        if let Some(before) = &before {
            assert!(before.as_of <= now.as_of && before.upto <= now.upto, "marks never fall");
            assert!(
                now.hashes.keys().all(|key| now.changed_at(key) <= now.upto.unwrap()),
                "no row is newer than `_upto`"
            );
            for key in before.hashes.keys() {
                let Some(hash) = now.hashes.get(key) else { panic!("{key}: a lifetime row is gone") };
                assert!(before.changed_at(key) <= now.changed_at(key), "{key}: {:?} -> {hash:?}", before.hashes[key]);
                let n = |snapshot: &Snapshot| snapshot.hashes[key]["n_all"].parse::<u64>().unwrap();
                assert!(n(before) <= n(&now), "{key}: its count falls");
            }
        }
        before = Some(now);
        looks += 1;
    }
    looks
}

/// A job that is killed and started anew reads its whole past again. Nobody sees that.
#[test]
fn no_reader_sees_a_value_go_back() {
    let case = need!(Case::new("catching_up"));
    let mut random = Random(71);
    let log = vec![random.events(30_000, 50, START, START + HOUR), random.events(30_000, 50, START, START + HOUR)];
    let topic = Topic::new(&case.kafka, &case.name, 2);
    topic.fill(&log);
    let groups = REDIS_SINK.to_owned() + &cards(&WINDOWS);
    let path = case.job("job.toml", &job(SCHEMA, "", &groups));
    finish(run(&["run", path.to_str().unwrap(), "--until-end"]), 0);
    let stop = AtomicBool::new(false);
    let (url, name) = (&case.redis, &case.name);
    let looks = std::thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(url, name, &stop));
        for workers in ["1", "3"] {
            let mut next = random.events(1000, 50, now_us() / 1000 * 1000 - SECOND, now_us() / 1000 * 1000);
            next.iter_mut().for_each(|event| event.ok = true);
            next.iter().for_each(|event| topic.send_event(0, event));
            topic.flush();
            let newest = next.last().unwrap().arrived;
            let running = run(&["run", path.to_str().unwrap(), "--workers", workers]);
            until("it has caught up", || {
                assert!(!watcher.is_finished(), "the watcher saw what it should not");
                as_of(&mut connect(url), name, "cards").filter(|as_of| *as_of > newest)
            });
            running.kill();
        }
        stop.store(true, Ordering::Relaxed);
        watcher.join().unwrap()
    });
    assert!(looks > 20, "{looks} looks");
    assert_eq!(string(&mut connect(url), &format!("{name}:_generation")).as_deref(), Some("3"));
}
