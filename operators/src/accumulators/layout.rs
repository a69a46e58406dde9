//! The plan of a group's values, and the plan worked out: which columns share which accumulators.

use headwater_clocks::Span;
use serde::{Deserialize, Serialize};

use crate::aggregate::{Aggregate, Needs, Total};
use crate::exact::squares::SquareSum;
use crate::synopses::reading::Read;
use crate::synopses::rings::Rings;
use crate::value::Datum;

/// One column of the row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ColumnPlan {
    /// In the row: unique in its group.
    pub name: String,
    /// Of its values in the window.
    pub aggregate: Aggregate,
    /// Index into `Plan::inputs`; `count` may have none.
    pub input: Option<usize>,
    /// `None`: everything that its unit ever held (`all`, and every column of a group with windows of
    /// its own).
    pub length: Option<Span>,
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

/// A synopsis, shared by all columns that need it.
pub struct SynopsisPlan {
    /// How the first of them reads it; any could build it.
    pub reading: &'static dyn Read,
    pub input: usize,
    pub rings: Rings,
    /// Of the aggregates of all of them.
    pub arguments: Vec<f64>,
}

/// A window of a track: its first so many rings.
#[derive(Clone, Copy, Debug)]
pub struct Inner {
    pub track: usize,
    pub rings: usize,
}

/// Where a column's value comes from.
pub enum Source {
    Count(Inner),
    Sum { sum: Inner, not_null: Inner, read: fn(i64, &Total) -> Option<Datum> },
    Squares { sum: Inner, squares: Inner, not_null: Inner, read: fn(i64, &Total, &SquareSum) -> Option<Datum> },
    Kept { synopsis: usize, place: usize, length: Option<Span>, argument: f64, reading: &'static dyn Read },
}

/// The plan worked out.
pub struct Layout {
    /// The finite lengths, ascending, each once.
    pub windows: Vec<Span>,
    pub tracks: Vec<Track>,
    pub synopses: Vec<SynopsisPlan>,
    pub sources: Vec<Source>,
    /// By window: the tracks and rings, and the synopses and places, that its leaving events move out of.
    pub leaving: Vec<Leaving>,
    /// Whether events may be taken back.
    corrected: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Leaving {
    pub tracks: Vec<(usize, usize)>,
    pub synopses: Vec<(usize, usize)>,
}

impl Layout {
    /// Works a plan out: columns that need the same share it, with rings for what is asked of it alone. `corrected`: events may be taken
    /// back.
    pub fn of(columns: &[ColumnPlan], corrected: bool) -> Layout {
        let mut windows: Vec<Span> = columns.iter().filter_map(|c| c.length).collect();
        windows.sort_unstable();
        windows.dedup();
        let (tracks, synopses, sources, leaving) = (vec![], vec![], vec![], vec![]);
        let mut layout = Layout { windows, tracks, synopses, sources, leaving, corrected };
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

    fn window(&self, length: Option<Span>) -> Option<usize> {
        length.map(|length| self.windows.partition_point(|w| *w < length))
    }

    /// The track that adds up `adds`, with a ring that ends at `length`.
    fn need(&mut self, adds: Adds, length: Option<Span>) {
        let window = self.window(length);
        let at = self.tracks.iter().position(|t| t.adds == adds).unwrap_or_else(|| {
            self.tracks.push(Track { adds, rings: Rings::default() });
            self.tracks.len() - 1
        });
        self.tracks[at].rings.need(window);
    }

    fn need_column(&mut self, column: &ColumnPlan) {
        let Some(input) = column.input else { return self.need(Adds::Events, column.length) };
        let added: &[Adds] = match column.aggregate.definition().needs {
            Needs::Count => &[Adds::NotNull(input)],
            Needs::Sum(_) => &[Adds::NotNull(input), Adds::Value(input)],
            Needs::Squares(_) => &[Adds::NotNull(input), Adds::Value(input), Adds::Square(input)],
            Needs::Synopsis(aging, counted) => {
                let reading = if self.corrected { counted } else { aging };
                return self.need_synopsis(reading, input, column);
            }
        };
        added.iter().for_each(|adds| self.need(*adds, column.length));
    }

    fn need_synopsis(&mut self, reading: &'static dyn Read, input: usize, column: &ColumnPlan) {
        let window = self.window(column.length);
        let at = self.synopsis(reading, input).unwrap_or_else(|| {
            self.synopses.push(SynopsisPlan { reading, input, rings: Rings::default(), arguments: vec![] });
            self.synopses.len() - 1
        });
        self.synopses[at].rings.need(window);
        self.synopses[at].arguments.push(column.aggregate.argument_or_one());
    }

    fn synopsis(&self, reading: &dyn Read, input: usize) -> Option<usize> {
        self.synopses.iter().position(|k| k.input == input && k.reading.synopsis() == reading.synopsis())
    }

    /// Where events fall into, and where they move on from.
    fn place(&mut self) {
        let windows = self.windows.len();
        self.tracks.iter_mut().for_each(|track| track.rings.place(windows));
        self.synopses.iter_mut().for_each(|synopsis| synopsis.rings.place(windows));
        let leaving = |window| Leaving {
            tracks: (0..)
                .zip(&self.tracks)
                .filter_map(|(t, track)| Some((t, track.rings.ending_at(window)?)))
                .collect(),
            synopses: (0..)
                .zip(&self.synopses)
                .filter_map(|(k, synopsis)| Some((k, synopsis.rings.ending_at(window)?)))
                .collect(),
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
        let (not_null, sum, squares) = (Adds::NotNull(input), Adds::Value(input), Adds::Square(input));
        match column.aggregate.definition().needs {
            Needs::Count => Source::Count(find(not_null)),
            Needs::Sum(read) => Source::Sum { sum: find(sum), not_null: find(not_null), read },
            Needs::Squares(read) => {
                Source::Squares { sum: find(sum), squares: find(squares), not_null: find(not_null), read }
            }
            Needs::Synopsis(aging, counted) => {
                let reading = if self.corrected { counted } else { aging };
                let synopsis = self.synopsis(reading, input).expect("every column's synopsis was asked for");
                let place = self.synopses[synopsis].rings.place_of(window);
                let argument = column.aggregate.argument_or_one();
                Source::Kept { synopsis, place, length: column.length, argument, reading }
            }
        }
    }
}
