//! What a long text of a table comes to that many events look up.

use std::rc::Rc;
use std::sync::Arc;

use headwater_clocks::{Eff, Offset, Tick, Time, WallClock};
use headwater_connectors::Records;
use headwater_connectors::stream::Start;

use super::super::admit::Admitted;
use super::super::pipeline::{Pipeline, SHAPED_BYTES_MAX, Shaped, bytes_of_batch};
use super::super::selection::REPEATED_BYTES_MAX;
use super::super::shape::Batch;
use super::super::stamp::Stamped;
use super::super::testing::open_job;
use super::*;
use crate::base::id::{Id, WorkerId};
use crate::base::peer::Peer;
use crate::plan::group::PlannedGroup;
use crate::plan::scan::Scan;

/// Of a text that is a shop's; of one that is an item's whose name is a column of the shop; and of the elements of a list.
const JOB: &str = r#"
name = "t"
[sources.e]
event_time = "ts"
time_unit = "s"
schema = { ts = "int64", k = "string", shop = "string", l = "list<string>" }
stream = { type = "jsonl", path = "e.jsonl" }
[tables.shops]
key = "shop"
event_time = "ts"
time_unit = "s"
lateness = "1h"
schema = { ts = "int64", shop = "string", item = "string", text = "string" }
stream = { type = "jsonl", path = "shops.jsonl" }
[features.f]
source = "e"
key = "k"
lookup.s = { table = "shops", on = "shop" }
columns = { c = { agg = "last", of = "s.text", window = "1h" } }
[features.g]
source = "e"
key = "k"
lookup.s = { table = "shops", on = "shop" }
lookup.i = { table = "shops", on = "concat(s.item, substr(s.text, 1, 0))" }
columns = { c = { agg = "last", of = "length(s.text) + length(i.text)", window = "1h" } }
[features.h]
source = "e"
key = "k"
explode = "l"
lookup.s = { table = "shops", on = "item" }
columns = { c = { agg = "last", of = "s.text", window = "1h" } }
"#;

const MIB: usize = 1 << 20;
const SECOND: i64 = 1_000_000;

struct Job {
    opened: Arc<Opened>,
    plan: Plan,
    sets: ColumnSets,
    dir: tempfile::TempDir,
}

impl Job {
    fn new(text: &str) -> Job {
        let dir = tempfile::tempdir().unwrap();
        for name in ["e", "shops"] {
            std::fs::write(dir.path().join(format!("{name}.jsonl")), "").unwrap();
        }
        let opened = Arc::new(open_job(dir.path(), text));
        let scan = |source| Scan { s: Some(Tick::from_us(0)), ..Scan::of(source, String::new()) };
        let scans: Vec<Scan> = opened.sources.ids().map(scan).collect();
        let all: Vec<ScanId> = (0..scans.len()).map(ScanId::at).collect();
        let groups = opened.groups.ids().map(|group| PlannedGroup::whole(&opened, group, &all));
        let groups: Vec<PlannedGroup> = groups.collect();
        let plan = Plan::of(WallClock::from_us(0), IdVec::from(scans), IdVec::from(groups));
        let sets = ColumnSets::open(&opened, &plan, Side::Live).unwrap();
        Job { opened, plan, sets, dir }
    }

    /// What lines of a source come to that came at a time, or each at its own.
    fn shaped(&self, name: &str, lines: &[String], came: Option<i64>) -> Shaped {
        let id = self.opened.sources.ids().find(|id| self.opened.job.sources[*id].name == name).unwrap();
        std::fs::write(self.dir.path().join(format!("{name}.jsonl")), lines.concat()).unwrap();
        let source = &self.opened.sources[id];
        let stream = source.stream.as_ref().unwrap();
        stream.bounds().unwrap();
        let mut reader = stream.reader(&[Start { partition: 0, offset: Offset::at(0) }], &source.wanted).unwrap();
        let records: Records = reader.poll(0, 64 * MIB).unwrap().unwrap();
        assert_eq!(records.len(), lines.len());
        let pipeline = Pipeline::new(&self.opened, &self.plan, &self.sets, id);
        let stamped: Vec<Stamped> = pipeline.stamp(&records, WallClock::from_us(1));
        let rows: Vec<u32> = (0..records.len() as u32).collect();
        let mut admitted = Admitted::chosen(self.plan.first_scan(id), &rows, &stamped, Tick::BEFORE_ALL);
        admitted.visible = stamped.iter().map(|of| Tick::from_us(of.ts.map_or(0, Time::us))).collect();
        admitted.effs = stamped.iter().map(|of| came.or(of.ts.map(Time::us)).map(Eff::from_us)).collect();
        let batch = Batch { records: &records, stamped: &stamped };
        pipeline.shape(batch, &pipeline.log_positions(&records), &[admitted])
    }
}

fn take(lookups: &mut LookUps, shaped: Shaped) {
    for versions in &shaped.versions {
        lookups.take_versions(versions.scan, &versions.batch, false);
    }
    shaped.raw.into_iter().for_each(|raw| lookups.take_events(&Rc::new(raw)));
}

