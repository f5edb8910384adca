//! Buckets that keep versions: how versions, delete markers and their removals change the tables, and what is read of them.
//!
//! Rules that hold here:
//! - `placements` has a row for a key if and only if its newest version is an object, and that row is this version;
//! - a key has one version `null` at most, wherever it lies: a new one takes its place, and what lay elsewhere is residue;
//! - `ord` grows with every version of a key, and never changes; after the last version has gone it may begin anew.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::codec::{self, integer, join, parse, to_json, unsigned};
use super::jobs::{Previous, Result, Tx, check_names, check_placement, random};
use super::reader::{number, text};
use super::rows::{COLUMNS, Owner, placement_row};
use super::unavailable;
use crate::catalogue::{
    BucketHandle, CatalogueError, Known, ObjectHandle, ObjectId, Placement, Receipt, Recorded, Version,
    VersionAt, VersionKind, Versioning, Which, WriteRecord,
};
use crate::log::EntryDraft;
use crate::names::LocationId;

/// All versions of all keys, those in `placements` among them; for readers.
const ALL: &str = "SELECT object, location, classes, subjects, coverage, evidence, etag, version, size, policy, rules,
        obligations, placed_at, ord, 'object' AS kind, 1 AS latest FROM placements WHERE handle = ?1
    UNION ALL SELECT object, location, classes, subjects, coverage, evidence, etag, version, size, policy, rules,
        obligations, placed_at, ord, kind,
        ord = (SELECT max(ord) FROM versions WHERE handle = ?1)
            AND NOT EXISTS (SELECT 1 FROM placements WHERE handle = ?1)
        FROM versions WHERE handle = ?1";

