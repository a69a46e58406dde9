//! Of a batch of records that replace one another few are in force after a while, and those would hold all of it: now and then what is in force
//! is copied together.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use headwater_connectors::{Payload, Records};

use super::super::looked_up::{Raw, RawRow, gather};
use super::kept::payload;
use super::state::LookUps;
use crate::base::id::IdVec;
use crate::catalog::opened::Source;

/// Records that may have come since the last time, besides four for each key.
const ROWS_MIN: usize = 1 << 10;

/// Rows of a batch at most.
const ROWS_AT_ONCE: usize = 16 << 10;

/// Where a record is now.
type Moved = HashMap<(*const Raw, u32), RawRow>;

impl LookUps {
    /// Copies what is in force, of sources of which much has come since the last time.
    pub(super) fn compact(&mut self) {
        let LookUps { replaced, groups, opened, doing, .. } = self;
        // What comes at a tick that waits for answers will be held as it was read.
        let coming = doing.iter().flat_map(|doing| &doing.coming).flat_map(|coming| &coming.asking.rows);
        let coming: HashSet<(*const Raw, u32)> = coming.map(|(raw, row)| (Rc::as_ptr(raw), *row)).collect();
        for state in replaced.values_mut().filter(|state| state.taken > ROWS_MIN + 4 * state.len()) {
            state.taken = 0;
            let mut moved = Moved::new();
            for of_history in [false, true] {
                let rows = state.kept().0.map(|last| &last.row);
                let stays = |(raw, row): &&RawRow| coming.contains(&(Rc::as_ptr(raw), *row));
                let rows = rows.filter(|row| row.0.of_history == of_history && !stays(row));
                let some: Vec<RawRow> = rows.cloned().collect();
                some.chunks(ROWS_AT_ONCE).for_each(|some| copy(&opened.sources[state.source], some, &mut moved));
            }
            let move_row = |row: &mut RawRow| {
                if let Some(now) = moved.get(&(Rc::as_ptr(&row.0), row.1)) {
                    *row = now.clone();
                }
            };
            state.last_rows().for_each(move_row);
            state.suspects.values_mut().for_each(|(row, _)| move_row(row));
            let held = groups.values_mut().flat_map(|group| group.held.iter_mut().flatten());
            held.for_each(|held| move_row(&mut held.raw));
        }
    }
}

/// Copies some records, all of a history or all of a stream.
fn copy(source: &Source, rows: &[RawRow], moved: &mut Moved) {
    let Some((first, _)) = rows.first() else { return };
    let each = || rows.iter().map(|(raw, row)| (raw, *row as usize));
    let payload = rows.iter().map(|row| Some(payload(row))).collect();
    let records = gather(rows, source.wanted.schema.fields().len());
    let copied = Rc::new(Raw {
        source: first.source,
        scan: first.scan,
        of_history: first.of_history,
        records: Records { payload: Payload::Raw(payload), ..records },
        stamped: each().map(|(raw, row)| raw.stamped[row]).collect(),
        effs: each().map(|(raw, row)| raw.effs[row]).collect(),
        visible: each().map(|(raw, row)| raw.visible[row]).collect(),
        positions: each().map(|(raw, row)| raw.positions[row]).collect(),
        told: each().map(|(raw, row)| raw.told[row].clone()).collect(),
        // Windows that had closed by then are closed.
        horizons: IdVec::new(),
        asked: vec![],
        keys: each().map(|(raw, row)| Some(raw.keys.as_ref()?.value(row))).map(|key| key.map(Some)).collect(),
    });
    for (at, (raw, row)) in (0..).zip(rows) {
        moved.insert((Rc::as_ptr(raw), *row), (copied.clone(), at));
    }
}
