//! Manifests of a run: of one side, or of two, each of which is saved when it likes.
//!
//! ```text
//! shown     1 ......... 4 ........ 6         parts, positions, lines: as of a tick T
//! beside          2 ........ 5               the same, as of T', or between slices of its history
//! manifest   .    3     .    7     8         made whenever a side is saved, of the newest of both: `t` is T', `floor` is T
//! ```
//!
//! What is beside is never ahead of the rows in a manifest: what it has saved waits until they are saved later than that. Until
//! the rows are saved for the first time there is the manifest that the run began with.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use headwater_connectors::sink::lines::SinkPosition;

use super::checkpointing::Saver;
use super::messages::Announcement;
use crate::base::id::{GroupId, IdVec, ScanId};
use crate::base::time::wall_clock_us;
use crate::checkpoint::contribution::{Contribution, Noted, Part};
use crate::checkpoint::local::Local;
use crate::checkpoint::manifest::{FORMAT, Manifest};
use crate::checkpoint::names::LETTERS_BESIDE;
use crate::checkpoint::resumption::Start;
use crate::checkpoint::store::{StateStore, Used};
use crate::checkpoint::threads::Committing;
use crate::plan::group::PlannedPart;
use crate::plan::mode::Mode;
use crate::plan::position::Position;
use crate::plan::progress::HistoryProgress;
use crate::plan::reading::Reading;
use crate::plan::side::Side;

/// What a side has saved.
#[derive(Clone, Default)]
pub struct Saved {
    /// The number of its parts.
    number: u64,
    t: Option<i64>,
    begun_us: Option<i64>,
    horizons: IdVec<ScanId, i64>,
    positions: Vec<Position>,
    read: HistoryProgress,
    parts: Vec<Part>,
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
        begun_us: Option<i64>,
    ) -> Saved {
        let mut saved = Saved {
            number: asked.checkpoint.map_or(0, |(number, _)| number),
            t: asked.t,
            begun_us,
            horizons: asked.horizons.clone(),
            lines,
            finished: asked.last && !asked.stopped,
            ..Saved::default()
        };
        for contribution in contributions {
            saved.positions.extend(contribution.positions);
            saved.read.extend(contribution.read);
            saved.parts.extend(contribution.parts.into_iter().map(|part| Part { side, ..part }));
        }
        saved
    }

    /// What a run goes on from beside the rows. `None`: its parts are named by other numbers, so it has to be saved once first.
    fn before(start: &Start) -> Option<Saved> {
        let (plan, from) = (&start.plan, start.from.as_ref()?);
        let is_beside = |reading: ScanId| plan.readings[reading].side == Side::Beside;
        let mut sides = BTreeSet::new();
        for (id, group) in plan.groups.pairs() {
            let of_group = group.parts.pairs().filter(|(_, part)| is_beside(part.reading));
            for (of, saved) in of_group.filter_map(|(of, part)| Some((of, part.saved.map(|saved| (saved, part))?))) {
                if (group.saved, saved.0) != (Some(id), of) {
                    return None;
                }
                sides.insert(plan.readings[saved.1.reading].saved);
            }
        }
        let side = sides.pop_first();
        if !sides.is_empty() || side == Some(Side::Shown) {
            return None;
        }
        let moved = |position: &Position| from.position(position).filter(|position| is_beside(position.reading));
        // Another group may have had the number of one that is new.
        let goes_on = |part: &PlannedPart| part.saved.is_some() && is_beside(part.reading);
        let has_part = |group: GroupId| plan.groups.get(group).is_some_and(|g| g.parts.iter().any(goes_on));
        let parts = from.manifest.parts.iter().filter(|part| Some(part.side) == side && has_part(part.group));
        Some(Saved {
            number: 0,
            t: start.goes_on_at(Side::Beside),
            begun_us: None,
            horizons: start.horizons(),
            positions: from.manifest.positions.iter().filter_map(moved).collect(),
            read: plan.read.clone(),
            parts: parts.map(|part| Part { side: Side::Beside, ..part.clone() }).collect(),
            lines: start.lines(&from.manifest).into_iter().filter(|(name, _)| *name == LETTERS_BESIDE).collect(),
            finished: false,
        })
    }
}

/// On worker 0: what was saved last, and what becomes of it.
pub struct Sides {
    start: Arc<Start>,
    mode: Mode,
    state: Arc<StateStore>,
    committing: Committing,
    /// The last number that was given to a checkpoint, or to parts.
    number: Cell<u64>,
    newest: RefCell<Newest>,
}

