//! The plan of a trailing group: which columns share which accumulators.

use arrow::datatypes::DataType;

use crate::value::Kind;

/// What a column tells of the values in its window. Nulls are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    Count,
    Sum,
    Avg,
    Min,
    Max,
}

impl Aggregate {
    /// The type of the result, or `None` where there is no such aggregate of such an input.
    pub fn result(self, input: Option<&DataType>) -> Option<DataType> {
        let Some(input) = input else { return (self == Aggregate::Count).then_some(DataType::Int64) };
        match (self, Kind::of(input)?) {
            (Aggregate::Count, _) => Some(DataType::Int64),
            (Aggregate::Min | Aggregate::Max, _) => Some(input.clone()),
            (_, Kind::Bool | Kind::Text) => None,
            (_, _) if matches!(input, DataType::Date32 | DataType::Timestamp(..)) => None,
            (Aggregate::Avg, _) => Some(DataType::Float64),
            (_, Kind::Float) => Some(DataType::Float64),
            (_, Kind::Decimal { scale }) => Some(DataType::Decimal128(38, scale)),
            (_, _) => Some(DataType::Int64),
        }
    }
}

/// One column of the row.
#[derive(Clone, Debug)]
pub struct ColumnPlan {
    pub name: String,
    pub aggregate: Aggregate,
    /// Index into `Plan::inputs`; `count` may have none.
    pub input: Option<usize>,
    /// In microseconds; `None` is `all`.
    pub length: Option<i64>,
}

/// A trailing group: its columns, and the inputs that they share.
#[derive(Clone, Debug)]
pub struct Plan {
    /// At least one.
    pub columns: Vec<ColumnPlan>,
    /// The types of the inputs: of each distinct `of`.
    pub inputs: Vec<DataType>,
    /// Between two ticks, in microseconds.
    pub tick: i64,
    /// The first tick, in microseconds: no row is there before it.
    pub start: i64,
}

/// What a ring of a track adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adds {
    Events,
    NotNull(usize),
    Value(usize),
}

/// One accumulator by ring, shared by all columns that need it.
#[derive(Clone, Debug)]
pub struct Track {
    pub adds: Adds,
    /// The finite windows (indices into `Layout::windows`, ascending) that bound its rings.
    pub windows: Vec<usize>,
    /// Whether there is an outermost ring, for `all`.
    pub all: bool,
    /// By age class (how many of `Layout::windows` the event has left): the ring it falls into.
    pub ring_of_class: Vec<Option<usize>>,
}

impl Track {
    /// How many rings it has.
    pub fn rings(&self) -> usize {
        self.windows.len() + usize::from(self.all)
    }
}

/// A window of a track: its first so many rings.
#[derive(Clone, Copy, Debug)]
pub struct Inner {
    pub track: usize,
    pub rings: usize,
}

/// Where a column's value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    Count(Inner),
    Sum { sum: Inner, not_null: Inner, avg: bool },
    Extreme { of: usize, length: Option<i64> },
}

/// The plan worked out.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The finite lengths, ascending, each once.
    pub windows: Vec<i64>,
    pub tracks: Vec<Track>,
    /// Input and whether the least is asked for.
    pub extremes: Vec<(usize, bool)>,
    pub sources: Vec<Source>,
    /// By window: the tracks and rings that its leaving events move out of.
    pub leaving: Vec<Vec<(usize, usize)>>,
}

impl Layout {
    /// Works a plan out: columns that add up the same share a track, and each track has rings for what is asked of it alone.
    pub fn of(plan: &Plan) -> Layout {
        let mut windows: Vec<i64> = plan.columns.iter().filter_map(|c| c.length).collect();
        windows.sort_unstable();
        windows.dedup();
        let mut layout = Layout { windows, tracks: vec![], extremes: vec![], sources: vec![], leaving: vec![] };
        let longest =
            if plan.columns.iter().any(|c| c.length.is_none()) { None } else { layout.windows.last().copied() };
        layout.need(Adds::Events, longest);
        for column in &plan.columns {
            match (column.aggregate, column.input) {
                (Aggregate::Count, None) => layout.need(Adds::Events, column.length),
                (Aggregate::Count, Some(input)) => layout.need(Adds::NotNull(input), column.length),
                (Aggregate::Sum | Aggregate::Avg, Some(input)) => {
                    layout.need(Adds::NotNull(input), column.length);
                    layout.need(Adds::Value(input), column.length);
                }
                _ => {}
            }
        }
        layout.place();
        for column in &plan.columns {
            let source = layout.source(column);
            layout.sources.push(source);
        }
        layout
    }

    /// The track that adds up `adds`, with a ring that ends at `length`.
    fn need(&mut self, adds: Adds, length: Option<i64>) {
        let at = self.tracks.iter().position(|t| t.adds == adds).unwrap_or_else(|| {
            self.tracks.push(Track { adds, windows: vec![], all: false, ring_of_class: vec![] });
            self.tracks.len() - 1
        });
        let track = &mut self.tracks[at];
        match length.map(|l| self.windows.partition_point(|w| *w < l)) {
            None => track.all = true,
            Some(window) if !track.windows.contains(&window) => {
                track.windows.push(window);
                track.windows.sort_unstable();
            }
            Some(_) => {}
        }
    }

    /// Where events fall into, and where they move on from.
    fn place(&mut self) {
        for track in &mut self.tracks {
            let inner = |class: usize| track.windows.iter().position(|w| *w >= class);
            track.ring_of_class =
                (0..=self.windows.len()).map(|c| inner(c).or(track.all.then_some(track.windows.len()))).collect();
        }
        let leaving = |window| {
            let ring = |(t, track): (usize, &Track)| track.windows.iter().position(|w| *w == window).map(|r| (t, r));
            self.tracks.iter().enumerate().filter_map(ring).collect()
        };
        self.leaving = (0..self.windows.len()).map(leaving).collect();
    }

    fn source(&mut self, column: &ColumnPlan) -> Source {
        let find = |adds| {
            let track = self.tracks.iter().position(|t| t.adds == adds).expect("every column's tracks were asked for");
            let window = column.length.map(|l| self.windows.partition_point(|w| *w < l));
            let inside = |w| self.tracks[track].windows.iter().filter(|own| **own <= w).count();
            Inner { track, rings: window.map_or(self.tracks[track].rings(), inside) }
        };
        match (column.aggregate, column.input) {
            (Aggregate::Count, input) => Source::Count(find(input.map_or(Adds::Events, Adds::NotNull))),
            (Aggregate::Sum | Aggregate::Avg, input) => {
                let input = input.expect("a sum has an input");
                let (sum, not_null) = (find(Adds::Value(input)), find(Adds::NotNull(input)));
                Source::Sum { sum, not_null, avg: column.aggregate == Aggregate::Avg }
            }
            (Aggregate::Min | Aggregate::Max, input) => {
                let wanted = (input.expect("an extreme has an input"), column.aggregate == Aggregate::Min);
                let of = self.extremes.iter().position(|e| *e == wanted).unwrap_or_else(|| {
                    self.extremes.push(wanted);
                    self.extremes.len() - 1
                });
                Source::Extreme { of, length: column.length }
            }
        }
    }
}
