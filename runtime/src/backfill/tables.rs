//! The tables in which events are looked up, with all of their past: what of it was known at a label's tick, and what is known in the end.
//!
//! They are read before the events are, and stay in memory: of each version the columns that are looked up. Threads share them.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{ArrayRef, new_empty_array};
use arrow::buffer::BooleanBuffer;
use headwater_clocks::{Eff, EventTime, Offset, Tick};
use headwater_operators::key_codec::KeyCodec;
use headwater_operators::past::{Past, Version};

use super::served::Served;
use crate::base::failure::Failure;
use crate::base::id::{ScanId, SourceId};
use crate::catalog::opened::Opened;
use crate::ingest::dead_letters::Tally;
use crate::ingest::selection::row_bytes;
use crate::ingest::stamp::Reason;
use crate::ingest::versions::{Message, Versions, value_types};
use crate::plan::Plan;

/// By table.
#[derive(Default)]
pub struct Tables(BTreeMap<SourceId, PastTable>);

impl Tables {
    /// Of all that was read. `served`: when a run admitted versions, where that is asked for. What is wrong with a version is counted.
    pub fn of(
        (opened, plan): (&Opened, &Plan),
        versions: Vec<Versions>,
        served: Option<&Served>,
        tally: &mut Tally,
    ) -> Result<Tables, Failure> {
        let mut messages: BTreeMap<ScanId, Vec<Message>> = BTreeMap::new();
        for versions in versions {
            messages.entry(versions.scan).or_default().push(Message::open(&versions.batch));
        }
        let mut tables = BTreeMap::new();
        for (scan, of_plan) in plan.scans.pairs() {
            let source = of_plan.source;
            if opened.sources[source].table.is_some() {
                let messages = messages.remove(&scan).unwrap_or_default();
                let table = PastTable::of((opened, source), &messages, |at| served?.tick(scan, at), tally);
                let failed = |e| Failure::Running(format!("reading {}: {e}", opened.job.sources[source].describe()));
                tables.insert(source, table.map_err(failed)?);
            }
        }
        Ok(Tables(tables))
    }

    /// # Panics
    /// On one that no group of the backfill looks up in.
    pub fn of_source(&self, table: SourceId) -> &PastTable {
        &self.0[&table]
    }
}

pub struct PastTable {
    /// Rows by number.
    pub past: Past,
    /// By column that is looked up: the values of these rows, and which of them did not decode.
    pub values: Vec<ArrayRef>,
    pub undecoded: Vec<Option<BooleanBuffer>>,
}

/// The order of the log: another history lies before the stream, by effective time; then by offset. Of what is the same in all of it the
/// greater row is last.
type Place<'a> = (Option<Offset>, Eff, Option<EventTime>, &'a [u8]);

impl PastTable {
    /// About how many bytes a row has in a column that is looked up.
    pub fn bytes(&self, column: usize, row: u32) -> usize {
        row_bytes(&self.values[column], row as usize)
    }

    /// `admitted`: the tick at which a run took in what it had read too late.
    fn of(
        (opened, source): (&Opened, SourceId),
        messages: &[Message],
        admitted: impl Fn((i32, Offset)) -> Option<Tick>,
        tally: &mut Tally,
    ) -> Result<PastTable, arrow::error::ArrowError> {
        let homes = homes(messages);
        let (mut versions, mut rows): (Vec<Version<Place>>, Vec<(&Message, usize)>) = (vec![], vec![]);
        for (message, row) in each(messages) {
            let (key, values) = (message.key(row), message.values(row));
            let (partition, offset) = message.position(row);
            if partition.is_some_and(|partition| homes.get(key).is_some_and(|(_, home)| *home != partition)) {
                tally.refused(source, Reason::MovedKey.name());
                continue;
            }
            let eff = message.eff(row).unwrap_or(Eff::BEFORE_ALL);
            let place = match (partition, offset) {
                (Some(_), Some(offset)) => (Some(offset), Eff::BEFORE_ALL, None, values),
                _ => (None, eff, message.ts(row), values),
            };
            let at = partition.and_then(|partition| i32::try_from(partition).ok()).zip(offset);
            let known = at.and_then(&admitted).map_or(message.visible(row), |tick| tick.max(message.visible(row)));
            let number = (!message.removes(row)).then(|| {
                rows.push((message, row));
                u32::try_from(rows.len() - 1).expect("more than 2^32 versions of a table")
            });
            versions.push(Version { key, from: message.from(row), place, known, row: number });
        }
        let types = value_types(opened, source);
        let values = match types.is_empty() || rows.is_empty() {
            true => types.iter().map(new_empty_array).collect(),
            false => KeyCodec::new(&types)?.decode(rows.iter().map(|(message, row)| message.values(*row)))?,
        };
        let flags: Vec<Option<Box<[bool]>>> = rows.iter().map(|(message, row)| message.undecoded(*row)).collect();
        let undecoded = |column: usize| {
            let any = flags.iter().any(Option::is_some);
            any.then(|| flags.iter().map(|flags| flags.as_ref().is_some_and(|flags| flags[column])).collect())
        };
        Ok(PastTable { past: Past::of(versions), values, undecoded: (0..types.len()).map(undecoded).collect() })
    }
}

fn each(messages: &[Message]) -> impl Iterator<Item = (&Message, usize)> {
    messages.iter().flat_map(|message| (0..message.len()).map(move |row| (message, row)))
}

/// In which partition each key comes first: its own.
fn homes(messages: &[Message]) -> HashMap<&[u8], (Eff, i64)> {
    let mut homes: HashMap<&[u8], (Eff, i64)> = HashMap::new();
    for (message, row) in each(messages) {
        if let (Some(partition), Some(_)) = message.position(row) {
            let first = (message.eff(row).unwrap_or(Eff::BEFORE_ALL), partition);
            homes.entry(message.key(row)).and_modify(|known| *known = first.min(*known)).or_insert(first);
        }
    }
    homes
}
