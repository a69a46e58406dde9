//! A job within another program: `run` starts it, its handle tells how it is and stops it. Nothing of the process is its own: no signal,
//! no panic hook, no subscriber of logs (it speaks through `tracing`), and it never ends it. Jobs run side by side.

mod handle;
mod options;
mod rows;
mod serve;

pub use handle::{Handle, run};
pub use options::Options;
pub use rows::{export, get};
