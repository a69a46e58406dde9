//! A replay: the job's own dataflow over the history and what streams hold, from the first label to the last, as a run from the beginning
//! would have had it; and of what it tells, what labels ask for.
//!
//! ```text
//! job     -> part      what the rows are made of, without sinks, and with a state of its own that is thrown away        `part`
//! plan    -> plan      `S` at the first label, nothing from behind the last one, each record at its own tick             `Replay::plan_for`
//! run     -> changes   of keys that have a label, parted by key                                                          `running`, `caught`
//! changes -> rows      at each label the row after the last change up to it                                              `rows`
//! ```
//!
//! Over several processes it is one dataflow; what is caught goes to the process that has the key.
//!
//! In hindsight what replaces one another is replayed too, up to its end: then events are caught, and what was taken back is left out
//! (`settled`).

mod caught;
pub mod part;
pub mod rows;
mod running;
mod settled;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use headwater_clocks::{Span, Tick};
use headwater_operators::events;

use self::caught::{Sent, Wanted};
use super::labels::Labels;
use super::planned::Planned;
use super::request::Known;
use super::scan::take;
use super::scratch::{Scratch, SpillDir};
use super::served::{KeptAdmissions, Served};
use super::shards::{Collector, Owned, Parted, Storage};
use super::watch::{Phase, Watch};
use super::workers::Workers;
use crate::base::failure::Failure;
use crate::base::id::{IdVec, RowsId, ScanId, SourceId};
use crate::catalog::opened::Opened;
use crate::job::only::JobPart;
use crate::job::{Job, State};
use crate::observe::status::{ProcessStatus, SourceStatus};
use crate::plan::Plan;
use crate::plan::replay::{LateRecords, Replay as Replayed};
use crate::render::caught::{Catch, Caught};
use crate::start::fresh;

/// What is replayed.
pub struct Replay {
    /// Of the part, whose ids are its own.
    opened: Arc<Opened>,
    /// The groups and views that are asked for, each with its labels.
    of: Vec<(RowsId, usize)>,
    known: Known,
    /// What of the whole is in the part.
    kept: JobPart,
    /// As a start from nothing has it.
    plan: Plan,
    /// Of the job, whose checkpoints say what was admitted late.
    state: State,
    /// Where the part keeps its own.
    _dir: Scratch,
}

/// What came of it.
#[derive(Default)]
pub struct Told {
    pub records: u64,
    /// By source and reason.
    pub dead_letters: BTreeMap<(SourceId, String), u64>,
    /// Sums that did not fit their type, and rows of views on which an expression failed: at any tick and of any key.
    pub unfit_sums: u64,
    pub failed_rows: u64,
}

/// No tick lies before it: slices of the history do.
const FIRST: Tick = Tick::from_us(-(1 << 62));
/// So far past the wall clock an arrival may lie and be none of a wrong clock's; no event time lies further past that than `future_limit`.
const CLOCKS_APART: Span = Span::from_us(60_000_000);

impl Replay {
    /// Opens what some groups and views are made of, each with its labels. `planned`: all that they read.
    pub fn open(
        whole: &Opened,
        asked: &[(RowsId, usize)],
        known: Known,
        planned: &Planned,
        dir: &SpillDir,
    ) -> Result<Replay, Failure> {
        let kept = part::behind(whole, asked.iter().map(|(rows, _)| *rows));
        let dir = Scratch::new(dir, "replay")?;
        let opened = part::open(whole, &kept, dir.dir())?;
        let scans = opened.sources.ids().map(|source| {
            let mut scan = planned.scan(kept.source(source));
            scan.source = source;
            scan
        });
        let plan = fresh::plan_of(&opened, planned.now, scans.collect());
        let of = asked.iter().map(|(rows, set)| (kept.rows(&whole.job, *rows), *set)).collect();
        let state = whole.job.state.clone();
        Ok(Replay { opened: Arc::new(opened), of, known, kept, plan, state, _dir: dir })
    }

    /// Whether events meet rows of other groups, which they keep.
    pub fn looks_back(&self) -> bool {
        self.opened.looks_back()
    }

    /// How many records it reads, about.
    pub fn records(&self) -> u64 {
        let of_scan = |scan: &crate::plan::scan::Scan| {
            let streams = scan.partitions.iter().map(|of| of.end.past(of.start).max(0) as u64);
            scan.history_rows + streams.sum::<u64>()
        };
        self.plan.scans.iter().map(of_scan).sum()
    }

    /// The plan that it runs by: see `plan::replay`.
    fn plan_for(&self, (first, last): (Tick, Tick), late: Option<IdVec<ScanId, Arc<LateRecords>>>) -> Plan {
        let mut plan = self.plan.clone();
        let tick = self.opened.job.tick;
        let own = plan.scans.iter().filter_map(|scan| scan.s).min();
        let first = Tick::down(first.max(Tick::up(FIRST, tick)), tick);
        let s = own.map_or(first, |own| own.min(first));
        let until = (self.known != Known::Event).then(|| last.max(s));
        for (id, scan) in plan.scans.pairs_mut() {
            let late = late.as_ref().map(|late| late[id].clone());
            scan.replay = Some(Replayed { s: scan.s, until, late });
            if !scan.timeless {
                scan.s = Some(s);
            }
        }
        let limit = self.opened.job.sources.iter().map(|source| source.future_limit).max().unwrap_or(Span::ZERO);
        plan.end_at_least =
            until.unwrap_or_else(|| Tick::up(plan.now + CLOCKS_APART + limit, tick).max(Tick::up(last, tick)));
        plan
    }

