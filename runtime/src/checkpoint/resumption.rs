//! A start: its plan, and the checkpoint that it goes on from.

use std::collections::BTreeMap;

use headwater_clocks::{Eff, Tick, WallClock};
use headwater_connectors::sink::lines::{LinesConfig, SinkPosition};
use serde::{Deserialize, Serialize};

use super::manifest::{FORMAT, Manifest};
use super::names::SHADOW_DEAD_LETTERS;
use crate::base::id::{IdVec, ScanId};
use crate::job::Job;
use crate::plan::Plan;
use crate::plan::mode::Mode;
use crate::plan::position::Position;
use crate::plan::side::Side;

/// What every process of a run knows of its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Start {
    pub plan: Plan,
    /// `None`: it begins anew.
    pub from: Option<Resumption>,
}

/// The checkpoint that a start goes on from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resumption {
    pub manifest: Manifest,
    /// By scan of the plan in the manifest: its id in the plan of the start; `None`: it is read no more.
    pub moved: IdVec<ScanId, Option<ScanId>>,
}

impl Resumption {
    /// Every scan has the number that it had.
    pub fn in_place(manifest: Manifest) -> Resumption {
        let moved = manifest.plan.scans.ids().map(Some).collect();
        Resumption { manifest, moved }
    }

    /// A position, of the scan that it is of now.
    pub fn position(&self, at: &Position) -> Option<Position> {
        let scan = self.moved.get(at.scan).copied().flatten()?;
        Some(Position { scan, ..*at })
    }
}

impl Start {
    pub fn manifest(&self) -> Option<&Manifest> {
        self.from.as_ref().map(|from| &from.manifest)
    }

    /// Whether nothing of a scan is in the checkpoint that the run goes on from.
    pub fn is_new(&self, scan: ScanId) -> bool {
        let goes_on = self.from.as_ref().is_some_and(|from| from.moved.contains(&Some(scan)));
        !self.plan.scans[scan].restored && !goes_on
    }

    pub fn has_new(&self) -> bool {
        self.plan.scans.ids().any(|scan| self.is_new(scan))
    }

    /// Whether anything that a shadow had computed goes on, wherever.
    pub fn resumes_shadow(&self) -> bool {
        self.plan.scans.pairs().any(|(id, scan)| scan.saved == Side::Shadow && !self.is_new(id))
    }

    /// Whether the run has an end that the state does not know: a run that ends keeps those that a start of it has found, and one
    /// that follows its streams has none.
    pub fn has_own_end(&self, mode: Mode) -> bool {
        let same = |found: &Manifest| found.mode == mode && (mode == Mode::Follow || found.plan.now == self.plan.now);
        !self.manifest().is_some_and(same)
    }

    /// Whether all that is in the checkpoint was in the stores when it was taken, and nothing is missing since.
    pub fn is_as_published(&self) -> bool {
        let Some(manifest) = self.manifest() else { return false };
        let whole = manifest.plan.rows_from.iter().all(|from| manifest.t >= Some(*from));
        whole && self.plan.scans.iter().all(|scan| scan.restored && scan.published && scan.warnings.is_empty())
    }

    /// The tick at which `T` of a side goes on, where all of it has its history.
    pub fn goes_on_at(&self, side: Side) -> Option<Tick> {
        let manifest = self.manifest()?;
        let plan = &self.plan;
        let whole = plan.scans.iter().filter(|scan| scan.side == side).all(|scan| scan.restored);
        let t = if plan.has_shadow() && side == Side::Live { plan.floor } else { manifest.t };
        t.filter(|_| whole)
    }

    /// Where the checkpoint left off: windows that closed before it are gone.
    pub fn horizons(&self) -> IdVec<ScanId, Eff> {
        let mut horizons = IdVec::filled(Eff::BEFORE_ALL, self.plan.scans.len());
        let known = self.from.iter().flat_map(|from| from.moved.iter().zip(&from.manifest.horizons));
        for (now, horizon) in known.filter_map(|(now, horizon)| Some(((*now)?, horizon))) {
            horizons[now] = *horizon;
        }
        horizons
    }

    /// Where lines go on that go to where they went before.
    pub fn position_of(&self, job: &Job, name: &str, to: &dyn LinesConfig) -> Option<&SinkPosition> {
        let manifest = self.manifest()?;
        let same =
            manifest.plan.destinations.get(name).is_none_or(|destination| *destination == to.destination(&job.dir));
        manifest.lines.get(name).filter(|position| same && to.takes_up(position))
    }

    /// Where lines go on. Those that go elsewhere now begin anew, and dead letters that nothing goes on from any more are void.
    pub fn lines(&self, manifest: &Manifest) -> BTreeMap<String, SinkPosition> {
        let mut lines = manifest.lines.clone();
        let moved = |name: &String| {
            manifest
                .plan
                .destinations
                .get(name)
                .zip(self.plan.destinations.get(name))
                .is_some_and(|(before, now)| before != now)
        };
        lines.retain(|name, _| !moved(name) && (name != SHADOW_DEAD_LETTERS || self.resumes_shadow()));
        lines
    }

    /// What is written down before the first row is read: where nothing is new, the checkpoint that it goes on from, as one of the
    /// job that there is now.
    pub fn first_manifest(&self, mode: Mode) -> Manifest {
        let (plan, number, begun) = (self.plan.clone(), self.plan.checkpoints, Some(WallClock::now()));
        let new = self.has_new();
        match &self.from {
            // What it goes on from stays a part of the state; where partitions begin is in the plan.
            Some(from) => Manifest {
                lines: self.lines(&from.manifest),
                number,
                t: from.manifest.t.filter(|_| !new),
                begun,
                finished: false,
                mode,
                horizons: self.horizons(),
                plan,
                positions: if new {
                    vec![]
                } else {
                    from.manifest.positions.iter().filter_map(|at| from.position(at)).collect()
                },
                ..from.manifest.clone()
            },
            None => Manifest {
                format: FORMAT,
                number,
                t: None,
                begun,
                horizons: IdVec::new(),
                mode,
                finished: false,
                plan,
                positions: vec![],
                files: vec![],
                admissions: None,
                lines: BTreeMap::new(),
            },
        }
    }
}
