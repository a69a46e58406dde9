//! The plan of a group's values, and the plan worked out: which columns share which accumulators.

use serde::{Deserialize, Serialize};

use super::aggregate::{Aggregate, Keeps};
use crate::aggregate::spread::Spread;

/// One column of the row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ColumnPlan {
    pub name: String,
    pub aggregate: Aggregate,
    /// Index into `Plan::inputs`; `count` may have none.
    pub input: Option<usize>,
    /// In microseconds; `None`: everything that its unit ever held (`all`, and every column of a group with windows of
    /// its own).
    pub length: Option<i64>,
}

/// The finite windows over which something is kept, and whether all time is asked for beside them.
///
/// A *ring* is a window less the next shorter one: an event lies in one ring, moves outwards as it ages, and a window is
/// the sum of its rings.
#[derive(Clone, Debug, Default)]
pub struct Rings {
    /// Indices into `Layout::windows`, ascending.
    windows: Vec<usize>,
    all: bool,
    /// By age class (how many of `Layout::windows` the event has left): the ring it falls into.
    of_class: Vec<Option<usize>>,
}

impl Rings {
    fn need(&mut self, window: Option<usize>) {
        match window {
            None => self.all = true,
            Some(window) => {
                if let Err(at) = self.windows.binary_search(&window) {
                    self.windows.insert(at, window);
                }
            }
        }
    }

    fn place(&mut self, windows: usize) {
        let inner = |class: usize| self.windows.iter().position(|w| *w >= class);
        self.of_class = (0..=windows).map(|class| inner(class).or(self.all.then_some(self.windows.len()))).collect();
    }

    /// How many rings there are, and so windows.
    pub fn len(&self) -> usize {
        self.windows.len() + usize::from(self.all)
    }

    /// Whether all time is asked for.
    pub fn all(&self) -> bool {
        self.all
    }

    /// The longest finite window that is asked for.
    pub fn longest_finite(&self) -> Option<usize> {
        self.windows.last().copied()
    }

    /// Whether a finite window that is asked for holds an event of this age class.
    pub fn finite_holds(&self, class: usize) -> bool {
        self.longest_finite().is_some_and(|longest| class <= longest)
    }

    /// The ring into which an event of this age class falls; `None`: it is too old.
    pub fn of_class(&self, class: usize) -> Option<usize> {
        self.of_class[class]
    }

    /// The place of a window among those asked for: its rings are those up to it.
    pub fn place_of(&self, window: Option<usize>) -> usize {
        window.map_or(self.len() - 1, |window| self.windows.partition_point(|own| *own < window))
    }
}

/// What a track adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adds {
    Events,
    NotNull(usize),
    Value(usize),
    Square(usize),
}

/// One accumulator by ring, shared by all columns that need it.
#[derive(Clone, Debug)]
pub struct Track {
    pub adds: Adds,
    pub rings: Rings,
}

/// A keeper, shared by all columns that need it.
#[derive(Clone, Debug)]
pub struct KeeperPlan {
    pub keeps: Keeps,
    pub input: usize,
    pub rings: Rings,
    /// How many of the latest events are asked for.
    pub n: usize,
}

/// A window of a track: its first so many rings.
#[derive(Clone, Copy, Debug)]
pub struct Inner {
    pub track: usize,
    pub rings: usize,
}

/// Which of its values a column wants of a keeper.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    pub aggregate: Aggregate,
    pub length: Option<i64>,
    /// The window's place among the keeper's.
    pub place: usize,
}

/// Where a column's value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    Count(Inner),
    Sum { sum: Inner, not_null: Inner, avg: bool },
    Spread { spread: Spread, sum: Inner, squares: Inner, not_null: Inner },
    Kept { keeper: usize, asked: Asked },
}

/// The plan worked out.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The finite lengths, ascending, each once.
    pub windows: Vec<i64>,
    pub tracks: Vec<Track>,
    pub keepers: Vec<KeeperPlan>,
    pub sources: Vec<Source>,
    /// By window: the tracks and rings, and the keepers and places, that its leaving events move out of.
    pub leaving: Vec<Leaving>,
}

#[derive(Clone, Debug, Default)]
pub struct Leaving {
    pub tracks: Vec<(usize, usize)>,
    pub keepers: Vec<(usize, usize)>,
}

