//! What a table holds at each tick: of each key the last version by now, if that is a row.
//!
//! A version is known no earlier than it is in force, so what it holds changes only as versions become known.

use std::collections::HashMap;
use std::rc::Rc;

use headwater_clocks::{EventTime, Tick};
use headwater_operators::table::{Changed, Row, Table};

use crate::base::id::ScanId;
use crate::base::peer::Peer;

/// A row that comes or goes at a tick: of which scan, its key and its values, as their codecs have them.
pub type Content = ((ScanId, Vec<u8>, Vec<u8>), Tick, isize);

/// What a table holds of the keys that are this worker's.
pub(super) struct Contents {
    scan: ScanId,
    peer: Peer,
    rows: HashMap<Box<[u8]>, Rc<Row>>,
}

impl Contents {
    pub(super) fn new(scan: ScanId, peer: Peer) -> Contents {
        Contents { scan, peer, rows: HashMap::new() }
    }

    /// Versions have come at a tick, and have changed that.
    pub(super) fn turn(&mut self, table: &Table, changed: &[Changed], tick: Tick, out: &mut Vec<Content>) {
        for number in changed.iter().filter(|changed| changed.until.is_none()).map(|changed| changed.key) {
            let key = table.key(number);
            if !self.peer.owns(key) {
                continue;
            }
            let new = table.pick_of(number, EventTime::AFTER_ALL);
            let old = match &new {
                Some(row) => self.rows.insert(key.into(), row.clone()),
                None => self.rows.remove(key),
            };
            if old.as_ref().map(|row| &row.values) == new.as_ref().map(|row| &row.values) {
                continue;
            }
            let told = |row: Rc<Row>, diff| ((self.scan, key.to_vec(), row.values.to_vec()), tick, diff);
            out.extend(old.map(|row| told(row, -1)));
            out.extend(new.map(|row| told(row, 1)));
        }
    }
}