impl Tx<'_> {
    pub fn set_versioning(&mut self, handle: BucketHandle, versioning: Versioning) -> Result<()> {
        self.state.buckets_changed = true;
        self.db
            .prepare_cached("UPDATE buckets SET versioning = ?2 WHERE handle = ?1")
            .and_then(|mut q| q.execute(params![handle.0, codec::versioning_word(versioning)]))
            .map(drop)
            .map_err(unavailable)
    }

    pub(super) fn versioning(&self, bucket: BucketHandle) -> Result<Versioning> {
        let word: Option<String> = self
            .db
            .prepare_cached("SELECT versioning FROM buckets WHERE handle = ?1")
            .and_then(|mut q| q.query_row(params![bucket.0], |row| row.get(0)).optional())
            .map_err(unavailable)?;
        word.map_or(Ok(Versioning::Never), |word| codec::versioning_from(&word))
    }

    pub fn record_marker(&mut self, marker: WriteRecord) -> Result<Recorded> {
        check_names(&marker.bucket, &marker.key)?;
        check_placement(&marker.placement)?;
        let intended = self.end_intent(marker.intent)?.ok_or(CatalogueError::Settled(marker.intent))?;
        if intended.handle != marker.handle || intended.location != marker.placement.location {
            return Err(CatalogueError::OtherIntent(marker.intent));
        }
        self.add_version(VersionKind::DeleteMarker, marker, intended.object)
    }

    /// Makes a version the newest of its key.
    pub(super) fn add_version(
        &mut self,
        kind: VersionKind,
        write: WriteRecord,
        intended: ObjectId,
    ) -> Result<Recorded> {
        let WriteRecord { handle, bucket, key, mut placement, mut draft, .. } = write;
        placement.object = self.object(handle)?.unwrap_or(intended);
        draft.object = Some(placement.object);
        if placement.order != 0 {
            self.relabel(handle, &placement)?;
            let receipt = self.append(&draft)?;
            return Ok(Recorded { receipt, placement, displaced: None });
        }
        if kind == VersionKind::DeleteMarker
            && let Some(order) = self.marker_order(handle, &placement)?
        {
            // Some locations do not make a second marker over a first one.
            placement.order = order;
            let receipt = self.append(&draft)?;
            return Ok(Recorded { receipt, placement, displaced: None });
        }
        placement.order = self.next_order(handle)?;
        self.end_overwritten_version(handle, &placement.location, placement.version.as_deref())?;
        let mut displaced = None;
        if placement.version.is_none()
            && let Some(null) = self.take_null(handle)?
            && null.location != placement.location
        {
            if null.jurisdiction != draft.jurisdiction && draft.transfer.is_none() {
                draft.transfer = Some(random()?);
            }
            displaced = Some(self.list_residue(handle, &bucket, &key, null, draft.transfer)?);
        }
        self.move_current_aside(handle)?;
        let bucket = self.state.keys.bucket_handle(&bucket);
        let owner = Owner { handle, bucket, jurisdiction: draft.jurisdiction };
        match kind {
            VersionKind::Object => self.upsert(owner, &placement)?,
            VersionKind::DeleteMarker => self.insert_marker(owner, &placement)?,
        }
        let receipt = self.append(&draft)?;
        Ok(Recorded { receipt, placement, displaced })
    }

    pub fn record_version_removal(
        &mut self,
        intent: u64,
        handle: ObjectHandle,
        at: &VersionAt,
        mut draft: EntryDraft,
    ) -> Result<Receipt> {
        let intended = self.end_intent(intent)?.ok_or(CatalogueError::Settled(intent))?;
        if intended.handle != handle {
            return Err(CatalogueError::OtherIntent(intent));
        }
        draft.object = Some(self.object(handle)?.unwrap_or(intended.object));
        for table in ["placements", "versions"] {
            self.db
                .prepare_cached(&format!(
                    "DELETE FROM {table} WHERE handle = ?1 AND location = ?2 AND version IS ?3"
                ))
                .and_then(|mut q| q.execute(params![handle.0, at.location.as_str(), at.id]))
                .map_err(unavailable)?;
        }
        self.promote_newest(handle)?;
        self.append(&draft)
    }

    /// The id under which the log knows the object: the same for all its versions.
    pub(super) fn object(&self, handle: ObjectHandle) -> Result<Option<ObjectId>> {
        let object: Option<Vec<u8>> = self
            .db
            .prepare_cached(
                "SELECT object FROM placements WHERE handle = ?1
                 UNION ALL SELECT object FROM versions WHERE handle = ?1 LIMIT 1",
            )
            .and_then(|mut q| q.query_row(params![handle.0], |row| row.get(0)).optional())
            .map_err(unavailable)?;
        object.map(|object| codec::fixed("object id", &object).map(ObjectId)).transpose()
    }

    /// The place of a delete marker that is recorded already. Not of a version `null`, which is replaced.
    fn marker_order(&self, handle: ObjectHandle, marker: &Placement) -> Result<Option<u64>> {
        if marker.version.is_none() {
            return Ok(None);
        }
        let order: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT ord FROM versions WHERE handle = ?1 AND location = ?2 AND version = ?3 AND kind = 'marker'",
            )
            .and_then(|mut q| {
                q.query_row(params![handle.0, marker.location.as_str(), marker.version], |r| r.get(0)).optional()
            })
            .map_err(unavailable)?;
        order.map(|order| unsigned("order", order)).transpose()
    }

    /// New labels for a version that stays where it is. One that has gone meanwhile needs none.
    fn relabel(&self, handle: ObjectHandle, placement: &Placement) -> Result<()> {
        for table in ["placements", "versions"] {
            self.db
                .prepare_cached(&format!(
                    "UPDATE {table} SET classes = ?3, subjects = ?4, coverage = ?5, evidence = ?6, policy = ?7,
                         rules = ?8, obligations = ?9 WHERE handle = ?1 AND ord = ?2"
                ))
                .map_err(unavailable)?
                .execute(params![
                    handle.0,
                    integer("order", placement.order)?,
                    join(placement.classes.iter()),
                    join(placement.subjects.iter()),
                    codec::coverage_word(placement.coverage),
                    to_json("evidence", &placement.evidence)?,
                    placement.policy,
                    to_json("rules", &placement.rules)?,
                    to_json("obligations", &placement.obligations)?,
                ])
                .map_err(unavailable)?;
        }
        Ok(())
    }

    fn next_order(&self, handle: ObjectHandle) -> Result<u64> {
        let newest: Option<i64> = self
            .db
            .prepare_cached(
                "SELECT max(ord) FROM (SELECT ord FROM placements WHERE handle = ?1
                 UNION ALL SELECT max(ord) FROM versions WHERE handle = ?1)",
            )
            .and_then(|mut q| q.query_row(params![handle.0], |row| row.get(0)))
            .map_err(unavailable)?;
        unsigned("order", newest.map_or(1, |newest| newest.saturating_add(1)))
    }

    /// A version has just been written here, so what was residue under its id has been replaced.
    pub(super) fn end_overwritten_version(
        &self,
        handle: ObjectHandle,
        location: &LocationId,
        version: Option<&str>,
    ) -> Result<()> {
        self.db
            .prepare_cached("DELETE FROM residues WHERE handle = ?1 AND location = ?2 AND version = ?3")
            .and_then(|mut q| q.execute(params![handle.0, location.as_str(), version.unwrap_or("null")]))
            .map(drop)
            .map_err(unavailable)
    }

    /// Ends the placement of the version `null`, if there is one, and says where it lay.
    fn take_null(&self, handle: ObjectHandle) -> Result<Option<Previous>> {
        for table in ["placements", "versions"] {
            type Columns = (Vec<u8>, String, String, String);
            let columns = |r: &Row<'_>| Ok((r.get(0)?, r.get(1)?, r.get(2)?, r.get(3)?));
            let row: Option<Columns> = self
                .db
                .prepare_cached(&format!(
                    "DELETE FROM {table} WHERE handle = ?1 AND version IS NULL
                     RETURNING object, jurisdiction, location, etag"
                ))
                .and_then(|mut q| q.query_row(params![handle.0], columns).optional())
                .map_err(unavailable)?;
            if let Some((object, jurisdiction, location, etag)) = row {
                return Ok(Some(Previous {
                    object: ObjectId(codec::fixed("object id", &object)?),
                    jurisdiction: parse("jurisdiction", &jurisdiction)?,
                    location: parse("location", &location)?,
                    etag,
                    version: Some("null".to_owned()),
                }));
            }
        }
        Ok(None)
    }

    fn move_current_aside(&self, handle: ObjectHandle) -> Result<()> {
        let sql = format!(
            "INSERT INTO versions({COLUMNS}, kind) SELECT {COLUMNS}, 'object' FROM placements WHERE handle = ?1"
        );
        let insert = self.db.prepare_cached(&sql).and_then(|mut q| q.execute(params![handle.0]));
        insert.map_err(unavailable)?;
        self.db
            .prepare_cached("DELETE FROM placements WHERE handle = ?1")
            .and_then(|mut q| q.execute(params![handle.0]))
            .map(drop)
            .map_err(unavailable)
    }

    /// Where the newest version has gone, the next older one is what everybody reads, unless it is a delete marker.
    pub(super) fn promote_newest(&self, handle: ObjectHandle) -> Result<()> {
        let sql = format!(
            "INSERT INTO placements({COLUMNS}) SELECT {COLUMNS} FROM versions
             WHERE handle = ?1 AND kind = 'object' AND ord = (SELECT max(ord) FROM versions WHERE handle = ?1)
             AND NOT EXISTS (SELECT 1 FROM placements WHERE handle = ?1)"
        );
        let promoted = self.db.prepare_cached(&sql).and_then(|mut q| q.execute(params![handle.0]));
        if promoted.map_err(unavailable)? > 0 {
            self.db
                .prepare_cached(
                    "DELETE FROM versions WHERE handle = ?1 AND ord = (SELECT max(ord) FROM versions WHERE handle = ?1)",
                )
                .and_then(|mut q| q.execute(params![handle.0]))
                .map_err(unavailable)?;
        }
        Ok(())
    }
}

