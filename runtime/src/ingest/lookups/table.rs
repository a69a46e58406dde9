//! A table as one scan reads it, with the versions that are still to come.

use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;

use arrow::array::RecordBatch;
use headwater_clocks::{Eff, EventTime, Offset, Span, Tick, Time};
use headwater_connectors::sink::dead_letters::DeadLetter;
use headwater_operators::keys::Interner;
use headwater_operators::table::{Changed, Place, Row, Table, Version};

use super::super::stamp::Reason;
use super::super::versions::{self, Applied, Message};
use super::contents::Contents;
use super::made::Made;
use super::runs::Runs;
use crate::base::id::{ScanId, SourceId};
use crate::catalog::opened::Opened;
use crate::job::SeamBy;
use crate::plan::Plan;

/// A row of a message.
pub(super) type MessageRow = (Rc<Message>, usize);

/// Whose partition each key is.
pub(super) struct Homes {
    keys: Interner,
    /// By number of the key.
    partitions: Vec<i64>,
}

impl Homes {
    /// The partition of a key: this one, where it has none.
    fn enter(&mut self, key: &[u8], partition: i64) -> i64 {
        let number = self.keys.intern(key) as usize;
        if number == self.partitions.len() {
            self.partitions.push(partition);
        }
        self.partitions[number]
    }

    fn get(&self, key: &[u8]) -> Option<i64> {
        self.keys.find(key).map(|number| self.partitions[number as usize])
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], i64)> {
        self.keys.numbers().map(|number| (self.keys.key(number), self.partitions[number as usize]))
    }
}

/// A table as one scan reads it.
pub(super) struct TableState {
    pub(super) source: SourceId,
    pub(super) table: Table,
    /// By tick.
    pub(super) waiting: Runs<Tick, MessageRow>,
    /// By the tick at which it is known, effective time and partition: whose partition a key is, the first of these says.
    pub(super) registering: Runs<(Tick, Eff, i64), MessageRow>,
    pub(super) homes: Homes,
    /// Up to here what a history holds is there before anything is looked up.
    pub(super) s: Tick,
    pub(super) corrects: Corrects,
    /// What is wrong with its versions is told here, and not by the lookups of another level.
    pub(super) tells: bool,
    /// Whether some group looks up in it. If none does, only partitions of keys are remembered.
    pub(super) is_asked: bool,
    /// Whether what a history holds is known from its own ticks on, and not as soon as it is there: where events that look up replace one
    /// another, or nobody looks up.
    pub(super) is_timed: bool,
    /// Then nothing is known before all is read that may be by then.
    pub(super) first: Tick,
    /// What it holds, where views read that.
    pub(super) contents: Option<Contents>,
}

/// How far back versions of a table that still come may reach.
#[derive(Clone, Copy, Debug)]
pub struct Corrects {
    /// No version comes with a smaller `eff`, whatever the horizon.
    least: Eff,
    has_stream: bool,
    lateness: Span,
    /// By then all versions of the history are there; before, each comes at its tick. `None`: they are there before anything else.
    comes_until: Option<Tick>,
    /// `S`, and by when the versions of the history are there that lay ahead of it: announced before their own time, they come at that.
    ahead: Option<(Tick, Tick)>,
}

/// See `TableState`.
pub(super) fn is_timed(opened: &Opened, table: SourceId) -> bool {
    let mut groups = opened.graph.groups_of(table);
    let is_timed = groups.clone().next().is_none() || groups.any(|group| opened.is_replaced(group));
    is_timed && opened.graph.viewed_tables().all(|viewed| viewed != table)
}

impl Corrects {
    /// Of a table as a scan reads it.
    pub fn of(opened: &Opened, plan: &Plan, id: ScanId) -> Corrects {
        let scan = &plan.scans[id];
        let (conf, open) = (&opened.job.sources[scan.source], &opened.sources[scan.source]);
        let ends = scan.c.filter(|_| conf.arrival_time.is_some() && open.history.is_some());
        let least = match conf.seam.by {
            SeamBy::Offset { .. } => {
                let begin = scan.partitions.iter().map(|p| p.history_eff.unwrap_or(Eff::BEFORE_ALL));
                begin.min().unwrap_or(Eff::BEFORE_ALL)
            }
            SeamBy::Time => ends.map_or(Eff::BEFORE_ALL, |c| Eff::from_us(c.us())),
            SeamBy::Id { overlap, .. } => ends.map_or(Eff::BEFORE_ALL, |c| Eff::from_us((c - overlap).us())),
        };
        let comes_until = scan.seam().filter(|_| opened.looks_back() || scan.replay.is_some());
        let limit = conf.future_limit;
        let ahead = scan.seam().map(|s| (s, Tick::up(s + limit, opened.job.tick)));
        let lateness = conf.lateness;
        Corrects { least, has_stream: open.stream.is_some(), lateness, comes_until, ahead }
    }

