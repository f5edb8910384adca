//! The store's clock and the two date formats of S3. Times are milliseconds since the Unix epoch.

use jiff::Timestamp;
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};

use crate::clock;

pub fn now() -> i64 {
    clock::now_ms() as i64
}

/// `Wed, 21 Oct 2015 07:28:00 GMT` (RFC 9110, section 5.6.7).
pub fn http_date(millis: i64) -> String {
    DateTimePrinter::new().timestamp_to_rfc9110_string(&timestamp(millis)).unwrap_or_default()
}

/// `2015-10-21T07:28:00.000Z`.
pub fn iso_date(millis: i64) -> String {
    clock::iso8601(u64::try_from(millis).unwrap_or_default())
}

/// Whole seconds of an HTTP date; `None` for what is not one, which conditions then ignore.
pub fn parse_http_date(text: &str) -> Option<i64> {
    Some(DateTimeParser::new().parse_timestamp(text).ok()?.as_second())
}

fn timestamp(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