    /// Changes of rows (see `caught`) of this process's keys that some label has: of each group and view that is asked for.
    pub fn changes<'a>(
        &self,
        labels: &Labels,
        kept: Option<&KeptAdmissions>,
        storage: Storage<'a>,
        (workers, watch): (&Workers, &Watch),
    ) -> Result<(Vec<Parted<'a>>, Told), Failure> {
        let parted = self.parted(labels, |rows| caught::schema(&self.opened, rows), storage);
        self.run((Caught::Changes, labels), kept, parted, (workers, watch))
    }

    /// The events of groups as they are in the end, of this process's keys that some label has.
    pub fn events<'a>(
        &self,
        labels: &Labels,
        storage: Storage<'a>,
        (workers, watch): (&Workers, &Watch),
    ) -> Result<(Vec<Parted<'a>>, Told), Failure> {
        let inputs = |rows: &RowsId| {
            let group = self.opened.group(*rows).expect("groups alone have events");
            group.inputs.iter().map(|input| input.data_type().clone()).collect::<Vec<_>>()
        };
        let parted = self.parted(labels, |rows| events::corrected_schema(&inputs(&rows), false), storage);
        let (parted, told) = self.run((Caught::Events, labels), None, parted, (workers, watch))?;
        let settle = |((rows, _), all): (&(RowsId, usize), &Parted<'a>)| {
            let settled = Parted::new(events::schema(&inputs(rows), false), labels.shards(), storage);
            settled::settle(all, &settled, workers).map(|()| settled)
        };
        let settled = workers.together(|| self.of.iter().zip(&parted).map(settle).collect::<Result<_, Failure>>())?;
        Ok((settled, told))
    }

    fn parted<'a>(
        &self,
        labels: &Labels,
        schema: impl Fn(RowsId) -> SchemaRef,
        storage: Storage<'a>,
    ) -> Vec<Parted<'a>> {
        let of = |(at, (rows, _)): (usize, &(RowsId, usize))| {
            Parted::new(schema(*rows), labels.shards(), storage).shared(Owned::Each, at)
        };
        self.of.iter().enumerate().map(of).collect()
    }

    fn run<'a>(
        &self,
        (what, labels): (Caught, &Labels),
        kept: Option<&KeptAdmissions>,
        parted: Vec<Parted<'a>>,
        (workers, watch): (&Workers, &Watch),
    ) -> Result<(Vec<Parted<'a>>, Told), Failure> {
        let Some(span) = labels.span() else { return Ok((parted, Told::default())) };
        watch.enter(Phase::Replay, Some(self.records() / workers.process().1 as u64));
        // What an event met stays: what was late before the first label may be in it.
        let from = if self.looks_back() { Tick::BEFORE_ALL } else { span.0 };
        let served = || Served::of(kept, (&self.of_state(), &self.plan), (from, span.1), workers);
        let late = (self.known == Known::Served).then(served).transpose()?.map(|served| served.0);
        let plan = self.plan_for(span, late);
        // They begin to wait for each other's workers once all have read what there is to read before.
        let prepared = workers.together(|| running::Prepared::of(&self.opened, plan))?;
        let wanted = self.of.iter().enumerate().map(|(at, (rows, set))| {
            let asked = (labels.asked(*set).clone(), labels.shards());
            Ok((*rows, Wanted::new(&self.opened, (at, *rows), asked, span)?))
        });
        let wanted = wanted.collect::<Result<BTreeMap<RowsId, Wanted>, Failure>>()?;
        let replay = || {
            let mut collectors: Vec<Collector> = parted.iter().map(|parted| parted.collector()).collect();
            let take = |Sent { at, batch, picks }: Sent| collectors[at].add(batch, picks.into_iter());
            let of = wanted.keys().copied().collect();
            let catch = |sender: SyncSender<Option<Sent>>| {
                let to = move |rows: RowsId, batch: &RecordBatch| caught::send(&wanted[&rows], what, batch, &sender);
                Catch { what, of, to: Arc::new(to) }
            };
            let status = running::run(&self.opened, prepared, catch, take, (workers, watch))?;
            collectors.into_iter().try_for_each(Collector::finish)?;
            Ok(status)
        };
        let status = workers.exchange(|(_, group), rows| take(&parted, group, rows), replay)?;
        Ok((parted, self.told(&status)))
    }

    fn told(&self, status: &ProcessStatus) -> Told {
        let asked = || self.of.iter().map(|(rows, _)| &status.groups[*rows]);
        let of_source = |(id, source): (SourceId, &SourceStatus)| {
            let id = self.kept.source(id);
            source.dead_letters.iter().map(move |(reason, n)| ((id, reason.clone()), *n)).collect::<Vec<_>>()
        };
        Told {
            records: running::records(status),
            dead_letters: status.sources.pairs().flat_map(of_source).collect(),
            unfit_sums: asked().map(|of| of.counts.unfit_sums).sum(),
            failed_rows: asked().map(|of| of.derived_failures).sum(),
        }
    }

    /// The part, with the state that a run of the job has.
    fn of_state(&self) -> Job {
        let mut job = self.opened.job.clone();
        job.state = self.state.clone();
        job
    }
}
