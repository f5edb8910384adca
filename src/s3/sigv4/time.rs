//! Dates as SigV4 writes them: `20130524T000000Z`.

use std::time::SystemTime;

use jiff::civil::DateTime;
use jiff::tz::Offset;

/// A second in time, with its ISO 8601 basic form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    text: String,
    /// Seconds since 1970, negative before.
    pub(super) unix: i64,
}

impl Moment {
    /// The value of `x-amz-date` or `X-Amz-Date`.
    pub(super) fn parse_basic(text: &[u8]) -> Option<Moment> {
        let text: &[u8; 16] = text.try_into().ok()?;
        if text[8] != b'T' || text[15] != b'Z' {
            return None;
        }
        let number = |digits: &[u8]| {
            digits.iter().try_fold(0i16, |sum, digit| {
                digit.is_ascii_digit().then(|| sum * 10 + i16::from(digit - b'0'))
            })
        };
        let small = |digits: &[u8]| number(digits).map(|n| n as i8);
        let civil = DateTime::new(
            number(&text[..4])?,
            small(&text[4..6])?,
            small(&text[6..8])?,
            small(&text[9..11])?,
            small(&text[11..13])?,
            small(&text[13..15])?,
            0,
        )
        .ok()?;
        let unix = Offset::UTC.to_timestamp(civil).ok()?.as_second();
        Some(Moment { text: String::from_utf8(text.to_vec()).ok()?, unix })
    }

    /// The value of `Date`: RFC 1123, or the basic form, which some clients send there too.
    pub(super) fn parse_date_header(text: &[u8]) -> Option<Moment> {
        Moment::parse_basic(text).or_else(|| {
            let text = std::str::from_utf8(text).ok()?;
            Moment::from_timestamp(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
        })
    }

    pub(super) fn from_system(time: SystemTime) -> Option<Moment> {
        Moment::from_timestamp(jiff::Timestamp::try_from(time).ok()?)
    }

    fn from_timestamp(timestamp: jiff::Timestamp) -> Option<Moment> {
        let civil = Offset::UTC.to_datetime(timestamp);
        let year = u16::try_from(civil.year()).ok()?;
        let text = format!(
            "{year:04}{:02}{:02}T{:02}{:02}{:02}Z",
            civil.month(),
            civil.day(),
            civil.hour(),
            civil.minute(),
            civil.second()
        );
        Moment::parse_basic(text.as_bytes())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The day, `20130524`.
    pub(super) fn date(&self) -> &str {
        self.text.get(..8).unwrap_or_default()
    }
}

/// Whole seconds since 1970.
pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    jiff::Timestamp::try_from(time).map_or(i64::MAX, jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_date_are_the_same_moment() {
        let basic = Moment::parse_basic(b"20130524T000000Z").unwrap();
        assert_eq!(basic.unix, 1_369_353_600);
        assert_eq!(Moment::parse_date_header(b"Fri, 24 May 2013 00:00:00 GMT"), Some(basic.clone()));
        assert_eq!(basic.date(), "20130524");
    }

    #[test]
    fn what_is_not_a_date_is_none() {
        for text in ["", "20130524T000000", "20131324T000000Z", "20130230T000000Z", "2013-05-24T00:00:00Z"] {
            assert_eq!(Moment::parse_basic(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Moment::parse_basic(b"20130524T250000Z"), None);
        assert_eq!(Moment::parse_basic("2013052\u{e9}T00000Z".as_bytes()), None);
        assert_eq!(Moment::parse_date_header(b"yesterday"), None);
    }
}
