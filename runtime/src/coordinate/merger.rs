//! Manifests of a run: of one side, or of two, each of which is saved when it likes.
//!
//! ```text
//! live      1 ......... 4 ........ 6         files, positions, lines: as of a tick T
//! shadow          2 ........ 5               the same, as of T', or between slices of its history
//! manifest   .    3     .    7     8         made whenever a side is saved, of the newest of both: `t` is T', `floor` is T
//! ```
//!
//! The shadow is never ahead of the live side in a manifest: what it has saved waits until that is saved later. Until
//! the live side is saved for the first time there is the manifest that the run began with.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use headwater_clocks::{Eff, Tick, WallClock};
use headwater_connectors::sink::lines::SinkPosition;

use super::checkpointing::Saver;
use super::messages::Announcement;
use crate::base::id::{CheckpointNumber, GroupId, IdVec, ScanId};
use crate::checkpoint::admissions::SavedLog;
use crate::checkpoint::contribution::{Contribution, PositionAt, StateFile};
use crate::checkpoint::in_progress::CheckpointInProgress;
use crate::checkpoint::manifest::{FORMAT, Manifest};
use crate::checkpoint::names::SHADOW_DEAD_LETTERS;
use crate::checkpoint::resumption::Start;
use crate::checkpoint::state::is_of_group;
use crate::checkpoint::store::{StateStore, Used};
use crate::checkpoint::threads::Committing;
use crate::plan::group::PlannedColumnSet;
use crate::plan::mode::Mode;
use crate::plan::position::Position;
use crate::plan::progress::HistoryProgress;
use crate::plan::scan::Scan;
use crate::plan::side::Side;

/// What a side has saved.
#[derive(Clone, Default)]
pub struct Saved {
    /// The number of its files.
    number: CheckpointNumber,
    t: Option<Tick>,
    begun: Option<WallClock>,
    horizons: IdVec<ScanId, Eff>,
    positions: Vec<Position>,
    read: HistoryProgress,
    files: Vec<StateFile>,
    lines: BTreeMap<String, SinkPosition>,
    /// Nothing comes after it: the end was reached.
    finished: bool,
}

impl Saved {
    /// `asked`: how the checkpoint was announced.
    pub fn of(
        side: Side,
        asked: &Announcement,
        contributions: Vec<Contribution>,
        lines: BTreeMap<String, SinkPosition>,
        begun: Option<WallClock>,
    ) -> Saved {
        let mut saved = Saved {
            number: asked.checkpoint.map_or(CheckpointNumber::NONE, |(number, _)| number),
            t: asked.t,
            begun,
            horizons: asked.horizons.clone(),
            lines,
            finished: asked.last && !asked.stopped,
            ..Saved::default()
        };
        for contribution in contributions {
            saved.positions.extend(contribution.positions);
            saved.read.extend(contribution.read);
            saved.files.extend(contribution.files.into_iter().map(|file| StateFile { side, ..file }));
        }
        saved
    }

