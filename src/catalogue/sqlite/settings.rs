//! Settings of buckets. They can hold names, so they are sealed like their bucket.

use rusqlite::{Connection, OptionalExtension, params};

use super::codec::{limited, parse};
use super::jobs::{Result, Tx, unusable};
use super::{reader, unavailable};
use crate::catalogue::{BucketHandle, CatalogueError, Setting};
use crate::log::keys::Keys;
use crate::names::Country;

/// The longest document of a setting.
const MAX_SETTING: usize = 512 << 10;

/// Made when a catalogue is opened; one of an earlier version gets it then.
pub const TABLE: &str = "
CREATE TABLE IF NOT EXISTS bucket_settings(
    bucket BLOB NOT NULL, name TEXT NOT NULL, jurisdiction TEXT NOT NULL, sealed BLOB NOT NULL,
    PRIMARY KEY(bucket, name)
) STRICT, WITHOUT ROWID;
";

impl Tx<'_> {
    pub fn set_setting(
        &mut self,
        bucket: BucketHandle,
        setting: Setting,
        document: Option<&str>,
    ) -> Result<()> {
        let Some(document) = document else {
            return self
                .db
                .prepare_cached("DELETE FROM bucket_settings WHERE bucket = ?1 AND name = ?2")
                .and_then(|mut q| q.execute(params![bucket.0, word(setting)]))
                .map(drop)
                .map_err(unavailable);
        };
        limited("bucket setting", document.len(), MAX_SETTING)?;
        let jurisdiction: Option<String> = self
            .db
            .prepare_cached("SELECT jurisdiction FROM buckets WHERE handle = ?1")
            .and_then(|mut q| q.query_row(params![bucket.0], |row| row.get(0)).optional())
            .map_err(unavailable)?;
        // The bucket went away meanwhile, and its settings with it.
        let Some(jurisdiction) = jurisdiction else { return Ok(()) };
        let country: Country = parse("jurisdiction", &jurisdiction)?;
        let context: [&[u8]; 3] = [b"bucket-setting", &bucket.0, word(setting).as_bytes()];
        let sealed = self.seal_key(country)?.seal(&context, document.as_bytes()).map_err(unusable)?;
        self.db
            .prepare_cached(
                "INSERT OR REPLACE INTO bucket_settings(bucket, name, jurisdiction, sealed) VALUES (?1, ?2, ?3, ?4)",
            )
            .and_then(|mut q| q.execute(params![bucket.0, word(setting), jurisdiction, sealed]))
            .map(drop)
            .map_err(unavailable)
    }

    pub fn forget_settings(&mut self, bucket: BucketHandle) -> Result<()> {
        self.db
            .prepare_cached("DELETE FROM bucket_settings WHERE bucket = ?1")
            .and_then(|mut q| q.execute(params![bucket.0]))
            .map(drop)
            .map_err(unavailable)
    }
}

pub fn find(db: &Connection, keys: &Keys, bucket: BucketHandle, setting: Setting) -> Result<Option<String>> {
    let row: Option<(String, Vec<u8>)> = db
        .prepare_cached("SELECT jurisdiction, sealed FROM bucket_settings WHERE bucket = ?1 AND name = ?2")
        .and_then(|mut q| {
            q.query_row(params![bucket.0, word(setting)], |row| Ok((row.get(0)?, row.get(1)?))).optional()
        })
        .map_err(unavailable)?;
    let Some((jurisdiction, sealed)) = row else { return Ok(None) };
    let seal = reader::seal_key(keys, parse("jurisdiction", &jurisdiction)?)?;
    let context: [&[u8]; 3] = [b"bucket-setting", &bucket.0, word(setting).as_bytes()];
    let plain = seal.open(&context, &sealed).map_err(reader::unreadable)?;
    String::from_utf8(plain).map(Some).map_err(|_| CatalogueError::Corrupt("a bucket's setting".to_owned()))
}

fn word(setting: Setting) -> &'static str {
    match setting {
        Setting::Cors => "cors",
        Setting::Tagging => "tagging",
        Setting::Encryption => "encryption",
        Setting::Lifecycle => "lifecycle",
        Setting::ObjectLock => "object-lock",
        Setting::OwnershipControls => "ownership-controls",
        Setting::PublicAccessBlock => "public-access-block",
    }
}
