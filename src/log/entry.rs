//! The bytes of a log entry: written once, hashed as they are, read back for people and reports.
//!
//! JSON with sorted ASCII keys, integers only and no nulls, which makes the bytes equal to RFC 8785. A verifier
//! hashes the stored bytes and never writes them again. Not here: the Merkle tree, the storage and the
//! keys; this file does no I/O beyond drawing random bytes for a salt.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use serde::Deserialize;

use super::{EntryDraft, Event, Place, SealedFacts};
use crate::catalogue::ObjectId;
use crate::names::Country;
use crate::random;

/// The longest entry that an entry bundle can hold (tlog-tiles: the length is a 16-bit number).
pub const MAX_BYTES: usize = 65_535;
/// The version of the format: the entry's `v`.
pub const FORMAT_VERSION: u64 = 1;
/// Longer lists of rules, obligations and mechanisms end in one item that counts the rest.
pub const MAX_LIST: usize = 64;
/// Longer ids and request ids are cut, and end in `…`.
pub const MAX_TEXT_BYTES: usize = 256;

/// What the log adds to a draft.
#[derive(Debug, Clone)]
pub struct Stamp<'a> {
    pub node: &'a str,
    /// Milliseconds since the Unix epoch.
    pub time: u64,
    /// Makes the leaf hash useless for guessing at the content.
    pub nonce: [u8; 16],
    /// See [`Opening::commitment`].
    pub commitment: Option<[u8; 32]>,
    /// Index of the previous entry of the same object in the same log.
    pub previous: Option<u64>,
}

/// Why there is no entry, or none that can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error("the entry would have {0} bytes; the format's limit is {MAX_BYTES}")]
    TooLong(usize),
    #[error("the entry names {0} locations; the limit is {MAX_LIST}")]
    TooManyPlaces(usize),
    #[error("no random bytes could be had for the entry")]
    NoRandom,
    #[error("the entry is not JSON of the expected shape")]
    Malformed,
    #[error("the entry's field `{0}` cannot be read")]
    Field(&'static str),
    #[error("the entry has format version {0}; this program reads {FORMAT_VERSION}")]
    Version(u64),
}

/// The leaf bytes of a draft.
pub fn encode(draft: &EntryDraft, stamp: &Stamp<'_>) -> Result<Vec<u8>, EntryError> {
    let places = draft.from.len().max(draft.to.len());
    if places > MAX_LIST {
        return Err(EntryError::TooManyPlaces(places));
    }
    let mut json = Json::with_capacity(640);
    // In the order of the keys: RFC 8785 sorts them.
    json.open('{');
    if let Some(commitment) = &stamp.commitment {
        json.key("cmt").base64(commitment);
    }
    decision(&mut json, draft);
    json.key("ev").text(draft.event.word());
    place_list(&mut json, "from", &draft.from);
    if !draft.classes.is_empty() {
        json.key("lbl").list(sorted(draft.classes.iter().map(|class| class.name())));
    }
    json.key("n").base64(&stamp.nonce);
    json.key("node").short_text(stamp.node);
    if let Some(ObjectId(id)) = &draft.object {
        json.key("oid").base64(id);
    }
    if !draft.decision.policy.is_empty() {
        json.key("pol").short_text(&draft.decision.policy);
    }
    if let Some(previous) = stamp.previous {
        json.key("prev").number(previous);
    }
    if !draft.request.is_empty() {
        json.key("req").short_text(&draft.request);
    }
    if !draft.subjects.is_empty() {
        json.key("sub").list(draft.subjects.iter().map(|country| country.code()));
    }
    json.key("t").number(stamp.time);
    place_list(&mut json, "to", &draft.to);
    json.key("v").number(FORMAT_VERSION);
    if let Some(transfer) = &draft.transfer {
        json.key("xfer").base64(transfer);
    }
    json.close('}');
    let bytes = json.0.into_bytes();
    if bytes.len() > MAX_BYTES { Err(EntryError::TooLong(bytes.len())) } else { Ok(bytes) }
}

fn decision(json: &mut Json, draft: &EntryDraft) {
    let facts = &draft.decision;
    let lists =
        [("mechanisms", &facts.mechanisms), ("obligations", &facts.obligations), ("rules", &facts.rules)];
    if facts.effect.is_empty() && lists.iter().all(|(_, list)| list.is_empty()) {
        return;
    }
    json.key("dec").open('{');
    if !facts.effect.is_empty() {
        json.key("effect").short_text(&facts.effect);
    }
    for (name, list) in lists {
        if !list.is_empty() {
            json.key(name).bounded_list(list);
        }
    }
    json.close('}');
}