impl Layout {
    /// Works a plan out: columns that need the same share it, with rings for what is asked of it alone.
    pub fn of(columns: &[ColumnPlan]) -> Layout {
        let mut windows: Vec<i64> = columns.iter().filter_map(|c| c.length).collect();
        windows.sort_unstable();
        windows.dedup();
        let mut layout = Layout { windows, tracks: vec![], keepers: vec![], sources: vec![], leaving: vec![] };
        let longest = if columns.iter().any(|c| c.length.is_none()) { None } else { layout.windows.last().copied() };
        // A ring for each window, so that it can be told whether any event is inside of those that are shown.
        (0..layout.windows.len()).for_each(|window| layout.need(Adds::Events, Some(layout.windows[window])));
        layout.need(Adds::Events, longest);
        for column in columns {
            layout.need_column(column);
        }
        layout.place();
        layout.sources = columns.iter().map(|column| layout.source(column)).collect();
        layout
    }

    fn window(&self, length: Option<i64>) -> Option<usize> {
        length.map(|length| self.windows.partition_point(|w| *w < length))
    }

    /// The track that adds up `adds`, with a ring that ends at `length`.
    fn need(&mut self, adds: Adds, length: Option<i64>) {
        let window = self.window(length);
        let at = self.tracks.iter().position(|t| t.adds == adds).unwrap_or_else(|| {
            self.tracks.push(Track { adds, rings: Rings::default() });
            self.tracks.len() - 1
        });
        self.tracks[at].rings.need(window);
    }

    fn need_column(&mut self, column: &ColumnPlan) {
        let Some(input) = column.input else { return self.need(Adds::Events, column.length) };
        if let Some((keeps, n)) = column.aggregate.keeps() {
            let window = self.window(column.length);
            let at = self.keepers.iter().position(|k| (k.keeps, k.input) == (keeps, input)).unwrap_or_else(|| {
                self.keepers.push(KeeperPlan { keeps, input, rings: Rings::default(), n: 0 });
                self.keepers.len() - 1
            });
            let keeper = &mut self.keepers[at];
            keeper.rings.need(window);
            keeper.n = keeper.n.max(n);
            return;
        }
        self.need(Adds::NotNull(input), column.length);
        if column.aggregate != Aggregate::Count {
            self.need(Adds::Value(input), column.length);
        }
        if let Aggregate::Spread(_) = column.aggregate {
            self.need(Adds::Square(input), column.length);
        }
    }

    /// Where events fall into, and where they move on from.
    fn place(&mut self) {
        let windows = self.windows.len();
        self.tracks.iter_mut().for_each(|track| track.rings.place(windows));
        self.keepers.iter_mut().for_each(|keeper| keeper.rings.place(windows));
        let at = |rings: &Rings, window| rings.windows.binary_search(&window).ok();
        let leaving = |window| Leaving {
            tracks: (0..).zip(&self.tracks).filter_map(|(t, track)| Some((t, at(&track.rings, window)?))).collect(),
            keepers: (0..).zip(&self.keepers).filter_map(|(k, keeper)| Some((k, at(&keeper.rings, window)?))).collect(),
        };
        self.leaving = (0..windows).map(leaving).collect();
    }

    fn source(&self, column: &ColumnPlan) -> Source {
        let window = self.window(column.length);
        let find = |adds| {
            let track = self.tracks.iter().position(|t| t.adds == adds).expect("every column's tracks were asked for");
            Inner { track, rings: self.tracks[track].rings.place_of(window) + 1 }
        };
        let Some(input) = column.input else { return Source::Count(find(Adds::Events)) };
        if let Some((keeps, _)) = column.aggregate.keeps() {
            let wanted = self.keepers.iter().position(|k| (k.keeps, k.input) == (keeps, input));
            let keeper = wanted.expect("every column's keeper was asked for");
            let place = self.keepers[keeper].rings.place_of(window);
            return Source::Kept { keeper, asked: Asked { aggregate: column.aggregate, length: column.length, place } };
        }
        let not_null = find(Adds::NotNull(input));
        match column.aggregate {
            Aggregate::Count => Source::Count(not_null),
            Aggregate::Spread(spread) => {
                Source::Spread { spread, sum: find(Adds::Value(input)), squares: find(Adds::Square(input)), not_null }
            }
            aggregate => Source::Sum { sum: find(Adds::Value(input)), not_null, avg: aggregate == Aggregate::Avg },
        }
    }
}
