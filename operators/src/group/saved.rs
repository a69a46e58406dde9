//! What a checkpoint has of a unit, and where a run goes on from it.

use headwater_clocks::{EventTime, Tick};
use serde::{Deserialize, Serialize};

/// Where a column set goes on from.
#[derive(Clone, Copy, Debug)]
pub struct Resumed {
    /// Its number when it was saved.
    pub saved: usize,
    /// Whether that was by a shadow.
    pub shadow: bool,
    /// Every tick up to here was finished; `None`: its start was still to come.
    pub done: Option<Tick>,
    /// Whether its columns were shown.
    pub shown: bool,
}

/// A unit of a group with windows of its own.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SavedWindow {
    pub first: EventTime,
    pub last: EventTime,
    pub has_left: bool,
    pub closed: bool,
}

/// What was published of a unit, without the values: they are those of its accumulators.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct SavedRow {
    pub bounds: Option<(EventTime, EventTime)>,
    pub stored: bool,
    pub changed_at: Tick,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::saved::put;

    /// As `crate::saved` says: checkpoints that are there have these bytes.
    #[test]
    fn the_bytes_of_a_unit_are_what_they_were() {
        let mut bytes = vec![];
        let ts = EventTime::from_us;
        put(&mut bytes, &Some(SavedWindow { first: ts(-1), last: ts(300), has_left: true, closed: false }));
        put(&mut bytes, &SavedRow { bounds: Some((ts(0), ts(1))), stored: true, changed_at: Tick::from_us(2) });
        assert_eq!(bytes, [1, 1, 0xfb, 0x58, 2, 1, 0, 1, 0, 2, 1, 4]);
    }
}
