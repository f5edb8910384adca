//! Which open intents belong to requests that are being served now: those are nobody else's to settle.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use crate::catalogue::ObjectHandle;

/// The intents of requests in flight.
#[derive(Default)]
pub struct LiveIntents {
    ids: Mutex<HashSet<u64>>,
    /// How many intents of a key are being opened: the catalogue shows them before their ids are known here.
    opening: Mutex<HashMap<ObjectHandle, usize>>,
}

/// Somebody is opening an intent of this key.
pub struct Opening {
    live: Arc<LiveIntents>,
    handle: ObjectHandle,
}

/// An intent whose request is still being served; no longer so when this is dropped.
pub struct LiveIntent {
    id: u64,
    live: Arc<LiveIntents>,
}

impl LiveIntents {
    /// To be held from before an intent is opened until [`LiveIntents::begin`] has its id.
    pub fn opening(self: &Arc<Self>, handle: ObjectHandle) -> Opening {
        *self.opening.lock().unwrap_or_else(PoisonError::into_inner).entry(handle).or_default() += 1;
        Opening { live: self.clone(), handle }
    }

    /// Whether an open intent of this key is, or may be, that of a request being served.
    pub fn may_be_live(&self, id: u64, handle: ObjectHandle) -> bool {
        // In this order: what is no longer being opened has its id in the set.
        self.contains(id) || self.is_opening(handle) || self.contains(id)
    }

    /// The same, known for sure: waits while intents of the key are being opened.
    pub async fn is_live(&self, id: u64, handle: ObjectHandle) -> bool {
        while !self.contains(id) && self.is_opening(handle) {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
        self.contains(id)
    }

    fn is_opening(&self, handle: ObjectHandle) -> bool {
        self.opening.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&handle)
    }

    pub fn begin(self: &Arc<Self>, id: u64) -> LiveIntent {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        LiveIntent { id, live: self.clone() }
    }

    pub fn contains(&self, id: u64) -> bool {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }
}

impl LiveIntent {
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut opening = self.live.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = opening.get_mut(&self.handle) {
            *count -= 1;
            if *count == 0 {
                opening.remove(&self.handle);
            }
        }
    }
}

impl Drop for LiveIntent {
    fn drop(&mut self) {
        self.live.ids.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
