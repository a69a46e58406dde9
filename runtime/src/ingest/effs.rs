//! Effective times of the history's rows: when each could first be known, made monotone along its partition's log.
//!
//! ```text
//! seam by offset    eff = the largest arrival of the partition's rows up to this one's offset     any other seam    eff = a
//!
//! offset   arrives   eff
//!      0        10    10
//!      1        30    30
//!      2        20    30    it came after what arrived at 30
//!      2        40    40    the history has the offset twice: both share it, so both are 40
//! ```
//!
//! Rows lie in the history in any order, so the running maximum is found before the first row is shaped: per partition the
//! offsets at which it rises. Wrong clocks and malformed rows add nothing. Only windows with a lateness ask for it. Rows that
//! none of them reaches need no step of their own: what lies before the first row that is asked for is one maximum.
//!
//! Every process finds it for itself: the pinned files are the same to all.

use std::collections::BTreeMap;

use headwater_clocks::{Arrival, Eff, EventTime, Offset, Tick, WallClock};
use headwater_connectors::history::{History, Piece};
use headwater_connectors::{Records, Result as Connected};

use super::narrow::{Narrow, visit};
use super::stamp::{Stamper, integers};
use super::steps::Steps;
use crate::base::failure::Failure;
use crate::base::id::{GroupId, IdVec, ScanId};
use crate::catalog::column_sets::{ColumnSet, ColumnSets};
use crate::catalog::opened::Opened;
use crate::job::{SeamBy, Window};
use crate::plan::Plan;

/// Of one source. Threads share it.
#[derive(Debug, Default)]
pub struct Effs {
    /// By partition.
    steps: BTreeMap<i64, Steps>,
}

impl Effs {
    /// Those of a plan's scans.
    pub fn all(opened: &Opened, plan: &Plan, sets: &ColumnSets) -> Result<IdVec<ScanId, Effs>, Failure> {
        plan.scans.ids().map(|scan| Effs::open(opened, plan, sets, scan)).collect()
    }

    fn open(opened: &Opened, plan: &Plan, sets: &ColumnSets, id: ScanId) -> Result<Effs, Failure> {
        let scan = &plan.scans[id];
        // Of a table every version is, whenever it came, and so is every record that may replace another.
        let is_keyed = opened.job.sources[scan.source].rows().is_some();
        let is_replayed = scan.replay.is_some();
        let asked = (is_keyed || asking(opened, sets, (id, is_replayed)).next().is_some()) && !scan.restored;
        let floor = scan.s.filter(|_| !is_keyed).and_then(|s| floor(opened, sets, (id, is_replayed), s));
        if asked { Effs::of_rows(opened, plan, id, floor) } else { Ok(Effs::default()) }
    }

    /// Those of every row of a scan's history whose event time is past `floor`; `None`: of all.
    pub fn of_rows(opened: &Opened, plan: &Plan, id: ScanId, floor: Option<EventTime>) -> Result<Effs, Failure> {
        let source = plan.scans[id].source;
        let (conf, open) = (&opened.job.sources[source], &opened.sources[source]);
        let by_offset = matches!(conf.seam.by, SeamBy::Offset { .. });
        let Some(history) = open.history.as_ref().filter(|_| by_offset) else { return Ok(Effs::default()) };
        let narrow = Narrow::new(conf, open, false);
        Ok(Effs { steps: read(history.as_ref(), &narrow, floor, plan.now)? })
    }

    /// The `eff` of a row with this place in the log and this arrival.
    pub fn eff(&self, partition: Option<i64>, offset: Option<Offset>, a: Option<Arrival>) -> Option<Eff> {
        let steps = partition.zip(offset).and_then(|(p, o)| Some((self.steps.get(&p)?, o)));
        steps.map_or(a.map(Eff::from), |(steps, offset)| steps.at(offset))
    }
}

/// The column sets of a scan that judge lateness; all of them, where somebody asks for rows before `S`, or the scan is replayed.
fn asking<'a>(
    opened: &'a Opened,
    sets: &'a ColumnSets,
    (scan, is_replayed): (ScanId, bool),
) -> impl Iterator<Item = &'a ColumnSet> {
    let of_scan = sets.of_scan(scan);
    let all = is_replayed || opened.looks_back();
    let asks = move |group: GroupId| all || opened.job.groups[group].window != Window::Trailing;
    of_scan.filter(move |(group, _)| asks(*group)).map(|(_, set)| set)
}

/// No column set that judges lateness reaches a row up to this event time; `None`: one reaches everything.
fn floor(opened: &Opened, sets: &ColumnSets, scan: (ScanId, bool), s: Tick) -> Option<EventTime> {
    let floors: Option<Vec<EventTime>> = asking(opened, sets, scan).map(|set| set.floor(s)).collect();
    floors?.into_iter().min()
}

