//! A thread that shows how far something is, again and again as long as it is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use headwater_connectors::threads::Helper;

use crate::base::failure::Failure;

const SHOW_EVERY: Duration = Duration::from_millis(100);

pub struct Showing {
    stop: Arc<AtomicBool>,
    thread: Option<Helper<(), Failure>>,
}

impl Showing {
    /// `show` is told whether it is the last time.
    pub fn start(mut show: impl FnMut(bool) + Send + 'static) -> Result<Showing, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = move || {
            while !stopped.load(Ordering::Relaxed) {
                show(false);
                std::thread::park_timeout(SHOW_EVERY);
            }
            show(true);
            Ok(())
        };
        Ok(Showing { stop, thread: Some(Helper::start("progress", work)?) })
    }
}

impl Drop for Showing {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.unpark();
            thread.join().unwrap_or_else(|failure| tracing::warn!("showing the progress: {}", failure.message()));
        }
    }
}
