//! A schema registry that speaks Confluent's REST: by which schema each record was written.
//!
//! ```text
//! record      header `__value_schema_id`: 1 and 16 bytes of a GUID     or before the value: 0 and 4 bytes of a number
//! known       decoded at once: what is behind an id never changes
//! unknown     asked for on a thread of its own; meanwhile the record waits, and all behind it in its partition
//! ```
//!
//! A registry that is away, and one that does not know an id (yet), are asked again for as long as it takes: nothing is lost and nothing
//! is skipped. That is logged once, and again when it is over.

mod ask;
mod config;
mod framing;
#[cfg(test)]
pub(crate) mod stub;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::message::{Pins, Wake};
use crate::objects::runtime;
use crate::settings::Settings;
use crate::{Error, Result};
use ask::{Asker, Failure};
pub(crate) use config::{Auth, RegistryConfig, auth};
pub(crate) use framing::{Framed, WriterId, framed, unframed};

/// How long a start waits for an answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long a wait stays unsaid.
const PATIENCE: Duration = Duration::from_secs(2);
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A schema as a registry keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Registered {
    pub schema: String,
    /// `AVRO`, `PROTOBUF`, `JSON`.
    pub kind: String,
    /// What it names, by the name that it has for it; each may name those before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<(String, String)>,
}

/// Reads where a stream's section says that the schemas of its records are: a file, or a registry. `example`: a file's name.
pub(crate) fn read(settings: &mut dyn Settings, example: &str) -> (Option<PathBuf>, Option<RegistryConfig>) {
    let found = (settings.path("schema"), RegistryConfig::read(settings));
    match (settings.has("registry"), settings.has("schema")) {
        (true, true) => {
            let message = format!("{} has a registry and a `schema`: leave one of them out", settings.what());
            settings.error(settings.at(), message);
        }
        (false, false) => {
            let hint = format!(
                "say where the schemas of records are, like registry = {{ url = \"http://localhost:8081\" }}, or name a file with \
                 the one of all, like schema = \"{example}\""
            );
            settings.missing("registry", &hint);
        }
        _ => {}
    }
    found
}

/// A registry, and what it has said so far.
pub(crate) struct Registry {
    asker: Arc<Asker>,
    known: Mutex<HashMap<WriterId, CachedSchema>>,
}

enum CachedSchema {
    /// Who wants to hear of it.
    Asked(Vec<Wake>),
    There(Arc<Registered>),
}

impl Registry {
    /// # Errors
    /// As of `Asker::new`.
    pub fn new(config: &RegistryConfig) -> Result<Arc<Registry>> {
        Ok(Arc::new(Registry { asker: Arc::new(Asker::new(config)?), known: Mutex::default() }))
    }

    /// The newest schema of a subject. Blocks.
    ///
    /// # Errors
    /// `Config`: it has none, or asks for a login. `World`: nobody answers, or what answers makes no sense.
    pub fn newest(&self, subject: &str) -> Result<Registered> {
        let doing = || format!("asking {} for the newest schema of {subject:?}", self.asker.shown());
        let begun = Instant::now();
        let runtime = runtime()?;
        loop {
            match runtime.block_on(self.asker.newest(subject)) {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {
                    let hint = "name one with `subject`, or register the schema";
                    return Err(Error::Config(format!("{} has no subject {subject:?}: {hint}", self.asker.shown())));
                }
                Err(Failure::Refused(cause)) => return Err(Error::Config(format!("{}: {cause}", doing()))),
                Err(Failure::Away(cause)) if begun.elapsed() > DEADLINE => {
                    return Err(Error::transient(doing(), cause));
                }
                Err(Failure::Away(_)) => std::thread::sleep(BACKOFF_MIN),
            }
        }
    }

    /// The subject of a topic's values, the schema of it that was pinned, or else its newest, and that as what is pinned. Blocks. `kind`: of
    /// which it has to be, and `format`, as which it is read.
    ///
    /// # Errors
    /// As of `newest`, and `Config`: it is of another kind.
    pub fn reader(
        &self,
        config: &RegistryConfig,
        topic: &str,
        pinned: &Pins,
        (kind, format): (&str, &str),
    ) -> Result<(String, Registered, String)> {
        let subject = config.subject(topic);
        let known = pinned.get(&subject).and_then(|text| serde_json::from_str::<Registered>(text).ok());
        let found = match known {
            Some(known) => known,
            None => self.newest(&subject)?,
        };
        if found.kind != kind {
            let what = format!("the newest schema of {subject:?} in the registry");
            return Err(Error::Config(format!("{what} is of the kind {}, and `format` is \"{format}\"", found.kind)));
        }
        let pin = serde_json::to_string(&found).map_err(|e| Error::world("writing down a schema", e))?;
        Ok((subject, found, pin))
    }

    /// The schema of an id. `None`: it is being asked for; `wake` is called when it is there.
    pub fn writer(self: &Arc<Self>, id: WriterId, wake: Option<&Wake>) -> Option<Arc<Registered>> {
        let mut known = self.known();
        match known.get_mut(&id) {
            Some(CachedSchema::There(found)) => return Some(found.clone()),
            Some(CachedSchema::Asked(wakes)) => {
                // Asked again and again by the same, while it waits.
                let is_new = |wake: &&Wake| !wakes.iter().any(|known| Arc::ptr_eq(known, wake));
                wakes.extend(wake.filter(is_new).cloned());
            }
            None => {
                known.insert(id, CachedSchema::Asked(wake.cloned().into_iter().collect()));
                drop(known);
                self.ask(id);
            }
        }
        None
    }

    fn ask(self: &Arc<Self>, id: WriterId) {
        let (registry, asker) = (Arc::downgrade(self), self.asker.clone());
        match runtime() {
            Ok(runtime) => drop(runtime.spawn(async move { learn(registry, &asker, id).await })),
            // Without threads nobody is asked: the next who wants it tries again.
            Err(error) => {
                warn!("{error}");
                self.known().remove(&id);
            }
        }
    }

    fn learned(&self, id: WriterId, found: Registered) {
        let before = self.known().insert(id, CachedSchema::There(Arc::new(found)));
        if let Some(CachedSchema::Asked(wakes)) = before {
            wakes.iter().for_each(|wake| wake());
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<WriterId, CachedSchema>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks until there is an answer, or nobody is left who wants it.
async fn learn(registry: Weak<Registry>, asker: &Asker, id: WriterId) {
    let (begun, mut told, mut backoff) = (Instant::now(), false, BACKOFF_MIN);
    loop {
        let cause = match asker.by_id(id).await {
            Ok(Some(found)) => {
                if told {
                    let waited = begun.elapsed().as_secs_f64();
                    info!("{} has the schema {id} after {waited:.1} s, reading goes on", asker.shown());
                }
                registry.upgrade().iter().for_each(|registry| registry.learned(id, found.clone()));
                return;
            }
            Ok(None) => "it has no such schema: is it the registry that the records were written with?".to_owned(),
            Err(Failure::Away(cause) | Failure::Refused(cause)) => cause,
        };
        if !told && begun.elapsed() >= PATIENCE {
            told = true;
            warn!("{} does not give the schema {id}: {cause}. Records wait for it", asker.shown());
        }
        tokio::time::sleep(backoff).await;
        if registry.strong_count() == 0 {
            return;
        }
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry {}", self.asker.shown())
    }
}