#[derive(Default)]
struct Newest {
    shown: Option<Saved>,
    beside: Option<Saved>,
    /// Ahead of the rows that are saved.
    waiting: Option<Saved>,
    /// Parts that are being written. One that is asked for after another may still be behind it.
    asked: BTreeSet<(Side, u64)>,
}

impl Newest {
    fn used(&self) -> Used {
        let saved = [&self.shown, &self.beside, &self.waiting].into_iter().flatten();
        let parts = saved.flat_map(|saved| &saved.parts).map(Part::name).collect();
        Used { numbers: self.asked.iter().map(|(_, number)| *number).collect(), parts }
    }
}

impl Sides {
    pub fn new(start: Arc<Start>, mode: Mode, state: Arc<StateStore>, committing: Committing) -> Sides {
        let beside = if start.plan.is_beside() { Saved::before(&start) } else { None };
        let number = Cell::new(start.plan.checkpoints);
        let newest = RefCell::new(Newest { beside, ..Newest::default() });
        Sides { start, mode, state, committing, number, newest }
    }

    /// A number for what a side is about to save.
    pub fn ask(&self, side: Side) -> u64 {
        self.number.set(self.number.get() + 1);
        let mut newest = self.newest.borrow_mut();
        newest.asked.insert((side, self.number.get()));
        self.state.await_parts(newest.used());
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
            Side::Shown => newest.shown = Some(saved),
            Side::Beside => newest.waiting = Some(saved),
        }
        let t = newest.shown.as_ref().and_then(|shown| shown.t);
        if newest.waiting.as_ref().is_some_and(|waiting| waiting.t < t) {
            newest.beside = newest.waiting.take();
        }
        if let Some(manifest) = self.manifest(&newest) {
            self.committing.commit(manifest);
        }
        self.state.await_parts(newest.used());
    }

    fn manifest(&self, newest: &Newest) -> Option<Manifest> {
        let shown = newest.shown.clone()?;
        let mut manifest = Manifest {
            format: FORMAT,
            number: shown.number,
            t: shown.t,
            begun_us: shown.begun_us,
            horizons: shown.horizons,
            mode: self.mode,
            finished: shown.finished,
            plan: self.start.plan.at(|_| shown.t, self.read(&shown.read)),
            positions: shown.positions,
            parts: shown.parts,
            lines: shown.lines,
        };
        if !self.start.plan.is_beside() {
            return Some(manifest);
        }
        let beside = newest.beside.clone()?;
        self.number.set(self.number.get() + 1);
        manifest.number = self.number.get();
        manifest.plan =
            self.start.plan.at(|side| if side == Side::Shown { shown.t } else { beside.t }, self.read(&beside.read));
        manifest.t = manifest.t.min(beside.t);
        let known = |side: Side| if side == Side::Shown { &manifest.horizons } else { &beside.horizons };
        let of_side = |(id, reading): (ScanId, &Reading)| known(reading.side).get(id).copied().unwrap_or(i64::MIN);
        manifest.horizons = self.start.plan.readings.pairs().map(of_side).collect();
        manifest.positions.extend(beside.positions);
        manifest.parts.extend(beside.parts);
        manifest.lines.extend(beside.lines);
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
    sides: Rc<Sides>,
    /// Worker 0's own part.
    local: Rc<RefCell<Local>>,
    begun_us: Cell<Option<i64>>,
}

impl SideSaver {
    pub fn new(side: Side, sides: Rc<Sides>, local: Rc<RefCell<Local>>) -> SideSaver {
        SideSaver { side, sides, local, begun_us: Cell::new(None) }
    }
}

impl Saver for SideSaver {
    fn number(&self) -> u64 {
        self.sides.ask(self.side)
    }

    fn want(&self, number: u64, t: i64) {
        self.begun_us.set(Some(wall_clock_us()));
        self.local.borrow_mut().want(number, t);
    }

    fn save(&self, asked: &Announcement, contributions: Vec<Contribution>) {
        let local = self.local.borrow();
        let left = |(name, noted): (&String, &Noted)| Some((name.clone(), noted.left.clone()?));
        let lines = local.lines.iter().filter_map(left).collect();
        self.sides.saved(self.side, Saved::of(self.side, asked, contributions, lines, self.begun_us.get()));
    }

