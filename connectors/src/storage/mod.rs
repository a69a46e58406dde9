//! Storage: a place that keeps files by name, which is a local directory or a prefix of an object store.
//!
//! Names are relative, with `/` between their parts. A file is there as a whole or not at all, and `create` has one winner,
//! whoever else tries: on that rests who may write what (see the checkpoints of the runtime). Calls block. An object store that
//! does not answer is asked again for about a minute; the error that tells of it then is `transient`.

mod local;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as Key;
use object_store::{
    BackoffConfig, Error as StoreError, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig, UpdateVersion,
    WriteMultipart,
};

pub use local::{make_dir, sync_dir};

use crate::objects::{connect, runtime, split};
use crate::{Error, Result};

/// What is sent or asked for at once, and how many such pieces are under way.
const PIECE_BYTES: usize = 8 << 20;
const PIECES_MAX: usize = 4;
/// Removals that are under way at once.
const REMOVALS_MAX: usize = 16;
/// How errors of local files are told from a store's.
const LOCAL: &str = "local file";
const RETRY_MAX: Duration = Duration::from_secs(60);

/// One such place. A clone is the same place.
#[derive(Clone, Debug)]
pub struct Storage(Location);

#[derive(Clone, Debug)]
enum Location {
    Local(PathBuf),
    Objects { store: Arc<dyn ObjectStore>, prefix: Key, url: String },
}

/// Which content of an object it was.
#[derive(Clone, Debug)]
pub struct Version(UpdateVersion);

impl Storage {
    /// Of an absolute local path, or the URL of an object store.
    ///
    /// # Errors
    /// `Config`: it is no path, or no URL of a store that is known and set up.
    pub fn open(path: &str) -> Result<Storage> {
        let (base, key) = split(path)?;
        if base.is_empty() {
            return Ok(Storage(Location::Local(key.into())));
        }
        let retry = RetryConfig { backoff: BackoffConfig::default(), max_retries: 10, retry_timeout: RETRY_MAX };
        let prefix = Key::parse(key.trim_end_matches('/'))
            .map_err(|e| Error::Config(format!("{path} cannot be the path of a state: {e}")))?;
        Ok(Storage(Location::Objects { store: connect(base, retry)?, prefix, url: path.trim_end_matches('/').into() }))
    }

    /// The directory, where it is a local one.
    pub fn local(&self) -> Option<&Path> {
        match &self.0 {
            Location::Local(root) => Some(root),
            Location::Objects { .. } => None,
        }
    }

    /// For people: where a file is.
    pub fn shown(&self, name: &str) -> String {
        match &self.0 {
            Location::Local(root) => root.join(name).display().to_string(),
            Location::Objects { url, .. } => format!("{url}/{name}"),
        }
    }

    /// Makes a file. `false`: there is another one of this name; one that is the same is taken for ours, since an answer may
    /// get lost.
    ///
    /// # Errors
    /// `World`: what the directory or the store says; it may pass where no store answered. `Config`: the store cannot do this.
    pub fn create(&self, name: &str, bytes: &[u8]) -> Result<bool> {
        let created = match &self.0 {
            Location::Local(root) => {
                local::create(&root.join(name), bytes).map_err(|e| self.failed("writing", name, e))?
            }
            Location::Objects { .. } => self.put(name, bytes, PutMode::Create)?.is_some(),
        };
        Ok(created || self.read(name)?.is_some_and(|(found, _)| found == bytes))
    }

    /// Replaces an object, if it is still the one that was read. `None`: it is not. Object stores only.
    ///
    /// # Errors
    /// `World`: what the directory or the store says; it may pass where no store answered. `Config`: the store cannot do this.
    pub fn replace(&self, name: &str, bytes: &[u8], version: &Version) -> Result<Option<Version>> {
        self.put(name, bytes, PutMode::Update(version.0.clone()))
    }

