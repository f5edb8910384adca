//! Which open intents belong to requests that are being served now: those are nobody else's to settle.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The intents of requests in flight.
#[derive(Default)]
pub struct LiveIntents(Mutex<HashSet<u64>>);

/// An intent whose request is still being served; no longer so when this is dropped.
pub struct LiveIntent {
    id: u64,
    live: Arc<LiveIntents>,
}

impl LiveIntents {
    pub fn begin(self: &Arc<Self>, id: u64) -> LiveIntent {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        LiveIntent { id, live: self.clone() }
    }

    pub fn contains(&self, id: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }
}

impl LiveIntent {
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for LiveIntent {
    fn drop(&mut self) {
        self.live.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
