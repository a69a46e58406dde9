//! `endpoint.json`: where a running job is found, in its local state directory.
//!
//! ```json
//! {"url":"http://127.0.0.1:40123","token":"...","pid":4711}
//! ```
//!
//! A job that was killed leaves its file behind. So whoever finds one asks: what does not answer, or does not know the
//! token, is no job of ours.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::http::Response;

use crate::base::failure::Failure;
use crate::job::Job;

/// Every answer of ours has it, so that another program at a reused port is not taken for a job.
pub const SERVED_BY: &str = "headwater";

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Endpoint {
    pub url: String,
    pub token: String,
    pub pid: u32,
}

pub fn path(job: &Job) -> PathBuf {
    job.state.local.join("endpoint.json")
}

impl Endpoint {
    /// Writes the file as a whole: a reader finds the old one or this.
    pub fn write(&self, job: &Job) -> std::io::Result<()> {
        fs::create_dir_all(&job.state.local)?;
        let (path, new) = (path(job), job.state.local.join(format!("endpoint.json.{}", self.pid)));
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        fs::rename(&new, &path)
    }

    /// Removes the file, unless another start has put its own there.
    pub fn remove(&self, job: &Job) {
        if read(job).as_ref() == Some(self)
            && let Err(e) = fs::remove_file(path(job))
        {
            tracing::warn!("removing {}: {e}", path(job).display());
        }
    }
}

fn read(job: &Job) -> Option<Endpoint> {
    serde_json::from_slice(&fs::read(path(job)).ok()?).ok()
}

/// A running job, as seen from another process.
pub struct Client {
    endpoint: Endpoint,
    agent: Agent,
}

/// The job of this file, if it runs.
pub fn running(job: &Job) -> Result<Option<Client>, Failure> {
    let Some(endpoint) = read(job) else { return Ok(None) };
    let config = Agent::config_builder()
        .proxy(None)
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(5)))
        .timeout_recv_response(Some(Duration::from_secs(60)));
    let client = Client { endpoint, agent: config.build().into() };
    Ok(client.send("/alive", &[])?.map(|_| client))
}

impl Client {
    /// What the job answers; what it refuses is a failure with its words.
    pub fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Box<dyn Read>, Failure> {
        let answer = self.send(path, query)?;
        let Some(mut answer) = answer else {
            return Err(Failure::Running("the job has just ended: ask again".to_owned()));
        };
        if answer.status().is_success() {
            return Ok(Box::new(answer.into_body().into_reader()));
        }
        let message = answer.body_mut().read_to_string().unwrap_or_else(|e| e.to_string());
        Err(match answer.status().as_u16() {
            400 => Failure::Usage(message),
            _ => Failure::Running(message),
        })
    }

    /// `None`: no job of ours is there.
    fn send(&self, path: &str, query: &[(&str, &str)]) -> Result<Option<Response<ureq::Body>>, Failure> {
        let request = self.agent.get(format!("{}{path}", self.endpoint.url)).query_pairs(query.iter().copied());
        match request.header("Authorization", format!("Bearer {}", self.endpoint.token)).call() {
            Ok(answer) if answer.status() == 401 || !answer.headers().contains_key(SERVED_BY) => Ok(None),
            Ok(answer) => Ok(Some(answer)),
            Err(ureq::Error::ConnectionFailed) => Ok(None),
            Err(ureq::Error::Io(e)) if e.kind() == ErrorKind::ConnectionRefused => Ok(None),
            Err(e) => Err(Failure::Running(format!("asking the running job (process {}): {e}", self.endpoint.pid))),
        }
    }
}
