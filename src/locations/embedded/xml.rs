//! Writing the store's XML documents. Reading them is left to quick-xml and serde.

use std::fmt::Display;

use http::{HeaderValue, Response, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::body::Body;

const NAMESPACE: &str = "http://s3.amazonaws.com/doc/2006-03-01/";
/// What `encoding-type=url` leaves as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A document under construction.
pub struct Document {
    text: String,
    root: &'static str,
}

impl Document {
    pub fn new(root: &'static str) -> Document {
        let text = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<{root} xmlns=\"{NAMESPACE}\">");
        Document { text, root }
    }

    pub fn element(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.text.push_str(&format!("<{name}>"));
        escape_into(&mut self.text, &value.to_string());
        self.text.push_str(&format!("</{name}>"));
        self
    }

    pub fn within(&mut self, name: &str, fill: impl FnOnce(&mut Document)) -> &mut Self {
        self.text.push_str(&format!("<{name}>"));
        fill(self);
        self.text.push_str(&format!("</{name}>"));
        self
    }

    pub fn into_response(mut self) -> Response<Body> {
        self.text.push_str(&format!("</{}>", self.root));
        let mut response = Response::new(Body::full(self.text));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
        response
    }
}

/// How names are written into a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    pub fn apply(self, text: &str) -> String {
        match self {
            Encoding::Plain => text.to_owned(),
            Encoding::Url => utf8_percent_encode(text, KEPT).to_string(),
        }
    }
}

/// Control characters become character references, as S3 writes them: XML 1.0 readers may refuse those, which is
/// why `encoding-type=url` exists.
fn escape_into(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {
                out.push_str(&format!("&#x{:x};", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}
