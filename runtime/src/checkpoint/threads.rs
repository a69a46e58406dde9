//! The threads that wait for where the state is kept, so that no worker does: one a worker sends its parts (object stores only),
//! and one of worker 0 commits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use headwater_connectors::threads::Helper;

use super::contribution::StateFile;
use super::generations::Starts;
use super::manifest::Manifest;
use super::store::StateStore;
use crate::base::failure::Failure;
use crate::base::failures::Failures;
use crate::base::id::{CheckpointNumber, WorkerId};

/// Sends parts. When a checkpoint's are there, it says how long that took.
pub struct Sending {
    to: Sender<(CheckpointNumber, Vec<StateFile>)>,
    sent: Receiver<(CheckpointNumber, Duration)>,
}

impl Sending {
    pub fn start(store: Arc<StateStore>, worker: WorkerId, failures: &Failures) -> Result<Sending, Failure> {
        let (to, files) = channel::<(CheckpointNumber, Vec<StateFile>)>();
        let (done, sent) = channel();
        failures.spawn("state-send", move || {
            for (number, files) in files {
                let begun = Instant::now();
                store.send(number, worker, &files)?;
                // Nobody listens any more only at the end.
                let _ = done.send((number, begun.elapsed()));
            }
            Ok::<(), Failure>(())
        })?;
        Ok(Sending { to, sent })
    }

    pub fn send(&self, number: CheckpointNumber, files: Vec<StateFile>) {
        // The thread is gone only when it has told why.
        let _ = self.to.send((number, files));
    }

    pub fn sent(&self) -> Option<(CheckpointNumber, Duration)> {
        self.sent.try_iter().last()
    }
}

/// Commits checkpoints, one after the other. Dropped, it waits for those that it was given.
pub struct Committing {
    store: Arc<StateStore>,
    to: Option<Sender<Manifest>>,
    waiting: Arc<AtomicUsize>,
    thread: Option<Helper<(), Failure>>,
}

impl Committing {
    pub fn start(store: Arc<StateStore>, starts: Arc<Starts>, failures: &Failures) -> Result<Committing, Failure> {
        let (to, manifests) = channel::<Manifest>();
        let waiting: Arc<AtomicUsize> = Arc::default();
        let (left, known) = (waiting.clone(), store.clone());
        let thread = failures.spawn("state-commit", move || {
            for manifest in manifests {
                let committed = manifest.commit(&store, &starts);
                left.fetch_sub(1, Ordering::Relaxed);
                committed?;
                tracing::debug!(number = manifest.number.number(), "checkpoint");
            }
            Ok::<(), Failure>(())
        })?;
        Ok(Committing { store: known, to: Some(to), waiting, thread: Some(thread) })
    }

    pub fn commit(&self, manifest: Manifest) {
        // From now on nobody removes its parts.
        self.store.note_use(manifest.number, &manifest.files);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The thread is gone only when it has told why.
        if let Some(to) = &self.to {
            let _ = to.send(manifest);
        }
    }

    pub fn is_busy(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Committing {
    fn drop(&mut self) {
        self.to = None;
        // One that panicked has said so.
        self.thread.take().into_iter().for_each(|thread| drop(thread.join()));
    }
}
