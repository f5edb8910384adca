//! Object lock: versions that may not be removed before their time, or while they are held.
//!
//! Only in a bucket that was created with it, which keeps versions for good. A lock is kept by this store against everybody who
//! reaches it through the gateway; whoever owns the disk, or sets its clock, can do as they like.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use jiff::{Span, Timestamp, tz::TimeZone};
use rusqlite::{Connection, params};

use super::digest::Asserted;
use super::error::{EmbeddedError, Failure};
use super::index::Change;
use super::objects::{collect_document, insert_version};
use super::request::Call;
use super::rows::{self, BucketRow};
use super::{Inner, time, versioning};
use crate::body::Body;
use crate::names::ObjectKey;
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{self, Bound, DefaultRetention, LegalHold, Period, Retention, RetentionMode};

const MAX_DOCUMENT: usize = 16 * 1024;
const ENABLED: &str = "x-amz-bucket-object-lock-enabled";
const BYPASS: &str = "x-amz-bypass-governance-retention";
const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const HOLD: &str = "x-amz-object-lock-legal-hold";

type Answer = Result<Response<Body>, Failure>;

/// What keeps a version from being removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lock {
    pub retention: Option<Retention>,
    /// `None` where nobody ever said anything about one.
    pub hold: Option<LegalHold>,
}

/// Whether a request lifts a retention in governance mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bypass {
    Governance,
    Nothing,
}

impl Bypass {
    pub fn of(call: &Call) -> Bypass {
        match call.header(BYPASS) {
            Some(value) if value.eq_ignore_ascii_case("true") => Bypass::Governance,
            _ => Bypass::Nothing,
        }
    }
}

impl Lock {
    /// What the headers of a write ask for.
    pub fn from_headers(headers: &HeaderMap) -> Result<Lock, S3Error> {
        let text = |name: &'static str| match headers.get(name).map(HeaderValue::to_str) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(invalid(name, "The value is not text.")),
        };
        let retention = match (text(MODE)?, text(UNTIL)?) {
            (None, None) => None,
            (Some(mode), Some(until)) => {
                let mode =
                    RetentionMode::parse(mode).ok_or_else(|| invalid(MODE, "Unknown wormMode directive."))?;
                let until = xml::parse_until(until).ok_or_else(|| {
                    invalid(UNTIL, "The retain until date must be provided in ISO 8601 format")
                })?;
                check_future(until)?;
                Some(Retention { mode, until })
            }
            _ => {
                let message =
                    "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
                return Err(invalid(MODE, message));
            }
        };
        let hold = match text(HOLD)? {
            None => None,
            Some(word) => {
                let message = "Legal Hold must be either of 'ON' or 'OFF'";
                Some(LegalHold::parse(word).ok_or_else(|| invalid(HOLD, message))?)
            }
        };
        Ok(Lock { retention, hold })
    }

    /// The form of the index: mode, milliseconds, hold; `-` for what there is none of.
    pub fn to_record(self) -> String {
        if self == Lock::default() {
            return String::new();
        }
        let hold = self.hold.map_or("-", LegalHold::word);
        match self.retention {
            Some(Retention { mode, until }) => format!("{} {until} {hold}", mode.word()),
            None => format!("- - {hold}"),
        }
    }

    pub fn from_record(record: &str) -> Option<Lock> {
        if record.is_empty() {
            return Some(Lock::default());
        }
        let mut fields = record.split(' ');
        let (mode, until, hold) = (fields.next()?, fields.next()?, fields.next()?);
        let retention = match mode {
            "-" => None,
            mode => Some(Retention { mode: RetentionMode::parse(mode)?, until: until.parse().ok()? }),
        };
        let hold = match hold {
            "-" => None,
            hold => Some(LegalHold::parse(hold)?),
        };
        Some(Lock { retention, hold })
    }

    /// The headers of a read.
    pub fn describe(self, headers: &mut HeaderMap) {
        if let Some(Retention { mode, until }) = self.retention {
            headers.insert(MODE, HeaderValue::from_static(mode.word()));
            if let Ok(until) = HeaderValue::from_str(&crate::clock::iso8601(until)) {
                headers.insert(UNTIL, until);
            }
        }
        if let Some(hold) = self.hold {
            headers.insert(HOLD, HeaderValue::from_static(hold.word()));
        }
    }

    /// Refuses the removal of a version that is locked now.
    pub fn check_removal(self, bypass: Bypass) -> Result<(), S3Error> {
        let held = self.hold == Some(LegalHold::On);
        let retained = self.retention.filter(|retention| is_in_force(*retention)).is_some_and(|retention| {
            retention.mode == RetentionMode::Compliance || bypass == Bypass::Nothing
        });
        if held || retained { Err(denied()) } else { Ok(()) }
    }

    /// Refuses a retention that would protect the version less than what is in force does.
    fn check_change(self, to: Option<Retention>, bypass: Bypass) -> Result<(), S3Error> {
        let Some(now) = self.retention.filter(|retention| is_in_force(*retention)) else { return Ok(()) };
        let extends = to.is_some_and(|to| to.mode == now.mode && to.until >= now.until);
        let may = extends || (now.mode == RetentionMode::Governance && bypass == Bypass::Governance);
        if may { Ok(()) } else { Err(denied()) }
    }
}

