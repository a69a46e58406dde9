//! A source by few of its columns: for passes over a history that look at times and at the seam's columns alone.
//!
//! Where a piece's statistics tell as much as its rows would, it is not read at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use headwater_clocks::{Arrival, EventTime, Span, WallClock};
use headwater_connectors::history::{History, Piece, Range};
use headwater_connectors::{Result as Connected, Wanted};

use super::stamp::Stamper;
use crate::catalog::opened::{OpenTable, Source};
use crate::job;

pub struct Narrow {
    /// The source with these columns alone, in `wanted` and `history_wanted` alike.
    pub source: Source,
    future_limit: Span,
}

impl Narrow {
    /// Times and the columns of a seam by offset; `id`: that of a seam by id too.
    pub fn new(conf: &job::Source, source: &Source, id: bool) -> Narrow {
        let mut columns: Vec<usize> = source.event_time.into_iter().collect();
        let arrival_time = source.arrival_time.map(|a| index_of(&mut columns, a));
        let seam_columns = source.seam_columns.map(|(p, o)| (index_of(&mut columns, p), index_of(&mut columns, o)));
        let id_column = source.id_column.filter(|_| id).map(|c| index_of(&mut columns, c));
        // A key that does not decode makes a record malformed, as a time does. In files with a schema all keys decode.
        let may_fail = source.history.as_ref().is_some_and(|history| history.schema().is_none());
        let rows = source.rows().filter(|_| may_fail).map(|rows| OpenTable {
            key: rows.key.iter().map(|c| index_of(&mut columns, *c)).collect(),
            key_types: rows.key_types.clone(),
            deleted: None,
            values: vec![],
        });
        let schema = Arc::new(source.history_wanted.schema.project(&columns).expect("places of its own"));
        let wanted = Wanted { schema, time_unit_ns: source.history_wanted.time_unit_ns };
        let source = Source {
            history: None,
            stream: None,
            schema: source.schema.clone(),
            wanted: wanted.clone(),
            history_wanted: wanted,
            event_time: source.event_time.map(|_| 0),
            arrival_time,
            seam_columns,
            id_column,
            computed: source.computed.clone(),
            table: rows,
            replaced: None,
        };
        Narrow { source, future_limit: conf.future_limit }
    }

    pub fn wanted(&self) -> &Wanted {
        &self.source.wanted
    }

    /// The history's pieces, with the statistics of these columns.
    pub fn pieces(&self, history: &dyn History) -> Connected<Vec<Piece>> {
        let names: Vec<&str> = self.wanted().schema.fields().iter().map(|f| f.name().as_str()).collect();
        history.pieces(&names)
    }

    pub fn stamper(&self) -> Stamper<'_> {
        Stamper { source: &self.source, future_limit: self.future_limit, own: self.source.history_own() }
    }

    /// What statistics say of a time, in microseconds. Integers are in a unit of their own.
    pub fn times(&self, piece: &Piece, column: usize) -> Option<Range> {
        let integer = self.wanted().schema.field(column).data_type().is_integer();
        piece.statistics.get(column).copied().flatten().filter(|_| !integer)
    }

    /// The largest arrival of a piece, where statistics alone tell it: no clock is wrong.
    pub fn newest_arrival(&self, piece: &Piece, now: WallClock) -> Option<Arrival> {
        let (_, newest_ts) = self.times(piece, self.source.event_time?)?.bounds?;
        let newest_ts = EventTime::from_us(newest_ts);
        let arrivals = match self.source.arrival_time {
            None => (newest_ts.into(), newest_ts.into()),
            // A null arrival is the event time.
            Some(column) => {
                let (oldest, newest) = self.times(piece, column).filter(|range| range.nulls == 0)?.bounds?;
                (Arrival::from_us(oldest), Arrival::from_us(newest))
            }
        };
        let (_, newest) = arrivals;
        self.stamper().clocks_are_right(newest_ts, arrivals, now).then_some(newest)
    }
}

fn index_of(columns: &mut Vec<usize>, column: usize) -> usize {
    columns.iter().position(|p| *p == column).unwrap_or_else(|| {
        columns.push(column);
        columns.len() - 1
    })
}

/// Visits every piece, on several threads. Each thread has a `T` of its own; these are returned.
pub fn visit<T: Default + Send>(
    pieces: &[Piece],
    visit: impl Fn(&mut T, &Piece) -> Connected<()> + Sync,
) -> Connected<Vec<T>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut mine = T::default();
        while let Some(piece) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(e) = visit(&mut mine, piece) {
                next.store(pieces.len(), Ordering::Relaxed);
                return Err(e);
            }
        }
        Ok(mine)
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(pieces.len().max(1));
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}
