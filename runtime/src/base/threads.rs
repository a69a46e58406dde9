//! Helper threads: what panics in one is a failure of the run that it helps, and of nothing else.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Works, and gives what a panic said as an error. Nothing that the work has touched is looked at afterwards.
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let thread = std::thread::current();
        format!("Headwater has a bug: {} (thread {})", said(&*panic), thread.name().unwrap_or("without a name"))
    })
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_panic_said() {
        assert_eq!(guarded(|| 1), Ok(1));
        let said = std::thread::Builder::new().name("helper".to_owned()).spawn(|| guarded(|| panic!("of {}", 7)));
        assert_eq!(said.unwrap().join().unwrap(), Err::<(), _>("Headwater has a bug: of 7 (thread helper)".to_owned()));
    }
}
