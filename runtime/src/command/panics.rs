//! A panic is our own fault: it is told in a line, and ends the process, whichever thread it was.
//!
//! A worker that has gone would leave the others waiting for it for ever. The panics that do not count are those of a
//! function in an expression, which is caught, and the event becomes a dead letter; and of a library that reads a damaged file,
//! which is caught too, and becomes an error that names the file.
//!
//! A cluster fails as one: timely's communication threads panic when a connection breaks, and that is told as the loss of the peer. Where
//! processes have links of their own as well, these tell better why, and there is time for what has to be taken away.

use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::log::masked;
use super::output::exit;

/// The hosts of the cluster that this process belongs to; and for how long a loss may be told by somebody else.
static HOSTS: Mutex<(Vec<String>, Duration)> = Mutex::new((vec![], Duration::ZERO));
static TOLD: AtomicBool = AtomicBool::new(false);

/// Tells of panics from here on.
#[expect(clippy::disallowed_methods, reason = "the process is the command's own")]
pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        if headwater_expression::is_evaluating() || headwater_connectors::is_guarded() {
            return;
        }
        let thread = std::thread::current();
        let (hosts, patience) = HOSTS.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match lost(thread.name().unwrap_or_default(), info.payload_as_str().unwrap_or_default(), &hosts) {
            Some(lost) => {
                std::thread::sleep(patience);
                take_last_word();
                eprintln!("error: {lost}");
            }
            None => tell(info),
        }
        exit(1);
    }));
}

/// Says by which hosts a lost peer is called, and for how long it is left to others to say so, and to end.
pub fn of_cluster(hosts: Vec<String>, patience: Duration) {
    *HOSTS.lock().unwrap_or_else(PoisonError::into_inner) = (hosts, patience);
}

/// Returns to one caller alone, who says why this process ends, and ends it: what breaks while it leaves is told by nobody.
pub fn take_last_word() {
    while TOLD.swap(true, Ordering::Relaxed) {
        std::thread::park();
    }
}

fn tell(info: &PanicHookInfo) {
    let what = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    let told = format!("error: Headwater has a bug: {what}{place} (thread {thread}); RUST_BACKTRACE=1 tells more");
    eprintln!("{}", masked(&told));
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|wanted| wanted != "0") {
        eprintln!("{}", std::backtrace::Backtrace::force_capture());
    }
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