    fn put(&self, name: &str, bytes: &[u8], mode: PutMode) -> Result<Option<Version>> {
        let (store, key) = self.object(name)?;
        let put = store.put_opts(&key, PutPayload::from(bytes.to_vec()), mode.into());
        match runtime()?.block_on(put) {
            Ok(done) => Ok(Some(Version(done.into()))),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(None),
            Err(e) => Err(self.store_failed("writing", name, e)),
        }
    }

    /// A file's content, if it is there.
    ///
    /// # Errors
    /// `World`: what the directory or the store says; it may pass where no store answered. `Config`: the store cannot do this.
    pub fn read(&self, name: &str) -> Result<Option<(Vec<u8>, Version)>> {
        if let Location::Local(root) = &self.0 {
            let bytes = local::read(&root.join(name)).map_err(|e| self.failed("reading", name, e))?;
            return Ok(bytes.map(|bytes| (bytes, Version(UpdateVersion { e_tag: None, version: None }))));
        }
        let (store, key) = self.object(name)?;
        let get = async {
            let found = store.get(&key).await?;
            let version = UpdateVersion { e_tag: found.meta.e_tag.clone(), version: found.meta.version.clone() };
            Ok((found.bytes().await?.to_vec(), Version(version)))
        };
        match runtime()?.block_on(get) {
            Ok(found) => Ok(Some(found)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.store_failed("reading", name, e)),
        }
    }

