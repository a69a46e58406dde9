//! What is told of a running job: to `status`, to `/metrics`, and to whoever looks on.

pub mod earlier;
pub mod metrics;
pub mod report;
pub mod reporter;
pub mod status;
pub mod view;
