//! What the library logs goes to Python's `logging`, by the logger `headwater`: kept until a thread that holds the interpreter tells it.

use std::fmt::{Debug, Write};
use std::sync::{Mutex, Once, PoisonError};

use pyo3::prelude::*;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// What nobody has told yet: Python's level, and the line.
static LINES: Mutex<Vec<(u8, String)>> = Mutex::new(vec![]);
/// What is more is lost: nobody reads so much.
const LINES_MAX: usize = 10_000;

/// From now on. A command line in this process, which has a log of its own, begins without it.
pub fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Whoever embeds this has one already: then it is theirs.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(Lines));
    });
}

/// Tells what has been kept, without secrets.
pub fn tell(py: Python<'_>, mask: impl Fn(&str) -> String) -> PyResult<()> {
    let lines = std::mem::take(&mut *LINES.lock().unwrap_or_else(PoisonError::into_inner));
    if lines.is_empty() {
        return Ok(());
    }
    let logger = py.import("logging")?.call_method1("getLogger", ("headwater",))?;
    lines.iter().try_for_each(|(level, line)| logger.call_method1("log", (level, "%s", mask(line))).map(drop))
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("headwater")
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = match *event.metadata().level() {
            Level::ERROR => 40,
            Level::WARN => 30,
            _ => 20,
        };
        let mut line = Line(String::new());
        event.record(&mut line);
        let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() < LINES_MAX {
            lines.push((level, line.0));
        }
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to memory does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