    /// How many bytes a file has, if it is there.
    ///
    /// # Errors
    /// `World`: what the directory or the store says; it may pass where no store answered. `Config`: the store cannot do this.
    pub fn size(&self, name: &str) -> Result<Option<u64>> {
        if let Location::Local(root) = &self.0 {
            return match std::fs::metadata(root.join(name)) {
                Ok(found) => Ok(Some(found.len())),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(self.failed("looking at", name, e)),
            };
        }
        let (store, key) = self.object(name)?;
        match runtime()?.block_on(store.head(&key)) {
            Ok(found) => Ok(Some(found.size)),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.store_failed("looking at", name, e)),
        }
    }

    /// Takes in a local file, in pieces.
    ///
    /// # Errors
    /// `World`: what the directory or the store says; it may pass where no store answered. `Config`: the store cannot do this. Or the local file cannot be read.
    pub fn upload(&self, name: &str, from: &Path) -> Result<()> {
        let (store, key) = self.object(name)?;
        let mut file = File::open(from).map_err(|e| self.failed("reading what goes to", name, e))?;
        let send = async {
            let mut piece = read_piece(&mut file)?;
            if piece.len() < PIECE_BYTES {
                return store.put(&key, piece.into()).await.map(drop);
            }
            let mut upload = WriteMultipart::new_with_chunk_size(store.put_multipart(&key).await?, PIECE_BYTES);
            while !piece.is_empty() {
                upload.wait_for_capacity(PIECES_MAX).await?;
                upload.put(piece.into());
                piece = read_piece(&mut file)?;
            }
            upload.finish().await.map(drop)
        };
        runtime()?.block_on(send).map_err(|e| self.store_failed("writing", name, e))
    }

    /// Brings a file of known length to a local path, in pieces. `false`: it is not there.
    ///
    /// # Errors
    /// `World`: what the directory or the store says; it may pass where no store answered. `Config`: the store cannot do this. Or the local file cannot be written.
    pub fn download(&self, name: &str, bytes: u64, to: &Path) -> Result<bool> {
        let (store, key) = self.object(name)?;
        let mut file = File::create(to).map_err(|e| Error::world(format!("writing {}", to.display()), e))?;
        let starts = (0..bytes).step_by(PIECE_BYTES);
        let pieces = starts.map(|start| store.get_range(&key, start..bytes.min(start + PIECE_BYTES as u64)));
        let bring = async {
            let mut pieces = futures::stream::iter(pieces).buffered(PIECES_MAX);
            while let Some(piece) = pieces.try_next().await? {
                file.write_all(&piece).map_err(local_fault)?;
            }
            Ok(())
        };
        match runtime()?.block_on(bring) {
            Ok(()) => Ok(true),
            Err(StoreError::NotFound { .. }) => Ok(false),
            Err(e) => Err(self.store_failed("reading", name, e)),
        }
    }

    /// The names of all files under a name.
    ///
    /// # Errors
    /// `World`: what the directory or the store says; it may pass where no store answered. `Config`: the store cannot do this.
    pub fn list(&self, under: &str) -> Result<Vec<String>> {
        let mut names = vec![];
        match &self.0 {
            Location::Local(root) => {
                local::list(root, &root.join(under), &mut names).map_err(|e| self.failed("listing", under, e))?;
            }
            Location::Objects { store, prefix, .. } => {
                let (_, key) = self.object(under)?;
                let list = store.list(Some(&key)).try_for_each(|found| {
                    let name = found.location.prefix_match(prefix).map(|parts| {
                        let parts: Vec<String> = parts.map(|part| part.as_ref().to_owned()).collect();
                        parts.join("/")
                    });
                    names.extend(name);
                    futures::future::ready(Ok(()))
                });
                runtime()?.block_on(list).map_err(|e| self.store_failed("listing", under, e))?;
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Removes a file, or all files under a name.
    ///
    /// # Errors
    /// `World`: what the directory or the store says; it may pass where no store answered. `Config`: the store cannot do this.
    pub fn remove(&self, name: &str) -> Result<()> {
        if let Location::Local(root) = &self.0 {
            return local::remove(&root.join(name)).map_err(|e| self.failed("removing", name, e));
        }
        let (store, key) = self.object(name)?;
        let mut keys = vec![key];
        for found in self.list(name)? {
            keys.push(self.object(&found)?.1);
        }
        let remove = futures::stream::iter(keys).map(|key| {
            let store = store.clone();
            async move {
                match store.delete(&key).await {
                    Err(StoreError::NotFound { .. }) => Ok(()),
                    done => done,
                }
            }
        });
        let removed = runtime()?.block_on(remove.buffer_unordered(REMOVALS_MAX).try_collect::<Vec<()>>());
        removed.map(drop).map_err(|e| self.store_failed("removing", name, e))
    }

    fn object(&self, name: &str) -> Result<(Arc<dyn ObjectStore>, Key)> {
        match &self.0 {
            Location::Local(_) => Err(Error::Config(format!("{} is a local file", self.shown(name)))),
            Location::Objects { store, prefix, .. } => {
                let key =
                    name.split('/').filter(|part| !part.is_empty()).fold(prefix.clone(), |key, part| key.join(part));
                Ok((store.clone(), key))
            }
        }
    }

    fn failed(&self, doing: &str, name: &str, cause: impl std::fmt::Display) -> Error {
        Error::world(format!("{doing} {}", self.shown(name)), cause)
    }

    fn store_failed(&self, doing: &str, name: &str, cause: StoreError) -> Error {
        let doing = format!("{doing} {}", self.shown(name));
        match cause {
            StoreError::NotImplemented { .. } | StoreError::NotSupported { .. } => {
                Error::Config(format!("{doing}: this store cannot do what a state needs: {cause}"))
            }
            StoreError::NotFound { .. } | StoreError::Generic { store: LOCAL, .. } => Error::world(doing, cause),
            // Credentials may be on their way, too.
            _ => Error::transient(doing, cause),
        }
    }
}

fn read_piece(file: &mut File) -> object_store::Result<Vec<u8>> {
    let mut piece = Vec::with_capacity(PIECE_BYTES.min(64 << 10));
    file.take(PIECE_BYTES as u64).read_to_end(&mut piece).map_err(local_fault)?;
    Ok(piece)
}

fn local_fault(e: std::io::Error) -> StoreError {
    StoreError::Generic { store: LOCAL, source: Box::new(e) }
}
