//! Validated names: countries, locations, buckets, keys, apps.
//!
//! Each is a type of its own, made only by parsing, so that a bucket can never be passed where a key
//! is meant and nothing downstream checks a name twice.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a name was refused. The text names the limit, so that it can be shown to a user as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("`{0}` is not an ISO 3166-1 alpha-2 country code in upper case")]
    Country(String),
    #[error("`{0}` is not a location id: 1 to 63 of a-z, 0-9 and `-`, starting with a letter")]
    Location(String),
    #[error("`{0}` is not a bucket name: 3 to 63 of a-z, 0-9, `.` and `-`, first and last a letter or digit")]
    Bucket(String),
    #[error("an object key is 1 to 1024 bytes of UTF-8; this one has {0}")]
    KeyLength(usize),
    #[error("`{0}` is not an app id: 1 to 63 of a-z, 0-9, `.`, `_` and `-`")]
    App(String),
}

/// A country of ISO 3166-1, held as its index in the sorted table of alpha-2 codes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country(u8);

impl Country {
    /// How many countries ISO 3166-1 names; every [`Country::index`] is below it.
    pub const COUNT: usize = CODES.len();

    /// Position in the sorted table of codes, `0..COUNT`.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The alpha-2 code, for example `CN`.
    pub fn code(self) -> &'static str {
        std::str::from_utf8(&CODES[self.index()]).unwrap_or("ZZ")
    }

    /// All countries in code order.
    pub fn all() -> impl Iterator<Item = Country> {
        (0..CODES.len()).map(|index| Country(index as u8))
    }
}

impl FromStr for Country {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = || NameError::Country(shorten(text));
        let code: [u8; 2] = text.as_bytes().try_into().map_err(|_| refuse())?;
        let index = CODES.binary_search(&code).map_err(|_| refuse())?;
        Ok(Country(index as u8))
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

/// A set of countries as one bit for each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct CountrySet([u64; 4]);

impl CountrySet {
    pub const EMPTY: CountrySet = CountrySet([0; 4]);

    pub fn insert(&mut self, country: Country) {
        self.0[country.index() / 64] |= 1 << (country.index() % 64);
    }

    pub fn contains(&self, country: Country) -> bool {
        self.0[country.index() / 64] & (1 << (country.index() % 64)) != 0
    }

    pub fn is_empty(&self) -> bool {
        self.0 == [0; 4]
    }

    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    #[must_use]
    pub fn union(mut self, other: CountrySet) -> CountrySet {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine |= theirs;
        }
        self
    }

    /// The countries of `self` that `other` does not hold.
    #[must_use]
    pub fn difference(mut self, other: CountrySet) -> CountrySet {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine &= !theirs;
        }
        self
    }

    /// Whether the two have a country in common.
    pub fn meets(&self, other: &CountrySet) -> bool {
        self.0.iter().zip(other.0).fold(0, |common, (mine, theirs)| common | (mine & theirs)) != 0
    }

    /// Whether every member is one of `other`.
    pub fn is_subset(&self, other: &CountrySet) -> bool {
        self.0.iter().zip(other.0).fold(0, |more, (mine, theirs)| more | (mine & !theirs)) == 0
    }

    /// One bit for each country, by [`Country::index`].
    pub fn bits(&self) -> [u64; 4] {
        self.0
    }

    /// The members in code order.
    pub fn iter(&self) -> impl Iterator<Item = Country> + use<> {
        self.0.into_iter().zip(0u8..).flat_map(|(word, n)| ones(word).map(move |bit| Country(64 * n + bit)))
    }
}

/// Positions of the bits that are set, lowest first.
fn ones(mut word: u64) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let lowest = word.trailing_zeros();
        word &= word.wrapping_sub(1);
        // At most 63: a word without any bit has 64 zeros.
        u8::try_from(lowest).ok().filter(|bit| *bit < 64)
    })
}

impl FromIterator<Country> for CountrySet {
    fn from_iter<I: IntoIterator<Item = Country>>(countries: I) -> Self {
        let mut set = CountrySet::EMPTY;
        for country in countries {
            set.insert(country);
        }
        set
    }
}

