//! Makes reports of a run.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};

use headwater_clocks::{Span, Tick, Time, WallClock};
use headwater_operators::group::Counters;

use super::report::{
    Bootstrap, CheckpointReport, EarlierReport, GroupReport, PartitionReport, Phase, Report, SeamReport, SourceReport,
    ViewReport,
};
use super::status::{GroupStatus, PartitionStatus, ProcessStatus, SourceCounts, SourceStatus, add_counts};
use super::view::RunView;
use crate::base::id::{GroupId, IdVec, RowsId, SourceId, ViewId};
use crate::catalog::opened::Opened;
use crate::checkpoint::resumption::Start;
use crate::checkpoint::stats::CheckpointInfo;
use crate::job::SeamBy;
use crate::plan::mode::Mode;
use crate::plan::scan::{PartitionPlan, Scan};
use crate::plan::side::Side;

/// Makes reports of a run.
pub struct Reporter {
    pub view: RunView,
    /// The last `as_of` seen. It stays while a partition of the group's source is left out.
    as_of: Mutex<IdVec<RowsId, Option<Tick>>>,
}

impl Reporter {
    pub fn new(view: RunView) -> Reporter {
        let as_of = Mutex::new(IdVec::filled(None, view.opened.job.all_rows().count()));
        Reporter { view, as_of }
    }

    /// Of the next start of the same run. What is stored is still there.
    pub fn after(before: &Reporter, view: RunView) -> Reporter {
        let as_of = Mutex::new(before.as_of.lock().unwrap_or_else(PoisonError::into_inner).clone());
        Reporter { view, as_of }
    }

    /// Looks at how far the stores are: to be called often.
    pub fn note(&self) {
        self.as_of(&self.view.status());
    }

    /// The tick up to which every row of a group is in every store.
    pub fn as_of(&self, status: &ProcessStatus) -> IdVec<RowsId, Option<Tick>> {
        let mut all = self.as_of.lock().unwrap_or_else(PoisonError::into_inner);
        let (opened, plan) = (&self.view.opened, &self.view.start.plan);
        let any_left_out = |source: &SourceStatus| source.partitions.iter().any(|partition| partition.left_out);
        for id in opened.job.all_rows() {
            let sources = plan.scans_behind(id).into_iter().map(|scan| plan.scans[scan].source);
            let stalled = sources.into_iter().any(|source| status.sources.get(source).is_some_and(any_left_out));
            if plan.side_of(id) == Side::Shadow {
                continue;
            }
            let Some(from) = plan.s(id).map(|s| s.max(plan.rows_from[id])) else { continue };
            if let Some(stored) = status.stored.filter(|stored| *stored >= from && !stalled) {
                all[id] = all[id].max(Some(stored));
            }
        }
        all.clone()
    }

    fn earlier(&self, rows: RowsId, status: &ProcessStatus) -> Option<EarlierReport> {
        let (from, to) = self.view.earlier.range(rows)?;
        let kept = status.groups.get(rows).map_or(0, |group| group.earlier_rows);
        Some(EarlierReport { from: from.to_string(), to: to.to_string(), rows: kept })
    }

