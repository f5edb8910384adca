//! Buckets in memory: every write asks for its bucket, and buckets hardly ever change.
//!
//! The writer thread calls [`KnownBuckets::forget`] after a commit that took a bucket away, before anybody is told of it. What a
//! reader saw before that is not remembered after it, so no answer is older than the last acknowledged change.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use crate::catalogue::{Bucket, BucketHandle, CatalogueError};

/// Buckets that are remembered at most; a full memory starts again.
const MOST: usize = 1024;

#[derive(Default)]
pub struct KnownBuckets(RwLock<Known>);

#[derive(Default)]
struct Known {
    /// Counts how often all was forgotten.
    round: u64,
    buckets: HashMap<BucketHandle, Bucket>,
}

impl KnownBuckets {
    /// The bucket from memory, or else as `read` finds it. That there is none is not remembered.
    pub fn find(
        &self,
        handle: BucketHandle,
        read: impl FnOnce() -> Result<Option<Bucket>, CatalogueError>,
    ) -> Result<Option<Bucket>, CatalogueError> {
        let round = {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(bucket) = known.buckets.get(&handle) {
                return Ok(Some(bucket.clone()));
            }
            known.round
        };
        let found = read()?;
        if let Some(bucket) = &found {
            let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
            if known.round == round {
                if known.buckets.len() >= MOST {
                    known.buckets.clear();
                }
                known.buckets.insert(handle, bucket.clone());
            }
        }
        Ok(found)
    }

    pub fn forget(&self) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.round += 1;
        known.buckets.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HANDLE: BucketHandle = BucketHandle([7; 32]);

    fn bucket() -> Bucket {
        Bucket {
            name: "bucket".to_owned(),
            home: None,
            constraint: None,
            subject: None,
            owner: "app".to_owned(),
            created_at: 1,
            versioning: Default::default(),
            object_lock: Default::default(),
            places: None,
        }
    }

    #[test]
    fn a_bucket_is_read_once_until_it_is_forgotten() {
        let known = KnownBuckets::default();
        assert_eq!(known.find(HANDLE, || Ok(None)).unwrap(), None);
        assert_eq!(known.find(HANDLE, || Ok(Some(bucket()))).unwrap(), Some(bucket()));
        assert_eq!(known.find(HANDLE, || panic!("it is known")).unwrap(), Some(bucket()));
        known.forget();
        assert_eq!(known.find(HANDLE, || Ok(None)).unwrap(), None);
    }

    #[test]
    fn what_was_read_before_a_change_is_not_remembered_after_it() {
        let known = KnownBuckets::default();
        let slow_read = || {
            known.forget();
            Ok(Some(bucket()))
        };
        assert_eq!(known.find(HANDLE, slow_read).unwrap(), Some(bucket()));
        assert_eq!(known.find(HANDLE, || Ok(None)).unwrap(), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let known = KnownBuckets::default();
        for n in 0..3 * MOST {
            let mut handle = HANDLE;
            handle.0[..8].copy_from_slice(&n.to_le_bytes());
            known.find(handle, || Ok(Some(bucket()))).unwrap();
        }
        assert!(known.0.read().unwrap().buckets.len() <= MOST);
    }
}
