//! Logs: for people on a terminal, JSON lines with a flag; always on stderr. `HEADWATER_LOG` sets the level, as in `debug`.
//!
//! Nothing that goes through here shows a secret of the job, and no line tears the progress bar.

use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use indicatif::MultiProgress;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::base::failure::Failure;
use crate::base::secrets::{mask, with_escapes};
use crate::job::Job;

/// Of every job that was loaded in this process.
static SECRETS: Mutex<Vec<String>> = Mutex::new(vec![]);
static JSON: OnceLock<bool> = OnceLock::new();
/// What is drawn on the terminal, while something is.
static DRAWN: Mutex<Option<MultiProgress>> = Mutex::new(None);

pub fn start(json: bool) {
    let _ = JSON.set(json);
    let filter =
        EnvFilter::try_from_env("HEADWATER_LOG").unwrap_or_else(|_| EnvFilter::new("info,fjall=warn,lsm_tree=warn"));
    let ansi = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(LogWriter).with_ansi(ansi);
    // A second start, as in tests, keeps the first.
    let _ = match json {
        true => builder.json().try_init(),
        false => builder.with_target(false).compact().try_init(),
    };
}

/// Reads a job file, or what comes on stdin where the path is `-`. From here on no log line and no `masked` text shows a secret of it.
pub fn load(path: &Path) -> Result<Job, Failure> {
    let job = if path == Path::new("-") { from_stdin()? } else { Job::from_file(path).map_err(Failure::Job)? };
    let mut hidden = guard(&SECRETS);
    hidden.extend(with_escapes(&job.secrets));
    hidden.sort();
    hidden.dedup();
    Ok(job)
}

fn from_stdin() -> Result<Job, Failure> {
    let mut text = String::new();
    let read = io::stdin().read_to_string(&mut text);
    read.map_err(|e| Failure::Usage(format!("the job on stdin cannot be read: {e}")))?;
    Job::from_text("<stdin>", &text, Path::new(".")).map_err(Failure::Job)
}

/// The text without the secrets of the jobs that were loaded.
pub fn masked(text: &str) -> String {
    mask(text, &guard(&SECRETS))
}

/// Whether a bar may be drawn: people look on, and not a program.
pub fn draws() -> bool {
    io::stderr().is_terminal() && !JSON.get().copied().unwrap_or(false)
}

/// Log lines are written above what this draws, until it is taken back with `None`.
pub fn write_above(drawn: Option<MultiProgress>) {
    *guard(&DRAWN) = drawn;
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where log lines go: each comes as a whole.
struct LogWriter;

impl MakeWriter<'_> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&self) -> LogWriter {
        LogWriter
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = masked(&String::from_utf8_lossy(line));
        let drawn = guard(&DRAWN).clone();
        let written = match drawn {
            Some(drawn) => drawn.suspend(|| io::stderr().write_all(text.as_bytes())),
            None => io::stderr().write_all(text.as_bytes()),
        };
        match written {
            // Whoever read it has gone: the subscriber would tell that on stderr too, and panic. The job goes on.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(line.len()),
            written => written.map(|()| line.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