    /// What the shadow of a run goes on from. `None`: the ids in its files are others, so it has to be saved once first.
    fn before(start: &Start) -> Option<Saved> {
        let (plan, from) = (&start.plan, start.from.as_ref()?);
        let is_shadow = |scan: ScanId| plan.scans[scan].side == Side::Shadow;
        let in_shadow = |set: &PlannedColumnSet| plan.side_of_set(set) == Side::Shadow;
        let mut sides = BTreeSet::new();
        for (id, group) in plan.groups.pairs() {
            let of_group = group.sets.pairs().filter(|(_, set)| in_shadow(set));
            for (of, saved) in of_group.filter_map(|(of, set)| Some((of, set.saved.map(|saved| (saved, set))?))) {
                if (group.saved, saved.0) != (Some(id), of) {
                    return None;
                }
                sides.insert(plan.saved_side_of(saved.1));
            }
        }
        let side = sides.pop_first();
        if !sides.is_empty() || side == Some(Side::Live) {
            return None;
        }
        let moved = |position: &Position| from.position(position).filter(|position| is_shadow(position.scan));
        // Another group may have had the number of one that is new.
        let goes_on = |set: &PlannedColumnSet| set.saved.is_some() && in_shadow(set);
        let has_set = |group: GroupId| plan.groups.get(group).is_some_and(|g| g.sets.iter().any(goes_on));
        let files = from
            .manifest
            .files
            .iter()
            .filter(|file| Some(file.side) == side && is_of_group(file) && has_set(GroupId::from(file.owner)));
        Some(Saved {
            number: CheckpointNumber::NONE,
            t: start.goes_on_at(Side::Shadow),
            begun: None,
            horizons: start.horizons(),
            positions: from.manifest.positions.iter().filter_map(moved).collect(),
            read: plan.read.clone(),
            files: files.map(|file| StateFile { side: Side::Shadow, ..file.clone() }).collect(),
            lines: start.lines(&from.manifest).into_iter().filter(|(name, _)| *name == SHADOW_DEAD_LETTERS).collect(),
            finished: false,
        })
    }
}

/// On worker 0: what was saved last, and what becomes of it.
pub struct CheckpointMerger {
    start: Arc<Start>,
    mode: Mode,
    state: Arc<StateStore>,
    committing: Committing,
    /// What is known of admissions, where they are kept.
    admissions: Option<SavedLog>,
    /// The last number that was given to a checkpoint, or to files of one.
    number: Cell<CheckpointNumber>,
    newest: RefCell<Newest>,
}

#[derive(Default)]
struct Newest {
    live: Option<Saved>,
    shadow: Option<Saved>,
    /// A shadow ahead of the live side that is saved.
    waiting: Option<Saved>,
    /// Files that are being written. One that is asked for after another may still be behind it.
    asked: BTreeSet<(Side, CheckpointNumber)>,
}

impl Newest {
    fn used(&self) -> Used {
        let saved = [&self.live, &self.shadow, &self.waiting].into_iter().flatten();
        let files = saved.flat_map(|saved| &saved.files).map(StateFile::name).collect();
        Used { numbers: self.asked.iter().map(|(_, number)| *number).collect(), files }
    }
}

impl CheckpointMerger {
    pub fn new(
        start: Arc<Start>,
        mode: Mode,
        state: Arc<StateStore>,
        committing: Committing,
        admissions: Option<SavedLog>,
    ) -> CheckpointMerger {
        let shadow = if start.plan.has_shadow() { Saved::before(&start) } else { None };
        let number = Cell::new(start.plan.checkpoints);
        let newest = RefCell::new(Newest { shadow, ..Newest::default() });
        CheckpointMerger { start, mode, state, committing, admissions, number, newest }
    }

    /// A number for what a side is about to save.
    pub fn ask(&self, side: Side) -> CheckpointNumber {
        self.number.set(self.number.get().next());
        let mut newest = self.newest.borrow_mut();
        newest.asked.insert((side, self.number.get()));
        self.state.await_files(newest.used());
        self.number.get()
    }

    pub fn is_busy(&self) -> bool {
        self.committing.is_busy()
    }

    /// A side is saved.
    pub fn saved(&self, side: Side, saved: Saved) {
        let mut newest = self.newest.borrow_mut();
        newest.asked.retain(|(of, number)| *of != side || *number > saved.number);
        match side {
            Side::Live => newest.live = Some(saved),
            Side::Shadow => newest.waiting = Some(saved),
        }
        let t = newest.live.as_ref().and_then(|live| live.t);
        if newest.waiting.as_ref().is_some_and(|waiting| waiting.t < t) {
            newest.shadow = newest.waiting.take();
        }
        if let Some(manifest) = self.manifest(&newest) {
            self.committing.commit(manifest);
        }
        self.state.await_files(newest.used());
    }

