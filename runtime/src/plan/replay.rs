//! A replay: a source read once more, for the rows that there were at some ticks, from the first of them on and no further than the last.
//!
//! ```text
//! first label          seam                    last label
//!      |  S of the replay's plan                   |
//!      '---- each record at its own V -------------' until
//! ```
//!
//! So the plan of a replay has another `S` than the scan's own, and the history has records past it.

use std::collections::BTreeMap;
use std::sync::Arc;

use headwater_clocks::{Eff, Offset, Span, Tick};
use serde::{Deserialize, Serialize};

/// How a scan is replayed.
#[derive(Clone, Debug)]
pub struct Replay {
    /// The scan's own `S`: by then all of its history is there.
    pub s: Option<Tick>,
    /// What came after it is not looked at; `None`: all is.
    pub until: Option<Tick>,
    /// When a run admitted records late, where that is asked for.
    pub late: Option<Arc<LateRecords>>,
}

/// At which ticks a run admitted records of a scan.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct LateRecords {
    /// By partition, in the order of offsets.
    pub by_partition: BTreeMap<i32, Vec<(Offset, Tick)>>,
    /// How far each partition was read by a checkpoint, and the first tick that may have more. `None`: it did not have the source.
    pub unread: Option<(BTreeMap<i32, Offset>, Tick)>,
}

impl Replay {
    /// Whether a record came after all that is asked for.
    pub fn is_past(&self, eff: Option<Eff>, tick: Span) -> bool {
        eff.zip(self.until).is_some_and(|(eff, until)| Tick::up(eff, tick) > until)
    }

    /// The tick from which on a run had a record that it admitted late.
    pub fn late(&self, at: Option<(i32, Offset)>) -> Option<Tick> {
        self.late.as_ref()?.tick(at?)
    }
}

impl LateRecords {
    /// The tick from which on a record counted, if it was read too late for its own.
    pub fn tick(&self, (partition, offset): (i32, Offset)) -> Option<Tick> {
        // A partition that the checkpoint did not have has come since.
        let is_unread = |read: &BTreeMap<i32, Offset>| read.get(&partition).is_none_or(|read| offset >= *read);
        if let Some((_, next)) = self.unread.as_ref().filter(|(read, _)| is_unread(read)) {
            return Some(*next);
        }
        let of_partition = self.by_partition.get(&partition)?;
        let at = of_partition.binary_search_by_key(&offset, |(offset, _)| *offset).ok()?;
        Some(of_partition[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_late_and_what_was_not_read_yet() {
        let (at, tick) = (Offset::at, Tick::from_us);
        let late = || BTreeMap::from([(0, vec![(at(3), tick(70)), (at(8), tick(90))])]);
        let known = LateRecords { by_partition: late(), unread: Some((BTreeMap::from([(0, at(10))]), tick(110))) };
        let new = LateRecords::default();
        for (of, partition, offset, expected) in [
            (&known, 0, 3, Some(70)),
            (&known, 0, 4, None),
            (&known, 0, 8, Some(90)),
            (&known, 0, 9, None),
            (&known, 0, 10, Some(110)),
            (&known, 1, 0, Some(110)),
            (&new, 0, 10, None),
        ] {
            assert_eq!(of.tick((partition, at(offset))), expected.map(tick), "{partition} {offset}");
        }
    }
}
