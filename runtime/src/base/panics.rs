//! A panic is our own fault: it is told in a line, and ends the process, whichever thread it was.
//!
//! A worker that has gone would leave the others waiting for it for ever. The panics that do not count are those of a
//! function in an expression, which is caught, and the event becomes a dead letter; and of a library that reads a damaged file,
//! which is caught too, and becomes an error that names the file.

use std::panic::PanicHookInfo;

use super::secrets::masked;

pub fn install() {
    std::panic::set_hook(Box::new(|info| {
        if is_caught() {
            return;
        }
        eprintln!("{}", masked(&told(info)));
        if std::env::var_os("RUST_BACKTRACE").is_some_and(|wanted| wanted != "0") {
            eprintln!("{}", std::backtrace::Backtrace::force_capture());
        }
        std::process::exit(1);
    }));
}

/// Whether a panic of this thread is caught, and no fault of ours.
pub fn is_caught() -> bool {
    headwater_operators::expression::is_evaluating() || headwater_connectors::is_guarded()
}

fn told(info: &PanicHookInfo) -> String {
    let what = info.payload_as_str().unwrap_or("no message");
    let place = info.location().map_or_else(String::new, |at| format!(" at {}:{}", at.file(), at.line()));
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("without a name");
    format!("error: Headwater has a bug: {what}{place} (thread {thread}); RUST_BACKTRACE=1 tells more")
}
