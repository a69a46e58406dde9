//! Shaping: a source's records become a group's events. `where`, then keys, then the inputs, whole columns at a time.
//!
//! A record that fails is the group's dead letter; where only an input fails, it is null there and the event counts, so
//! that no column depends on another.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, UInt32Array, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{take, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use headwater_connectors::Records;
use headwater_operators::events;
use headwater_operators::key_codec::KeyCodec;

use super::stamp::Stamped;
use crate::catalog::opened::{OpenGroup, Opened};
use crate::catalog::parts::{Part, Parts};
use crate::catalog::reach::{Late, late};

/// Shapes the events of one part of a group. One a thread.
pub struct Shaper {
    opened: Arc<Opened>,
    pub group: usize,
    pub part: usize,
    /// Its input expressions, by their number in the group.
    inputs: Vec<(Option<usize>, DataType)>,
    codec: KeyCodec,
    schema: SchemaRef,
}

/// The records of a batch that are some group's dead letters, by reason.
#[derive(Clone, Debug, Default)]
pub struct Refused {
    pub expression: Vec<u32>,
    pub null_key: Vec<u32>,
    /// With how late they were, in microseconds, where that is why.
    pub late: Vec<(u32, Option<i64>)>,
}

/// When the records of a batch count.
#[derive(Clone, Copy)]
pub struct When<'a> {
    pub visible: &'a [i64],
    pub eff: &'a [Option<i64>],
    /// Windows that closed before it are gone.
    pub horizon: i64,
}

impl Shaper {
    fn new(opened: &Arc<Opened>, (group, number, part): (usize, usize, &Part)) -> Shaper {
        let open = &opened.groups[group];
        let codec = KeyCodec::new(&open.key_types).expect("key types were checked");
        let schema = events::schema(&part.plan.inputs, open.shape.windowed());
        Shaper { opened: opened.clone(), group, part: number, inputs: part.inputs.clone(), codec, schema }
    }

    fn group(&self) -> &OpenGroup {
        &self.opened.groups[self.group]
    }

    /// The shapers of a reading's parts.
    pub fn of_reading(opened: &Arc<Opened>, parts: &Parts, reading: usize) -> Vec<Shaper> {
        parts.of_reading(reading).map(|part| Shaper::new(opened, part)).collect()
    }

    /// The events among `rows`, which are records that their source has accepted. What the group itself refuses, its first part
    /// tells.
    pub fn shape(
        &self,
        records: &Records,
        rows: &[u32],
        stamped: &[Stamped],
        when: When,
    ) -> (Option<RecordBatch>, Refused) {
        let mut refused = Refused::default();
        let mut selection = Selection::of(records, rows.to_vec());
        if let Some(filter) = &self.group().filter {
            let evaluated = filter.evaluate(&selection.batch, &|c| selection.undecoded(records, c));
            if self.part == 0 {
                selection.note(evaluated.failed.as_ref(), &mut refused.expression);
            }
            let passes = evaluated.values.as_boolean().clone();
            selection = selection.keep(|i| passes.is_valid(i) && passes.value(i));
        }
        if selection.rows.is_empty() {
            return (None, refused);
        }
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for (input, data_type) in &self.inputs {
            let Some(input) = input.map(|input| &self.group().inputs[input]) else {
                inputs.push(new_null_array(data_type, selection.rows.len()));
                continue;
            };
            let evaluated = input.evaluate(&selection.batch, &|c| selection.undecoded(records, c));
            selection.note(evaluated.failed.as_ref(), &mut refused.expression);
            inputs.push(evaluated.values);
        }
        let mut of_group = Refused::default();
        let keyed = self.good_keys(records, &selection, &mut of_group);
        let good = self.in_time(keyed, &selection, stamped, when, &mut of_group);
        if self.part == 0 {
            refused.expression.extend(of_group.expression);
            (refused.null_key, refused.late) = (of_group.null_key, of_group.late);
        }
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
        let visible = Int64Array::from_iter_values(rows.iter().map(|r| when.visible[*r as usize]));
        let open = self.group().shape.windowed().then(|| {
            let passed = |r: &u32| when.eff[*r as usize].unwrap_or(i64::MIN).max(when.horizon);
            let lateness = self.lateness();
            Int64Array::from_iter_values(rows.iter().map(|r| passed(r).saturating_sub(lateness)))
        });
        let batch = events::batch(&self.schema, keys, ts, visible, open, inputs);
        (Some(batch.expect("columns of its own schema")), refused)
    }

    fn lateness(&self) -> i64 {
        self.opened.job.sources[self.opened.job.groups[self.group].source].lateness_us
    }

    /// Of the places whose keys are there, those whose windows take them.
    fn in_time(
        &self,
        keyed: Option<UInt32Array>,
        selection: &Selection,
        stamped: &[Stamped],
        when: When,
        refused: &mut Refused,
    ) -> Option<UInt32Array> {
        if !self.group().shape.windowed() {
            return keyed;
        }
        let (window, lateness) = (self.opened.job.groups[self.group].window, self.lateness());
        let places = keyed.unwrap_or_else(|| (0..selection.rows.len() as u32).collect());
        let mut good = Vec::with_capacity(places.len());
        for place in places.values() {
            let row = selection.rows[*place as usize];
            let (ts, eff) = (stamped[row as usize].ts.unwrap_or_default(), when.eff[row as usize].unwrap_or(i64::MIN));
            match late(window, lateness, ts, eff, when.horizon) {
                Late::Not => good.push(*place),
                Late::By(us) => refused.late.push((row, Some(us))),
                Late::Gone => refused.late.push((row, None)),
            }
        }
        Some(UInt32Array::from(good))
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