impl fmt::Debug for CountrySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $error:ident, $valid:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) {
                    Ok($name(text.into()))
                } else {
                    Err(NameError::$error(shorten(text)))
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

text_name!(
    /// The id of a location in the configuration, for example `cn-north`.
    LocationId, Location, |text| {
        (1..=63).contains(&text.len())
            && text.as_bytes()[0].is_ascii_lowercase()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

text_name!(
    /// A bucket name by the S3 rules for general purpose buckets.
    BucketName, Bucket, |text| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        (3..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-')
            && edge(text.bytes().next())
            && edge(text.bytes().next_back())
            && !text.contains("..")
            && text.parse::<std::net::Ipv4Addr>().is_err()
    }
);

text_name!(
    /// The id of an app: who signs the requests, as the operator named it.
    AppId, App, |text| {
        (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b))
    }
);

/// An object key: 1 to 1024 bytes of UTF-8, otherwise unrestricted (S3 user guide, "Naming objects").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey(Arc<str>);

impl ObjectKey {
    pub const MAX_BYTES: usize = 1024;

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the key, read as a path below its bucket's folder, leads out of it and on to something else:
    /// `../other/key`, `a/../../other/key`. A server that keeps objects as files may read it so.
    ///
    /// S3 itself refuses such keys ("Naming Amazon S3 objects": relative path elements may never outnumber the others).
    pub fn leads_out_of_its_bucket(&self) -> bool {
        let mut depth = 0_usize;
        let mut is_outside = false;
        for segment in self.0.split('/') {
            match segment {
                "" | "." => {}
                ".." if depth > 0 => depth -= 1,
                ".." => is_outside = true,
                _ if is_outside => return true,
                _ => depth += 1,
            }
        }
        false
    }
}

impl FromStr for ObjectKey {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if (1..=Self::MAX_BYTES).contains(&text.len()) {
            Ok(ObjectKey(text.into()))
        } else {
            Err(NameError::KeyLength(text.len()))
        }
    }
}

/// Keys are personal data: they print only where somebody asks for `as_str`.
impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<key of {} bytes>", self.0.len())
    }
}

/// Who a reader is to the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReaderEntity {
    /// Staff or systems of the operator itself.
    Same,
    /// Anybody else; also who is not known.
    #[default]
    Other,
    /// A court or agency of the reader's country.
    Authority,
}

impl ReaderEntity {
    /// As scenarios have it.
    pub fn word(self) -> &'static str {
        match self {
            ReaderEntity::Same => "same",
            ReaderEntity::Other => "other",
            ReaderEntity::Authority => "authority",
        }
    }
}

