//! The endpoint of a running job: HTTP on a loopback address, on a thread and a tokio runtime of its own.
//!
//! | path | query | answer |
//! |---|---|---|
//! | `/get` | `group`, `key=COL=VALUE` for each key column, `window`, `sink`, `at` | rows, a JSON line each; 404 where there is none |
//! | `/export` | `group`, `sink` | every row, a JSON line each |
//! | `/status` | | the job's report as JSON |
//! | `/metrics` | | Prometheus text; the only path that needs no token |
//! | `/alive` | | nothing |
//!
//! All others need `Authorization: Bearer TOKEN`; the token is in `endpoint.json`.

pub mod endpoint;
pub mod export;
mod routes;
pub mod rows;
mod served;
pub mod table;
pub mod texts;

use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use headwater_connectors::threads::Helper;
use tokio::sync::oneshot;

use crate::base::failure::Failure;
use crate::catalog::opened::Opened;
use crate::observe::reporter::Reporter;
use crate::observe::view::RunView;
use endpoint::Endpoint;
use served::Served;

/// How long an answer under way may take when the job ends.
const GRACE: Duration = Duration::from_secs(1);
const NOTE_EVERY: Duration = Duration::from_millis(200);

/// Serves as long as it lives.
pub struct Serving {
    opened: Arc<Opened>,
    endpoint: Endpoint,
    served: Arc<Served>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<Helper<(), Failure>>,
}

pub fn start(view: RunView) -> Result<Serving, Failure> {
    let failed = |e: std::io::Error| Failure::Running(format!("starting the job's endpoint: {e}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let token = rand::random::<[u8; 24]>().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let endpoint = Endpoint { url: format!("http://{address}"), token: token.clone(), pid: std::process::id() };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().map_err(failed)?;
    let (stop, stopped) = oneshot::channel();
    let opened = view.opened.clone();
    let reporter = RwLock::new(Arc::new(Reporter::new(view)));
    let served = Arc::new(Served { reporter, token });
    let seen = served.clone();
    let work = move || {
        let noting = served.clone();
        runtime.spawn(async move {
            loop {
                noting.reporter().note();
                tokio::time::sleep(NOTE_EVERY).await;
            }
        });
        let serving = async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::select! {
                served = axum::serve(listener, routes::router(served)).into_future() => served,
                _ = stopped => Ok(()),
            }
        };
        if let Err(e) = runtime.block_on(serving) {
            tracing::warn!("the job's endpoint: {e}");
        }
        runtime.shutdown_timeout(GRACE);
        Ok(())
    };
    let thread = Helper::start("endpoint", work)?;
    endpoint.write(&opened.job).map_err(failed)?;
    tracing::info!(url = endpoint.url, "serving get, export, status and /metrics");
    Ok(Serving { opened, endpoint, served: seen, stop: Some(stop), thread: Some(thread) })
}

impl Serving {
    /// Shows the next start of the same run from now on.
    pub fn follow(self, view: RunView) -> Serving {
        let next = Arc::new(Reporter::after(&self.served.reporter(), view));
        *self.served.reporter.write().unwrap_or_else(PoisonError::into_inner) = next;
        self
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.endpoint.remove(&self.opened.job);
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_else(|failure| tracing::warn!("the job's endpoint: {}", failure.message()));
        }
    }
}
