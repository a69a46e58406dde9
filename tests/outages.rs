//! A broker or a Redis that goes away for some seconds: nothing is lost, nothing is doubled, and all is there once it is back.
//! Each test starts services of its own.

use std::time::Duration;

use crate::support::*;

const SHORT: [(&str, Option<i64>); 2] = [("3s", Some(3 * SECOND)), ("all", None)];

/// Events of this moment for about a second.
fn produce(topic: &Topic, random: &mut Random, log: &mut Log) {
    for _ in 0..500 {
        let now = now_us() / 1000 * 1000;
        let (card, amount) = (format!("c{}", random.below(20)), Some(random.below(400) as f64 / 4.0));
        let p = random.below(log.len() as u64) as usize;
        let event = Event { card, amount, ok: true, ts: now, arrived: now };
        topic.send_event(p, &event);
        log[p].push(event);
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the store is past all that was sent, and compares.
fn settles(url: &str, case: &Case, log: &Log, s: i64) {
    let newest = log.iter().flatten().map(|event| event.arrived).max().unwrap();
    let mut connection = connect(url);
    let stored = until("everything is stored", || {
        let stored = snapshot(&mut connection, &case.name, "cards");
        (stored.as_of? > newest + 4 * SECOND).then_some(stored)
    });
    // By now nothing but the lifetime values is left, so it does not matter which tick this is.
    let expected = rows(&visible(log, s, TICK), &SHORT, stored.as_of.unwrap());
    assert_rows("Redis", &stored.rows(&expected), &expected);
}

fn start(case: &Case, topic: &Topic) -> (Running, Log, i64) {
    let now = now_us() / 1000 * 1000;
    let mut random = Random(60);
    let events = random.events(3000, 20, now - HOUR, now - MINUTE);
    let log = random.part(&events, 2, &[]);
    let cuts: Vec<usize> = log.iter().map(Vec::len).collect();
    write_parquet(&case.path("history/a.parquet"), &history_of(&log, &cuts));
    topic.fill(&log);
    let path = case.job("job.toml", &job(HISTORY, BY_OFFSET, &(ALL_SINKS.to_owned() + &cards(&SHORT))));
    let running = run(&["run", path.to_str().unwrap(), "--workers", "2"]);
    (running, log, up(events.iter().map(|event| event.arrived).max().unwrap(), TICK))
}

#[test]
fn a_broker_that_goes_away() {
    let mut case = need!(Case::new("broker_away"));
    let broker = Service::start(&case, "kafka");
    case.kafka = broker.address.clone();
    let topic = Topic::new(&case.kafka, &case.name, 2);
    let (running, mut log, s) = start(&case, &topic);
    let mut random = Random(61);
    produce(&topic, &mut random, &mut log);
    // Killed, with records that wait in the producer meanwhile.
    broker.stop("KILL");
    produce(&topic, &mut random, &mut log);
    broker.again();
    produce(&topic, &mut random, &mut log);
    // Frozen: connections stay, answers do not come.
    let told = |text: &str| running.log().matches(text).count();
    let silences = || told("does not answer");
    // It is told once for as long as it lasts, so the silence before has to be over.
    until("the broker answers again", || (told("answer again") == silences()).then_some(()));
    let before = silences();
    broker.stop("STOP");
    produce(&topic, &mut random, &mut log);
    until("it says that nobody answers", || (silences() > before).then_some(()));
    broker.stop("CONT");
    produce(&topic, &mut random, &mut log);
    topic.flush();
    settles(&case.redis, &case, &log, s);
    running.terminate();
    assert_rows(
        "the changelog",
        &play(&case.lines("changes.jsonl")),
        &case.exported(&case.path("job.toml"), "cards").0,
    );
}

#[test]
fn a_redis_that_goes_away() {
    let mut case = need!(Case::new("redis_away"));
    let redis = Service::start(&case, "redis");
    case.redis = format!("redis://{}/0", redis.address);
    let topic = Topic::new(&case.kafka, &case.name, 2);
    let (running, mut log, s) = start(&case, &topic);
    let mut random = Random(62);
    produce(&topic, &mut random, &mut log);
    redis.stop("TERM");
    produce(&topic, &mut random, &mut log);
    redis.again();
    produce(&topic, &mut random, &mut log);
    redis.stop("STOP");
    produce(&topic, &mut random, &mut log);
    redis.stop("CONT");
    produce(&topic, &mut random, &mut log);
    // Killed, it may lose what it had not yet written to its disk.
    redis.stop("KILL");
    redis.again();
    produce(&topic, &mut random, &mut log);
    topic.flush();
    settles(&case.redis, &case, &log, s);
    running.terminate();
}

/// Redis was set up anew while the job ran: everything is written again.
#[test]
fn a_redis_that_lost_everything() {
    let mut case = need!(Case::new("redis_lost"));
    let redis = Service::start(&case, "redis");
    case.redis = format!("redis://{}/0", redis.address);
    let topic = Topic::new(&case.kafka, &case.name, 2);
    let (running, mut log, s) = start(&case, &topic);
    let mut random = Random(63);
    produce(&topic, &mut random, &mut log);
    until("rows", || as_of(&mut connect(&case.redis), &case.name, "cards"));
    redis.stop("KILL");
    std::fs::remove_dir_all(case.path("redis/appendonlydir")).unwrap();
    redis.again();
    produce(&topic, &mut random, &mut log);
    topic.flush();
    settles(&case.redis, &case, &log, s);
    assert_eq!(
        redis::cmd("GET").arg(format!("{}:_generation", case.name)).query::<u64>(&mut connect(&case.redis)).unwrap(),
        1
    );
    running.terminate();
}