fn is_in_force(retention: Retention) -> bool {
    retention.until > crate::clock::now_ms()
}

fn check_future(until: u64) -> Result<(), S3Error> {
    if until > crate::clock::now_ms() {
        return Ok(());
    }
    Err(invalid(UNTIL, "The retain until date must be in the future!"))
}

fn invalid(name: &'static str, message: &'static str) -> S3Error {
    S3Error::new(Code::InvalidArgument, message).detail("ArgumentName", name)
}

fn denied() -> S3Error {
    S3Error::new(Code::AccessDenied, "Access Denied because object protected by object lock.")
}

fn without_lock() -> S3Error {
    S3Error::new(Code::InvalidRequest, "Bucket is missing Object Lock Configuration")
}

/// Whether objects of a bucket can be locked, and how they are by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BucketLock {
    Without,
    Enabled(Option<DefaultRetention>),
}

impl BucketLock {
    /// What CreateBucket asks for.
    pub fn from_headers(headers: &HeaderMap) -> BucketLock {
        match headers.get(ENABLED) {
            Some(value) if value.as_bytes().eq_ignore_ascii_case(b"true") => BucketLock::Enabled(None),
            _ => BucketLock::Without,
        }
    }

    pub fn to_record(self) -> String {
        match self {
            BucketLock::Without => String::new(),
            BucketLock::Enabled(None) => "enabled".to_owned(),
            BucketLock::Enabled(Some(DefaultRetention { mode, period })) => {
                format!("enabled {} {period}", mode.word())
            }
        }
    }

    fn from_record(record: &str) -> Option<BucketLock> {
        match record {
            "" => Some(BucketLock::Without),
            "enabled" => Some(BucketLock::Enabled(None)),
            record => {
                let (mode, period) = record.strip_prefix("enabled ")?.split_once(' ')?;
                let (mode, period) = (RetentionMode::parse(mode)?, Period::parse(period)?);
                Some(BucketLock::Enabled(Some(DefaultRetention { mode, period })))
            }
        }
    }

    pub fn of(connection: &Connection, bucket: BucketRow) -> Result<BucketLock, Failure> {
        let record: String = connection
            .prepare_cached("SELECT object_lock FROM buckets WHERE id = ?1")?
            .query_row([bucket], |row| row.get(0))?;
        Ok(BucketLock::from_record(&record).ok_or(EmbeddedError::Record("a bucket's object lock"))?)
    }

    /// The lock that a new version gets.
    pub fn give(self, asked: Lock) -> Result<Lock, S3Error> {
        match self {
            BucketLock::Without if asked == Lock::default() => Ok(asked),
            BucketLock::Without => Err(without_lock()),
            BucketLock::Enabled(default) => {
                let retention = asked.retention.or(default.map(from_now));
                Ok(Lock { retention, ..asked })
            }
        }
    }

    fn check_enabled(self) -> Result<(), S3Error> {
        if self == BucketLock::Without { Err(without_lock()) } else { Ok(()) }
    }
}

/// Years are those of the calendar. What no calendar has any more is retained to its end.
fn from_now(DefaultRetention { mode, period }: DefaultRetention) -> Retention {
    let span = match period {
        Period::Days(days) => Span::new().try_days(i64::from(days)),
        Period::Years(years) => Span::new().try_years(i64::from(years)),
    };
    let now = Timestamp::from_millisecond(time::now()).unwrap_or(Timestamp::MAX).to_zoned(TimeZone::UTC);
    let until = span.and_then(|span| now.checked_add(span)).map_or(Timestamp::MAX, |until| until.timestamp());
    Retention { mode, until: u64::try_from(until.as_millisecond()).unwrap_or(u64::MAX) }
}

/// GetObjectLockConfiguration.
pub async fn get_configuration(store: &Inner, call: Call) -> Answer {
    store
        .read(move |connection| {
            let bucket = rows::bucket(connection, &call.bucket)?;
            match BucketLock::of(connection, bucket)? {
                BucketLock::Enabled(default) => Ok(xml::response(xml::lock_configuration(default))),
                BucketLock::Without => {
                    let message = "Object Lock configuration does not exist for this bucket";
                    Err(S3Error::new(Code::ObjectLockConfigurationNotFoundError, message).into())
                }
            }
        })
        .await
}

/// PutObjectLockConfiguration. Versions that there are keep the lock that they have.
pub async fn put_configuration(store: &Inner, call: Call, body: Body) -> Answer {
    let document = read(&call, body).await?;
    let default = xml::parse_lock_configuration(&document, Bound(MAX_DOCUMENT))?;
    let work = move |connection: &Connection| {
        let bucket = rows::bucket(connection, &call.bucket)?;
        if BucketLock::of(connection, bucket)? == BucketLock::Without {
            let message = "Object Lock configuration cannot be enabled on existing buckets";
            return Err(S3Error::new(Code::InvalidBucketState, message).into());
        }
        connection
            .prepare_cached("UPDATE buckets SET object_lock = ?2 WHERE id = ?1")?
            .execute(params![bucket, BucketLock::Enabled(default).to_record()])?;
        Ok(Change::new(()))
    };
    store.index.write(Vec::new(), work).await?;
    Ok(Response::new(Body::empty()))
}

