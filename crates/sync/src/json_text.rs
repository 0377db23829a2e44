//! Writes JSON text into a growing buffer, piece by piece.
//!
//! Invariant: whoever opens a bracket closes it; commas come from [`separate`].

use std::fmt::Display;

use serde::Serialize;

/// Puts a comma unless the value to come is the first one in its bracket.
pub(crate) fn separate(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'{' | b'[')) {
        out.push(b',');
    }
}

/// A member's name, which must need no escapes, with the comma before it.
pub(crate) fn key(out: &mut Vec<u8>, name: &str) {
    separate(out);
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// A member's name that may need escapes.
pub(crate) fn any_key(out: &mut Vec<u8>, name: &str) {
    separate(out);
    text(out, name);
    out.push(b':');
}

/// A member whose name needs no escapes, with a string as its value.
pub(crate) fn text_member(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    text(out, value);
}

/// A member whose name needs no escapes, with a number as its value.
pub(crate) fn number_member(out: &mut Vec<u8>, name: &str, value: impl Into<i128>) {
    key(out, name);
    plain(out, &value.into());
}

/// A member whose name needs no escapes, with JSON text as its value.
pub(crate) fn raw_member(out: &mut Vec<u8>, name: &str, json: &str) {
    key(out, name);
    out.extend_from_slice(json.as_bytes());
}

/// A string value.
pub(crate) fn text(out: &mut Vec<u8>, value: &str) {
    plain(out, value);
}

/// An array of strings.
pub(crate) fn texts<S: AsRef<str>>(out: &mut Vec<u8>, values: impl IntoIterator<Item = S>) {
    out.push(b'[');
    for value in values {
        separate(out);
        text(out, value.as_ref());
    }
    out.push(b']');
}

/// A string value made of what `value` displays, which must need no escapes.
pub(crate) fn displayed(out: &mut Vec<u8>, value: &impl Display) {
    use std::io::Write;
    out.push(b'"');
    write!(out, "{value}").expect("writing to memory cannot fail");
    out.push(b'"');
}

/// The buffer as text.
pub(crate) fn into_string(out: Vec<u8>) -> String {
    String::from_utf8(out).expect("it was put together from whole texts")
}

fn plain<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("a string or number can always be written to memory");
}