    pub fn report(&self) -> Report {
        let RunView { opened, start, mode, .. } = &self.view;
        let plan = &start.plan;
        let status = self.view.status();
        let now = WallClock::now();
        let sources = opened.sources.ids().map(|id| source(opened, id, plan.of_source(id), &of_source(&status, id)));
        let as_of = self.as_of(&status);
        let groups = opened.groups.ids().map(|id| {
            let now = (now, status.t, status.shadow.as_ref().and_then(|shadow| shadow.t));
            GroupReport {
                earlier: self.earlier(id.into(), &status),
                ..group(opened, start, id, &of_group(&status, id.into()), as_of[id.into()], now)
            }
        });
        let views = opened.views.ids().map(|id| {
            let rows = opened.job.rows_of(id);
            ViewReport {
                earlier: self.earlier(rows, &status),
                ..view(opened, id, &of_group(&status, rows), as_of[rows], now)
            }
        });
        let shadow = status.shadow.as_deref();
        let (more_read, more) = shadow.map_or((0, 0), |b| (b.history_rows_read, b.history_rows_total));
        Report {
            job: opened.job.name.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            phase: phase(*mode, &status),
            now: now.to_string(),
            t: shown(status.t),
            bootstrap: Bootstrap {
                rows_read: status.history_rows_read + more_read,
                rows_total: status.history_rows_total + more,
            },
            checkpoint: self.view.state.stats.newest().map(|info| checkpoint(&info, now)),
            sources: sources.collect(),
            groups: groups.collect(),
            views: views.collect(),
        }
    }
}

/// A group or a view, with what the shadow has of it. Rows, keys and the like are those of the live side.
pub fn of_group(status: &ProcessStatus, rows: RowsId) -> GroupStatus {
    let mut all = status.groups.get(rows).cloned().unwrap_or_default();
    if let Some(shadow) = status.shadow.as_ref().and_then(|shadow| shadow.groups.get(rows)) {
        let Counters { events, too_old, ledger_bytes, .. } = shadow.counts;
        all.counts += Counters { events, too_old, ledger_bytes, ..Counters::default() };
        add_counts(&mut all.dead_letters, &shadow.dead_letters);
    }
    all
}

/// A source, with what the shadow reads of it. Partitions are those of the live side.
pub fn of_source(status: &ProcessStatus, source: SourceId) -> SourceStatus {
    let mut all = status.sources.get(source).cloned().unwrap_or_default();
    if let Some(shadow) = status.shadow.as_ref().and_then(|shadow| shadow.sources.get(source)) {
        all.counts += SourceCounts { tombstones: 0, ..shadow.counts };
        add_counts(&mut all.dead_letters, &shadow.dead_letters);
        if all.partitions.is_empty() {
            all.partitions.clone_from(&shadow.partitions);
        }
    }
    all
}

fn phase(mode: Mode, status: &ProcessStatus) -> Phase {
    match (mode, status.t) {
        (_, None) if status.history_rows_read < status.history_rows_total => Phase::Bootstrap,
        (Mode::Follow, _) => Phase::Following,
        (Mode::UntilEnd, _) => Phase::UntilEnd,
    }
}

fn checkpoint(info: &CheckpointInfo, now: WallClock) -> CheckpointReport {
    CheckpointReport {
        number: info.number.number(),
        t: shown(info.t),
        age_seconds: info.age(now).map(Span::seconds),
        duration_seconds: info.took.map(|took| took.as_secs_f64()),
        bytes: info.bytes,
    }
}

/// How a source's seam is called.
pub fn by(by: &SeamBy) -> &'static str {
    match by {
        SeamBy::Offset { .. } => "offset",
        SeamBy::Time => "time",
        SeamBy::Id { .. } => "id",
    }
}

fn source(opened: &Opened, source: SourceId, plan: &Scan, status: &SourceStatus) -> SourceReport {
    let conf = &opened.job.sources[source];
    let seam = SeamReport {
        by: by(&conf.seam.by).to_owned(),
        s: shown(plan.s),
        c: shown(plan.c),
        history_rows: plan.history_rows,
        history_version: plan.pinned.version.clone(),
        allow_gap: conf.seam.allow_gap,
    };
    let unplanned = |p: &&PartitionStatus| plan.partitions.iter().all(|plan| plan.partition != p.partition);
    let new = status.partitions.iter().filter(unplanned).map(|p| PartitionPlan::unknown(p.partition, p.start));
    let partitions = plan.partitions.iter().cloned().chain(new).map(|plan| {
        let now = status.partitions.iter().find(|p| p.partition == plan.partition);
        partition(&plan, now)
    });
    SourceReport {
        name: conf.name.clone(),
        seam,
        counts: status.counts,
        dead_letters: status.dead_letters.clone(),
        partitions: partitions.collect(),
        is_table: conf.table.is_some(),
        versions_held: status.versions_held,
        is_replaced: conf.replaced.is_some(),
        keys_remembered: status.keys_remembered,
        removed_nothing: status.removed_nothing,
        warnings: plan.warnings.iter().map(|warning| opened.job.mask(warning)).collect(),
    }
}

