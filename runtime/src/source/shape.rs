//! Shaping: a source's records become a group's events. `where`, then keys, then the inputs, whole columns at a time.
//!
//! A record that fails is the group's dead letter; where only an input fails, it is null there and the event counts, so
//! that no column depends on another.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::SchemaRef;
use headwater_connectors::Records;
use headwater_operators::events;
use headwater_operators::key_codec::KeyCodec;

use crate::opened::{OpenGroup, Opened};
use crate::source::stamp::Stamped;

/// Shapes the events of one group. One a thread.
pub struct Shaper {
    opened: Arc<Opened>,
    group: usize,
    codec: KeyCodec,
    schema: SchemaRef,
}

/// The records of a batch that are some group's dead letters, by reason.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    pub expression: Vec<u32>,
    pub null_key: Vec<u32>,
}

impl Shaper {
    fn new(opened: &Arc<Opened>, group: usize) -> Shaper {
        let open = &opened.groups[group];
        let codec = KeyCodec::new(&open.key_types).expect("key types were checked");
        let inputs: Vec<_> = open.inputs.iter().map(|e| e.data_type().clone()).collect();
        Shaper { opened: opened.clone(), group, codec, schema: events::schema(&inputs) }
    }

    fn group(&self) -> &OpenGroup {
        &self.opened.groups[self.group]
    }

    /// The shapers of a source's groups, with the groups' numbers.
    pub fn of_source(opened: &Arc<Opened>, source: usize) -> Vec<(u32, Shaper)> {
        let groups = opened.job.groups.iter().enumerate().filter(|(_, g)| g.source == source);
        groups.map(|(i, _)| (i as u32, Shaper::new(opened, i))).collect()
    }

    /// The events among `rows`, which are records that their source has accepted. `visible`, `effs`: by record.
    pub fn shape(
        &self,
        records: &Records,
        rows: &[u32],
        stamped: &[Stamped],
        visible: &[i64],
        _effs: &[Option<i64>],
    ) -> (Option<RecordBatch>, Refused) {
        let mut refused = Refused::default();
        let mut selection = Selection::of(records, rows.to_vec());
        if let Some(filter) = &self.group().filter {
            let evaluated = filter.evaluate(&selection.batch, &|c| selection.undecoded(records, c));
            selection.note(evaluated.failed.as_ref(), &mut refused.expression);
            let passes = evaluated.values.as_boolean().clone();
            selection = selection.keep(|i| passes.is_valid(i) && passes.value(i));
        }
        if selection.rows.is_empty() {
            return (None, refused);
        }
        let mut inputs = Vec::with_capacity(self.group().inputs.len());
        for input in &self.group().inputs {
            let evaluated = input.evaluate(&selection.batch, &|c| selection.undecoded(records, c));
            selection.note(evaluated.failed.as_ref(), &mut refused.expression);
            inputs.push(evaluated.values);
        }
        let good = self.good_keys(records, &selection, &mut refused);
        let keys: Vec<ArrayRef> = self.group().keys.iter().map(|k| selection.batch.column(*k).clone()).collect();
        let (keys, inputs, rows) = match good {
            None => (keys, inputs, selection.rows),
            Some(good) => {
                let rows = good.values().iter().map(|i| selection.rows[*i as usize]).collect();
                let taken =
                    |all: Vec<ArrayRef>| all.iter().map(|a| take(a, &good, None).expect("rows of its own")).collect();
                (taken(keys), taken(inputs), rows)
            }
        };
        refused.expression.sort_unstable();
        refused.expression.dedup();
        if rows.is_empty() {
            return (None, refused);
        }
        let keys = self.codec.encode(&keys).expect("key columns keep their types");
        let ts = Int64Array::from_iter_values(rows.iter().map(|r| stamped[*r as usize].ts.unwrap_or_default()));
        let visible = Int64Array::from_iter_values(rows.iter().map(|r| visible[*r as usize]));
        (Some(events::batch(&self.schema, keys, ts, visible, inputs).expect("columns of its own schema")), refused)
    }

    /// Places in the selection whose keys are all there; `None`: every one.
    fn good_keys(&self, records: &Records, selection: &Selection, refused: &mut Refused) -> Option<UInt32Array> {
        let columns: Vec<&ArrayRef> = self.group().keys.iter().map(|k| selection.batch.column(*k)).collect();
        let any_undecoded = self.group().keys.iter().any(|k| records.undecoded[*k].is_some());
        if !any_undecoded && columns.iter().all(|c| c.null_count() == 0) {
            return None;
        }
        let mut good = Vec::new();
        for (i, row) in (0u32..).zip(&selection.rows) {
            let broken = |k: &usize| records.undecoded[*k].as_ref().is_some_and(|u| u.value(*row as usize));
            if self.group().keys.iter().any(broken) {
                refused.expression.push(*row);
            } else if columns.iter().any(|c| c.is_null(i as usize)) {
                refused.null_key.push(*row);
            } else {
                good.push(i);
            }
        }
        Some(UInt32Array::from(good))
    }
}

/// Some rows of a batch of records.
struct Selection {
    batch: RecordBatch,
    rows: Vec<u32>,
}

impl Selection {
    fn of(records: &Records, rows: Vec<u32>) -> Selection {
        if rows.len() == records.len() {
            return Selection { batch: records.batch.clone(), rows };
        }
        let taken = take_record_batch(&records.batch, &UInt32Array::from(rows.clone()));
        Selection { batch: taken.expect("rows of its own"), rows }
    }

    fn keep(self, keep: impl Fn(usize) -> bool) -> Selection {
        let places: Vec<u32> = (0..self.rows.len() as u32).filter(|i| keep(*i as usize)).collect();
        if places.len() == self.rows.len() {
            return self;
        }
        let rows = places.iter().map(|i| self.rows[*i as usize]).collect();
        let batch = take_record_batch(&self.batch, &UInt32Array::from(places)).expect("rows of its own");
        Selection { batch, rows }
    }

    fn undecoded(&self, records: &Records, column: &str) -> Option<BooleanBuffer> {
        let place = records.batch.schema_ref().index_of(column).ok()?;
        let all = records.undecoded[place].as_ref()?;
        Some(self.rows.iter().map(|r| all.value(*r as usize)).collect())
    }

    fn note(&self, failed: Option<&BooleanBuffer>, into: &mut Vec<u32>) {
        into.extend(failed.iter().flat_map(|f| f.set_indices()).map(|i| self.rows[i]));
    }
}