/// Which rows are asked for.
enum RowsAsked {
    All,
    /// By partition, from this offset on; of other partitions none.
    From(BTreeMap<i64, Offset>),
}

impl RowsAsked {
    fn from(&self, partition: i64) -> Offset {
        match self {
            RowsAsked::All => Offset::BEFORE_ALL,
            RowsAsked::From(first) => first.get(&partition).copied().unwrap_or(Offset::AFTER_ALL),
        }
    }
}

fn read(
    history: &dyn History,
    narrow: &Narrow,
    floor: Option<EventTime>,
    now: WallClock,
) -> Connected<BTreeMap<i64, Steps>> {
    let pieces = narrow.pieces(history)?;
    let asked = match floor {
        None => RowsAsked::All,
        Some(floor) => RowsAsked::From(first_asked(history, narrow, &pieces, floor, now)?),
    };
    let stamper = narrow.stamper();
    let parts = visit(&pieces, |steps: &mut BTreeMap<i64, Steps>, piece| {
        if let Some((partition, newest)) = folded(narrow, piece, &asked, now) {
            let before = &mut steps.entry(partition).or_default().before;
            *before = (*before).max(Some(newest.into()));
            return Ok(());
        }
        for records in history.read(piece, narrow.wanted())? {
            for row in rows(narrow, &stamper, &records?, now) {
                let Row { partition, offset, arrival: Some(a), .. } = row else { continue };
                steps.entry(partition).or_default().add(offset, a, asked.from(partition));
            }
        }
        Ok(())
    })?;
    let mut all: BTreeMap<i64, Steps> = BTreeMap::new();
    for (partition, steps) in parts.into_iter().flatten() {
        all.entry(partition).or_default().merge(steps);
    }
    for steps in all.values_mut() {
        steps.condense();
        steps.rises.shrink_to_fit();
    }
    Ok(all)
}

/// By partition, the smallest offset of a row past the floor.
fn first_asked(
    history: &dyn History,
    narrow: &Narrow,
    pieces: &[Piece],
    floor: EventTime,
    now: WallClock,
) -> Connected<BTreeMap<i64, Offset>> {
    let below = |piece: &Piece| {
        let range = narrow.source.event_time.and_then(|column| narrow.times(piece, column));
        range.is_some_and(|range| range.bounds.is_none_or(|(_, newest)| EventTime::from_us(newest) <= floor))
    };
    let pieces: Vec<Piece> = pieces.iter().filter(|piece| !below(piece)).cloned().collect();
    let stamper = narrow.stamper();
    let parts = visit(&pieces, |first: &mut BTreeMap<i64, Offset>, piece| {
        for records in history.read(piece, narrow.wanted())? {
            for row in rows(narrow, &stamper, &records?, now).filter(|row| row.ts.is_some_and(|ts| ts > floor)) {
                lower(first, row.partition, row.offset);
            }
        }
        Ok(())
    })?;
    let mut first = BTreeMap::new();
    parts.into_iter().flatten().for_each(|(partition, offset)| lower(&mut first, partition, offset));
    Ok(first)
}

fn lower(first: &mut BTreeMap<i64, Offset>, partition: i64, offset: Offset) {
    first.entry(partition).and_modify(|o| *o = offset.min(*o)).or_insert(offset);
}

/// A row with a place in its partition's log.
struct Row {
    partition: i64,
    offset: Offset,
    ts: Option<EventTime>,
    /// Where it may move clocks.
    arrival: Option<Arrival>,
}

fn rows(narrow: &Narrow, stamper: &Stamper, records: &Records, now: WallClock) -> impl Iterator<Item = Row> + use<> {
    let (p, o) = narrow.source.seam_columns.expect("a seam by offset has columns");
    let (partitions, offsets) = (integers(records.batch.column(p)), integers(records.batch.column(o)));
    let positions = partitions.into_iter().zip(offsets).zip(stamper.stamp(records, now));
    positions.filter_map(|((partition, offset), stamped)| {
        Some(Row { partition: partition?, offset: Offset::at(offset?), ts: stamped.ts, arrival: stamped.clock() })
    })
}

