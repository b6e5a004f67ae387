//! How does JSON look on the wire?
//!
//! With a blank after each colon and comma, in the order of the fields: what the tutorial prints is
//! what `curl` shows. Clients must not care (RFC 8259 §2), people do.

use std::io;

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// The text of a value; `None` for a value that cannot be written, which no type of ours is.
pub fn text(value: &impl Serialize) -> Option<String> {
    let mut bytes = Vec::with_capacity(256);
    value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)).ok()?;
    String::from_utf8(bytes).ok()
}

/// An answer of type `application/json`.
pub fn answer(status: StatusCode, value: &impl Serialize) -> Response {
    let (status, text) = match text(value) {
        Some(text) => (status, text),
        None => (StatusCode::INTERNAL_SERVER_ERROR, r#"{"error": "server_error"}"#.to_owned()),
    };
    with_text(status, text)
}

/// An answer of type `application/json` without a body (RFC 7009 §2.2): some clients refuse an answer
/// without a type.
pub fn empty(status: StatusCode) -> Response {
    with_text(status, String::new())
}

fn with_text(status: StatusCode, text: String) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blank_follows_each_colon_and_comma_and_none_within_text() {
        let value = serde_json::json!({"a": ["x:y,z", 2], "b": {"c": null}});
        assert_eq!(text(&value).unwrap(), r#"{"a": ["x:y,z", 2], "b": {"c": null}}"#);
    }
}
