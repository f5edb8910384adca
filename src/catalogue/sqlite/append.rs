//! How an entry gets into a log: its index, its predecessor, its bytes, and the sealed names beside it.
//!
//! A log exists from the first entry of its jurisdiction on, and `log.open` is its entry 0. Entry and sidecar are
//! written in the transaction of the change that they tell of.

use std::sync::Arc;

use rusqlite::{OptionalExtension, Row, params};

use super::codec::{self, limited};
use super::jobs::{MAX_ID, MAX_NAME, Result, Tx, now, now_row, random, unusable};
use super::schema::{INDEX_BITS, first_row};
use super::{reader, unavailable};
use crate::catalogue::{CatalogueError, ObjectId, Receipt};
use crate::config;
use crate::log::entry::{self, Opening, Stamp};
use crate::log::keys::DataKey;
use crate::log::{EntryDraft, Event};
use crate::names::Country;

/// The log of this node for one jurisdiction.
#[derive(Clone)]
pub struct Log {
    id: i64,
    origin: Arc<str>,
}

impl Tx<'_> {
    pub fn append(&mut self, draft: &EntryDraft) -> Result<Receipt> {
        let log = self.log(draft.jurisdiction)?;
        let index = self.append_to(&log, draft)?;
        Ok(Receipt { origin: log.origin.to_string(), index })
    }

    /// The log of this node for a jurisdiction, opened on first use.
    fn log(&mut self, jurisdiction: Country) -> Result<Log> {
        if let Some(log) = self.state.logs.get(&jurisdiction) {
            return Ok(log.clone());
        }
        let node = self.state.node.clone();
        let found: Option<(i64, String)> = self
            .db
            .prepare_cached(
                "SELECT id, origin FROM logs WHERE domain = ?1 AND jurisdiction = ?2 AND node = ?3
                 ORDER BY epoch DESC LIMIT 1",
            )
            .and_then(|mut q| {
                let columns = |r: &Row<'_>| Ok((r.get(0)?, r.get(1)?));
                q.query_row(params![node.domain, jurisdiction.code(), node.name], columns).optional()
            })
            .map_err(unavailable)?;
        let log = match found {
            Some((id, origin)) => Log { id, origin: origin.into() },
            None => self.open_log(&node, jurisdiction)?,
        };
        self.state.logs.insert(jurisdiction, log.clone());
        Ok(log)
    }

    fn open_log(&mut self, node: &config::Node, jurisdiction: Country) -> Result<Log> {
        let epoch = 1;
        let origin = format!("{}/{jurisdiction}/{}/{epoch}", node.domain, node.name);
        // The key first: a row without its key would be a catalogue that lost one.
        self.state.keys.create_signing_seed(&origin).map_err(unusable)?;
        self.db
            .execute(
                "INSERT INTO logs(origin, domain, jurisdiction, node, epoch, opened_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![origin, node.domain, jurisdiction.code(), node.name, epoch, now_row()],
            )
            .map_err(unavailable)?;
        let log = Log { id: self.db.last_insert_rowid(), origin: origin.into() };
        self.append_to(&log, &EntryDraft::new(Event::LogOpen, jurisdiction))?;
        Ok(log)
    }

    fn append_to(&mut self, log: &Log, draft: &EntryDraft) -> Result<u64> {
        check_facts(draft)?;
        let first = first_row(log.id);
        let last = reader::last_row(self.db, log.id)?;
        let row = last.map_or(first, |last| last + 1);
        if row >= first_row(log.id + 1) {
            return Err(CatalogueError::Unavailable("the log is full".to_owned()));
        }
        let index = codec::unsigned("index", row - first)?;
        let previous = match draft.object {
            Some(object) => self.previous_entry(object, first, row)?,
            None => None,
        };
        let nonce: [u8; 16] = random()?;
        let opening = if draft.sealed.is_empty() { None } else { Some(Opening::new(draft.sealed.clone())) };
        let opening = opening.transpose().map_err(refused)?;
        let stamp = Stamp {
            node: &self.state.node.name,
            time: now(),
            nonce,
            commitment: opening.as_ref().map(Opening::commitment),
            previous,
        };
        let bytes = entry::encode(draft, &stamp).map_err(refused)?;
        self.db
            .prepare_cached("INSERT INTO entries(id, object, bytes) VALUES (?1, ?2, ?3)")
            .and_then(|mut q| q.execute(params![row, draft.object.map(|object| object.0), bytes]))
            .map_err(unavailable)?;
        if let Some(opening) = opening {
            let key_id = draft.object.map_or(nonce, |object| object.0);
            let key = self.data_key(key_id, draft.jurisdiction)?;
            let context = reader::sidecar_context(&log.origin, index, &key_id);
            let context: Vec<&[u8]> = context.iter().map(Vec::as_slice).collect();
            let sealed = key.seal(&context, &opening.to_bytes()).map_err(unusable)?;
            self.db
                .prepare_cached("INSERT INTO sidecar(id, data_key, sealed) VALUES (?1, ?2, ?3)")
                .and_then(|mut q| q.execute(params![row, key_id, sealed]))
                .map_err(unavailable)?;
        }
        Ok(index)
    }

    fn previous_entry(&self, object: ObjectId, first: i64, before: i64) -> Result<Option<u64>> {
        let row: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT id FROM entries WHERE object = ?1 AND id >= ?2 AND id < ?3 ORDER BY id DESC LIMIT 1",
            )
            .and_then(|mut q| q.query_row(params![object.0, first, before], |row| row.get(0)).optional())
            .map_err(unavailable)?;
        row.map(|row| codec::unsigned("index", row - first)).transpose()
    }

    fn data_key(&mut self, id: [u8; 16], jurisdiction: Country) -> Result<DataKey> {
        let seal = self.seal_key(jurisdiction)?;
        if let Some(key) = reader::data_key(self.db, &seal, &id, jurisdiction)? {
            return Ok(key);
        }
        let context = reader::data_key_context(&id, jurisdiction);
        let (key, wrapped) = seal.new_data_key(&context).map_err(unusable)?;
        self.db
            .prepare_cached("INSERT INTO data_keys(id, jurisdiction, wrapped) VALUES (?1, ?2, ?3)")
            .and_then(|mut q| q.execute(params![id, jurisdiction.code(), wrapped]))
            .map_err(unavailable)?;
        Ok(key)
    }
}

fn check_facts(draft: &EntryDraft) -> Result<()> {
    let facts = &draft.sealed;
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    // A refused request may carry a key that is no valid key: it is the caller's to cut, up to what a URL can hold.
    limited("object key", length(&facts.key), 16 << 10)?;
    limited("bucket name", length(&facts.bucket), MAX_NAME)?;
    limited("principal", length(&facts.principal), MAX_NAME)?;
    limited("client address", length(&facts.address), MAX_NAME)?;
    limited("author", length(&facts.author), MAX_NAME)?;
    limited("approver", length(&facts.approver), MAX_NAME)?;
    limited("reason", length(&facts.reason), MAX_NAME)?;
    limited("ETag", length(&facts.etag), MAX_ID)?;
    limited("version id", length(&facts.version), MAX_ID)
}

fn refused(error: entry::EntryError) -> CatalogueError {
    CatalogueError::Unavailable(error.to_string())
}

const _: () = assert!(INDEX_BITS == 40, "the view log_entries of the schema spells the number out");
