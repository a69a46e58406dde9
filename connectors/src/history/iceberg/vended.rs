//! What a catalogue says of the stores in which a table's files lie: where they answer, and credentials, which hold for a while.
//!
//! As Iceberg's own readers have it: what the catalogue has as its defaults, above that what the environment says, above that what the
//! catalogue says for all, then for the table, then for what lies below a prefix.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, AwsCredential};
use serde_json::Value;

use super::manifest::local;

/// By the names that Iceberg has for them: `s3.access-key-id`.
type Properties = HashMap<String, String>;

/// See the module. Its secrets are never shown.
#[derive(Default)]
pub(super) struct Vended {
    defaults: Properties,
    /// For all that is of the table.
    table: Properties,
    /// By prefix, the longest first.
    stores: Vec<(String, Properties)>,
}

impl Vended {
    /// Of what a catalogue answers when it is asked for its configuration, and for a table.
    pub fn read(config: &Value, answer: &Value) -> Vended {
        let mut table = properties(&config["overrides"]);
        table.extend(properties(&answer["config"]));
        let stores = answer["storage-credentials"].as_array().into_iter().flatten();
        let store = |of: &Value| Some((local(of["prefix"].as_str()?), properties(&of["config"])));
        let mut stores: Vec<_> = stores.filter_map(store).collect();
        stores.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Vended { defaults: properties(&config["defaults"]), table, stores }
    }

    pub fn prefix(&self, path: &str) -> &str {
        self.stores.iter().find(|(prefix, _)| path.starts_with(prefix)).map_or("", |(prefix, _)| prefix)
    }

    /// What it says of what lies below a prefix.
    fn below(&self, prefix: &str) -> Properties {
        let mut all = self.table.clone();
        let store = self.stores.iter().find(|(of, _)| of == prefix);
        all.extend(store.into_iter().flat_map(|(_, properties)| properties.clone()));
        all
    }

    pub fn credential(&self, prefix: &str) -> Option<Held> {
        let of = self.below(prefix);
        let text = |key| of.get(key).cloned();
        let (key_id, secret_key) = (text("s3.access-key-id")?, text("s3.secret-access-key")?);
        let credential = Arc::new(AwsCredential { key_id, secret_key, token: text("s3.session-token") });
        let ends_ms = of.get("s3.session-token-expires-at-ms").and_then(|ms| ms.parse().ok());
        Some(Held { credential, ends_ms, again_ms: 0 })
    }

    /// A store as the environment and the catalogue have it. `None`: the catalogue says nothing of it.
    pub fn builder(&self, prefix: &str, environment: &[(AmazonS3ConfigKey, String)]) -> Option<AmazonS3Builder> {
        let above = settings(&self.below(prefix));
        let defaults = settings(&self.defaults);
        if above.is_empty() && defaults.is_empty() && self.credential(prefix).is_none() {
            return None;
        }
        let all = defaults.into_iter().chain(environment.iter().cloned()).chain(above);
        Some(all.fold(AmazonS3Builder::new(), |builder, (key, value)| {
            // It is the catalogue, or the environment, that says so.
            let is_open = key == AmazonS3ConfigKey::Endpoint && value.starts_with("http://");
            let builder = builder.with_config(key, value);
            if is_open { builder.with_allow_http(true) } else { builder }
        }))
    }
}

fn properties(of: &Value) -> Properties {
    let all = of.as_object().into_iter().flatten();
    all.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// What is no credential.
fn settings(of: &Properties) -> Vec<(AmazonS3ConfigKey, String)> {
    let mut found = vec![];
    let mut take = |key: &str, setting: AmazonS3ConfigKey| {
        found.extend(of.get(key).map(|value| (setting, value.clone())));
    };
    take("s3.endpoint", AmazonS3ConfigKey::Endpoint);
    take("client.region", AmazonS3ConfigKey::Region);
    take("s3.region", AmazonS3ConfigKey::Region);
    let path_style = of.get("s3.path-style-access").and_then(|text| text.parse::<bool>().ok());
    found.extend(path_style.map(|is| (AmazonS3ConfigKey::VirtualHostedStyleRequest, (!is).to_string())));
    found
}

/// As [`AmazonS3Builder::from_env`] has it.
pub(super) fn environment() -> Vec<(AmazonS3ConfigKey, String)> {
    let all =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let all = all.filter(|(name, _)| name.starts_with("AWS_"));
    all.filter_map(|(name, value)| Some((name.to_ascii_lowercase().parse().ok()?, value))).collect()
}

/// A credential that the catalogue gave.
pub(super) struct Held {
    pub credential: Arc<AwsCredential>,
    pub ends_ms: Option<i64>,
    /// While it holds the catalogue is not asked before then.
    pub again_ms: i64,
}

impl Held {
    /// Whether so much time is left.
    pub fn holds(&self, now_ms: i64, margin_ms: i64) -> bool {
        self.ends_ms.is_none_or(|ends| now_ms < ends.saturating_sub(margin_ms))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_said_nearest_holds() {
        let config = json!({
            "defaults": {"client.region": "far", "s3.path-style-access": "true", "n": 1},
            "overrides": {"s3.endpoint": "http://everywhere"}
        });
        let answer = json!({
            "config": {"s3.access-key-id": "a", "s3.secret-access-key": "b", "s3.endpoint": "http://table"},
            "storage-credentials": [
                {"prefix": "s3a://x/", "config": {"s3.access-key-id": "wide", "s3.secret-access-key": "w"}},
                {"prefix": "s3://x/t/", "config": {
                    "s3.access-key-id": "near", "s3.secret-access-key": "n", "s3.session-token": "t", "s3.session-token-expires-at-ms": "1000"
                }}
            ]
        });
        let vended = Vended::read(&config, &answer);
        for (path, prefix, key, token) in [
            ("s3://x/t/a.parquet", "s3://x/t/", "near", Some("t")),
            ("s3://x/u/a.parquet", "s3://x/", "wide", None),
            ("s3://y/a.parquet", "", "a", None),
        ] {
            assert_eq!(vended.prefix(path), prefix);
            let held = vended.credential(prefix).unwrap();
            assert_eq!((held.credential.key_id.as_str(), held.credential.token.as_deref()), (key, token), "{path}");
            assert_eq!(
                (held.holds(0, 0), held.holds(1000, 0), held.holds(0, 1000)),
                (true, token.is_none(), token.is_none())
            );
        }
        let environment = [(AmazonS3ConfigKey::Region, "near"), (AmazonS3ConfigKey::Endpoint, "http://env")];
        let builder = vended.builder("", &environment.map(|(key, value)| (key, value.to_owned()))).unwrap();
        let said = |key| builder.get_config_value(&key);
        assert_eq!(said(AmazonS3ConfigKey::Region).as_deref(), Some("near"));
        assert_eq!(said(AmazonS3ConfigKey::Endpoint).as_deref(), Some("http://table"));
        assert_eq!(said(AmazonS3ConfigKey::VirtualHostedStyleRequest).as_deref(), Some("false"));
        // Nothing of stores: the environment's.
        let nothing = Vended::read(&json!({"overrides": {"prefix": "p"}}), &json!({"config": {"token": "x"}}));
        assert!(nothing.builder("", &[]).is_none() && nothing.credential("").is_none());
    }
}
