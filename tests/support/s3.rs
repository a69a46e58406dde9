//! An object store: the shared one, or one of a test's own; and what lies in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::service;

/// `host:port` of an S3 server, and its bucket's name.
pub struct S3 {
    pub address: String,
}

const BUCKET: &str = "headwater";

impl S3 {
    /// `None` when there is none to test on.
    pub fn shared() -> Option<S3> {
        Some(S3 { address: service("HEADWATER_TEST_S3")? })
    }

    /// What the binary needs in its environment.
    pub fn env(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", format!("http://{}", self.address)),
            ("AWS_ALLOW_HTTP", "true".into()),
            ("AWS_REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", "test".into()),
            ("AWS_SECRET_ACCESS_KEY", "not-to-be-shown".into()),
        ]
    }

    fn url(&self, rest: &str) -> String {
        format!("http://{}/{BUCKET}{rest}", self.address)
    }

    /// The names under a prefix. The server fails to list what is removed just then.
    pub fn list(&self, prefix: &str) -> Vec<String> {
        let url = self.url(&format!("?list-type=2&max-keys=1000&prefix={prefix}"));
        let found = super::until("a list of objects", || ureq::get(&url).call().ok());
        let text = found.into_body().read_to_string().unwrap();
        let keys = text.split("<Key>").skip(1).map(|rest| rest.split("</Key>").next().unwrap().to_owned());
        keys.collect()
    }

    pub fn get(&self, key: &str) -> Vec<u8> {
        ureq::get(self.url(&format!("/{key}"))).call().unwrap().into_body().read_to_vec().unwrap()
    }

    pub fn put(&self, key: &str, bytes: &[u8]) {
        ureq::put(self.url(&format!("/{key}"))).send(bytes).unwrap();
    }
}

/// An S3 server of a test's own, stopped at its end.
pub struct OwnS3 {
    pub s3: S3,
    script: PathBuf,
    dir: tempfile::TempDir,
}

impl OwnS3 {
    /// `None` where nothing says how.
    pub fn start() -> Option<OwnS3> {
        let scripts = service("HEADWATER_TEST_SERVICES")?;
        let (script, dir) = (Path::new(&scripts).join("s3"), tempfile::tempdir().unwrap());
        let started = Command::new(&script).arg("start").arg(dir.path()).output().unwrap();
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let address = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        Some(OwnS3 { s3: S3 { address }, script, dir })
    }

    pub fn signal(&self, signal: &str) {
        let sent = Command::new(&self.script).arg("stop").arg(self.dir.path()).arg(signal).status().unwrap();
        assert!(sent.success());
    }

    /// After a KILL, with its data and on its port.
    pub fn start_again(&self) {
        assert!(Command::new(&self.script).arg("start").arg(self.dir.path()).output().unwrap().status.success());
    }
}

impl Drop for OwnS3 {
    fn drop(&mut self) {
        let _ = Command::new(&self.script).arg("stop").arg(self.dir.path()).arg("KILL").status();
    }
}