/// Everything up to a tick: by turn the batches of each group.
fn done(lookups: &mut LookUps, upto: i64) -> Vec<Vec<(GroupId, RecordBatch)>> {
    let mut turns = vec![];
    for _ in 0..10_000 {
        let (made, reached) = lookups.advance(Tick::from_us(upto));
        assert_eq!(made.dead_letters.len(), 0);
        turns.push(made.events.into_iter().map(|((group, _), events)| (group, events)).collect());
        if reached == Some(Tick::from_us(upto)) {
            return turns;
        }
    }
    panic!("it does not end");
}

/// Of a group: the events, one by one, in their order.
fn of_group(turns: &[Vec<(GroupId, RecordBatch)>], group: usize) -> Vec<RecordBatch> {
    let mine = turns.iter().flatten().filter(|(id, _)| *id == GroupId::at(group));
    mine.flat_map(|(_, events)| (0..events.num_rows()).map(|row| events.slice(row, 1))).collect()
}

#[test]
fn a_long_text_that_many_look_up_is_there_a_few_times_at_once() {
    let job = Job::new(JOB);
    let mut lookups =
        LookUps::open(&job.opened, &job.plan, &job.sets, (0, Peer { worker: WorkerId::FIRST, peers: 1 })).unwrap();
    let shop = |ts: usize, letter: &str| {
        let text = letter.repeat(MIB);
        format!("{{\"ts\":{ts},\"shop\":\"s\",\"item\":\"s\",\"text\":\"{text}\"}}\n")
    };
    let event = |i: usize| format!("{{\"ts\":{},\"k\":\"{i}\",\"shop\":\"s\",\"l\":[\"s\",\"x\"]}}\n", 10 + i % 2);
    let events: Vec<String> = (0..40).map(event).collect();
    take(&mut lookups, job.shaped("shops", &[shop(1, "a")], None));
    take(&mut lookups, job.shaped("e", &events, None));
    let first = done(&mut lookups, 20 * SECOND);
    // A version comes late that all of them look up.
    take(&mut lookups, job.shaped("shops", &[shop(1, "a"), shop(5, "b")], Some(30 * SECOND)));
    let second = done(&mut lookups, 40 * SECOND);
    for (turns, events, texts) in [(&first, 40, 80), (&second, 80, 160)] {
        for (group, of_event) in [(0, 1), (1, 1), (2, 2)] {
            assert_eq!(of_group(turns, group).len(), events * of_event, "{group}");
        }
        let bytes = |events: &RecordBatch| bytes_of_batch(events);
        let all: usize = turns.iter().flatten().map(|(_, events)| bytes(events)).sum();
        assert!(all > texts * MIB, "{all}");
        let largest = turns.iter().flatten().map(|(_, events)| bytes(events)).max();
        assert!(largest <= Some(REPEATED_BYTES_MAX + 2 * MIB), "{largest:?}");
        let at_once = turns.iter().map(|turn| turn.iter().map(|(_, events)| bytes(events)).sum::<usize>()).max();
        assert!(at_once <= Some(SHAPED_BYTES_MAX + REPEATED_BYTES_MAX + 2 * MIB), "{at_once:?}");
    }
}

/// Of a row of another group.
const WITH_ROWS: &str = r#"
[features.i]
source = "e"
key = "k"
lookup.s = { table = "shops", on = "shop" }
lookup.r = { features = "f", on = "k" }
columns = { c = { agg = "last", of = "concat(s.item, r.c)", window = "1h" } }
"#;

/// An event that is held has found a row; so many that wait, more than are written at once, have found none yet.
#[test]
fn what_a_checkpoint_holds_of_a_source_has_the_same_columns_throughout() {
    let job = Job::new(&format!("{JOB}{WITH_ROWS}"));
    let peer = Peer { worker: WorkerId::FIRST, peers: 1 };
    let mut lookups = LookUps::open(&job.opened, &job.plan, &job.sets, (1, peer)).unwrap();
    let event = |ts: usize, i: usize| format!("{{\"ts\":{ts},\"k\":\"{i}\",\"shop\":\"s\",\"l\":[]}}\n");
    take(&mut lookups, job.shaped("e", &[event(10, 0)], None));
    for Query { features, key, before } in lookups.take_queries() {
        lookups.take_answer(features, (&key, before), None);
    }
    done(&mut lookups, 20 * SECOND);
    for ts in 30..33 {
        let waiting: Vec<String> = (0..8_000).map(|i| event(ts, i)).collect();
        take(&mut lookups, job.shaped("e", &waiting, None));
    }
    let saved: Vec<_> = batches(&job.opened, vec![lookups.save(peer)]).collect();
    assert_eq!(saved.iter().map(|(_, batch)| batch.num_rows()).sum::<usize>(), 1 + 3 * 8_000);
    assert!(saved.len() > 1);
    for (_, batch) in &saved {
        assert_eq!(batch.schema(), saved[0].1.schema());
    }
}
