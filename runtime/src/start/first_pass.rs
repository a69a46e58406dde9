//! The first pass over a history: where it ends, in time and in each partition, and how many rows it has.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use headwater_clocks::{Arrival, Eff, MatchTime, Offset, WallClock};
use headwater_connectors::Records;
use headwater_connectors::history::{History, Piece};

use crate::base::failure::Failure;
use crate::catalog::opened::Source;
use crate::ingest::narrow::{Narrow, visit};
use crate::ingest::stamp::{Stamped, Stamper, integers};
use crate::job;

/// What the first pass knows of a history.
#[derive(Default)]
pub struct Seen {
    pub newest: Option<Arrival>,
    pub rows: u64,
    pub partitions: BTreeMap<i64, SeenPartition>,
}

pub struct SeenPartition {
    pub last_offset: Offset,
    pub rows: u64,
    pub eff: Option<Eff>,
}

impl Default for SeenPartition {
    fn default() -> Self {
        SeenPartition { last_offset: Offset::BEFORE_ALL, rows: 0, eff: None }
    }
}

impl Seen {
    fn row(&mut self, stamped: &Stamped, until: Option<MatchTime>, at: Option<(i64, Offset)>) {
        if until.is_some_and(|until| stamped.m.is_some_and(|m| m >= until)) {
            return;
        }
        self.rows += 1;
        self.newest = self.newest.max(stamped.clock());
        if let Some((partition, offset)) = at {
            let seen = self.partitions.entry(partition).or_default();
            seen.last_offset = seen.last_offset.max(offset);
            seen.rows += 1;
            seen.eff = seen.eff.max(stamped.clock().map(Eff::from));
        }
    }

    fn merge(mut self, other: Seen) -> Seen {
        self.newest = self.newest.max(other.newest);
        self.rows += other.rows;
        for (partition, theirs) in other.partitions {
            let seen = self.partitions.entry(partition).or_default();
            seen.last_offset = seen.last_offset.max(theirs.last_offset);
            seen.rows += theirs.rows;
            seen.eff = seen.eff.max(theirs.eff);
        }
        self
    }
}

/// Reads what the seam needs of every row: statistics where they decide, else times and the seam's columns alone.
pub fn first_pass(
    conf: &job::Source,
    source: &Source,
    history: &dyn History,
    until: Option<MatchTime>,
    now: WallClock,
) -> Result<Seen, Failure> {
    let narrow = Narrow::new(conf, source, ids_may_not_decode(source));
    let stamper = narrow.stamper();
    let seen = visit(&narrow.pieces(history)?, |seen: &mut Seen, piece| {
        if let Some(newest) = decided_by_statistics(piece, &narrow, until, now) {
            seen.newest = seen.newest.max(Some(newest));
            seen.rows += piece.rows;
            return Ok(());
        }
        for records in history.read(piece, narrow.wanted())? {
            first_pass_batch(seen, &records?, &stamper, narrow.source.seam_columns, until, now);
        }
        Ok(())
    })?;
    Ok(seen.into_iter().fold(Seen::default(), Seen::merge))
}

/// A row whose id does not decode is malformed and has no time. In files with a schema, only times may fail.
fn ids_may_not_decode(source: &Source) -> bool {
    let timestamp = |column| matches!(source.wanted.schema.field(column).data_type(), DataType::Timestamp(..));
    source.history.as_ref().is_some_and(|h| h.schema().is_none()) || source.id_column.is_some_and(timestamp)
}

fn first_pass_batch(
    seen: &mut Seen,
    records: &Records,
    stamper: &Stamper,
    seam_columns: Option<(usize, usize)>,
    until: Option<MatchTime>,
    now: WallClock,
) {
    let stamped = stamper.stamp(records, now);
    let at = seam_columns.map(|(p, o)| (integers(records.batch.column(p)), integers(records.batch.column(o))));
    for (i, stamped) in stamped.iter().enumerate() {
        let at = at.as_ref().and_then(|(p, o)| p[i].zip(o[i].map(Offset::at)));
        seen.row(stamped, until, at);
    }
}

/// The largest arrival of a piece, where statistics alone tell it: every row is taken and no clock is wrong.
fn decided_by_statistics(piece: &Piece, narrow: &Narrow, until: Option<MatchTime>, now: WallClock) -> Option<Arrival> {
    if narrow.source.seam_columns.is_some() || narrow.source.id_column.is_some() {
        return None;
    }
    narrow.newest_arrival(piece, now).filter(|newest| until.is_none_or(|until| MatchTime::from(*newest) < until))
}
