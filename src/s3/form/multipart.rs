//! `multipart/form-data` (RFC 7578): the fields before the file, then the file's bytes up to the closing boundary.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;

use super::{Fields, FormError};

/// Most bytes of all that comes before the file, a policy among it; S3 takes 20 KB.
const MAX_FIELDS_BYTES: usize = 64 << 10;
const MAX_FIELDS: usize = 200;

/// The boundary of a form, from its `Content-Type`; `None` when it is of another type.
pub fn boundary(content_type: &str) -> Option<Result<&str, FormError>> {
    let (kind, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let value = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim())
    });
    let value = value.map(|value| value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value));
    let fits =
        |value: &&str| (1..=70).contains(&value.len()) && value.bytes().all(|b| (b' '..0x7f).contains(&b));
    Some(value.filter(fits).ok_or(FormError::NotAForm))
}

/// Reads the fields before the file.
pub struct FormParser {
    delimiter: Vec<u8>,
    buffer: BytesMut,
    state: State,
    fields: Fields,
    count: usize,
    bytes: usize,
}

enum State {
    /// Before the first boundary.
    Preamble,
    /// Behind a boundary.
    Boundary,
    Headers,
    Value(String),
}

/// What came of more bytes.
pub enum Progress {
    More(FormParser),
    /// The file has begun: the fields, the bytes of it that are there, and what ends it.
    File {
        fields: Fields,
        begun: Bytes,
        scan: FileScan,
    },
}

impl FormParser {
    pub fn new(boundary: &str) -> FormParser {
        let delimiter = format!("\r\n--{boundary}").into_bytes();
        // The first boundary may be the first line, with no line before it.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        FormParser {
            delimiter,
            buffer,
            state: State::Preamble,
            fields: Fields::default(),
            count: 0,
            bytes: 0,
        }
    }

    /// Takes the next bytes of the body.
    pub fn feed(mut self, bytes: &[u8]) -> Result<Progress, FormError> {
        self.buffer.extend_from_slice(bytes);
        self.bytes += bytes.len();
        loop {
            match &self.state {
                State::Preamble => {
                    let Some(at) = memmem::find(&self.buffer, &self.delimiter) else { break };
                    self.buffer.advance(at + self.delimiter.len());
                    self.state = State::Boundary;
                }
                State::Boundary => {
                    if self.buffer.starts_with(b"--") {
                        return Err(FormError::NoFile);
                    }
                    let Some(end) = memmem::find(&self.buffer, b"\r\n") else { break };
                    if self.buffer.iter().take(end).any(|byte| !matches!(byte, b' ' | b'\t')) {
                        return Err(FormError::NotAForm);
                    }
                    // The line break stays: headers may be none at all.
                    self.buffer.advance(end);
                    self.state = State::Headers;
                }
                State::Headers => {
                    let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") else { break };
                    let head = self.buffer.split_to(end + 4);
                    let Disposition { name, filename } = Disposition::parse(&head)?;
                    self.count += 1;
                    if name.eq_ignore_ascii_case("file") {
                        self.fields.set_filename(filename);
                        let scan = FileScan { delimiter: self.delimiter, carry: Bytes::new(), ended: false };
                        return Ok(Progress::File { fields: self.fields, begun: self.buffer.freeze(), scan });
                    }
                    self.state = State::Value(name);
                }
                State::Value(name) => {
                    // A part without content may end in the line break that closed its headers.
                    let Some(at) = memmem::find(&self.buffer, &self.delimiter) else { break };
                    let value = self.buffer.split_to(at);
                    let value = String::from_utf8(value.to_vec()).map_err(|_| FormError::Part)?;
                    self.fields.add(name, value)?;
                    self.buffer.advance(self.delimiter.len());
                    self.state = State::Boundary;
                }
            }
        }
        let too_long = self.buffer.len() > MAX_FIELDS_BYTES || self.bytes > MAX_FIELDS_BYTES + bytes.len();
        if too_long || self.count > MAX_FIELDS {
            return Err(FormError::TooLong { limit: MAX_FIELDS_BYTES, count: MAX_FIELDS });
        }
        Ok(Progress::More(self))
    }
}

