//! A bounded reader: a document becomes a tree of elements that borrow from it.
//!
//! S3's documents hold data in elements only; attributes (namespaces) are checked and passed over.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::XmlError;
use super::writer::Writer;

const MAX_DEPTH: usize = 12;
const MAX_ATTRIBUTES: usize = 8;

/// One element.
pub(super) struct Element<'a> {
    /// Without a namespace prefix.
    pub name: &'a str,
    /// All text directly inside, unescaped.
    pub text: Cow<'a, str>,
    pub children: Vec<Element<'a>>,
    /// The element as it was written.
    raw: &'a str,
    /// Whether `raw` means the same in another document: no attributes, prefixes, comments or raw control characters.
    portable: bool,
}

#[cfg(test)]
thread_local! {
    /// Documents that this thread has read.
    pub(crate) static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Reads a document of at most `max_elements` elements.
pub(super) fn parse(document: &[u8], max_elements: usize) -> Result<Element<'_>, XmlError> {
    #[cfg(test)]
    READ.set(READ.get() + 1);
    // Locations send blanks ahead of a late answer, so that the connection is not given up.
    let text = std::str::from_utf8(document).map_err(|_| XmlError::Encoding)?;
    // No spelling of it is allowed, so a name with it in could be read and never be written.
    if memchr::memchr(0, document).is_some() {
        return Err(XmlError::Syntax);
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_start();
    let mut reader = Reader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut builder = Builder { open: Vec::new(), root: None, elements: 0, max_elements };
    let mut declared = false;
    loop {
        let before = position(&reader);
        let event = reader.read_event().map_err(|_| XmlError::Syntax)?;
        let written = text.get(before..position(&reader)).ok_or(XmlError::Syntax)?;
        match event {
            Event::Start(start) => builder.start(&start, written, before)?,
            Event::Empty(start) => {
                builder.start(&start, written, before)?;
                builder.end(written)?;
            }
            Event::End(_) => {
                let start = builder.open.last().map_or(0, |(_, start)| *start);
                builder.end(text.get(start..position(&reader)).ok_or(XmlError::Syntax)?)?;
            }
            Event::Text(text) => builder.text(text.xml10_content().map_err(|_| XmlError::Encoding)?)?,
            Event::CData(text) => {
                builder.not_portable();
                builder.text(text.xml10_content().map_err(|_| XmlError::Encoding)?)?;
            }
            Event::GeneralRef(reference) => builder.text(resolve(&reference)?)?,
            Event::Comment(_) => builder.not_portable(),
            Event::Decl(declaration) => {
                let utf8 = match declaration.encoding() {
                    None => true,
                    Some(name) => name.map_err(|_| XmlError::Syntax)?.eq_ignore_ascii_case(b"utf-8"),
                };
                if before != 0 || declared {
                    return Err(XmlError::Syntax);
                }
                if !utf8 {
                    return Err(XmlError::Encoding);
                }
                declared = true;
            }
            Event::DocType(_) | Event::PI(_) => return Err(XmlError::Doctype),
            Event::Eof => break,
        }
    }
    if !builder.open.is_empty() {
        return Err(XmlError::Syntax);
    }
    builder.root.ok_or(XmlError::Syntax)
}

impl<'a> Element<'a> {
    /// The document's root must have this name.
    pub fn expect(self, name: &'static str) -> Result<Self, XmlError> {
        if self.name == name { Ok(self) } else { Err(XmlError::Root(name)) }
    }

    /// The first child of that name.
    pub fn child(&self, name: &str) -> Option<&Element<'a>> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of the first child of that name.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| &*child.text)
    }

    pub fn children_named(&self, name: &'static str) -> impl Iterator<Item = &Element<'a>> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The children but for the named ones, as they were written.
    pub fn others(&self, known: &[&str]) -> String {
        let mut writer = Writer::fragment();
        for child in self.children.iter().filter(|child| !known.contains(&child.name)) {
            child.write(&mut writer);
        }
        writer.finish()
    }

    /// Writes the element as it was written, or in other words with the same meaning.
    pub fn write(&self, writer: &mut Writer) {
        if self.portable {
            writer.raw(self.raw);
        } else if self.children.is_empty() {
            writer.text(self.name, &self.text);
        } else {
            writer.element(self.name, |writer| self.children.iter().for_each(|child| child.write(writer)));
        }
    }
}

struct Builder<'a> {
    /// The elements that are open, with where they start.
    open: Vec<(Element<'a>, usize)>,
    root: Option<Element<'a>>,
    elements: usize,
    max_elements: usize,
}

impl<'a> Builder<'a> {
    fn start(&mut self, start: &BytesStart<'_>, written: &'a str, at: usize) -> Result<(), XmlError> {
        self.elements += 1;
        if self.elements > self.max_elements {
            return Err(XmlError::TooManyElements { limit: self.max_elements });
        }
        if self.open.len() == MAX_DEPTH {
            return Err(XmlError::TooDeep { limit: MAX_DEPTH });
        }
        if self.root.is_some() {
            return Err(XmlError::Syntax);
        }
        let mut attributes = 0;
        for attribute in start.attributes() {
            attribute.map_err(|_| XmlError::Syntax)?;
            attributes += 1;
            if attributes > MAX_ATTRIBUTES {
                return Err(XmlError::Syntax);
            }
        }
        let tag = written.strip_prefix('<').ok_or(XmlError::Syntax)?;
        let end = tag.find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>').unwrap_or(tag.len());
        let qualified = tag.get(..end).ok_or(XmlError::Syntax)?;
        let name = qualified.split_once(':').map_or(qualified, |(_, local)| local);
        let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'.';
        let starts_well = |name: &str| name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well(name) || !name.bytes().all(valid) {
            return Err(XmlError::Syntax);
        }
        let portable = attributes == 0 && name == qualified;
        let element = Element { name, text: Cow::Borrowed(""), children: Vec::new(), raw: written, portable };
        self.open.push((element, at));
        Ok(())
    }

    fn end(&mut self, written: &'a str) -> Result<(), XmlError> {
        let (mut element, _) = self.open.pop().ok_or(XmlError::Syntax)?;
        element.raw = written;
        element.portable &= element.children.iter().all(|child| child.portable)
            && !element.text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n'));
        match self.open.last_mut() {
            Some((parent, _)) => parent.children.push(element),
            None => self.root = Some(element),
        }
        Ok(())
    }

    fn text(&mut self, text: Cow<'a, str>) -> Result<(), XmlError> {
        match self.open.last_mut() {
            Some((element, _)) if element.text.is_empty() => element.text = text,
            Some((element, _)) => element.text.to_mut().push_str(&text),
            // Around the root there may be blanks only.
            None if text.trim().is_empty() => {}
            None => return Err(XmlError::Syntax),
        }
        Ok(())
    }

    fn not_portable(&mut self) {
        if let Some((element, _)) = self.open.last_mut() {
            element.portable = false;
        }
    }
}

/// A character reference or one of XML's five entities.
fn resolve(reference: &BytesRef<'_>) -> Result<Cow<'static, str>, XmlError> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| XmlError::Syntax)? {
        return Ok(Cow::Owned(character.to_string()));
    }
    Ok(Cow::Borrowed(match &**reference {
        b"amp" => "&",
        b"lt" => "<",
        b"gt" => ">",
        b"quot" => "\"",
        b"apos" => "'",
        _ => return Err(XmlError::Entity),
    }))
}

