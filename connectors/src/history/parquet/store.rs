//! Where Parquet files lie: local paths and object-store URLs, as one kind of store.

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::{Component, PathBuf};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use headwater_clocks::WallClock;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig};

use crate::history::find::Alternative;
use crate::history::{PinnedFile, files, find};
use crate::objects::{connect, runtime, split};
use crate::{Error, Result};

/// How many requests are under way at once.
pub(in crate::history) const REQUESTS_MAX: usize = 16;

/// One file in its store.
#[derive(Clone, Debug)]
pub(in crate::history) struct Location {
    pub store: Arc<dyn ObjectStore>,
    pub path: Path,
}

/// Who knows more of stores than the environment says.
pub(in crate::history) trait Vendor: Debug + Send + Sync {
    /// Under which prefix it knows a path; empty: as any.
    fn prefix(&self, path: &str) -> &str;

    /// A store for what lies below a prefix, by the part of a URL that names it. `None`: what the environment says holds.
    fn connect(&self, base: &str, prefix: &str, retry: RetryConfig) -> Result<Option<Arc<dyn ObjectStore>>>;
}

/// The stores met so far.
#[derive(Clone, Default)]
pub(in crate::history) struct Stores {
    /// By the part of a URL that names them (empty: local files), and a prefix of the vendor's.
    known: HashMap<(String, String), Arc<dyn ObjectStore>>,
    vendor: Option<Arc<dyn Vendor>>,
}

impl Stores {
    pub fn of(vendor: Arc<dyn Vendor>) -> Stores {
        Stores { known: HashMap::new(), vendor: Some(vendor) }
    }

    /// # Errors
    /// `Config`: it is no path, or its store is not set up. `World`: a directory of it cannot be found.
    pub fn location(&mut self, path: &str) -> Result<Location> {
        let (base, key) = split(path)?;
        let store = self.store(base, path)?;
        let path = if base.is_empty() { Path::from_absolute_path(without_steps_up(key)?) } else { Path::parse(key) }
            .map_err(|e| Error::Config(format!("{path} cannot be the path of a file: {e}")))?;
        Ok(Location { store, path })
    }

    fn store(&mut self, base: &str, path: &str) -> Result<Arc<dyn ObjectStore>> {
        let prefix = self.vendor.as_ref().map_or("", |vendor| vendor.prefix(path));
        let key = (base.to_owned(), prefix.to_owned());
        if let Some(store) = self.known.get(&key) {
            return Ok(store.clone());
        }
        let vended = self.vendor.as_ref().map(|vendor| vendor.connect(base, prefix, RetryConfig::default()));
        let store = match vended.transpose()?.flatten() {
            Some(store) => store,
            None => connect(base, RetryConfig::default())?,
        };
        self.known.insert(key, store.clone());
        Ok(store)
    }

    /// The files that match, by path as text, as they are now.
    ///
    /// # Errors
    /// `Config`: nothing matches, or the store is not set up. `World`: it cannot be listed.
    pub fn find(&mut self, pattern: &str) -> Result<Vec<PinnedFile>> {
        let (base, key) = split(pattern)?;
        let mut found = if base.is_empty() {
            let paths = find::local(key)?;
            let locations = paths.iter().map(|path| self.location(path)).collect::<Result<Vec<_>>>()?;
            runtime()?.block_on(look_at(&paths, &locations))?
        } else {
            let find = find_keys(self.store(base, pattern)?, base, find::alternatives(key)?);
            runtime()?.block_on(find).map_err(|e| Error::world(format!("listing {pattern}"), e))?
        };
        if found.is_empty() {
            let prefix = find::fixed_part(key);
            return Err(Error::Config(format!("no file matches {pattern} (looked in {base}/{prefix})")));
        }
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        found.dedup_by(|a, b| a.path == b.path);
        Ok(found)
    }
}

/// A local path that names each directory: a store knows no `..`. It leads up from where links lead to.
fn without_steps_up(path: &str) -> Result<PathBuf> {
    let path = std::path::Path::new(path);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(path.into()) };
    if !directory.components().any(|part| part == Component::ParentDir) {
        return Ok(path.into());
    }
    let directory = directory.canonicalize().map_err(|e| files::unavailable(&path.to_string_lossy(), &e))?;
    Ok(directory.join(name))
}