    /// No version that comes behind a tick is in force at a time before it.
    pub fn from(self, horizon: Eff, tick: Tick) -> EventTime {
        let from = match self.comes_until {
            Some(until) if tick < until => EventTime::BEFORE_ALL,
            _ if !self.has_stream => EventTime::AFTER_ALL,
            _ => horizon.max(self.least).reaches_back(self.lateness),
        };
        match self.ahead {
            Some((s, until)) if tick < until => from.min(s.left(Span::ZERO)),
            _ => from,
        }
    }
}

/// Rows of a message at most.
const ROWS_AT_ONCE: usize = 16 << 10;

/// By scan of a table.
pub(super) type Tables = BTreeMap<ScanId, TableState>;

impl TableState {
    pub(super) fn new(opened: &Opened, plan: &Plan, id: ScanId, level: usize) -> TableState {
        let scan = &plan.scans[id];
        let lowest = match opened.graph.is_viewed(crate::catalog::graph::Kind::Source(scan.source)) {
            true => Some(0),
            false => opened.graph.groups_of(scan.source).map(|group| opened.graph.level(group)).min(),
        };
        TableState {
            source: scan.source,
            table: Table::default(),
            waiting: Runs::default(),
            registering: Runs::default(),
            homes: Homes { keys: Interner::new(0), partitions: vec![] },
            s: scan.s.unwrap_or(Tick::BEFORE_ALL),
            corrects: Corrects::of(opened, plan, id),
            tells: level == lowest.unwrap_or(level),
            is_asked: opened.graph.groups_of(scan.source).next().is_some(),
            is_timed: is_timed(opened, scan.source),
            first: plan.first_tick(scan.side),
            contents: None,
        }
    }

    /// Whether what a history holds is known before anything that the stream brings. By offset a partition may lie behind another one, and be the
    /// one in which a key came first. (What is in force from the beginning of time has to be there before anything is looked up.)
    pub(super) fn is_first(&self, opened: &Opened, message: &Message, row: usize) -> bool {
        let is_dated = opened.sources[self.source].event_time.is_some();
        let eff = message.position(row).0.and(message.eff(row)).filter(|_| is_dated && self.corrects.has_stream);
        eff.is_none_or(|eff| eff < self.corrects.least)
    }

    /// The next tick at which something may come, where every tick up to one can be done.
    pub(super) fn next_tick(&self, to: Tick) -> Option<Tick> {
        let registering = self.registering.first().map(|(known, ..)| known);
        let next = self.waiting.first().into_iter().chain(registering).min();
        next.filter(|_| !self.is_timed || to >= self.first)
    }

    /// All is known that came by a tick: whose partition each key is. Returns what came in another one.
    pub(super) fn register(&mut self, tick: Tick) -> Vec<MessageRow> {
        let mut moved = vec![];
        for ((.., partition), (message, row)) in self.registering.take((tick, Eff::AFTER_ALL, i64::MAX), usize::MAX) {
            let home = self.homes.enter(message.key(row), partition);
            moved.extend((home != partition).then_some((message, row)));
        }
        moved
    }

