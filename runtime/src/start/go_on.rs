//! The plan of a start that goes on from a checkpoint: each partition from where it was read, to the end that it has now, or
//! had at the start of a run to the end that was killed. What is new in the job is read from today's history, as at a first
//! start.

use headwater_clocks::{Tick, WallClock};
use headwater_connectors::stream::Bounds;

use super::changed::{Changed, ChangedGroup};
use super::fresh::plan_source;
use super::{last_record, views};
use crate::base::failure::Failure;
use crate::base::id::{GroupId, IdVec, ScanId, SourceId};
use crate::catalog::opened::Opened;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::resumption::{Resumption, Start};
use crate::plan::Plan;
use crate::plan::group::{PlannedColumnSet, PlannedGroup};
use crate::plan::mode::Mode;
use crate::plan::position::Position;
use crate::plan::scan::{PartitionPlan, Scan};

/// `changed`: what has become of the job, which goes on.
pub fn go_on(
    opened: &Opened,
    manifest: Manifest,
    changed: &Changed,
    now: WallClock,
    mode: Mode,
) -> Result<Start, Failure> {
    let old = manifest.plan.clone();
    // What is planned anew has ends of its own.
    let in_place = changed.is_nothing && (manifest.t.is_some() || changed.is_in_place);
    let same_end = mode == Mode::UntilEnd && manifest.mode == mode && !manifest.finished && in_place;
    let now = if same_end { old.now } else { now };
    if changed.is_again(&manifest) {
        return again(opened, manifest, now, same_end);
    }
    let mut scans: IdVec<ScanId, Scan> = IdVec::new();
    let mut moved = IdVec::filled(None, old.scans.len());
    for (before, source) in changed.kept.pairs() {
        let Some(source) = *source else { continue };
        let mut scan = Scan { source, ..old.scans[before].clone() };
        scan.published = is_published(&scan, old.floor);
        resume(&mut scan, before, opened, &manifest.positions, same_end)?;
        moved[before] = Some(scans.push(scan));
    }
    let mut fresh: IdVec<SourceId, Option<ScanId>> = IdVec::filled(None, opened.sources.len());
    for source in opened.sources.ids() {
        let is_new = |group: GroupId| !changed.groups[group].new.is_empty();
        if opened.graph.groups_of(source).any(is_new) || scans.iter().all(|scan| scan.source != source) {
            fresh[source] = Some(scans.push(plan_source(opened, source, now, mode == Mode::Follow)?));
        }
    }
    let scans = alike(scans);
    let group = |(id, changed): (GroupId, &ChangedGroup)| {
        let added = opened.graph.all_sources_of(id).into_iter().map(|source| fresh[source]).collect();
        group(opened, &old, id, changed, &moved, added)
    };
    let mut groups: IdVec<GroupId, PlannedGroup> = changed.groups.pairs().map(group).collect();
    let sets = groups.iter_mut().flat_map(|group| &mut group.sets);
    sets.for_each(|set| set.scans.sort_by_key(|scan| scans[*scan].source));
    let floor = manifest.t.max(old.floor);
    let mut plan = Plan {
        rows_from: IdVec::filled(floor.unwrap_or(Tick::BEFORE_ALL), opened.groups.len()),
        end_at_least: floor.unwrap_or(Tick::BEFORE_ALL),
        changelog_reset: old.changelog_reset,
        floor,
        ..Plan::of(now, scans, groups)
    };
    plan.set_views(views::planned(opened, &plan, Some(&old)));
    Ok(Start { plan, from: Some(Resumption { manifest, moved }) })
}

/// Whether what is made of a scan was published: it has come as far as the rows.
fn is_published(scan: &Scan, floor: Option<Tick>) -> bool {
    scan.done.is_some() && scan.done >= scan.s.max(floor)
}

/// A partition is read for all scans of its source: one that came between the looks of two of them is one of both, and what came
/// to it between them lies before the end of both.
fn alike(mut scans: IdVec<ScanId, Scan>) -> IdVec<ScanId, Scan> {
    let all: Vec<(SourceId, PartitionPlan)> =
        scans.iter().flat_map(|r| r.partitions.iter().map(|p| (r.source, p.clone()))).collect();
    for (source, other) in all {
        for scan in scans.iter_mut().filter(|scan| scan.source == source) {
            match scan.partitions.iter_mut().find(|p| p.partition == other.partition) {
                Some(partition) => partition.end = partition.end.max(other.end),
                None => {
                    let unknown = PartitionPlan::unknown(other.partition, other.start);
                    scan.partitions.push(PartitionPlan { end: other.end, ..unknown });
                }
            }
        }
    }
    scans
}