pub fn find(db: &Connection, handle: ObjectHandle, which: &Which) -> Result<Option<Version>> {
    let one = |condition: &str, values: &[&dyn rusqlite::ToSql]| {
        let sql = format!("SELECT * FROM ({ALL}) WHERE {condition}");
        let mut query = db.prepare_cached(&sql).map_err(unavailable)?;
        let mut rows = query.query(values).map_err(unavailable)?;
        rows.next().map_err(unavailable)?.map(version_row).transpose()
    };
    match which {
        Which::Newest => one("latest", params![handle.0]),
        Which::Null => one("version IS NULL", params![handle.0]),
        Which::Id(VersionAt { location, id }) => {
            one("location = ?2 AND version IS ?3", params![handle.0, location.as_str(), id])
        }
    }
}

/// Newest first.
pub fn all(db: &Connection, handle: ObjectHandle) -> Result<Vec<Version>> {
    let mut query = db.prepare_cached(&format!("{ALL} ORDER BY ord DESC")).map_err(unavailable)?;
    let mut rows = query.query(params![handle.0]).map_err(unavailable)?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        versions.push(version_row(row)?);
    }
    Ok(versions)
}

fn version_row(row: &Row<'_>) -> Result<Version> {
    Ok(Version {
        placement: placement_row(row)?,
        kind: codec::kind_from(text(row, 14)?)?,
        is_latest: number(row, 15)? != 0,
    })
}

pub fn known(db: &Connection, asked: &[(ObjectHandle, VersionAt)]) -> Result<Vec<Option<Known>>> {
    let mut query = db
        .prepare_cached(
            "SELECT 'object', ord, 1 FROM placements WHERE handle = ?1 AND location = ?2 AND version IS ?3
             UNION ALL SELECT kind, ord,
                 NOT EXISTS (SELECT 1 FROM placements WHERE handle = ?1)
                 AND ord = (SELECT max(ord) FROM versions WHERE handle = ?1)
             FROM versions WHERE handle = ?1 AND location = ?2 AND version IS ?3",
        )
        .map_err(unavailable)?;
    let mut answers = Vec::with_capacity(asked.len());
    for (handle, at) in asked {
        let mut rows = query.query(params![handle.0, at.location.as_str(), at.id]).map_err(unavailable)?;
        let known = rows.next().map_err(unavailable)?.map(|row| {
            Ok(Known {
                kind: codec::kind_from(text(row, 0)?)?,
                order: unsigned("order", number(row, 1)?)?,
                is_latest: number(row, 2)? != 0,
            })
        });
        answers.push(known.transpose()?);
    }
    Ok(answers)
}

pub fn from(db: &Connection, handle: ObjectHandle, order: u64) -> Result<Vec<VersionAt>> {
    // SQLite takes the bare columns from the row that has the minimum.
    let mut query = db
        .prepare_cached(
            "SELECT location, version, min(ord) FROM (
                 SELECT location, version, ord FROM placements WHERE handle = ?1 AND ord >= ?2
                 UNION ALL SELECT location, version, ord FROM versions WHERE handle = ?1 AND ord >= ?2)
             GROUP BY location",
        )
        .map_err(unavailable)?;
    let order = i64::try_from(order).unwrap_or(i64::MAX);
    let mut rows = query.query(params![handle.0, order]).map_err(unavailable)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(unavailable)? {
        let id = row.get(1).map_err(unavailable)?;
        found.push(VersionAt { location: parse("location", text(row, 0)?)?, id });
    }
    Ok(found)
}
