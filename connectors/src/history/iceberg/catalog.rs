//! A catalogue that speaks Iceberg's REST: it knows where a table's metadata is, and what it holds.

use std::fmt;
use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::Value;
use url::Url;

use super::vended::Vended;
use crate::objects::runtime;
use crate::registry::{Auth, auth};
use crate::settings::Settings;
use crate::{Error, Result};

const TIMEOUT: Duration = Duration::from_secs(30);
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Between the parts of a namespace.
const SEPARATOR: &str = "\u{1f}";

/// `[sources.NAME.history.catalog]` and the table.
pub(super) struct Catalog {
    url: Url,
    warehouse: Option<String>,
    auth: Auth,
    /// The namespace's parts, then the table's name.
    table: Vec<String>,
}

/// What a catalogue says of a table.
pub(super) struct Answer {
    pub metadata: Vec<u8>,
    pub vended: Vended,
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Catalog({})", self.shown())
    }
}

impl Catalog {
    pub fn read(settings: &mut dyn Settings) -> Option<Catalog> {
        let table = settings.required("table", "say which table it is, like table = \"shop.payments\"");
        let parts: Vec<String> = table.text.split('.').map(str::to_owned).collect();
        if !table.text.is_empty() && (parts.len() < 2 || parts.iter().any(String::is_empty)) {
            let expected = "expected a namespace and a table, like \"shop.payments\"";
            settings.error(table.at, format!("`table`: `{}` is no table's name: {expected}", table.text));
        }
        let mut found = None;
        settings.section("catalog", &["url", "warehouse", "auth"], &mut |section| {
            let written = section.required("url", "say where it is, like url = \"http://localhost:8181\"");
            let url = Url::parse(&written.text).ok();
            let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
            let is_open = |url: &Url| url.username().is_empty() && url.password().is_none();
            match &url {
                Some(url) if is_open(url) => {}
                Some(_) => section.error(written.at, "`url` has a name or a password: they go into `auth`".into()),
                None if written.text.is_empty() => {}
                None => {
                    let expected = "expected http://HOST:PORT or https://HOST";
                    section.error(written.at, format!("`url`: this is no place of a catalogue: {expected}"));
                }
            }
            let url = url.filter(is_open);
            let warehouse = section.text("warehouse").map(|text| text.text);
            let auth = auth(section);
            found = url.map(|url| Catalog { url, warehouse, auth, table: parts.clone() });
        });
        found
    }

    /// As messages name it.
    pub fn shown(&self) -> String {
        format!("{} of {}", self.table.join("."), self.url.as_str().trim_end_matches('/'))
    }

    /// The table as it is now, from a thread that may wait.
    ///
    /// # Errors
    /// `Config`: there is no such table. `World`: the catalogue does not answer, or what it answers makes no sense.
    pub fn asked(&self) -> Result<Answer> {
        runtime()?.block_on(self.ask())
    }

    /// The table as it is now.
    pub async fn ask(&self) -> Result<Answer> {
        let client = Client::builder().timeout(TIMEOUT).user_agent("headwater").build();
        let client = client.map_err(|e| Error::world("setting up the catalogue's client", e))?;
        let config = self.get(&client, &["config"], self.warehouse.as_deref()).await?;
        let prefix = config.as_ref().and_then(|config| {
            [&config["overrides"], &config["defaults"]].into_iter().find_map(|of| of["prefix"].as_str())
        });
        let (table, namespace) = self.table.split_last().ok_or_else(|| self.failed("it has no name"))?;
        let namespace = namespace.join(SEPARATOR);
        let mut path: Vec<&str> = prefix.into_iter().flat_map(|prefix| prefix.split('/')).collect();
        path.extend(["namespaces", &namespace, "tables", table]);
        let Some(answer) = self.get(&client, &path, None).await? else {
            return Err(Error::Config(format!("there is no Iceberg table {}", self.shown())));
        };
        match answer.get("metadata") {
            Some(metadata) => {
                let vended = Vended::read(config.as_ref().unwrap_or(&Value::Null), &answer);
                Ok(Answer { metadata: metadata.to_string().into_bytes(), vended })
            }
            None => Err(self.failed("its answer has no `metadata`: does it speak Iceberg's REST?")),
        }
    }

    /// `None`: there is no such thing.
    async fn get(&self, client: &Client, path: &[&str], warehouse: Option<&str>) -> Result<Option<Value>> {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if let Some(warehouse) = warehouse {
            url.query_pairs_mut().append_pair("warehouse", warehouse);
        }
        let get = |url| client.get(url).header("X-Iceberg-Access-Delegation", "vended-credentials");
        let request = match &self.auth {
            Auth::Nobody => get(url),
            Auth::Basic { username, password } => get(url).basic_auth(username, Some(password)),
            Auth::Bearer(token) => get(url).bearer_auth(token),
        };
        let away = |e: reqwest::Error| Error::transient(self.asking(), e.without_url());
        let mut response = request.send().await.map_err(away)?;
        let status = response.status();
        let mut body = vec![];
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(self.failed(&format!("its answer is longer than {ANSWER_BYTES_MAX} bytes")));
            }
        }
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(self.failed(&format!("it does not let us in ({status}): see `auth` of the catalogue")))
            }
            status if status.is_success() => {
                serde_json::from_slice(&body).map(Some).map_err(|e| self.failed(&format!("its answer is no JSON: {e}")))
            }
            status => Err(Error::transient(self.asking(), format!("it answers {status}"))),
        }
    }

    fn asking(&self) -> String {
        format!("asking the catalogue for the table {}", self.shown())
    }

    fn failed(&self, why: &str) -> Error {
        Error::world(self.asking(), why)
    }
}