fn partition(plan: &PartitionPlan, now: Option<&PartitionStatus>) -> PartitionReport {
    let end = now.and_then(|p| p.end);
    PartitionReport {
        partition: plan.partition,
        history_offset: plan.history_offset,
        first_read: plan.start,
        position: now.map(|p| p.position),
        end,
        lag: now.and_then(lag),
        eff: shown(now.and_then(|p| p.eff)),
        left_out: now.is_some_and(|p| p.left_out),
    }
}

/// Records that are there and not read yet.
pub fn lag(partition: &PartitionStatus) -> Option<i64> {
    partition.end.map(|end| end.past(partition.position).max(0))
}

/// The columns of a group that are new in a changed job and on their way at `T`, and the tick at which they enter.
/// Of those that a shadow computes nobody knows it yet.
pub fn computing(start: &Start, group: GroupId, t: Option<Tick>) -> (Vec<String>, Option<Tick>) {
    let plan = &start.plan;
    let (mut names, mut enters_at) = (vec![], None);
    for set in plan.groups[group].sets.iter().filter(|_| start.from.is_some()) {
        let enters = plan.s_of(set).max(plan.floor);
        let is_shadow = plan.side_of_set(set) == Side::Shadow;
        if !plan.is_published(set) && (is_shadow || t < enters) {
            enters_at = enters_at.max(enters.filter(|_| !is_shadow));
            names.extend(set.columns.iter().filter(|c| c.index.is_some()).map(|c| c.plan.name.clone()));
        }
    }
    (names, enters_at)
}

fn group(
    opened: &Opened,
    start: &Start,
    group: GroupId,
    status: &GroupStatus,
    as_of: Option<Tick>,
    (now, t, shadow): (WallClock, Option<Tick>, Option<Tick>),
) -> GroupReport {
    let conf = &opened.job.groups[group];
    let (computing, enters_at) = computing(start, group, t);
    let any_computing = !computing.is_empty();
    GroupReport {
        name: conf.name.clone(),
        source: opened.sources_of(group),
        counts: status.counts,
        derived_failures: status.derived_failures,
        windowed: opened.groups[group].shape.windowed(),
        dead_letters: status.dead_letters.clone(),
        events_held: status.events_held,
        past_taking_back: status.past_taking_back,
        as_of: shown(as_of),
        staleness_seconds: as_of.map(|as_of| now.past(as_of).seconds()),
        earlier: None,
        behind_seconds: as_of.zip(t).map(|(as_of, t)| (t - as_of).seconds()),
        computing,
        enters_at: shown(enters_at),
        computed_to: shown(shadow.filter(|_| enters_at.is_none() && any_computing)),
    }
}

fn view(opened: &Opened, id: ViewId, status: &GroupStatus, as_of: Option<Tick>, now: WallClock) -> ViewReport {
    ViewReport {
        name: opened.job.views[id].name.clone(),
        reads: opened.names_read_by(id).into_iter().map(str::to_owned).collect(),
        rows: status.counts.rows,
        changes: status.counts.changes,
        failed_rows: status.derived_failures,
        unfit_sums: status.counts.unfit_sums,
        crowded: status.crowded,
        as_of: shown(as_of),
        staleness_seconds: as_of.map(|as_of| now.past(as_of).seconds()),
        earlier: None,
    }
}

fn shown(time: Option<impl Display>) -> Option<String> {
    time.map(|time| time.to_string())
}
