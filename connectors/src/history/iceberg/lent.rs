//! A catalogue as who knows of stores: what it lends holds for a while, and is asked for again before it ends.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use headwater_clocks::{Time, WallClock};
use object_store::aws::AwsCredential;
use object_store::{CredentialProvider, ObjectStore, RetryConfig};
use tokio::sync::Mutex;

use super::catalog::Catalog;
use super::vended::{Held, Vended, environment};
use crate::history::parquet::store::Vendor;
use crate::{Error, Result};

/// So long before their end credentials are asked for again.
const MARGIN_MS: i64 = 5 * 60 * 1000;

/// How long after it was asked the catalogue is left alone, while what it gave still holds.
const AGAIN_MS: i64 = 10_000;

/// See the module.
pub(super) struct OfCatalog {
    pub catalog: Arc<Catalog>,
    pub vended: Vended,
}

impl fmt::Debug for OfCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OfCatalog({})", self.catalog.shown())
    }
}

impl Vendor for OfCatalog {
    fn prefix(&self, path: &str) -> &str {
        self.vended.prefix(path)
    }

    fn connect(&self, base: &str, prefix: &str, retry: RetryConfig) -> Result<Option<Arc<dyn ObjectStore>>> {
        if !base.starts_with("s3://") {
            return Ok(None);
        }
        let Some(mut builder) = self.vended.builder(prefix, &environment()) else { return Ok(None) };
        if let Some(held) = self.vended.credential(prefix) {
            let (catalog, prefix) = (self.catalog.clone(), prefix.to_owned());
            builder = builder.with_credentials(Arc::new(LentCredential { catalog, prefix, held: Mutex::new(held) }));
        }
        let store = builder.with_url(base).with_retry(retry).build();
        let shown = self.catalog.shown();
        let store = store.map_err(|e| Error::Config(format!("cannot set up {base} as {shown} says: {e}")))?;
        Ok(Some(Arc::new(store)))
    }
}

/// A credential, and a catalogue that has the next one.
struct LentCredential {
    catalog: Arc<Catalog>,
    prefix: String,
    held: Mutex<Held>,
}

impl fmt::Debug for LentCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LentCredential({}, {})", self.catalog.shown(), self.prefix)
    }
}

impl LentCredential {
    async fn credential(&self) -> Result<Arc<AwsCredential>> {
        let mut held = self.held.lock().await;
        let now = now_ms();
        if held.holds(now, MARGIN_MS) || now < held.again_ms && held.holds(now, 0) {
            return Ok(held.credential.clone());
        }
        let next = self.catalog.ask().await.map(|answer| answer.vended.credential(&self.prefix));
        match next {
            Ok(Some(next)) => *held = next,
            // Not yet the end.
            _ if held.holds(now_ms(), 0) => {}
            Ok(None) => {
                let doing = format!("asking the catalogue for credentials of the table {}", self.catalog.shown());
                return Err(Error::world(doing, "it has none any more"));
            }
            Err(error) => return Err(error),
        }
        held.again_ms = now_ms() + AGAIN_MS;
        Ok(held.credential.clone())
    }
}

impl CredentialProvider for LentCredential {
    type Credential = AwsCredential;

    fn get_credential<'s, 'a>(
        &'s self,
    ) -> Pin<Box<dyn Future<Output = object_store::Result<Arc<AwsCredential>>> + Send + 'a>>
    where
        's: 'a,
        Self: 'a,
    {
        let told = |error: Error| object_store::Error::Generic { store: "S3", source: Box::new(error) };
        Box::pin(async move { self.credential().await.map_err(told) })
    }
}

fn now_ms() -> i64 {
    WallClock::now().us() / 1000
}
