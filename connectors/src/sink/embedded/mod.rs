//! The embedded store: the newest row a key and window, in a fjall database of this machine.
//!
//! ```text
//! group \0 key as JSON \0 window start (8 bytes, big endian, sign flipped)  ->  refresh, changed_at, window end, row as JSON
//! \0 as_of \0 group, \0 upto \0 group                                       ->  a mark
//! \0 format, \0 image                                                       ->  what wrote this, and the number of the last full refresh
//! \0 whole                                                                  ->  what the rows mean, once all of them are there
//! ```
//!
//! Rows and marks share one keyspace, so that whatever a crash takes is a tail of what was written: a mark is never there
//! without the rows before it. One process holds the store; within it, clones read while another writes.
//!
//! Every row carries the number of the full refresh that it was last written in or after: what a sweep finds with an older one
//! was not in the full refresh.
//!
//! - `store`: the database, read and written
//! - `open`: how it is opened, and what is told where it cannot be

mod open;
mod store;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{Claim, Claimed, HeldStore, Home, JobRows, Lookup, SinkConfig, SinkKind, Store, StoreConfig, Takes};
use crate::Result;
use crate::settings::{Endpoint, Kind, Settings};
pub use store::Embedded;

const ELSEWHERE: &str =
    "the state is in an object store, so say where the embedded store is kept, like path = \"store\"";
const UNSAID: &str = "without a sink, rows go to an embedded store, and the state is in an object store, so say where the embedded store \
                      is kept, like path = \"store\": in [sinks.NAME] with type = \"embedded\"";

/// The embedded store as a kind of sink.
pub static EMBEDDED: &EmbeddedKind = &EmbeddedKind;

/// See [`EMBEDDED`].
#[derive(Debug)]
pub struct EmbeddedKind;

impl Kind for EmbeddedKind {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn keys(&self) -> Vec<&'static str> {
        vec!["path"]
    }
}

impl SinkKind for EmbeddedKind {
    fn takes(&self) -> Takes {
        Takes::Rows
    }

    fn read(&self, settings: &mut dyn Settings, home: &Home) -> SinkConfig {
        let path = settings.path("path");
        if path.is_none() && home.is_remote && !settings.has("path") {
            settings.missing("path", ELSEWHERE);
        }
        SinkConfig::Rows(Arc::new(EmbeddedConfig { path: path.unwrap_or_else(|| in_home(home)) }))
    }
}

/// The sink of a job that names none.
pub(super) fn unsaid(home: &Home) -> (SinkConfig, Option<&'static str>) {
    let config = EmbeddedConfig { path: in_home(home) };
    (SinkConfig::Rows(Arc::new(config)), home.is_remote.then_some(UNSAID))
}

fn in_home(home: &Home) -> PathBuf {
    home.dir.join("embedded")
}

#[derive(Debug)]
struct EmbeddedConfig {
    path: PathBuf,
}

impl StoreConfig for EmbeddedConfig {
    fn describe(&self) -> String {
        format!("embedded store in {}", self.path.display())
    }

    fn endpoint(&self) -> Option<Endpoint> {
        Some(Endpoint::Sole("embedded store"))
    }

    fn check(&self) -> Result<()> {
        Ok(())
    }

    fn is_exclusive(&self) -> bool {
        true
    }

    fn claim(&self, rows: &JobRows, claim: &Claim) -> Result<Claimed> {
        Embedded::open(&self.path, rows.groups)?.claimed(claim)
    }

    fn open(&self, rows: &JobRows, _: u64, _: Arc<AtomicBool>) -> Result<Box<dyn Store>> {
        Ok(Box::new(Embedded::open(&self.path, rows.groups)?))
    }

    fn lookup(&self, rows: &JobRows) -> Result<Box<dyn Lookup>> {
        Ok(Box::new(Embedded::read_only(&self.path, rows.groups)?))
    }
}

impl HeldStore for Embedded {
    fn claim(&self, claim: &Claim) -> Result<Claimed> {
        self.again()?.claimed(claim)
    }

    fn store(&self) -> Box<dyn Store> {
        Box::new(self.clone())
    }

    fn lookup(&self) -> Box<dyn Lookup> {
        Box::new(self.clone())
    }
}