/// The reader's place in a document; documents are far below 4 GiB.
fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(document: &str) -> Option<XmlError> {
        parse(document.as_bytes(), 100).err()
    }

    #[test]
    fn elements_text_and_references_are_read() {
        let document = b"\xef\xbb\xbf \n<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<a xmlns=\"x\"><b>1 &lt; &#x32;&#1;</b><!-- c --><c/><b><![CDATA[<&>]]></b></a>\n";
        let root = parse(document, 10).ok().unwrap().expect("a").ok().unwrap();
        let texts: Vec<_> = root.children_named("b").map(|b| b.text.to_string()).collect();
        assert_eq!(texts, ["1 < 2\u{1}", "<&>"]);
        assert_eq!(root.text_of("c"), Some(""));
        assert!(root.child("d").is_none());
    }

    #[test]
    fn what_could_expand_or_reach_out_is_refused() {
        let bomb = "<!DOCTYPE l [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><l>&b;</l>";
        assert_eq!(refusal(bomb), Some(XmlError::Doctype));
        assert_eq!(refusal("<l>&b;</l>"), Some(XmlError::Entity));
        assert_eq!(refusal("<?xml-stylesheet href=\"x\"?><l/>"), Some(XmlError::Doctype));
        assert_eq!(refusal(&"<a>".repeat(1000)), Some(XmlError::TooDeep { limit: MAX_DEPTH }));
        assert_eq!(
            refusal(&format!("<a>{}</a>", "<b/>".repeat(100))),
            Some(XmlError::TooManyElements { limit: 100 })
        );
        let attributes: String = (0..100).map(|n| format!(" a{n}=\"\"")).collect();
        assert_eq!(refusal(&format!("<a{attributes}/>")), Some(XmlError::Syntax));
        assert_eq!(refusal("<?xml version=\"1.0\" encoding=\"UTF-16\"?><a/>"), Some(XmlError::Encoding));
        assert_eq!(parse(b"<a>\xff</a>", 10).err(), Some(XmlError::Encoding));
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for document in [
            "",
            " ",
            "a",
            "<a",
            "<a>",
            "</a>",
            "<a></b>",
            "<a/><b/>",
            "<a/>x",
            "x<a/>",
            "<a b/>",
            "<a>&lt</a>",
            "<a>&#0;</a>",
            "<a>\0</a>",
            "<a>&#xd800;</a>",
            "<a b=\"1\" b=\"2\"/>",
            "<1/>",
            "<a\"b/>",
            "<a><!-- -- --></a>",
            "< a/>",
            "<a/><?xml version=\"1.0\"?>",
            "<:/>",
        ] {
            assert_eq!(refusal(document), Some(XmlError::Syntax), "{document}");
        }
    }

    #[test]
    fn what_is_kept_is_kept_as_it_was_written_or_in_words_that_mean_the_same() {
        let kept = |inner: &str| {
            let document = format!("<a><k>1</k>{inner}</a>");
            parse(document.as_bytes(), 100).ok().unwrap().others(&["k"])
        };
        for inner in ["<x>&quot;1&quot;</x><y/><z><w>é</w></z>", "<x>&#13;</x>", ""] {
            let same = if inner.contains("&#13;") { "<x>&#13;</x>" } else { inner };
            assert_eq!(kept(inner), same);
        }
        assert_eq!(kept("<n:x xmlns:n=\"u\" n:t=\"&zz;\">1<!-- c --></n:x>"), "<x>1</x>");
        assert_eq!(kept("<x><y t=\"1\">a&amp;b</y></x>"), "<x><y>a&amp;b</y></x>");
        assert_eq!(kept("<x>\u{1}</x>"), "<x>&#x1;</x>");
    }

    proptest::proptest! {
        #[test]
        fn no_document_panics(text in "(<[a-c/!?]?|[a-c]|>|&|;|#|\"|=| |--|\\[CDATA\\[|\\]\\]>|xml){0,30}") {
            let _ = parse(text.as_bytes(), 20);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60)) {
            let _ = parse(&bytes, 20);
        }
    }
}
