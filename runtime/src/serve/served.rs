//! What every request sees.

use std::sync::{Arc, PoisonError, RwLock};

use crate::observe::reporter::Reporter;

pub struct Served {
    pub reporter: RwLock<Arc<Reporter>>,
    pub token: String,
}

impl Served {
    pub fn reporter(&self) -> Arc<Reporter> {
        self.reporter.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