macro_rules! serde_as_text {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
serde_as_text!(Country, LocationId, BucketName, AppId);

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

const CODES: [[u8; 2]; 249] = [
    *b"AD", *b"AE", *b"AF", *b"AG", *b"AI", *b"AL", *b"AM", *b"AO", *b"AQ", *b"AR", *b"AS", *b"AT", *b"AU",
    *b"AW", *b"AX", *b"AZ", *b"BA", *b"BB", *b"BD", *b"BE", *b"BF", *b"BG", *b"BH", *b"BI", *b"BJ", *b"BL",
    *b"BM", *b"BN", *b"BO", *b"BQ", *b"BR", *b"BS", *b"BT", *b"BV", *b"BW", *b"BY", *b"BZ", *b"CA", *b"CC",
    *b"CD", *b"CF", *b"CG", *b"CH", *b"CI", *b"CK", *b"CL", *b"CM", *b"CN", *b"CO", *b"CR", *b"CU", *b"CV",
    *b"CW", *b"CX", *b"CY", *b"CZ", *b"DE", *b"DJ", *b"DK", *b"DM", *b"DO", *b"DZ", *b"EC", *b"EE", *b"EG",
    *b"EH", *b"ER", *b"ES", *b"ET", *b"FI", *b"FJ", *b"FK", *b"FM", *b"FO", *b"FR", *b"GA", *b"GB", *b"GD",
    *b"GE", *b"GF", *b"GG", *b"GH", *b"GI", *b"GL", *b"GM", *b"GN", *b"GP", *b"GQ", *b"GR", *b"GS", *b"GT",
    *b"GU", *b"GW", *b"GY", *b"HK", *b"HM", *b"HN", *b"HR", *b"HT", *b"HU", *b"ID", *b"IE", *b"IL", *b"IM",
    *b"IN", *b"IO", *b"IQ", *b"IR", *b"IS", *b"IT", *b"JE", *b"JM", *b"JO", *b"JP", *b"KE", *b"KG", *b"KH",
    *b"KI", *b"KM", *b"KN", *b"KP", *b"KR", *b"KW", *b"KY", *b"KZ", *b"LA", *b"LB", *b"LC", *b"LI", *b"LK",
    *b"LR", *b"LS", *b"LT", *b"LU", *b"LV", *b"LY", *b"MA", *b"MC", *b"MD", *b"ME", *b"MF", *b"MG", *b"MH",
    *b"MK", *b"ML", *b"MM", *b"MN", *b"MO", *b"MP", *b"MQ", *b"MR", *b"MS", *b"MT", *b"MU", *b"MV", *b"MW",
    *b"MX", *b"MY", *b"MZ", *b"NA", *b"NC", *b"NE", *b"NF", *b"NG", *b"NI", *b"NL", *b"NO", *b"NP", *b"NR",
    *b"NU", *b"NZ", *b"OM", *b"PA", *b"PE", *b"PF", *b"PG", *b"PH", *b"PK", *b"PL", *b"PM", *b"PN", *b"PR",
    *b"PS", *b"PT", *b"PW", *b"PY", *b"QA", *b"RE", *b"RO", *b"RS", *b"RU", *b"RW", *b"SA", *b"SB", *b"SC",
    *b"SD", *b"SE", *b"SG", *b"SH", *b"SI", *b"SJ", *b"SK", *b"SL", *b"SM", *b"SN", *b"SO", *b"SR", *b"SS",
    *b"ST", *b"SV", *b"SX", *b"SY", *b"SZ", *b"TC", *b"TD", *b"TF", *b"TG", *b"TH", *b"TJ", *b"TK", *b"TL",
    *b"TM", *b"TN", *b"TO", *b"TR", *b"TT", *b"TV", *b"TW", *b"TZ", *b"UA", *b"UG", *b"UM", *b"US", *b"UY",
    *b"UZ", *b"VA", *b"VC", *b"VE", *b"VG", *b"VI", *b"VN", *b"VU", *b"WF", *b"WS", *b"YE", *b"YT", *b"ZA",
    *b"ZM", *b"ZW",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_leads_to_another_bucket_is_told_from_one_that_merely_looks_odd() {
        let leads_out = |key: &str| key.parse::<ObjectKey>().unwrap().leads_out_of_its_bucket();
        for key in
            ["../b/k", "../b", "a/../../b", "/../b", "//..//b", "./../b", "a/b/../../../c/d", "../b/.."]
        {
            assert!(leads_out(key), "{key}");
        }
        for key in [
            "..",
            "a/../b",
            "a/b/../../c",
            "../",
            "a/../..",
            "...",
            "..a/b",
            "a..",
            ".../b",
            "..%2fb",
            "..\\b",
            "/",
        ] {
            assert!(!leads_out(key), "{key}");
        }
    }

    #[test]
    fn every_code_parses_back_to_itself() {
        for country in Country::all() {
            assert_eq!(country.code().parse::<Country>(), Ok(country));
        }
        assert_eq!(Country::all().count(), 249);
    }

    #[test]
    fn a_country_that_iso_does_not_name_is_refused() {
        for text in ["", "cn", "CHN", "XX", "EU", "C", "Ü"] {
            assert!(text.parse::<Country>().is_err(), "{text}");
        }
    }

    #[test]
    fn bucket_names_follow_the_s3_rules() {
        for good in ["abc", "a-b.c", "0ab", &"a".repeat(63)] {
            assert!(good.parse::<BucketName>().is_ok(), "{good}");
        }
        for bad in ["", "ab", "Abc", "a_b", "-ab", "ab-", "a..b", "192.168.0.1", &"a".repeat(64)] {
            assert!(bad.parse::<BucketName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_key_never_prints_itself_by_accident() {
        let key: ObjectKey = "patients/li-lei.pdf".parse().unwrap();
        assert!(!format!("{key:?}").contains("li-lei"));
    }

    #[test]
    fn country_sets_hold_what_was_put_in() {
        let cn: Country = "CN".parse().unwrap();
        let zw: Country = "ZW".parse().unwrap();
        let set: CountrySet = [cn, zw].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [cn, zw]);
        assert_eq!(set.difference([cn].into_iter().collect()).iter().collect::<Vec<_>>(), [zw]);
    }
}