fn place_list(json: &mut Json, name: &'static str, places: &[Place]) {
    if places.is_empty() {
        return;
    }
    json.key(name).open('[');
    for place in places {
        json.item().open('{');
        json.key("country").text(place.country.code());
        json.key("location").short_text(&place.location);
        json.key("region").short_text(&place.region);
        json.close('}');
    }
    json.close(']');
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.into_iter()
}

/// A JSON text under construction. The caller writes keys in order; commas fall where they must.
struct Json(String);

impl Json {
    fn with_capacity(bytes: usize) -> Self {
        Json(String::with_capacity(bytes))
    }

    fn open(&mut self, bracket: char) {
        self.0.push(bracket);
    }

    fn close(&mut self, bracket: char) {
        self.0.push(bracket);
    }

    fn item(&mut self) -> &mut Self {
        if !self.0.ends_with(['{', '[']) {
            self.0.push(',');
        }
        self
    }

    fn key(&mut self, name: &'static str) -> &mut Self {
        self.item().text(name);
        self.0.push(':');
        self
    }

    fn number(&mut self, value: u64) {
        self.0.push_str(&value.to_string());
    }

    fn base64(&mut self, bytes: &[u8]) {
        self.0.push('"');
        BASE64.encode_string(bytes, &mut self.0);
        self.0.push('"');
    }

    fn list<'a>(&mut self, items: impl Iterator<Item = &'a str>) {
        self.open('[');
        for item in items {
            self.item().short_text(item);
        }
        self.close(']');
    }

    fn bounded_list(&mut self, items: &[String]) {
        if items.len() <= MAX_LIST {
            self.list(items.iter().map(String::as_str));
        } else {
            let rest = format!("and {} more", items.len() - (MAX_LIST - 1));
            self.list(items.iter().take(MAX_LIST - 1).map(String::as_str).chain([rest.as_str()]));
        }
    }

    fn short_text(&mut self, text: &str) {
        if text.len() <= MAX_TEXT_BYTES {
            self.text(text);
        } else {
            let end = text.floor_char_boundary(MAX_TEXT_BYTES - '…'.len_utf8());
            self.text(&format!("{}…", text.get(..end).unwrap_or_default()));
        }
    }

    /// RFC 8785 section 3.2.2.2: short escapes where JSON has them, `\u00xx` for other controls, all else as it is.
    fn text(&mut self, text: &str) {
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\u{8}' => self.0.push_str("\\b"),
                '\t' => self.0.push_str("\\t"),
                '\n' => self.0.push_str("\\n"),
                '\u{c}' => self.0.push_str("\\f"),
                '\r' => self.0.push_str("\\r"),
                c if c < '\u{20}' => self.0.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }
}

/// What a commitment commits to: the names of an entry and the salt that keeps them from being guessed.
/// It lies in the sealed sidecar only; whoever holds it can check the entry's `cmt`.
#[derive(Clone, PartialEq, Eq)]
pub struct Opening {
    pub salt: [u8; 32],
    pub facts: SealedFacts,
}

impl Opening {
    pub fn new(facts: SealedFacts) -> Result<Self, EntryError> {
        let salt = random::try_bytes().map_err(|_| EntryError::NoRandom)?;
        Ok(Opening { salt, facts })
    }

    /// SHA-256(salt || canonical JSON of the facts).
    pub fn commitment(&self) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.salt);
        context.update(canonical(&self.facts).as_bytes());
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(context.finish().as_ref()) {
            *to = *from;
        }
        hash
    }

    /// The plaintext of a sidecar record: the salt, then the JSON that the commitment is over.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.salt.to_vec();
        bytes.extend_from_slice(canonical(&self.facts).as_bytes());
        bytes
    }

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Facts {
            address: Option<String>,
            approver: Option<String>,
            author: Option<String>,
            bucket: Option<String>,
            etag: Option<String>,
            key: Option<String>,
            principal: Option<String>,
            reason: Option<String>,
            version: Option<String>,
        }
        let (salt, json) = bytes.split_first_chunk().ok_or(EntryError::Malformed)?;
        let facts: Facts = serde_json::from_slice(json).map_err(|_| EntryError::Malformed)?;
        let facts = SealedFacts {
            bucket: facts.bucket,
            key: facts.key,
            version: facts.version,
            etag: facts.etag,
            principal: facts.principal,
            address: facts.address,
            author: facts.author,
            approver: facts.approver,
            reason: facts.reason,
        };
        Ok(Opening { salt: *salt, facts })
    }
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<opening>")
    }
}