/// GetObjectRetention.
pub async fn get_retention(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    shown(store, call, key, |lock| lock.retention.map(xml::retention)).await
}

/// GetObjectLegalHold.
pub async fn get_hold(store: &Inner, call: Call, key: ObjectKey) -> Answer {
    shown(store, call, key, |lock| lock.hold.map(xml::legal_hold)).await
}

async fn shown(
    store: &Inner,
    call: Call,
    key: ObjectKey,
    document: impl FnOnce(Lock) -> Option<String> + Send + 'static,
) -> Answer {
    store
        .read(move |connection| {
            let bucket = rows::bucket(connection, &call.bucket)?;
            BucketLock::of(connection, bucket)?.check_enabled()?;
            let object = versioning::object(connection, bucket, &key, call.version)?;
            let Some(document) = document(object.attributes.lock) else {
                let message = "The specified object does not have a ObjectLock configuration";
                return Err(S3Error::new(Code::NoSuchObjectLockConfiguration, message).into());
            };
            let mut response = xml::response(document);
            insert_version(response.headers_mut(), object.name.as_deref());
            Ok(response)
        })
        .await
}

/// PutObjectRetention.
pub async fn put_retention(store: &Inner, call: Call, key: ObjectKey, body: Body) -> Answer {
    let document = read(&call, body).await?;
    let retention = xml::parse_retention(&document, Bound(MAX_DOCUMENT))?;
    if let Some(Retention { until, .. }) = retention {
        check_future(until)?;
    }
    let bypass = Bypass::of(&call);
    change(store, call, key, move |lock| {
        lock.check_change(retention, bypass)?;
        Ok(Lock { retention, ..lock })
    })
    .await
}

/// PutObjectLegalHold.
pub async fn put_hold(store: &Inner, call: Call, key: ObjectKey, body: Body) -> Answer {
    let document = read(&call, body).await?;
    let hold = xml::parse_legal_hold(&document, Bound(MAX_DOCUMENT))?;
    change(store, call, key, move |lock| Ok(Lock { hold: Some(hold), ..lock })).await
}

async fn change(
    store: &Inner,
    call: Call,
    key: ObjectKey,
    change: impl FnOnce(Lock) -> Result<Lock, S3Error> + Send + 'static,
) -> Answer {
    let work = move |connection: &Connection| {
        let bucket = rows::bucket(connection, &call.bucket)?;
        BucketLock::of(connection, bucket)?.check_enabled()?;
        let object = versioning::object(connection, bucket, &key, call.version)?;
        let lock = change(object.attributes.lock)?;
        connection
            .prepare_cached("UPDATE versions SET object_lock = ?2 WHERE id = ?1")?
            .execute(params![object.version, lock.to_record()])?;
        Ok(Change::new(object.name))
    };
    let name = store.index.write(Vec::new(), work).await?;
    let mut response = Response::new(Body::empty());
    insert_version(response.headers_mut(), name.as_deref());
    Ok(response)
}

async fn read(call: &Call, body: Body) -> Result<Bytes, Failure> {
    let asserted = Asserted::from_headers(&call.headers, call.sha256.as_deref())?;
    collect_document(body, MAX_DOCUMENT, &asserted).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_comes_back_from_its_record() {
        for mode in [RetentionMode::Governance, RetentionMode::Compliance] {
            for hold in [None, Some(LegalHold::On), Some(LegalHold::Off)] {
                for retention in [None, Some(Retention { mode, until: 1_795_404_762_042 })] {
                    let lock = Lock { retention, hold };
                    assert_eq!(Lock::from_record(&lock.to_record()), Some(lock));
                }
            }
            let default = DefaultRetention { mode, period: Period::Years(7) };
            for bucket in [BucketLock::Without, BucketLock::Enabled(None), BucketLock::Enabled(Some(default))]
            {
                assert_eq!(BucketLock::from_record(&bucket.to_record()), Some(bucket));
            }
        }
        for broken in ["GOVERNANCE", "GOVERNANCE x -", "other 1 -", "- - maybe"] {
            assert_eq!(Lock::from_record(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_default_retention_runs_from_the_write_on() {
        let day = 86_400_000;
        let now = crate::clock::now_ms();
        let until = |period| from_now(DefaultRetention { mode: RetentionMode::Governance, period }).until;
        let days = until(Period::Days(10));
        assert!(days >= now + 10 * day && days < now + 11 * day);
        // As many days as the calendar's years have.
        let years = until(Period::Years(4));
        assert!(years >= now + (4 * 365 + 1) * day && years < now + (4 * 365 + 2) * day);
    }
}
