//! UTF-16 text, known by its byte order mark, made UTF-8 as it streams.

use super::{Findings, Stream};

/// A second reading of a stream, for as long as it may be UTF-16.
#[derive(Default)]
pub enum Utf16 {
    /// No byte has come yet.
    #[default]
    Start,
    /// One byte has come that a mark may start with.
    Mark(u8),
    /// Something else.
    No,
    Yes(Box<Decoder>),
}

/// Which byte of a code unit comes first.
#[derive(Clone, Copy)]
enum Order {
    Big,
    Little,
}

pub struct Decoder {
    order: Order,
    /// The first byte of a code unit that was cut in two.
    half: Option<u8>,
    text: Stream,
}

impl Utf16 {
    pub fn feed(&mut self, mut chunk: &[u8]) {
        while let Utf16::Start | Utf16::Mark(_) = self {
            let Some((byte, rest)) = chunk.split_first() else { return };
            chunk = rest;
            *self = match (&*self, byte) {
                (Utf16::Start, 0xfe | 0xff) => Utf16::Mark(*byte),
                (Utf16::Mark(0xfe), 0xff) => Utf16::Yes(Box::new(Decoder::new(Order::Big))),
                (Utf16::Mark(0xff), 0xfe) => Utf16::Yes(Box::new(Decoder::new(Order::Little))),
                _ => Utf16::No,
            };
        }
        if let Utf16::Yes(decoder) = self {
            decoder.feed(chunk);
        }
    }

    pub fn findings_so_far(&self) -> Findings {
        match self {
            Utf16::Yes(decoder) => decoder.text.clone_detectors_at_end().findings(),
            _ => Findings::default(),
        }
    }

    pub fn settled_findings(&self) -> Findings {
        match self {
            Utf16::Yes(decoder) => decoder.text.detectors.findings(),
            _ => Findings::default(),
        }
    }

    pub fn finish(self) -> Findings {
        match self {
            Utf16::Yes(decoder) => decoder.text.finish(),
            _ => Findings::default(),
        }
    }
}

impl Decoder {
    /// Most bytes decoded at a time. A code unit of two bytes becomes at most three.
    const PIECE: usize = 2 * 1024;

    fn new(order: Order) -> Decoder {
        Decoder { order, half: None, text: Stream::default() }
    }

    fn feed(&mut self, mut chunk: &[u8]) {
        if let (Some(first), Some((second, rest))) = (self.half, chunk.split_first()) {
            self.half = None;
            self.take(&[[first, *second]]);
            chunk = rest;
        }
        let (pairs, odd) = chunk.as_chunks::<2>();
        for piece in pairs.chunks(Self::PIECE / 2) {
            self.take(piece);
        }
        if let [first] = odd {
            self.half = Some(*first);
        }
    }

    fn take(&mut self, pairs: &[[u8; 2]]) {
        let mut decoded = [0; Self::PIECE / 2 * 3];
        let mut length = 0;
        for pair in pairs {
            let unit = match self.order {
                Order::Big => u16::from_be_bytes(*pair),
                Order::Little => u16::from_le_bytes(*pair),
            };
            // Halves of surrogate pairs are in no identifier and no word that is looked for.
            let character = char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER);
            if let Some(room) = decoded.get_mut(length..length + 3) {
                length += character.encode_utf8(room).len();
            }
        }
        self.text.feed(decoded.get(..length).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use crate::label::Labels;
    use crate::label::scanner::Scanner;

    fn encode(text: &str, order: fn(u16) -> [u8; 2]) -> Vec<u8> {
        format!("\u{feff}{text}").encode_utf16().flat_map(order).collect()
    }

    fn labels(stream: &[u8], size: usize) -> String {
        let mut scanner = Scanner::new();
        for piece in stream.chunks(size) {
            scanner.feed(piece);
        }
        let so_far = scanner.findings_so_far();
        let findings = scanner.finish();
        assert_eq!(findings, so_far);
        let mut labels = Labels::default();
        findings.apply(&mut labels);
        labels.to_string()
    }

    #[test]
    fn text_with_a_mark_is_read_in_either_order_however_it_is_cut() {
        let text = format!("{}\n身份证：110105491231002 \u{1f600}", "- \u{1f600} ".repeat(3000));
        for order in [u16::to_be_bytes, u16::to_le_bytes] {
            let stream = encode(&text, order);
            for size in [1, 2, 3, 1000, 4097, usize::MAX] {
                assert_eq!(labels(&stream, size), "personal.gov_id;CN", "{size}");
            }
        }
    }

    #[test]
    fn a_column_name_counts_in_utf_16_too() {
        let table = "name,e-mail\r\nLi,li.wei@163.com\r\n";
        assert_eq!(labels(&encode(table, u16::to_le_bytes), 7), "personal");
    }

    #[test]
    fn a_mark_before_other_text_does_not_hide_it() {
        for mark in [[0xff, 0xfe], [0xfe, 0xff]] {
            let stream = [mark.as_slice(), b" card 4539578763621486"].concat();
            assert_eq!(labels(&stream, 5), "financial.payment");
        }
    }

    #[test]
    fn a_stream_that_stops_within_its_mark_holds_nothing() {
        for stream in [&b""[..], b"\xff", b"\xfe\xff", b"\xff\xfe\x31"] {
            assert_eq!(labels(stream, 1), "unlabelled");
        }
    }
}
