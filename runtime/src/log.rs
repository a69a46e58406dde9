//! Logs: for people on a terminal, JSON lines with a flag; always on stderr. `HEADWATER_LOG` sets the level, as in `debug`.

use tracing_subscriber::EnvFilter;

pub fn start(json: bool) {
    let filter = EnvFilter::try_from_env("HEADWATER_LOG").unwrap_or_else(|_| EnvFilter::new("info,fjall=warn,lsm_tree=warn"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start, as in tests, keeps the first.
    let _ = match json {
        true => builder.json().try_init(),
        false => builder.with_target(false).compact().try_init(),
    };
}
