//! The apps that may sign requests, and what each may do.

use std::collections::HashMap;
use std::sync::Arc;

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::config::{self, Access, Secret};
use crate::names::{AppId, BucketName};
use crate::policy::ReaderEntity;
use crate::s3::sigv4::{KeyStore, Session};

/// All apps.
pub struct Apps {
    by_access_key: HashMap<String, Key>,
    by_id: HashMap<AppId, Arc<AppGrant>>,
}

/// An access key, and whose it is.
struct Key {
    app: Arc<AppGrant>,
    secret: Secret,
    session: Option<Session>,
}

/// One app and its grants.
pub struct AppGrant {
    pub id: AppId,
    pub access: Access,
    /// Who reads with it.
    pub entity: ReaderEntity,
    buckets: GlobSet,
}

/// A bucket pattern that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("app {app}: bucket pattern `{pattern}`: {message}")]
pub struct AppError {
    app: AppId,
    pattern: String,
    message: String,
}

impl Apps {
    pub fn new(apps: &[config::App]) -> Result<Apps, AppError> {
        let mut all = Apps { by_access_key: HashMap::new(), by_id: HashMap::new() };
        for app in apps {
            let mut buckets = GlobSetBuilder::new();
            let fail = |pattern: &str, error: globset::Error| AppError {
                app: app.id.clone(),
                pattern: pattern.to_owned(),
                message: error.to_string(),
            };
            for pattern in &app.buckets {
                buckets.add(Glob::new(pattern).map_err(|error| fail(pattern, error))?);
            }
            let buckets = buckets.build().map_err(|error| fail("", error))?;
            let grant = AppGrant { id: app.id.clone(), access: app.access, entity: app.entity, buckets };
            let grant = Arc::new(grant);
            all.by_id.insert(app.id.clone(), grant.clone());
            for own in &app.sessions {
                let session = Session { token: own.session_token.clone(), expires: own.expires };
                let secret = own.secret_access_key.clone();
                let key = Key { app: grant.clone(), secret, session: Some(session) };
                all.by_access_key.insert(own.access_key_id.clone(), key);
            }
            let key = Key { app: grant, secret: app.secret_access_key.clone(), session: None };
            all.by_access_key.insert(app.access_key_id.clone(), key);
        }
        Ok(all)
    }

    pub fn by_id(&self, id: &AppId) -> Option<&Arc<AppGrant>> {
        self.by_id.get(id)
    }
}

impl KeyStore for Apps {
    fn secret(&self, access_key_id: &str) -> Option<(&AppId, &Secret)> {
        self.by_access_key.get(access_key_id).map(|key| (&key.app.id, &key.secret))
    }

    fn session(&self, access_key_id: &str) -> Option<&Session> {
        self.by_access_key.get(access_key_id)?.session.as_ref()
    }
}

impl AppGrant {
    pub fn may_use(&self, bucket: &BucketName) -> bool {
        self.buckets.is_match(bucket.as_str())
    }
}
