//! The questions to a registry, over HTTP.

use std::collections::HashSet;
use std::fmt::Display;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use reqwest::{Certificate, Client, Identity, StatusCode};
use serde_json::Value;
use url::Url;

use super::Registered;
use super::config::{Auth, RegistryConfig};
use super::framing::WriterId;
use crate::{Error, Result};

/// As rustls says it.
const UNTRUSTED: &str = "invalid peer certificate";

const TIMEOUT: Duration = Duration::from_secs(10);
/// No schema is longer.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// How many schemas one may name, over all levels.
const REFERENCES_MAX: usize = 1000;

pub(super) struct Asker {
    client: Client,
    urls: Vec<Url>,
    auth: Auth,
}

/// Why there is no answer.
pub(super) enum Failure {
    /// It may pass.
    Away(String),
    /// Only the user can mend it.
    Refused(String),
}

type Answer = Result<Option<Value>, Failure>;

impl Asker {
    /// # Errors
    /// `Config`: a certificate or a key cannot be read, or is none. `World`: nothing here speaks TLS.
    pub fn new(config: &RegistryConfig) -> Result<Asker> {
        let mut client = Client::builder().timeout(TIMEOUT).user_agent("headwater");
        let wrong = |key: &str, path: &Path, e: &dyn Display| {
            Error::Config(format!("`{key}` of the registry, {}: {e}", path.display()))
        };
        let read = |key: &str, path: &Path| std::fs::read(path).map_err(|e| wrong(key, path, &e));
        if let Some(ca) = &config.ca {
            let all = Certificate::from_pem_bundle(&read("ca", ca)?).map_err(|e| wrong("ca", ca, &e))?;
            if all.is_empty() {
                return Err(wrong("ca", ca, &"it has no certificate in PEM"));
            }
            client = all.into_iter().fold(client, |client, one| client.add_root_certificate(one));
        }
        if let Some((certificate, key)) = &config.identity {
            let both = [read("certificate", certificate)?, read("key", key)?].join(&b'\n');
            let identity = Identity::from_pem(&both).map_err(|e| wrong("certificate", certificate, &cause(&e)))?;
            client = client.identity(identity);
        }
        let client = client.build().map_err(|e| Error::world("setting up the registry's client", e))?;
        Ok(Asker { client, urls: config.urls.clone(), auth: config.auth.clone() })
    }

    /// As messages name it.
    pub fn shown(&self) -> String {
        let urls: Vec<&str> = self.urls.iter().map(|url| url.as_str().trim_end_matches('/')).collect();
        format!("the schema registry at {}", urls.join(", "))
    }

    pub async fn newest(&self, subject: &str) -> Result<Option<Registered>, Failure> {
        self.registered(&["subjects", subject, "versions", "latest"]).await
    }

    pub async fn by_id(&self, id: WriterId) -> Result<Option<Registered>, Failure> {
        let kind = if let WriterId::Number(_) = id { "ids" } else { "guids" };
        self.registered(&["schemas", kind, &id.to_string()]).await
    }

    async fn registered(&self, path: &[&str]) -> Result<Option<Registered>, Failure> {
        let Some(answer) = self.get(path).await? else { return Ok(None) };
        let mut references = References::default();
        self.follow(&answer, &mut references).await?;
        let kind = answer.get("schemaType").and_then(Value::as_str).unwrap_or("AVRO").to_owned();
        Ok(Some(Registered { schema: schema(&answer)?, kind, references: references.found }))
    }

    /// Finds what a schema names: first what that names.
    fn follow<'a>(
        &'a self,
        answer: &'a Value,
        references: &'a mut References,
    ) -> Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>> {
        Box::pin(async move {
            let named = answer.get("references").and_then(Value::as_array);
            for reference in named.into_iter().flatten() {
                let text = |key| reference.get(key).and_then(Value::as_str).unwrap_or_default();
                let version = reference.get("version").map(Value::to_string).unwrap_or_default();
                let (name, subject) = (text("name"), text("subject"));
                if !references.seen.insert((name.to_owned(), subject.to_owned(), version.clone())) {
                    continue;
                }
                if references.seen.len() > REFERENCES_MAX {
                    return Err(Failure::Refused(format!("a schema names more than {REFERENCES_MAX} others")));
                }
                let found = self.get(&["subjects", subject, "versions", &version]).await?;
                let missing =
                    || Failure::Away(format!("it has no version {version} of {subject:?}, which a schema names"));
                let found = found.ok_or_else(missing)?;
                self.follow(&found, references).await?;
                references.found.push((name.to_owned(), schema(&found)?));
            }
            Ok(())
        })
    }

    /// `None`: there is no such thing.
    async fn get(&self, path: &[&str]) -> Answer {
        let mut failed = Failure::Away("no URL is known".into());
        for url in &self.urls {
            match self.get_of(url, path).await {
                Err(Failure::Away(cause)) if !matches!(failed, Failure::Refused(_)) => failed = Failure::Away(cause),
                Err(Failure::Away(_)) => {}
                // One that nobody trusts may stand beside one that answers.
                Err(Failure::Refused(cause)) if cause.contains(UNTRUSTED) => failed = Failure::Refused(cause),
                answer => return answer,
            }
        }
        Err(failed)
    }

    async fn get_of(&self, url: &Url, path: &[&str]) -> Answer {
        let mut url = url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let request = self.client.get(url).header("Accept", "application/vnd.schemaregistry.v1+json, application/json");
        let request = match &self.auth {
            Auth::Nobody => request,
            Auth::Basic { username, password } => request.basic_auth(username, Some(password)),
            Auth::Bearer(token) => request.bearer_auth(token),
        };
        let away = |e: reqwest::Error| match cause(&e.without_url()) {
            cause if cause.contains(UNTRUSTED) => Failure::Refused(format!("{cause}: see `ca` of the registry")),
            cause => Failure::Away(cause),
        };
        let mut response = request.send().await.map_err(away)?;
        let status = response.status();
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(Failure::Refused(format!("its answer is longer than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(Failure::Refused(format!("it does not let us in ({status}): see `auth` of the registry")))
            }
            status if status.is_success() => match serde_json::from_slice(&body) {
                Ok(answer) => Ok(Some(answer)),
                Err(e) => Err(Failure::Refused(format!("its answer is no JSON: {e}"))),
            },
            status => Err(Failure::Away(format!("it answers {status}"))),
        }
    }
}

#[derive(Default)]
struct References {
    seen: HashSet<(String, String, String)>,
    found: Vec<(String, String)>,
}

fn schema(answer: &Value) -> Result<String, Failure> {
    let schema = answer.get("schema").and_then(Value::as_str).map(str::to_owned);
    schema.ok_or_else(|| Failure::Refused("its answer has no `schema`: does it speak Confluent's REST?".into()))
}

/// An error says little without what is behind it.
fn cause(error: &dyn std::error::Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut behind = error.source();
    while let Some(error) = behind {
        texts.push(error.to_string());
        behind = error.source();
    }
    texts.dedup();
    texts.join(": ")
}