struct Disposition {
    name: String,
    filename: Option<String>,
}

impl Disposition {
    /// Of a part's header lines, each behind a line break.
    fn parse(head: &[u8]) -> Result<Disposition, FormError> {
        let head = std::str::from_utf8(head).map_err(|_| FormError::Part)?;
        let mut lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        let value = lines.find(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition"));
        let (_, value) = value.ok_or(FormError::Part)?;
        let mut disposition = Disposition { name: String::new(), filename: None };
        for (name, value) in parameters(value) {
            match name.to_ascii_lowercase().as_str() {
                "name" => disposition.name = value,
                "filename" => disposition.filename = Some(value),
                _ => {}
            }
        }
        if disposition.name.is_empty() { Err(FormError::Part) } else { Ok(disposition) }
    }
}

/// `form-data; name="key"; filename="a;b.txt"`: what is quoted may hold anything but a bare quote. Browsers write those as
/// `%22`; others escape them.
fn parameters(value: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest);
    while let Some((name, after)) = rest.split_once('=') {
        let after = after.trim_start();
        let (text, behind) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let (text, behind) = after.split_once(';').unwrap_or((after, ""));
                (text.trim().to_owned(), behind)
            }
        };
        found.push((name.trim_matches([' ', '\t', ';']), text));
        rest = behind;
    }
    found
}

fn unquote(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (text.replace("%22", "\""), quoted.get(at + 1..).unwrap_or_default()),
            // A path of old browsers has backslashes that escape nothing.
            '\\' if quoted.get(at + 1..).is_some_and(|next| next.starts_with('"')) => {
                text.push('"');
                characters.next();
            }
            other => text.push(other),
        }
    }
    (text, "")
}

/// Finds the end of the file. What could be the beginning of a boundary is kept back.
pub struct FileScan {
    delimiter: Vec<u8>,
    carry: Bytes,
    ended: bool,
}

impl FileScan {
    /// Bytes of the boundary that ends a file, with the `--` and the line break of the last one.
    pub fn closing_length(&self) -> u64 {
        self.delimiter.len() as u64 + 4
    }

    /// Whether the boundary was seen.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Takes the next bytes of the body; gives those of the file.
    pub fn feed(&mut self, bytes: Bytes, file: &mut VecDeque<Bytes>) {
        if self.ended {
            return;
        }
        let mut bytes = bytes;
        if !self.carry.is_empty() {
            // A boundary may lie across: enough of both is looked at together.
            let mut joint = BytesMut::from(&self.carry[..]);
            joint.extend_from_slice(bytes.get(..bytes.len().min(self.delimiter.len())).unwrap_or_default());
            if let Some(at) = memmem::find(&joint, &self.delimiter) {
                push(file, joint.freeze().slice(..at));
                self.ended = true;
                return;
            }
            if bytes.len() < self.delimiter.len() {
                bytes = joint.freeze();
                self.carry = Bytes::new();
            } else {
                push(file, std::mem::take(&mut self.carry));
            }
        }
        if let Some(at) = memmem::find(&bytes, &self.delimiter) {
            push(file, bytes.slice(..at));
            self.ended = true;
            return;
        }
        let split = bytes.len().saturating_sub(self.delimiter.len() - 1);
        self.carry = bytes.split_off(split);
        push(file, bytes);
    }
}