/// The partition and the largest arrival of a piece, where statistics tell that its rows are of one partition, before the first
/// that is asked for, and that every arrival counts.
fn folded(narrow: &Narrow, piece: &Piece, asked: &RowsAsked, now: WallClock) -> Option<(i64, Arrival)> {
    let (p, o) = narrow.source.seam_columns?;
    let whole =
        |column: usize| piece.statistics.get(column).copied().flatten().filter(|range| range.nulls == 0)?.bounds;
    let ((partition, last_partition), (_, last_offset)) = (whole(p)?, whole(o)?);
    let before = partition == last_partition && Offset::at(last_offset) < asked.from(partition);
    let newest = narrow.newest_arrival(piece, now)?;
    before.then_some((partition, newest))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::base::id::{Id, SourceId};
    use crate::ingest::testing::{open, write_parquet};
    use headwater_clocks::Time;

    const NOW: WallClock = WallClock::from_us(1_800_000_000_000_000);
    const SEAM: &str = "seam = { by = \"offset\", partition = \"p\", offset = \"o\" }";

    fn effs(opened: &Opened, floor: Option<i64>) -> Effs {
        let narrow = Narrow::new(&opened.job.sources[SourceId::at(0)], &opened.sources[SourceId::at(0)], false);
        let history = opened.sources[SourceId::at(0)].history.as_ref().unwrap();
        Effs { steps: read(history.as_ref(), &narrow, floor.map(EventTime::from_us), NOW).unwrap() }
    }

    fn eff(effs: &Effs, partition: Option<i64>, offset: Option<i64>, a: Option<i64>) -> Option<i64> {
        effs.eff(partition, offset.map(Offset::at), a.map(Arrival::from_us)).map(Time::us)
    }

    #[test]
    fn a_running_maximum_along_offsets() {
        let dir = tempfile::tempdir().unwrap();
        // In two files, and in no order. What has no place in a log keeps its arrival.
        let lines = [
            r#"{"ts":20,"a":20,"p":0,"o":2}"#,
            r#"{"ts":10,"a":10,"p":0,"o":0}"#,
            r#"{"ts":5,"a":50,"p":1,"o":0}"#,
            "no record",
            r#"{"ts":15,"a":40,"p":0,"o":2}"#,
        ];
        let more = [
            r#"{"ts":9000000000000000,"a":60,"p":0,"o":3}"#,
            r#"{"ts":30,"a":30,"p":0,"o":1}"#,
            r#"{"ts":35,"p":0,"o":4}"#,
            r#"{"ts":70,"a":70,"p":null,"o":5}"#,
            r#"{"ts":"?","a":80,"p":0,"o":5}"#,
            r#"{"a":45,"p":0,"o":6}"#,
        ];
        std::fs::write(dir.path().join("1.jsonl"), lines.join("\n")).unwrap();
        std::fs::write(dir.path().join("2.jsonl"), more.join("\n")).unwrap();
        let schema = r#"schema = { ts = "int64", a = "int64", p = "int32", o = "int64", card = "string" }"#;
        let source = format!(
            "event_time = \"ts\"\narrival_time = \"a\"\ntime_unit = \"us\"\n{SEAM}\n{schema}\n\
             history = {{ type = \"jsonl\", path = \"*.jsonl\" }}"
        );
        let opened = open(dir.path(), &source);
        let all = effs(&opened, None);
        let table = [
            // partition, offset, a -> eff
            (Some(0), Some(0), Some(10), Some(10)),
            (Some(0), Some(1), Some(30), Some(30)),
            (Some(0), Some(2), Some(20), Some(40)),
            (Some(0), Some(2), Some(40), Some(40)),
            (Some(0), Some(3), Some(60), Some(40)),
            (Some(0), Some(4), Some(35), Some(40)),
            (Some(0), Some(6), Some(45), Some(45)),
            (Some(1), Some(0), Some(50), Some(50)),
            (None, Some(5), Some(70), Some(70)),
            (Some(0), None, Some(1), Some(1)),
            (Some(7), Some(0), Some(9), Some(9)),
            (None, None, None, None),
        ];
        for (partition, offset, a, expected) in table {
            assert_eq!(eff(&all, partition, offset, a), expected, "{partition:?} {offset:?} {a:?}");
        }
        // Of rows past the floor it is the same.
        let late = effs(&opened, Some(29));
        assert_eq!(late.steps[&0].before, Some(Eff::from_us(10)));
        for offset in [1, 4, 6] {
            assert_eq!(eff(&late, Some(0), Some(offset), None), eff(&all, Some(0), Some(offset), None), "{offset}");
        }
    }

    #[derive(Clone, Debug)]
    struct KnownRow {
        ts: Option<i64>,
        a: Option<i64>,
        p: Option<i32>,
        o: Option<i64>,
    }

    impl KnownRow {
        /// The arrival, where it counts.
        fn clock(&self) -> Option<i64> {
            let hour = 3_600_000_000;
            self.a.or(self.ts).filter(|a| self.ts.is_none_or(|ts| ts <= a + hour))
        }
    }

    fn write(path: &std::path::Path, rows: &[KnownRow]) {
        let times = |of: fn(&KnownRow) -> Option<i64>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(of)).with_timezone("UTC"))
        };
        let columns: [(&str, ArrayRef); 5] = [
            ("ts", times(|r| r.ts)),
            ("a", times(|r| r.a)),
            ("p", Arc::new(Int32Array::from_iter(rows.iter().map(|r| r.p)))),
            ("o", Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.o)))),
            ("card", Arc::new(StringArray::from(vec!["c"; rows.len()]))),
        ];
        write_parquet(path, &columns, 16);
    }

    /// Logs of three partitions; some rows lack something, some have a wrong clock.
    fn logs(random: &mut StdRng, odd: f64) -> Vec<KnownRow> {
        let mut all = vec![];
        for p in 0..3 {
            for o in 0..200 {
                let a = 1_000 + o * 10 + random.random_range(0..300);
                let mut row =
                    KnownRow { ts: Some(a - random.random_range(0..400)), a: Some(a), p: Some(p), o: Some(o) };
                if random.random_bool(odd) {
                    match random.random_range(0..6) {
                        0 => row.ts = None,
                        1 => row.a = None,
                        2 => row.p = None,
                        3 => row.o = None,
                        4 => row.ts = Some(a + 4_000_000_000),
                        _ => row.o = Some(o / 2),
                    }
                }
                all.push(row);
            }
        }
        all
    }

    #[test]
    fn as_a_look_at_every_row_says() {
        for (seed, odd, in_order) in
            [(1, 0.0, true), (2, 0.05, true), (3, 0.0, false), (4, 0.3, false), (5, 0.01, true)]
        {
            let mut random = StdRng::seed_from_u64(seed);
            let mut rows = logs(&mut random, odd);
            if !in_order {
                rows.shuffle(&mut random);
            }
            let dir = tempfile::tempdir().unwrap();
            let (one, two) = rows.split_at(rows.len() / 3);
            write(&dir.path().join("1.parquet"), one);
            write(&dir.path().join("2.parquet"), two);
            let source = format!(
                "event_time = \"ts\"\narrival_time = \"a\"\n{SEAM}\nhistory = {{ type = \"parquet\", path = \"*.parquet\" }}"
            );
            let opened = open(dir.path(), &source);
            for floor in [None, Some(0), Some(1_500), Some(2_800), Some(i64::MAX)] {
                let effs = effs(&opened, floor);
                for row in rows.iter().filter(|row| row.ts.is_some_and(|ts| floor.is_none_or(|floor| ts > floor))) {
                    let a = row.a.or(row.ts);
                    let expected = match (row.p, row.o) {
                        (Some(p), Some(o)) => {
                            let before = rows.iter().filter(|r| r.p == Some(p) && r.o.is_some_and(|at| at <= o));
                            before.filter_map(KnownRow::clock).max()
                        }
                        _ => a,
                    };
                    let found = eff(&effs, row.p.map(i64::from), row.o, a);
                    assert_eq!(found, expected, "seed {seed}, floor {floor:?}: {row:?}");
                }
            }
        }
    }

    #[test]
    fn what_nobody_asks_for_is_folded() {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<KnownRow> =
            (0..160).map(|o| KnownRow { ts: Some(o), a: Some(o + 1), p: Some(0), o: Some(o) }).collect();
        write(&dir.path().join("1.parquet"), &rows);
        let source = format!(
            "event_time = \"ts\"\narrival_time = \"a\"\n{SEAM}\nhistory = {{ type = \"parquet\", path = \"*.parquet\" }}"
        );
        let opened = open(dir.path(), &source);
        let narrow = Narrow::new(&opened.job.sources[SourceId::at(0)], &opened.sources[SourceId::at(0)], false);
        let history = opened.sources[SourceId::at(0)].history.as_ref().unwrap();
        let pieces = narrow.pieces(history.as_ref()).unwrap();
        let asked = RowsAsked::From(BTreeMap::from([(0, Offset::at(100))]));
        let found: Vec<_> = pieces.iter().map(|piece| folded(&narrow, piece, &asked, NOW)).collect();
        let newest = |group: i64| Arrival::from_us(group * 16 + 16);
        let expected: Vec<_> = (0..10).map(|group| (group < 6).then_some((0, newest(group)))).collect();
        assert_eq!(found, expected, "row groups of 16 rows that end before offset 100");
        let effs = effs(&opened, Some(99));
        assert_eq!((effs.steps[&0].before, effs.steps[&0].rises.len()), (Some(Eff::from_us(100)), 60));
    }
}