    /// Versions of a tick come. Returns what they change.
    pub(super) fn do_tick(&mut self, opened: &Opened, tick: Tick, made: &mut Made) -> Vec<Changed> {
        for (message, row) in self.register(tick) {
            self.tell_moved(opened, &message, row, made);
        }
        let mut changed = vec![];
        for (_, (message, row)) in self.waiting.take(tick, usize::MAX) {
            let (partition, offset) = message.position(row);
            let home = partition.and_then(|_| self.homes.get(message.key(row)));
            if home.is_some_and(|home| Some(home) != partition) {
                continue;
            }
            if !self.is_asked {
                continue;
            }
            let values: Box<[u8]> = message.values(row).into();
            let eff = message.eff(row).unwrap_or(Eff::BEFORE_ALL);
            let place = match (partition, offset) {
                (Some(_), Some(offset)) => Place::Log(offset),
                _ => Place::History(eff, message.ts(row), values.clone()),
            };
            let undecoded = message.undecoded(row);
            let row_of = (!message.removes(row)).then(|| Rc::new(Row { values, undecoded }));
            let version = Version { from: message.from(row), place, row: row_of, eff };
            changed.extend(self.table.insert(message.key(row), version));
        }
        if let Some(contents) = &mut self.contents {
            contents.turn(&self.table, &changed, tick, &mut made.contents);
        }
        changed
    }

    /// A key that comes in another partition than before.
    pub(super) fn tell_moved(&self, opened: &Opened, message: &Message, row: usize, made: &mut Made) {
        let Some(payload) = message.payload(row).filter(|_| self.tells) else { return };
        let (partition, offset) = message.position(row);
        made.tally.refused(self.source, Reason::MovedKey.name());
        made.dead_letters.push(DeadLetter {
            source: opened.job.sources[self.source].name.clone(),
            reason: Reason::MovedKey.name().to_owned(),
            partition: partition.and_then(|partition| i32::try_from(partition).ok()),
            offset,
            arrival: message.arrival(row),
            payload: payload.to_vec(),
            late_by: None,
        });
    }

    /// The versions that are in force, those of keys that are this worker's; and those still to come that it has read.
    pub(super) fn messages(&self, is_mine: impl Fn(&[u8]) -> bool) -> Vec<RecordBatch> {
        let mine = self.table.iter().filter(|(key, _)| is_mine(key));
        let applied: Vec<Applied> = mine
            .map(|(key, version)| {
                let row = version.row.as_ref();
                let (eff, ts, offset, values) = match &version.place {
                    Place::History(eff, ts, values) => (*eff, *ts, None, &values[..]),
                    Place::Log(offset) => (version.eff, None, Some(*offset), row.map_or(&[][..], |row| &row.values)),
                };
                let partition = offset.and_then(|_| self.homes.get(key));
                let undecoded = row.and_then(|row| row.undecoded.as_ref());
                let undecoded = undecoded.map(|flags| flags.iter().map(|flag| u8::from(*flag)).collect());
                let position = partition.zip(offset);
                Applied { key, from: version.from, eff, ts, position, removes: row.is_none(), values, undecoded }
            })
            .collect();
        // Of a key without a version that says its partition, because nobody asks for its row or all of them are forgotten, only that is written.
        let placed: HashSet<&[u8]> = applied.iter().filter(|one| one.position.is_some()).map(|one| one.key).collect();
        let homes = self.homes.iter().filter(|(key, _)| is_mine(key) && !placed.contains(key));
        let homes = homes.map(|(key, partition)| Applied {
            key,
            from: EventTime::BEFORE_ALL,
            eff: Eff::from_us(0),
            ts: None,
            position: Some((partition, Offset::at(0))),
            removes: true,
            values: &[],
            undecoded: None,
        });
        let homes: Vec<Applied> = homes.collect();
        let applied: Vec<Applied> = applied.into_iter().chain(homes).collect();
        let mut all: Vec<RecordBatch> = applied.chunks(ROWS_AT_ONCE).map(versions::applied).collect();
        let mut rows: Vec<(&Rc<Message>, Vec<u32>)> = vec![];
        for (message, row) in self.waiting.values().filter(|(message, row)| message.payload(*row).is_some()) {
            match rows.iter_mut().rev().find(|(known, _)| Rc::ptr_eq(known, message)) {
                Some((_, rows)) => rows.push(*row as u32),
                None => rows.push((message, vec![*row as u32])),
            }
        }
        all.extend(rows.into_iter().map(|(message, rows)| message.rows(rows)));
        all
    }

    /// Versions from before it may be forgotten: what the table holds will not be another one for it.
    pub(super) fn contents_from(&self, horizon: Eff, tick: Tick) -> EventTime {
        match self.contents {
            None => EventTime::AFTER_ALL,
            // What its history holds may still become visible.
            Some(_) if !self.corrects.has_stream => EventTime::BEFORE_ALL,
            Some(_) => self.corrects.from(horizon, tick),
        }
    }
}