    fn is_busy(&self) -> bool {
        self.sides.is_busy()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::failures::Failures;
    use crate::base::id::{Id, PartId};
    use crate::checkpoint::files;
    use crate::checkpoint::generations::{Starts, numbers_of};
    use crate::checkpoint::manifest::look;
    use crate::ingest::testing::open;
    use crate::start::fresh::plan;

    const SOURCE: &str = "event_time = \"ts\"\ntime_unit = \"us\"\nschema = { ts = \"int64\", card = \"string\" }\n\
                          stream = { type = \"jsonl\", path = \"*.jsonl\" }";

    struct Case {
        store: Arc<StateStore>,
        sides: Sides,
        _dir: tempfile::TempDir,
    }

    impl Case {
        fn new() -> Case {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("a.jsonl"), "{\"ts\":1,\"card\":\"a\"}\n").unwrap();
            let opened = open(dir.path(), SOURCE);
            let store = Arc::new(StateStore::open(&opened.job, 0, Arc::default()).unwrap());
            let mut starts = Starts::default();
            starts.take(&store.storage, 0, 0).unwrap();
            let mut plan = plan(&opened, 10, true).unwrap();
            let beside = Reading { side: Side::Beside, ..plan.readings[ScanId::at(0)].clone() };
            plan.readings.push(beside);
            plan.readings.iter_mut().for_each(|reading| reading.s = Some(0));
            (plan.floor, plan.checkpoints) = (Some(100), numbers_of(1));
            let committing = Committing::start(store.clone(), Arc::new(starts), &Failures::new().0).unwrap();
            let sides = Sides::new(Arc::new(Start { plan, from: None }), Mode::Follow, store.clone(), committing);
            Case { store, sides, _dir: dir }
        }

        /// Begins to save a side.
        fn ask(&self, side: Side) -> (u64, Part) {
            let number = self.sides.ask(side);
            let (dir, name) = (self.store.written(number, 0), "part".to_owned());
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(&name), "values").unwrap();
            let (bytes, xxh3) = files::measure(&dir.join(&name)).unwrap();
            let piece = headwater_operators::group::Piece::Values;
            let (side, span) = (Side::Shown, None);
            (
                number,
                Part {
                    number,
                    group: GroupId::at(0),
                    worker: 0,
                    workers: 1,
                    piece,
                    of: PartId::at(0),
                    side,
                    name,
                    bytes,
                    xxh3,
                    span,
                },
            )
        }

        fn saved(&self, side: Side, t: i64, (number, part): (u64, Part)) {
            let asked = Announcement { t: Some(t), checkpoint: Some((number, t)), ..Announcement::default() };
            let contribution = Contribution { number, parts: vec![part], ..Contribution::default() };
            self.sides.saved(side, Saved::of(side, &asked, vec![contribution], BTreeMap::new(), None));
            while self.sides.is_busy() {
                std::thread::yield_now();
            }
        }

        fn save(&self, side: Side, t: i64) {
            self.saved(side, t, self.ask(side));
        }

        /// The newest checkpoint that is whole: how far both are in it.
        fn newest(&self) -> Option<(i64, i64)> {
            let manifest = look(&self.store).unwrap()?;
            assert_eq!(manifest.parts.iter().map(|part| part.side).collect::<Vec<_>>(), [Side::Shown, Side::Beside]);
            let done = |side| manifest.plan.readings.iter().find(|r| r.saved == side).unwrap().done.unwrap();
            assert_eq!((manifest.plan.floor, manifest.t), (Some(done(Side::Shown)), Some(done(Side::Beside))));
            Some((done(Side::Shown), done(Side::Beside)))
        }
    }

    #[test]
    fn each_is_saved_when_it_likes() {
        let case = Case::new();
        case.save(Side::Shown, 110);
        assert_eq!(case.newest(), None, "nothing is known of what is beside");
        case.save(Side::Beside, 105);
        assert_eq!(case.newest(), Some((110, 105)));
        let under_way = case.ask(Side::Beside);
        [120, 130, 140, 150].into_iter().for_each(|t| case.save(Side::Shown, t));
        assert_eq!(case.newest(), Some((150, 105)));
        case.saved(Side::Beside, 145, under_way);
        assert_eq!(case.newest(), Some((150, 145)), "what was under way is still there");
    }

    #[test]
    fn what_is_beside_is_never_ahead() {
        let case = Case::new();
        case.save(Side::Beside, 105);
        assert_eq!(case.newest(), None, "the rows are not saved");
        case.save(Side::Shown, 110);
        assert_eq!(case.newest(), Some((110, 105)));
        case.save(Side::Beside, 110);
        assert_eq!(case.newest(), Some((110, 105)), "it waits");
        [115, 116].into_iter().for_each(|t| case.save(Side::Shown, t));
        assert_eq!(case.newest(), Some((116, 110)));
    }
}
