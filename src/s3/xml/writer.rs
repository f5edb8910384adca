//! Writes documents: elements that always close, and text that cannot break out.

use std::fmt::{Display, Write as _};

use super::NAMESPACE;
use crate::s3::listing::Encoding;

/// A document in the making.
pub struct Writer {
    out: String,
}

/// A whole document with the S3 namespace on its root.
pub fn document(root: &str, content: impl FnOnce(&mut Writer)) -> String {
    let mut writer =
        Writer { out: format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{NAMESPACE}\">") };
    content(&mut writer);
    writer.close(root);
    writer.finish()
}

impl Writer {
    /// Elements without a document around them.
    pub fn fragment() -> Self {
        Writer { out: String::new() }
    }

    pub fn finish(self) -> String {
        self.out
    }

    /// An element with other elements inside.
    pub fn element(&mut self, name: &str, content: impl FnOnce(&mut Writer)) {
        self.open(name);
        content(self);
        self.close(name);
    }

    /// An element with text inside.
    pub fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        self.characters(text);
        self.close(name);
    }

    /// An element with a value inside. Chains, because lists have many.
    pub fn value(&mut self, name: &str, value: impl Display) -> &mut Writer {
        self.text(name, &value.to_string());
        self
    }

    /// Text of the element that is open.
    pub fn characters(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                // A reader turns a bare carriage return into a line feed.
                '\r' => self.out.push_str("&#13;"),
                '\t' | '\n' => self.out.push(character),
                // XML 1.0 cannot carry these at all. S3 writes references nonetheless; `encoding-type=url` is the way out.
                c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                    // Writing to a String cannot fail.
                    let _ = write!(self.out, "&#x{:x};", u32::from(c));
                }
                c => self.out.push(c),
            }
        }
    }

    /// An element only if there is text for it.
    pub fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    /// An element with an object name, a part of one or a delimiter.
    pub fn named(&mut self, name: &str, text: &str, encoding: Encoding) {
        self.text(name, &encoding.apply(text));
    }

    pub fn flag(&mut self, name: &str, flag: bool) {
        self.text(name, if flag { "true" } else { "false" });
    }

    pub fn number(&mut self, name: &str, number: usize) {
        self.text(name, &number.to_string());
    }

    /// XML that is known to be whole.
    pub fn raw(&mut self, xml: &str) {
        self.out.push_str(xml);
    }

    fn open(&mut self, name: &str) {
        self.out.push('<');
        self.out.push_str(name);
        self.out.push('>');
    }

    fn close(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }
}

#[cfg(test)]
mod tests {
    use super::super::tree;
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_text_comes_back_from_a_document(text in "[^\0]{0,40}") {
            let xml = document("a", |writer| writer.text("t", &text));
            let root = tree::parse(xml.as_bytes(), 10).ok().unwrap();
            proptest::prop_assert_eq!(root.text_of("t"), Some(text.as_str()));
        }
    }
}
