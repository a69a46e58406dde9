//! `[sources.NAME.stream.registry]`: where a registry is, and who asks it.

use std::fmt;
use std::path::PathBuf;

use url::Url;

use crate::settings::Settings;

/// The keys of the section.
const KEYS: [&str; 6] = ["url", "subject", "auth", "ca", "certificate", "key"];

#[derive(Clone, Default)]
pub(crate) struct RegistryConfig {
    /// Several registries of one content: one that does not answer is passed over.
    pub urls: Vec<Url>,
    /// Under which the schemas of the values are; `<topic>-value`, if it is not said.
    pub subject: Option<String>,
    pub auth: Auth,
    /// A file with certificates that are trusted beside those of the system.
    pub ca: Option<PathBuf>,
    /// Files with the certificate, and its key, by which a registry knows who asks.
    pub identity: Option<(PathBuf, PathBuf)>,
}

#[derive(Clone, Default)]
pub(crate) enum Auth {
    #[default]
    Nobody,
    Basic {
        username: String,
        password: String,
    },
    Bearer(String),
}

impl RegistryConfig {
    /// Reads the section `registry`, if it is there.
    pub fn read(settings: &mut dyn Settings) -> Option<RegistryConfig> {
        let mut found = None;
        settings.section("registry", &KEYS, &mut |section| found = Some(RegistryConfig::of(section)));
        found
    }

    fn of(section: &mut dyn Settings) -> RegistryConfig {
        let written = section.required("url", "say where it is, like url = \"http://localhost:8081\"");
        let mut config = RegistryConfig { auth: auth(section), ..RegistryConfig::default() };
        for part in written.text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match Url::parse(part).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
                Some(url) => config.add(section, url),
                None => section.error(
                    written.at,
                    format!("`url`: `{part}` is no place of a registry: expected http://HOST:PORT or https://HOST"),
                ),
            }
        }
        config.subject = section.text("subject").map(|text| text.text);
        config.ca = section.path("ca");
        config.identity = match (section.path("certificate"), section.path("key")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => {
                section.error(section.at(), format!("{}: `certificate` and `key` go together", section.what()));
                None
            }
        };
        config
    }

    /// Who asks may be said in the URL.
    fn add(&mut self, section: &mut dyn Settings, mut url: Url) {
        if let Some(password) = url.password() {
            let decoded = |text: &str| percent_decoded(text);
            section.secret(password);
            section.secret(&decoded(password));
            if matches!(self.auth, Auth::Nobody) {
                self.auth = Auth::Basic { username: decoded(url.username()), password: decoded(password) };
            }
        }
        // An http URL may have a password and may do without.
        let _ = (url.set_username(""), url.set_password(None));
        self.urls.push(url);
    }

    /// The subject of a topic's values.
    pub fn subject(&self, topic: &str) -> String {
        self.subject.clone().unwrap_or_else(|| format!("{topic}-value"))
    }
}

/// `auth = { username = "...", password = "..." }` or `auth = { token = "..." }`
pub(crate) fn auth(section: &mut dyn Settings) -> Auth {
    let mut found = Auth::Nobody;
    section.section("auth", &["username", "password", "token"], &mut |auth| {
        let mut secret = |key| {
            let text = auth.any_text(key)?;
            auth.secret(&text.text);
            Some(text.text)
        };
        let (token, password) = (secret("token"), secret("password"));
        let username = auth.any_text("username").map(|text| text.text);
        found = match (token, username, password) {
            (Some(token), None, None) => Auth::Bearer(token),
            (None, Some(username), Some(password)) => Auth::Basic { username, password },
            _ => {
                let expected = "expected `username` and `password`, or `token` alone";
                auth.error(auth.at(), format!("{}: {expected}", auth.what()));
                Auth::Nobody
            }
        };
    });
    found
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let hex = behind.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            _ => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Shows no secret.
impl fmt::Debug for RegistryConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<&str> = self.urls.iter().map(Url::as_str).collect();
        f.debug_struct("Registry").field("urls", &urls).field("subject", &self.subject).finish()
    }
}