/// The same plan once more: it was killed before all of its history was read. What goes on meanwhile may have read its streams.
fn again(opened: &Opened, manifest: Manifest, now: WallClock, same_end: bool) -> Result<Start, Failure> {
    let mut plan = manifest.plan.clone();
    for (id, scan) in plan.scans.pairs_mut() {
        scan.published = is_published(scan, plan.floor);
        resume(scan, id, opened, &manifest.positions, same_end)?;
    }
    plan.scans = alike(plan.scans);
    let floor = plan.floor.unwrap_or(Tick::BEFORE_ALL);
    let rows_from = IdVec::filled(floor, opened.groups.len());
    let mut plan = Plan { now, rows_from, skip_refresh: false, end_at_least: floor, generations: IdVec::new(), ..plan };
    plan.set_views(views::planned(opened, &plan, Some(&manifest.plan)));
    Ok(Start { plan, from: Some(Resumption::in_place(manifest)) })
}

fn group(
    opened: &Opened,
    old: &Plan,
    id: GroupId,
    changed: &ChangedGroup,
    moved: &IdVec<ScanId, Option<ScanId>>,
    added: Option<Vec<ScanId>>,
) -> PlannedGroup {
    let mut sets = IdVec::new();
    for kept in &changed.kept {
        let saved = &old.groups[changed.old.expect("what is kept was there")].sets[kept.set];
        let mut set = saved.clone();
        set.scans.iter_mut().for_each(|scan| *scan = moved[*scan].expect("the scan of a column set that is kept"));
        for (column, index) in set.columns.iter_mut().zip(&kept.indexes) {
            column.index = *index;
            if let Some(index) = index {
                column.plan.name.clone_from(&opened.groups[id].columns[*index].name);
            }
        }
        sets.push(set);
    }
    if !changed.new.is_empty() {
        let scans = added.expect("a source with something new is read");
        sets.push(PlannedColumnSet::of(opened, id, &scans, &changed.new));
    }
    let saved = changed.old.and_then(|group| old.groups[group].saved);
    // One that was killed before all rows were looked at looks at them again.
    let dropped_columns = changed.dropped_columns || changed.old.is_some_and(|group| old.groups[group].dropped_columns);
    PlannedGroup { saved, dropped_columns, ..PlannedGroup::with(opened, id, sets) }
}

/// Lets a scan begin where the checkpoint left it. `before`: its id then.
fn resume(
    scan: &mut Scan,
    before: ScanId,
    opened: &Opened,
    positions: &[Position],
    same_end: bool,
) -> Result<(), Failure> {
    scan.warnings.clear();
    let source = &opened.sources[scan.source];
    let Some(stream) = &source.stream else { return Ok(()) };
    let (mut gaps, all_bounds) = (vec![], stream.bounds()?);
    let at = |partition| positions.iter().find(|p| (p.scan, p.partition) == (before, partition));
    for bounds in all_bounds.iter().copied() {
        let at = at(bounds.partition);
        let known = scan.partitions.iter_mut().find(|p| p.partition == bounds.partition);
        match (known, at) {
            (Some(partition), at) => resume_partition(partition, at, &bounds, same_end, &mut gaps),
            // A run to the end keeps the ends that it had: this one was not there.
            (None, None) if same_end => {}
            // It is new; the run before may have seen it already, and read some of it.
            (None, at) => {
                let mut new = PartitionPlan::unknown(bounds.partition, stream.first_offset());
                resume_partition(&mut new, at, &bounds, same_end, &mut gaps);
                scan.partitions.push(new);
            }
        }
    }
    let is_there = |partition: &PartitionPlan| all_bounds.iter().any(|b| b.partition == partition.partition);
    for gone in scan.partitions.extract_if(.., |partition| !is_there(partition)) {
        let upto = at(gone.partition).map_or(gone.start, |at| at.offset);
        gaps.push(format!(
            "partition {}: it was read up to offset {upto}, and is not there any more (was the topic made anew?)",
            gone.partition
        ));
    }
    let last: Vec<_> = scan.partitions.iter().filter_map(|p| Some((p.partition, p.last?))).collect();
    gaps.extend(last_record::changed(stream.as_ref(), &source.wanted, &last, &all_bounds)?);
    if gaps.is_empty() {
        return Ok(());
    }
    let all = format!("{}: the stream does not go on where the state ends:\n  {}", stream.name(), gaps.join("\n  "));
    if !opened.job.sources[scan.source].seam.allow_gap {
        return Err(Failure::Refused(
            all + "\n  set `allow_gap = true` in the source's seam to go on anyway, or start anew with --fresh",
        ));
    }
    scan.warnings.push(all);
    Ok(())
}

