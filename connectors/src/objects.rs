//! Object stores by URL, and the threads that ask them.

use std::sync::{Arc, OnceLock};

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::{ObjectStore, ObjectStoreScheme, RetryConfig};
use tokio::runtime::Runtime;
use url::Url;

use crate::{Error, Result};

/// The threads that requests run on; decoding runs on the caller's.
///
/// # Errors
/// `World`: the system gives no threads.
pub fn runtime() -> Result<&'static Runtime> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("objects-io")
        .enable_all()
        .build()
        .map_err(|e| Error::world("starting the threads that ask object stores", e))?;
    Ok(RUNTIME.get_or_init(|| runtime))
}

/// A path as the store's part (`s3://bucket`; empty for local files) and the rest.
///
/// # Errors
/// None: any text is a path.
pub fn split(path: &str) -> Result<(&str, &str)> {
    let Some((scheme, rest)) = path.split_once("://") else { return Ok(("", path)) };
    let at = rest.find('/').map_or(path.len(), |at| scheme.len() + 3 + at);
    match scheme {
        "file" => Ok(("", &path[at..])),
        _ => Ok((&path[..at], path[at..].trim_start_matches('/'))),
    }
}

/// Credentials and endpoints come from the environment, by the names that each cloud's own tools use.
///
/// # Errors
/// `Config`: no such kind of store, or the environment does not say how to ask it.
pub fn connect(base: &str, retry: RetryConfig) -> Result<Arc<dyn ObjectStore>> {
    if base.is_empty() {
        return Ok(Arc::new(LocalFileSystem::new()));
    }
    let unknown =
        || Error::Config(format!("{base}: expected a local path or a URL of s3://, gs://, az:// or abfss://"));
    let url = Url::parse(base).map_err(|_| unknown())?;
    let store = match ObjectStoreScheme::parse(&url).map_err(|_| unknown())?.0 {
        ObjectStoreScheme::AmazonS3 => AmazonS3Builder::from_env().with_url(base).with_retry(retry).build().map(shared),
        ObjectStoreScheme::GoogleCloudStorage => {
            GoogleCloudStorageBuilder::from_env().with_url(base).with_retry(retry).build().map(shared)
        }
        ObjectStoreScheme::MicrosoftAzure => {
            MicrosoftAzureBuilder::from_env().with_url(base).with_retry(retry).build().map(shared)
        }
        _ => return Err(unknown()),
    };
    store.map_err(|e| Error::Config(format!("cannot set up {base}: {e}")))
}

fn shared(store: impl ObjectStore) -> Arc<dyn ObjectStore> {
    Arc::new(store)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_split_into_store_and_key() {
        let rows = [
            ("/data/a.parquet", "", "/data/a.parquet"),
            ("file:///data/a.parquet", "", "/data/a.parquet"),
            ("s3://bucket/dt=*/a?.parquet", "s3://bucket", "dt=*/a?.parquet"),
            ("s3://bucket", "s3://bucket", ""),
            ("abfss://box@account.dfs.core.windows.net/x", "abfss://box@account.dfs.core.windows.net", "x"),
        ];
        for (path, base, key) in rows {
            assert_eq!(split(path).unwrap(), (base, key), "{path}");
        }
    }
}
