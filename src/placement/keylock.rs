//! One lock a key, held from just before a write's last byte leaves until its record is durable.
//!
//! A location makes an object visible only when its last byte has arrived. So whoever holds the lock over
//! {last byte, location's answer, catalogue commit} gives writers of one key the same order in the location
//! and in the catalogue, and a slow client holds nothing: its last bytes are in hand before it asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use crate::catalogue::ObjectHandle;

/// The locks of all keys that somebody is writing now.
#[derive(Default)]
pub struct KeyLocks {
    held: Mutex<HashMap<ObjectHandle, Arc<AsyncMutex<()>>>>,
}

/// Holds a key's lock until dropped.
pub struct KeyGuard {
    locks: Arc<KeyLocks>,
    handle: ObjectHandle,
    guard: Option<OwnedMutexGuard<()>>,
}

impl KeyLocks {
    /// Waits for the key's lock.
    pub async fn lock(self: &Arc<Self>, handle: ObjectHandle) -> KeyGuard {
        let lock = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            held.entry(handle).or_default().clone()
        };
        // Made before the wait, so that a waiter that gives up still tidies the map.
        let mut guard = KeyGuard { locks: self.clone(), handle, guard: None };
        guard.guard = Some(lock.lock_owned().await);
        guard
    }
}

impl Drop for KeyGuard {
    fn drop(&mut self) {
        self.guard = None;
        let mut held = self.locks.held.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's own reference is the last one: nobody holds or waits.
        if held.get(&self.handle).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            held.remove(&self.handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn writers_of_one_key_take_turns_and_others_do_not_wait() {
        let locks = Arc::new(KeyLocks::default());
        let first = locks.lock(ObjectHandle([1; 32])).await;
        let other = locks.lock(ObjectHandle([2; 32])).await;
        let waiting = {
            let locks = locks.clone();
            tokio::spawn(async move { locks.lock(ObjectHandle([1; 32])).await })
        };
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(first);
        drop(waiting.await.unwrap());
        drop(other);
        assert!(locks.held.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_leaves_nothing_behind() {
        let locks = Arc::new(KeyLocks::default());
        let first = locks.lock(ObjectHandle([1; 32])).await;
        let waiting = {
            let locks = locks.clone();
            tokio::spawn(async move { locks.lock(ObjectHandle([1; 32])).await })
        };
        tokio::task::yield_now().await;
        waiting.abort();
        assert!(waiting.await.is_err());
        drop(first);
        assert!(locks.held.lock().unwrap().is_empty());
    }
}