    fn manifest(&self, newest: &Newest) -> Option<Manifest> {
        let live = newest.live.clone()?;
        let mut manifest = Manifest {
            format: FORMAT,
            number: live.number,
            t: live.t,
            begun: live.begun,
            horizons: live.horizons,
            mode: self.mode,
            finished: live.finished,
            plan: self.start.plan.at(|_| live.t, self.read(&live.read)),
            positions: live.positions,
            files: live.files,
            admissions: self.admissions.clone(),
            lines: live.lines,
        };
        if !self.start.plan.has_shadow() {
            return Some(manifest);
        }
        let shadow = newest.shadow.clone()?;
        self.number.set(self.number.get().next());
        manifest.number = self.number.get();
        manifest.plan =
            self.start.plan.at(|side| if side == Side::Live { live.t } else { shadow.t }, self.read(&shadow.read));
        manifest.t = manifest.t.min(shadow.t);
        let known = |side: Side| if side == Side::Live { &manifest.horizons } else { &shadow.horizons };
        let of_side = |(id, scan): (ScanId, &Scan)| known(scan.side).get(id).copied().unwrap_or(Eff::BEFORE_ALL);
        manifest.horizons = self.start.plan.scans.pairs().map(of_side).collect();
        manifest.positions.extend(shadow.positions);
        manifest.files.extend(shadow.files);
        manifest.lines.extend(shadow.lines);
        Some(manifest)
    }

    fn read(&self, read: &HistoryProgress) -> HistoryProgress {
        let mut all = self.start.plan.read.clone();
        all.extend(read);
        all
    }
}

/// Saves one side.
pub struct SideSaver {
    side: Side,
    merger: Rc<CheckpointMerger>,
    /// Worker 0's own contribution.
    in_progress: Rc<RefCell<CheckpointInProgress>>,
    begun: Cell<Option<WallClock>>,
}

impl SideSaver {
    pub fn new(side: Side, merger: Rc<CheckpointMerger>, in_progress: Rc<RefCell<CheckpointInProgress>>) -> SideSaver {
        SideSaver { side, merger, in_progress, begun: Cell::new(None) }
    }
}

impl Saver for SideSaver {
    fn number(&self) -> CheckpointNumber {
        self.merger.ask(self.side)
    }

    fn want(&self, number: CheckpointNumber, t: Tick) {
        self.begun.set(Some(WallClock::now()));
        self.in_progress.borrow_mut().want(number, t);
    }

    fn save(&self, asked: &Announcement, contributions: Vec<Contribution>) {
        let in_progress = self.in_progress.borrow();
        let position = |(name, at): (&String, &PositionAt)| Some((name.clone(), at.position.clone()?));
        let lines = in_progress.lines.iter().filter_map(position).collect();
        self.merger.saved(self.side, Saved::of(self.side, asked, contributions, lines, self.begun.get()));
    }