fn push(file: &mut VecDeque<Bytes>, bytes: Bytes) {
    if !bytes.is_empty() {
        file.push_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields and the file of a form that comes in pieces of this size; `None` for a file that does not end.
    fn read(form: &[u8], piece: usize) -> Result<(Fields, Option<Vec<u8>>), FormError> {
        let mut parser = FormParser::new("b0");
        let mut pieces = form.chunks(piece);
        let (fields, begun, mut scan) = loop {
            let Some(piece) = pieces.next() else { return Err(FormError::NoFile) };
            match parser.feed(piece)? {
                Progress::More(more) => parser = more,
                Progress::File { fields, begun, scan } => break (fields, begun, scan),
            }
        };
        let mut file = VecDeque::new();
        scan.feed(begun, &mut file);
        for piece in pieces {
            scan.feed(Bytes::copy_from_slice(piece), &mut file);
        }
        let file = scan.has_ended().then(|| file.iter().flatten().copied().collect());
        Ok((fields, file))
    }

    const FORM: &[u8] = b"--b0\r\nContent-Disposition: form-data; name=\"Key\"\r\n\r\nin/${filename}\r\n\
        --b0  \r\ncontent-disposition: form-data; name=empty\r\nContent-Type: text/plain\r\n\r\n\r\n\
        --b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\a;\\\"b\\\".txt\"\r\n\r\n\
        \r\n--b\r\n-line\r\n\r\n--b0--\r\n";

    #[test]
    fn fields_and_file_are_the_same_however_the_form_comes_in() {
        for piece in 1..FORM.len() + 1 {
            let (fields, file) = read(FORM, piece).unwrap();
            assert_eq!(fields.get("key"), Some("in/a;\"b\".txt"), "{piece}");
            assert_eq!(fields.get("empty"), Some(""));
            assert_eq!(file.as_deref(), Some(&b"\r\n--b\r\n-line\r\n"[..]), "{piece}");
        }
    }

    #[test]
    fn an_empty_file_is_a_file_and_a_preamble_is_passed_over() {
        let form = b"hello\r\n--b0\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n\r\n--b0--";
        for piece in 1..form.len() + 1 {
            assert_eq!(read(form, piece).unwrap().1.as_deref(), Some(&b""[..]), "{piece}");
        }
    }

    #[test]
    fn a_form_that_is_cut_short_or_has_no_file_is_none() {
        assert_eq!(read(&FORM[..FORM.len() - 8], 7).unwrap().1, None);
        for form in [
            &b"--b0--\r\n"[..],
            b"--b0\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--b0--\r\n",
            b"--b0\r\nContent-Type: text/plain\r\n\r\nk\r\n--b0--\r\n",
            b"--b0x\r\n\r\nk\r\n--b0--\r\n",
            b"--b0\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\n\xff\r\n--b0--\r\n",
            b"--b0\r\nContent-Disposition: form-data; name=\"k\"\r\n\r\n1\r\n--b0\r\nContent-Disposition: form-data; name=\"K\"\r\n\r\n2\r\n--b0--\r\n",
        ] {
            assert!(read(form, 11).is_err(), "{}", String::from_utf8_lossy(form));
        }
    }

    #[test]
    fn what_comes_before_the_file_is_bounded() {
        let mut form = b"--b0\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n".to_vec();
        form.resize(form.len() + MAX_FIELDS_BYTES + 100, b'x');
        assert!(matches!(read(&form, 1000), Err(FormError::TooLong { .. })));
        let many = "--b0\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\r\n";
        let many: String = (0..=MAX_FIELDS).map(|n| many.replace("\"a\"", &format!("a{n}"))).collect();
        assert!(matches!(read(many.as_bytes(), 1000), Err(FormError::TooLong { .. })));
    }

    #[test]
    fn the_boundary_is_in_the_content_type() {
        assert_eq!(boundary("multipart/form-data; boundary=b0"), Some(Ok("b0")));
        assert_eq!(boundary("Multipart/Form-Data; charset=utf-8; Boundary=\"b 0\""), Some(Ok("b 0")));
        assert_eq!(boundary("multipart/form-data"), Some(Err(FormError::NotAForm)));
        assert_eq!(boundary("multipart/form-data; boundary="), Some(Err(FormError::NotAForm)));
        assert_eq!(boundary("text/xml; boundary=b0"), None);
    }
}
