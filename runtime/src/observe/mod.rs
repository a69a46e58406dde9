//! What is told of a running job: to `status`, to `/metrics`, and to whoever looks at the terminal.

pub mod metrics;
pub mod progress;
pub mod report;
pub mod status;
pub mod watching;
