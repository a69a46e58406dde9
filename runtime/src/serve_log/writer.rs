//! The thread that writes the serve log. A place that is away is asked again and again, while rows wait in the queue and, where that is
//! full, are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use headwater_connectors::storage::Storage;

use super::file;
use super::noted::{Counts, Message, Noted};

/// A file of so many rows, or so many bytes of text, is written at once.
const FILE_ROWS: usize = 256 << 10;
const FILE_BYTES: usize = 32 << 20;
const AGAIN_AFTER: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub struct Writer {
    storage: Storage,
    roll_every: Duration,
    counts: Arc<Counts>,
    /// Nothing comes any more.
    ending: Arc<AtomicBool>,
    /// Of this log, so that no two processes write one file.
    start: u64,
    number: u64,
    rows: Vec<Noted>,
    bytes: usize,
    /// When what is there has to be written; `None`: nothing is.
    due: Option<Instant>,
    /// The last attempt failed.
    is_failing: bool,
}

impl Writer {
    pub fn new(storage: Storage, roll_every: Duration, counts: Arc<Counts>, ending: Arc<AtomicBool>) -> Writer {
        let start = rand::random();
        let (rows, due) = (vec![], None);
        Writer { storage, roll_every, counts, ending, start, number: 0, rows, bytes: 0, due, is_failing: false }
    }

    /// Until the end. `waiting`: bytes of the rows in the queue.
    pub fn run(mut self, queue: &Receiver<Message>, waiting: &AtomicUsize) {
        loop {
            let message = match self.due {
                None => queue.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => queue.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::Row(row)) => {
                    waiting.fetch_sub(row.bytes(), Ordering::Relaxed);
                    self.take(row);
                }
                Err(RecvTimeoutError::Timeout) => self.roll(),
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return self.end(queue),
            }
            // What cannot be written now keeps what follows in the queue.
            while self.is_failing && self.is_full() && !self.is_ending() {
                match self.due.is_some_and(|due| due > Instant::now()) {
                    true => std::thread::sleep(LOOK_EVERY),
                    false => self.roll(),
                }
            }
            if self.is_ending() {
                return self.end(queue);
            }
        }
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.rows.len() >= FILE_ROWS || self.bytes >= FILE_BYTES
    }

    fn take(&mut self, row: Noted) {
        self.bytes += row.bytes();
        self.rows.push(row);
        self.due.get_or_insert_with(|| Instant::now() + self.roll_every);
        if self.is_full() {
            self.roll();
        }
    }

    /// Writes what is there as a file, or tries again later.
    fn roll(&mut self) {
        self.due = None;
        if self.rows.is_empty() {
            return;
        }
        match self.write() {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the serve log is written again");
                }
                self.counts.files.fetch_add(1, Ordering::Relaxed);
                self.counts.rows.fetch_add(self.rows.len() as u64, Ordering::Relaxed);
                self.rows.clear();
                self.bytes = 0;
            }
            Err(why) => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!("the serve log cannot be written, it is tried again: {why}");
                }
                self.due = Some(Instant::now() + AGAIN_AFTER);
            }
        }
    }

    fn write(&mut self) -> Result<(), String> {
        self.number += 1;
        let name = file::name(file::Times::of(&self.rows), self.start, self.number);
        let bytes = file::bytes(&self.rows).map_err(|e| e.to_string())?;
        match self.storage.create(&name, &bytes).map_err(|e| e.to_string())? {
            true => Ok(()),
            false => Err(format!("{} is there already", self.storage.shown(&name))),
        }
    }

    /// Writes what is left. What cannot be written now is lost.
    fn end(mut self, queue: &Receiver<Message>) {
        for message in queue.try_iter() {
            if let Message::Row(row) = message {
                self.bytes += row.bytes();
                self.rows.push(row);
            }
        }
        self.roll();
        let lost = self.rows.len();
        if lost > 0 {
            self.counts.dropped.fetch_add(lost as u64, Ordering::Relaxed);
            tracing::warn!("{lost} rows that were served last are not in the serve log");
        }
    }
}