    fn is_busy(&self) -> bool {
        self.merger.is_busy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failures::Failures;
    use crate::base::id::{ColumnSetId, Generation, Id, WorkerId};
    use crate::checkpoint::files;
    use crate::checkpoint::generations::{Starts, numbers_of};
    use crate::checkpoint::manifest::look;
    use crate::ingest::testing::open;
    use crate::start::fresh::plan;
    use headwater_clocks::Time;

    const SOURCE: &str = "event_time = \"ts\"\ntime_unit = \"us\"\nschema = { ts = \"int64\", card = \"string\" }\n\
                          stream = { type = \"jsonl\", path = \"*.jsonl\" }";

    struct Case {
        store: Arc<StateStore>,
        merger: CheckpointMerger,
        _dir: tempfile::TempDir,
    }

    impl Case {
        fn new() -> Case {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("a.jsonl"), "{\"ts\":1,\"card\":\"a\"}\n").unwrap();
            let opened = open(dir.path(), SOURCE);
            let store = Arc::new(StateStore::open(&opened.job, 0, Arc::default()).unwrap());
            let mut starts = Starts::default();
            starts.take(&store.storage, CheckpointNumber::NONE, Generation::NONE).unwrap();
            let mut plan = plan(&opened, WallClock::from_us(10), true).unwrap();
            let shadow = Scan { side: Side::Shadow, ..plan.scans[ScanId::at(0)].clone() };
            plan.scans.push(shadow);
            plan.scans.iter_mut().for_each(|scan| scan.s = Some(Tick::from_us(0)));
            (plan.floor, plan.checkpoints) = (Some(Tick::from_us(100)), numbers_of(Generation::of(1)));
            let committing = Committing::start(store.clone(), Arc::new(starts), &Failures::new().0).unwrap();
            let merger = {
                let start = Arc::new(Start { plan, from: None });
                CheckpointMerger::new(start, Mode::Follow, store.clone(), committing, None)
            };
            Case { store, merger, _dir: dir }
        }

        /// Begins to save a side.
        fn ask(&self, side: Side) -> (CheckpointNumber, StateFile) {
            let number = self.merger.ask(side);
            let (dir, name) = (self.store.written(number, WorkerId::FIRST), "part".to_owned());
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(&name), "values").unwrap();
            let (bytes, xxh3) = files::measure(&dir.join(&name)).unwrap();
            let piece = headwater_operators::group::Piece::Values;
            let (side, span) = (Side::Live, None);
            (
                number,
                StateFile {
                    number,
                    owner: 0,
                    worker: WorkerId::FIRST,
                    workers: 1,
                    piece,
                    of: ColumnSetId::at(0),
                    side,
                    name,
                    bytes,
                    xxh3,
                    span,
                },
            )
        }

        fn saved(&self, side: Side, t: i64, (number, file): (CheckpointNumber, StateFile)) {
            let t = Tick::from_us(t);
            let asked = Announcement { t: Some(t), checkpoint: Some((number, t)), ..Announcement::default() };
            let contribution = Contribution { number, files: vec![file], ..Contribution::default() };
            self.merger.saved(side, Saved::of(side, &asked, vec![contribution], BTreeMap::new(), None));
            while self.merger.is_busy() {
                std::thread::yield_now();
            }
        }

        fn save(&self, side: Side, t: i64) {
            self.saved(side, t, self.ask(side));
        }

        /// The newest checkpoint that is whole: how far both are in it.
        fn newest(&self) -> Option<(i64, i64)> {
            let manifest = look(&self.store).unwrap()?;
            assert_eq!(manifest.files.iter().map(|file| file.side).collect::<Vec<_>>(), [Side::Live, Side::Shadow]);
            let done = |side| manifest.plan.scans.iter().find(|r| r.saved == side).unwrap().done.unwrap();
            assert_eq!((manifest.plan.floor, manifest.t), (Some(done(Side::Live)), Some(done(Side::Shadow))));
            Some((done(Side::Live).us(), done(Side::Shadow).us()))
        }
    }

    #[test]
    fn each_is_saved_when_it_likes() {
        let case = Case::new();
        case.save(Side::Live, 110);
        assert_eq!(case.newest(), None, "nothing is known of the shadow");
        case.save(Side::Shadow, 105);
        assert_eq!(case.newest(), Some((110, 105)));
        let under_way = case.ask(Side::Shadow);
        [120, 130, 140, 150].into_iter().for_each(|t| case.save(Side::Live, t));
        assert_eq!(case.newest(), Some((150, 105)));
        case.saved(Side::Shadow, 145, under_way);
        assert_eq!(case.newest(), Some((150, 145)), "what was under way is still there");
    }

    #[test]
    fn the_shadow_is_never_ahead() {
        let case = Case::new();
        case.save(Side::Shadow, 105);
        assert_eq!(case.newest(), None, "the rows are not saved");
        case.save(Side::Live, 110);
        assert_eq!(case.newest(), Some((110, 105)));
        case.save(Side::Shadow, 110);
        assert_eq!(case.newest(), Some((110, 105)), "it waits");
        [115, 116].into_iter().for_each(|t| case.save(Side::Live, t));
        assert_eq!(case.newest(), Some((116, 110)));
    }
}
