//! A cluster fails as one: where a peer is lost or a thread panics, the process ends at once, with a line that says why.
//!
//! Timely's communication threads panic when a connection breaks, and its workers would then wait for ever.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, Once};

use crate::base::panics::is_caught;

/// The hosts of the cluster that this process belongs to.
static HOSTS: Mutex<Vec<String>> = Mutex::new(vec![]);
static INSTALL: Once = Once::new();
static TOLD: AtomicBool = AtomicBool::new(false);

/// From now on a panic of a thread that the run cannot do without ends the process with exit code 1.
pub fn end_with_any(hosts: &[String]) {
    *HOSTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = hosts.to_vec();
    INSTALL.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if is_caught() {
                return;
            }
            let thread = std::thread::current();
            let name = thread.name().unwrap_or_default();
            let hosts = HOSTS.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).clone();
            if let Some(lost) = lost(name, &text(info), &hosts) {
                end(&lost);
            }
            before(info);
            if ["timely:", "store", "history-"].iter().any(|ours| name.starts_with(ours)) {
                end(&format!("the thread {name} panicked, see above"));
            }
        }));
    });
}

fn end(why: &str) -> ! {
    take_last_word();
    eprintln!("error: {why}");
    std::process::exit(1);
}

/// Returns to one caller alone, who says why this process ends, and ends it: what breaks while it leaves is told by nobody.
pub fn take_last_word() {
    while TOLD.swap(true, Ordering::Relaxed) {
        std::thread::park();
    }
}

fn text(info: &PanicHookInfo) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// The panic of a communication thread, as the loss of its peer.
fn lost(thread: &str, text: &str, hosts: &[String]) -> Option<String> {
    let peer = thread.strip_prefix("timely:send-").or_else(|| thread.strip_prefix("timely:recv-"))?;
    let peer: usize = peer.parse().ok()?;
    let cause = text.strip_prefix("timely communication error: ")?;
    Some(format!("lost {} (process {peer}): {cause}", hosts.get(peer)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_broken_connections_are_lost_peers() {
        let hosts = ["a:1".to_owned(), "b:2".to_owned()];
        let broken = "timely communication error: reading data: socket closed";
        let cases = [
            ("timely:recv-1", broken, Some("lost b:2 (process 1): reading data: socket closed")),
            ("timely:send-0", broken, Some("lost a:1 (process 0): reading data: socket closed")),
            ("timely:recv-1", "MergeQueue poisoned.", None),
            ("timely:work-1", broken, None),
            ("timely:recv-7", broken, None),
        ];
        for (thread, text, expected) in cases {
            assert_eq!(lost(thread, text, &hosts).as_deref(), expected);
        }
    }
}