fn canonical(facts: &SealedFacts) -> String {
    let mut json = Json::with_capacity(256);
    json.open('{');
    let fields = [
        ("address", &facts.address),
        ("approver", &facts.approver),
        ("author", &facts.author),
        ("bucket", &facts.bucket),
        ("etag", &facts.etag),
        ("key", &facts.key),
        ("principal", &facts.principal),
        ("reason", &facts.reason),
        ("version", &facts.version),
    ];
    for (name, value) in fields {
        if let Some(value) = value {
            json.key(name).text(value);
        }
    }
    json.close('}');
    json.0
}

/// A stored entry, read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub event: Event,
    pub time: u64,
    pub node: String,
    pub nonce: [u8; 16],
    pub object: Option<ObjectId>,
    pub commitment: Option<[u8; 32]>,
    pub previous: Option<u64>,
    pub transfer: Option<[u8; 16]>,
    /// Class names as they were logged: a reader may be older than the taxonomy of the writer.
    pub classes: Vec<String>,
    pub subjects: Vec<Country>,
    pub effect: String,
    pub rules: Vec<String>,
    pub obligations: Vec<String>,
    pub mechanisms: Vec<String>,
    pub policy: String,
    pub from: Vec<Place>,
    pub to: Vec<Place>,
    pub request: String,
}

impl Entry {
    /// Reads the bytes of an entry. Fields that it does not know are passed over.
    pub fn parse(bytes: &[u8]) -> Result<Entry, EntryError> {
        let raw: Raw = serde_json::from_slice(bytes).map_err(|_| EntryError::Malformed)?;
        if raw.v != FORMAT_VERSION {
            return Err(EntryError::Version(raw.v));
        }
        let dec = raw.dec.unwrap_or_default();
        let optional = |name, text: Option<String>| text.map(|text| fixed(name, &text)).transpose();
        Ok(Entry {
            event: raw.ev.parse().map_err(|_| EntryError::Field("ev"))?,
            time: raw.t,
            node: raw.node,
            nonce: fixed("n", &raw.n)?,
            object: optional("oid", raw.oid)?.map(ObjectId),
            commitment: raw.cmt.map(|text| fixed("cmt", &text)).transpose()?,
            previous: raw.prev,
            transfer: optional("xfer", raw.xfer)?,
            classes: raw.lbl,
            subjects: raw.sub,
            effect: dec.effect,
            rules: dec.rules,
            obligations: dec.obligations,
            mechanisms: dec.mechanisms,
            policy: raw.pol,
            from: raw.from.into_iter().map(Into::into).collect(),
            to: raw.to.into_iter().map(Into::into).collect(),
            request: raw.req,
        })
    }
}

#[derive(Deserialize)]
struct Raw {
    cmt: Option<String>,
    dec: Option<RawDecision>,
    ev: String,
    #[serde(default)]
    from: Vec<RawPlace>,
    #[serde(default)]
    lbl: Vec<String>,
    n: String,
    node: String,
    oid: Option<String>,
    #[serde(default)]
    pol: String,
    prev: Option<u64>,
    #[serde(default)]
    req: String,
    #[serde(default)]
    sub: Vec<Country>,
    t: u64,
    #[serde(default)]
    to: Vec<RawPlace>,
    v: u64,
    xfer: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawDecision {
    effect: String,
    mechanisms: Vec<String>,
    obligations: Vec<String>,
    rules: Vec<String>,
}

#[derive(Deserialize)]
struct RawPlace {
    country: Country,
    location: String,
    region: String,
}

impl From<RawPlace> for Place {
    fn from(raw: RawPlace) -> Self {
        Place { location: raw.location, country: raw.country, region: raw.region }
    }
}

fn fixed<const N: usize>(name: &'static str, text: &str) -> Result<[u8; N], EntryError> {
    let bytes = BASE64.decode(text).map_err(|_| EntryError::Field(name))?;
    bytes.try_into().map_err(|_| EntryError::Field(name))
}

#[cfg(test)]
mod tests;
