//! Records of a source whose events replace one another: each is all that is known of its key from then on, or says that it is gone.
//!
//! Whether a record is in force follows from all records of its key, whoever has read them, so they go to the worker that its key's hash
//! says. There they become visible at `V = up(max(eff, ts))`, without the seam's floor: what a window holds at `S` is what a run from the
//! beginning would have had.

use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use headwater_clocks::Tick;
use headwater_operators::key_codec::KeyCodec;

use super::admit::Admitted;
use super::log_position::LogPositions;
use super::looked_up::Raw;
use super::shape::Batch;
use super::stamp::Reason;
use super::versions::judged;
use crate::base::id::SourceId;
use crate::catalog::opened::Opened;

/// Takes the records of a source that may be in force. One a thread.
pub struct ReplacedMaker {
    opened: Arc<Opened>,
    source: SourceId,
    key: Vec<usize>,
    codec: KeyCodec,
}

impl ReplacedMaker {
    pub fn new(opened: &Arc<Opened>, source: SourceId) -> ReplacedMaker {
        let rows = opened.sources[source].replaced.as_ref().expect("a source whose events are replaced");
        let codec = KeyCodec::new(&rows.key_types).expect("key types were checked");
        ReplacedMaker { opened: opened.clone(), source, key: rows.key.clone(), codec }
    }

    /// Those that a scan takes of a batch, and what is wrong with the others.
    pub fn make(
        &self,
        batch: Batch,
        admitted: &Admitted,
        positions: &LogPositions,
    ) -> (Vec<(usize, Reason)>, Option<Raw>) {
        let keys: Vec<ArrayRef> = self.key.iter().map(|place| batch.records.batch.column(*place).clone()).collect();
        let (refused, rows) = judged(&self.opened.job.sources[self.source], batch, admitted, &keys);
        if rows.is_empty() {
            return (refused, None);
        }
        let at = UInt32Array::from(rows.clone());
        let keys: Vec<ArrayRef> = keys.iter().map(|array| take(array, &at, None).expect("rows of its own")).collect();
        let tick = self.opened.job.tick;
        let visible = |row: &u32| {
            let (stamped, eff) = (&batch.stamped[*row as usize], admitted.effs[*row as usize]);
            let own = eff.map_or(Tick::BEFORE_ALL, |eff| match stamped.ts {
                Some(ts) => Tick::visible(eff, ts, tick),
                None => Tick::up(eff, tick),
            });
            own.max(admitted.least_of(*row as usize))
        };
        let made = Raw {
            visible: rows.iter().map(visible).collect(),
            keys: Some(self.codec.encode(&keys).expect("key columns keep their types")),
            ..Raw::some((self.source, admitted), batch, positions, &rows, &|_| 0)
        };
        (refused, Some(made))
    }
}
