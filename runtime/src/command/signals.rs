//! Signals: SIGINT and SIGTERM ask for a clean end; a second one ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{SignalKind, signal};

use super::output::exit;
use crate::base::failure::Failure;

/// Sets `stop` at the first signal, and tells what is done then.
pub fn stop_on_signal(stop: Arc<AtomicBool>, done_then: &'static str) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::Running(format!("waiting for signals: {e}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    // Caught from here on, however late the thread is.
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    drop(inside);
    let wait = async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if stop.swap(true, Ordering::Relaxed) {
                exit(1);
            }
            tracing::info!("stopping: {done_then}; once more ends at once");
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || runtime.block_on(wait)).map_err(failed)?;
    Ok(())
}
