//! The wall clock in milliseconds since the Unix epoch, and how S3 writes such a time.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now; 0 on a clock that stands before the epoch. Always fits an `i64`.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX) & (i64::MAX as u64)
}

/// As S3 writes times, for example `2026-11-23T03:32:42.000Z`.
pub fn iso8601(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_look_like_those_of_s3() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(iso8601(1_795_404_762_042), "2026-11-23T03:32:42.042Z");
        assert!(iso8601(u64::MAX).ends_with('Z'));
    }
}
