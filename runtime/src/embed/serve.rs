//! What watches a run from its first row to its last, over all its starts.

use std::sync::{Arc, Mutex, PoisonError};

use crate::base::failure::Failure;
use crate::observe::reporter::Reporter;
use crate::observe::view::RunView;
use crate::serve::{self, Serving};

/// Where a handle finds the run.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Option<Arc<Reporter>>>>);

impl Seen {
    /// `None`: it is still being planned.
    pub fn reporter(&self) -> Option<Arc<Reporter>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A start is set up: from now on it is that one which is seen. `serving`: the endpoint, which stays.
    pub fn begin(
        &self,
        view: RunView,
        endpoint: bool,
        serving: Option<Option<Serving>>,
    ) -> Result<Option<Serving>, Failure> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reporter = match seen.as_ref() {
            Some(before) => Reporter::after(before, view.clone()),
            None => Reporter::new(view.clone()),
        };
        *seen = Some(Arc::new(reporter));
        match serving.flatten() {
            Some(serving) => Ok(Some(serving.follow(view))),
            None => endpoint.then(|| serve::start(view)).transpose(),
        }
    }
}