fn resume_partition(
    partition: &mut PartitionPlan,
    at: Option<&Position>,
    bounds: &Bounds,
    same_end: bool,
    gaps: &mut Vec<String>,
) {
    let (number, wanted) = (partition.partition, at.map_or(partition.start, |at| at.offset));
    if wanted < bounds.earliest {
        let last = bounds.earliest.number() - 1;
        gaps.push(format!(
            "partition {number}: offsets {wanted}..{last} are gone, the earliest held is {}",
            bounds.earliest
        ));
    } else if wanted > bounds.end {
        let (read, held) = (wanted.number() - 1, bounds.end.number() - 1);
        gaps.push(format!("partition {number}: it was read to offset {read}, but ends at {held} (another topic?)"));
    }
    partition.start = wanted.clamp(bounds.earliest, bounds.end.max(bounds.earliest));
    if let Some(at) = at {
        (partition.history_eff, partition.admitted, partition.last) = (at.eff, at.admitted, at.last);
    }
    if !same_end {
        partition.end = bounds.end;
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::base::id::Id;
    use crate::ingest::testing::open;
    use crate::plan::progress::HistoryProgress;
    use crate::start::fresh::plan;
    use headwater_clocks::{Eff, Offset};

    const SOURCE: &str = "event_time = \"ts\"\ntime_unit = \"us\"\nschema = { ts = \"int64\", card = \"string\" }\n\
                          stream = { type = \"jsonl\", path = \"*.jsonl\" }";

    /// A job that was started, in a directory of its own.
    struct Started {
        dir: TempDir,
        first: Start,
    }

    impl Started {
        /// With a partition of five records for each of these files.
        fn with(files: &[&str]) -> Started {
            let dir = tempfile::tempdir().unwrap();
            files.iter().for_each(|name| write(&dir, name));
            let plan = plan(&open(dir.path(), SOURCE), WallClock::from_us(10), true).unwrap();
            Started { dir, first: Start { plan, from: None } }
        }

        /// Goes on from a checkpoint that has read these partitions up to these offsets. `and`: what else stands in the source.
        fn go_on(&self, mode: Mode, read: &[(i32, i64)], and: &str) -> Result<Start, Failure> {
            let opened = open(self.dir.path(), &format!("{SOURCE}\n{and}"));
            let position = |&(partition, offset): &(i32, i64)| Position {
                scan: ScanId::at(0),
                partition,
                offset: Offset::at(offset),
                eff: Some(Eff::from_us(1)),
                admitted: None,
                last: None,
            };
            let t = Some(Tick::from_us(20));
            let manifest = Manifest {
                t,
                positions: read.iter().map(position).collect(),
                plan: self.first.plan.at(|_| t, HistoryProgress::new()),
                ..self.first.first_manifest(mode)
            };
            let changed = Changed::between(&manifest.plan, &opened);
            go_on(&opened, manifest, &changed, WallClock::from_us(30), mode)
        }
    }

    fn write(dir: &TempDir, name: &str) {
        std::fs::write(dir.path().join(name), "{\"ts\":1,\"card\":\"a\"}\n".repeat(5)).unwrap();
    }

    fn partitions(start: &Start) -> Vec<(i32, i64, i64)> {
        let all = &start.plan.scans[ScanId::at(0)].partitions;
        all.iter().map(|p| (p.partition, p.start.number(), p.end.number())).collect()
    }

    #[test]
    fn a_partition_that_the_plan_does_not_know() {
        let started = Started::with(&["a.jsonl"]);
        write(&started.dir, "b.jsonl");
        for (mode, read, expected) in [
            (Mode::Follow, vec![(0, 4)], vec![(0, 4, 5), (1, 0, 5)]),
            (Mode::Follow, vec![(0, 4), (1, 3)], vec![(0, 4, 5), (1, 3, 5)]),
            // Run to its end once more, it has the partitions of its start.
            (Mode::UntilEnd, vec![(0, 4)], vec![(0, 4, 5)]),
        ] {
            let now = started.go_on(mode, &read, "").unwrap();
            assert_eq!(partitions(&now), expected, "{mode:?} {read:?}");
        }
    }

    #[test]
    fn a_partition_that_is_gone_is_a_gap() {
        let started = Started::with(&["a.jsonl", "b.jsonl"]);
        std::fs::remove_file(started.dir.path().join("b.jsonl")).unwrap();
        let go_on = |and| started.go_on(Mode::Follow, &[(0, 4), (1, 3)], and);
        let Err(Failure::Refused(told)) = go_on("") else { panic!("it goes on") };
        assert!(told.contains("partition 1: it was read up to offset 3, and is not there any more"), "{told}");
        let allowed = go_on("seam = { allow_gap = true }").unwrap();
        assert_eq!(partitions(&allowed), [(0, 4, 5)]);
        assert_eq!(allowed.plan.scans[ScanId::at(0)].warnings.len(), 1);
    }

    #[test]
    fn what_one_scan_has_seen_another_reads_too() {
        let of = |source, partitions: &[i32]| Scan {
            partitions: partitions.iter().map(|p| PartitionPlan::unknown(*p, Offset::at(0))).collect(),
            ..Scan::of(SourceId::at(source), String::new())
        };
        let scans = alike(IdVec::from(vec![of(0, &[0]), of(1, &[0]), of(0, &[0, 1])]));
        let counts: Vec<usize> = scans.iter().map(|scan| scan.partitions.len()).collect();
        assert_eq!(counts, [2, 1, 2]);
    }
}