async fn find_keys(
    store: Arc<dyn ObjectStore>,
    base: &str,
    alternatives: Vec<Alternative>,
) -> object_store::Result<Vec<PinnedFile>> {
    let mut found = vec![];
    for one in alternatives {
        let pinned = |meta: ObjectMeta| pin(format!("{base}/{}", meta.location), &meta);
        // A key without wildcards is a file, or a directory's name.
        let file = match one.is_exact() {
            true => match store.head(&Path::parse(one.text.trim_end_matches('/'))?).await {
                Err(object_store::Error::NotFound { .. }) => None,
                meta => Some(meta?),
            },
            false => None,
        };
        if let Some(meta) = file {
            found.push(pinned(meta));
            continue;
        }
        let prefix = Path::parse(if one.is_exact() { one.text.trim_end_matches('/') } else { one.fixed_part() })?;
        let listed =
            store.list(Some(&prefix)).try_filter(|meta| futures::future::ready(one.means(meta.location.as_ref())));
        found.extend(listed.map_ok(pinned).try_collect::<Vec<_>>().await?);
    }
    Ok(found)
}

/// Files as they are now.
pub(in crate::history) async fn look_at(paths: &[String], locations: &[Location]) -> Result<Vec<PinnedFile>> {
    let looks = paths.iter().zip(locations).map(|(path, location)| async move {
        location
            .store
            .head(&location.path)
            .await
            .map(|meta| pin(path.clone(), &meta))
            .map_err(|e| failed("looking at", path, e))
    });
    futures::stream::iter(looks).buffered(REQUESTS_MAX).try_collect().await
}

pub(in crate::history) fn pin(path: String, meta: &ObjectMeta) -> PinnedFile {
    let modified = WallClock::from_us(meta.last_modified.timestamp_micros());
    PinnedFile { path, size: meta.size, etag: meta.e_tag.clone(), modified }
}

/// What a store's error means for a file that is needed.
pub(super) fn failed(doing: &str, path: &str, error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => files::gone(path),
        _ => Error::world(format!("{doing} {path}"), error),
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[test]
    fn an_object_store_is_listed_below_the_fixed_part() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let keys =
            ["d/dt=2/b.parquet", "d/dt=1/a.parquet", "d/dt=1/_SUCCESS", "d/x.parquet", "e/y.parquet", "dd/z.parquet"];
        let runtime = runtime().unwrap();
        for key in keys {
            runtime.block_on(store.put(&Path::from(key), "x".into())).unwrap();
        }
        let rows = [
            ("d/*/*.parquet", "d/dt=1/a.parquet d/dt=2/b.parquet"),
            ("d/**/*.parquet", "d/dt=1/a.parquet d/dt=2/b.parquet d/x.parquet"),
            ("d/dt=[1]/*", "d/dt=1/a.parquet"),
            ("d/dt=[1]/_*", "d/dt=1/_SUCCESS"),
            ("d/**", "d/dt=1/a.parquet d/dt=2/b.parquet d/x.parquet"),
            ("d", "d/dt=1/a.parquet d/dt=2/b.parquet d/x.parquet"),
            ("d/", "d/dt=1/a.parquet d/dt=2/b.parquet d/x.parquet"),
            ("d/dt=*", "d/dt=1/a.parquet d/dt=2/b.parquet"),
            ("{e,d/dt=2}", "d/dt=2/b.parquet e/y.parquet"),
            ("{e/y,e/*}.parquet", "e/y.parquet"),
            ("d*/?.parquet", "d/x.parquet dd/z.parquet"),
            ("e/y.parquet", "e/y.parquet"),
            ("d/*.parquet", "d/x.parquet"),
            ("none/*", ""),
        ];
        let known = HashMap::from([(("mem://m".to_string(), String::new()), store)]);
        let mut stores = Stores { known, vendor: None };
        for (pattern, expected) in rows {
            let found = stores.find(&format!("mem://m/{pattern}"));
            match found {
                Ok(found) => {
                    let keys: Vec<&str> = found.iter().map(|file| &file.path["mem://m/".len()..]).collect();
                    assert_eq!(keys.join(" "), expected, "{pattern}");
                    assert!(found.iter().all(|file| file.size == 1 && file.etag.is_some()));
                }
                Err(e) => {
                    assert_eq!(expected, "", "{pattern}");
                    assert_eq!(e.to_string(), "no file matches mem://m/none/* (looked in mem://m/none/)");
                }
            }
        }
    }

    #[test]
    fn an_unknown_scheme_is_the_users_fault() {
        for path in ["ftp://host/*.parquet", "s4://bucket/x", "://x"] {
            let Err(Error::Config(message)) = Stores::default().find(path) else { panic!("{path} is found") };
            assert!(message.contains("expected a local path or a URL of s3://"), "{message}");
        }
    }
}
