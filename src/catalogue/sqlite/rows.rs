//! One row of `placements` or `versions`: how a placement becomes one, and is read from one.

use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Row, params_from_iter};

use super::codec::{self, fixed, from_json, integer, join, parse, split, to_json, unsigned};
use super::jobs::{Result, Tx};
use super::reader::{blob, number, text};
use super::unavailable;
use crate::catalogue::{BucketHandle, ObjectHandle, ObjectId, Placement, VersionKind};
use crate::names::Country;

/// The columns that both tables have, in the order of [`Owner::values`].
pub const COLUMNS: &str =
    "handle, bucket, object, jurisdiction, location, classes, subjects, coverage, evidence, etag,
    version, size, policy, rules, obligations, placed_at, ord";

/// Whose placement a row is, which the placement itself does not say.
#[derive(Clone, Copy)]
pub struct Owner {
    pub handle: ObjectHandle,
    pub bucket: BucketHandle,
    pub jurisdiction: Country,
}

impl Owner {
    /// What stands in [`COLUMNS`]. Texts are lent, for this runs at every write.
    fn values<'a>(&'a self, placement: &'a Placement) -> Result<[ToSqlOutput<'a>; 17]> {
        let owned = |text: String| ToSqlOutput::Owned(Value::Text(text));
        Ok([
            ToSqlOutput::from(&self.handle.0[..]),
            ToSqlOutput::from(&self.bucket.0[..]),
            ToSqlOutput::from(&placement.object.0[..]),
            ToSqlOutput::from(self.jurisdiction.code()),
            ToSqlOutput::from(placement.location.as_str()),
            owned(join(placement.classes.iter())),
            owned(join(placement.subjects.iter())),
            ToSqlOutput::from(codec::coverage_word(placement.coverage)),
            owned(to_json("evidence", &placement.evidence)?),
            ToSqlOutput::from(placement.etag.as_str()),
            placement.version.as_deref().map_or(ToSqlOutput::Owned(Value::Null), ToSqlOutput::from),
            ToSqlOutput::from(integer("size", placement.size)?),
            ToSqlOutput::from(placement.policy.as_str()),
            owned(to_json("rules", &placement.rules)?),
            owned(to_json("obligations", &placement.obligations)?),
            ToSqlOutput::from(integer("placed_at", placement.placed_at)?),
            ToSqlOutput::from(integer("order", placement.order)?),
        ])
    }
}

impl Tx<'_> {
    pub(super) fn upsert(&self, owner: Owner, placement: &Placement) -> Result<()> {
        self.db
            .prepare_cached(&format!(
                "INSERT INTO placements({COLUMNS})
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
                 ON CONFLICT(handle) DO UPDATE SET object = excluded.object, jurisdiction = excluded.jurisdiction,
                     location = excluded.location, classes = excluded.classes, subjects = excluded.subjects,
                     coverage = excluded.coverage, evidence = excluded.evidence, etag = excluded.etag,
                     version = excluded.version, size = excluded.size, policy = excluded.policy,
                     rules = excluded.rules, obligations = excluded.obligations, placed_at = excluded.placed_at,
                     ord = excluded.ord"
            ))
            .map_err(unavailable)?
            .execute(params_from_iter(owner.values(placement)?))
            .map(drop)
            .map_err(unavailable)
    }

    pub(super) fn insert_marker(&self, owner: Owner, marker: &Placement) -> Result<()> {
        let kind = ToSqlOutput::from(codec::kind_word(VersionKind::DeleteMarker));
        self.db
            .prepare_cached(&format!(
                "INSERT INTO versions({COLUMNS}, kind)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)"
            ))
            .map_err(unavailable)?
            .execute(params_from_iter(owner.values(marker)?.into_iter().chain([kind])))
            .map(drop)
            .map_err(unavailable)
    }
}

/// Reads a row whose first columns are those of [`super::reader::placement`], in its order.
pub fn placement_row(row: &Row<'_>) -> Result<Placement> {
    Ok(Placement {
        object: ObjectId(fixed("object id", blob(row, 0)?)?),
        location: parse("location", text(row, 1)?)?,
        classes: split("classes", text(row, 2)?)?,
        subjects: split("subjects", text(row, 3)?)?,
        coverage: codec::coverage_from(text(row, 4)?)?,
        evidence: from_json("evidence", text(row, 5)?.as_bytes())?,
        etag: text(row, 6)?.to_owned(),
        version: row.get(7).map_err(unavailable)?,
        size: unsigned("size", number(row, 8)?)?,
        policy: text(row, 9)?.to_owned(),
        rules: from_json("rules", text(row, 10)?.as_bytes())?,
        obligations: from_json("obligations", text(row, 11)?.as_bytes())?,
        placed_at: unsigned("placed_at", number(row, 12)?)?,
        order: unsigned("order", number(row, 13)?)?,
    })
}
