//! The stored form of an event: what cannot be compressed as raw bytes, the rest with zstd and a
//! trained dictionary.
//!
//! Event ids, hashes and signatures are base64 in JSON; they are cut out of the text, leaving a
//! control character that JSON never contains, and stored as bytes. Decoding gives the same text
//! to the byte. The first byte tells the form, so that a better one can follow.

use lyceum_storage::StorageError;
use parking_lot::Mutex;
use ruma_common::{EventId, OwnedEventId, RoomId};
use zstd::bulk::{Compressor, Decompressor};

/// The dictionary of form 1.
const DICTIONARY_1: &[u8] = include_bytes!("../dictionary/1.zdict");
const LEVEL: i32 = 3;
/// No stored event text is longer.
const TEXT_BYTES_MAX: usize = 4 << 20;
/// Contexts kept for reuse.
const CONTEXTS_MAX: usize = 4;
/// What each zstd frame begins with; not stored.
const FRAME_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

const FORM_PLAIN: u8 = 0;
const FORM_1: u8 = 1;

const MARK_EVENT_ID: u8 = 1;
const MARK_HASH: u8 = 2;
const MARK_SIGNATURE: u8 = 3;
const MARK_ROOM_ID: u8 = 4;
const MARK_LAST: u8 = MARK_ROOM_ID;

const ID_BINARY: u8 = 0;
const ID_TEXT: u8 = 1;

/// Encodes and decodes event bodies; shared by all threads.
pub(crate) struct BodyCodec {
    compressors: Mutex<Vec<Compressor<'static>>>,
    decompressors: Mutex<Vec<Decompressor<'static>>>,
}

impl std::fmt::Debug for BodyCodec {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BodyCodec").finish_non_exhaustive()
    }
}

impl BodyCodec {
    pub(crate) fn new() -> Self {
        Self {
            compressors: Mutex::default(),
            decompressors: Mutex::default(),
        }
    }

    /// The stored form of an event.
    pub(crate) fn encode(
        &self,
        id: &EventId,
        room_id: &RoomId,
        json: &str,
    ) -> Result<Vec<u8>, StorageError> {
        if json.bytes().any(|byte| (1..=MARK_LAST).contains(&byte)) {
            let mut body = vec![FORM_PLAIN];
            put_id(&mut body, id);
            body.extend_from_slice(json.as_bytes());
            return Ok(body);
        }
        let (text, binary) = split(room_id, json);
        let mut body = Vec::with_capacity(48 + binary.len() + text.len() / 2);
        body.push(FORM_1);
        put_id(&mut body, id);
        put_varint(&mut body, binary.len());
        body.extend_from_slice(&binary);
        put_varint(&mut body, text.len());
        let mut compressor = match self.compressors.lock().pop() {
            Some(compressor) => compressor,
            None => new_compressor().map_err(broken)?,
        };
        let frame = compressor.compress(&text).map_err(broken)?;
        let mut compressors = self.compressors.lock();
        if compressors.len() < CONTEXTS_MAX {
            compressors.push(compressor);
        }
        drop(compressors);
        body.extend_from_slice(frame.strip_prefix(&FRAME_MAGIC).unwrap_or(&frame));
        Ok(body)
    }

    /// The id and the JSON of a stored event.
    pub(crate) fn decode(
        &self,
        body: &[u8],
        room_id: &RoomId,
    ) -> Result<(OwnedEventId, String), StorageError> {
        let (&form, mut rest) = body.split_first().ok_or_else(damaged)?;
        let id = take_id(&mut rest)?;
        match form {
            FORM_PLAIN => {
                let json = std::str::from_utf8(rest).map_err(|_| damaged())?;
                Ok((id, json.to_owned()))
            }
            FORM_1 => {
                let binary_length = take_varint(&mut rest)?;
                let binary = take(&mut rest, binary_length)?;
                let text_length = take_varint(&mut rest)?;
                if text_length > TEXT_BYTES_MAX {
                    return Err(damaged());
                }
                let mut frame = Vec::with_capacity(rest.len() + FRAME_MAGIC.len());
                frame.extend_from_slice(&FRAME_MAGIC);
                frame.extend_from_slice(rest);
                let mut decompressor = match self.decompressors.lock().pop() {
                    Some(decompressor) => decompressor,
                    None => Decompressor::with_dictionary(DICTIONARY_1).map_err(broken)?,
                };
                let text = decompressor
                    .decompress(&frame, text_length)
                    .map_err(broken)?;
                let mut decompressors = self.decompressors.lock();
                if decompressors.len() < CONTEXTS_MAX {
                    decompressors.push(decompressor);
                }
                drop(decompressors);
                Ok((id, join(room_id, &text, binary)?))
            }
            _ => Err(StorageError::Broken(format!(
                "an event is stored in form {form}, which a later release of this program wrote"
            ))),
        }
    }

    /// Only the id of a stored event.
    pub(crate) fn decode_id(&self, body: &[u8]) -> Result<OwnedEventId, StorageError> {
        take_id(&mut body.get(1..).ok_or_else(damaged)?)
    }
}

/// The part of an event that is compressed, for the training of dictionaries.
#[doc(hidden)]
pub fn dictionary_sample(room_id: &RoomId, json: &str) -> Vec<u8> {
    split(room_id, json).0
}

fn new_compressor() -> std::io::Result<Compressor<'static>> {
    let mut compressor = Compressor::with_dictionary(LEVEL, DICTIONARY_1)?;
    compressor.set_parameter(zstd::zstd_safe::CParameter::DictIdFlag(false))?;
    compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(false))?;
    Ok(compressor)
}

/// Cuts the binary parts out of a JSON text.
fn split(room_id: &RoomId, json: &str) -> (Vec<u8>, Vec<u8>) {
    let json = json.as_bytes();
    let room_id = room_id.as_bytes();
    let mut text = Vec::with_capacity(json.len());
    let mut binary = Vec::with_capacity(256);
    let mut rest = json;
    while let Some(quote) = rest.iter().position(|byte| *byte == b'"') {
        text.extend_from_slice(&rest[..quote]);
        rest = &rest[quote..];
        let inner = &rest[1..];
        let taken = match inner.first() {
            Some(b'$') => quoted(inner, 44).and_then(|quoted| {
                binary.extend_from_slice(&decode64::<32>(&quoted[1..], URL_SAFE)?);
                Some((MARK_EVENT_ID, 44))
            }),
            Some(b'!') => (quoted(inner, room_id.len()) == Some(room_id))
                .then_some((MARK_ROOM_ID, room_id.len())),
            Some(_) => match (quoted(inner, 43), quoted(inner, 86)) {
                (Some(quoted), _) => decode64::<32>(quoted, STANDARD).map(|bytes| {
                    binary.extend_from_slice(&bytes);
                    (MARK_HASH, 43)
                }),
                (None, Some(quoted)) => decode64::<64>(quoted, STANDARD).map(|bytes| {
                    binary.extend_from_slice(&bytes);
                    (MARK_SIGNATURE, 86)
                }),
                (None, None) => None,
            },
            None => None,
        };
        match taken {
            Some((mark, length)) => {
                text.push(mark);
                rest = &rest[length + 2..];
            }
            None => {
                text.push(b'"');
                rest = inner;
            }
        }
    }
    text.extend_from_slice(rest);
    (text, binary)
}

/// The first `length` bytes, if a quote follows them and they hold none.
fn quoted(inner: &[u8], length: usize) -> Option<&[u8]> {
    let candidate = inner.get(..length)?;
    (inner.get(length) == Some(&b'"') && !candidate.contains(&b'"') && !candidate.contains(&b'\\'))
        .then_some(candidate)
}

fn join(room_id: &RoomId, text: &[u8], mut binary: &[u8]) -> Result<String, StorageError> {
    let mut json = Vec::with_capacity(text.len() + binary.len() * 2);
    for &byte in text {
        match byte {
            MARK_EVENT_ID => {
                json.extend_from_slice(b"\"$");
                encode64(&mut json, take(&mut binary, 32)?, URL_SAFE);
                json.push(b'"');
            }
            MARK_HASH => {
                json.push(b'"');
                encode64(&mut json, take(&mut binary, 32)?, STANDARD);
                json.push(b'"');
            }
            MARK_SIGNATURE => {
                json.push(b'"');
                encode64(&mut json, take(&mut binary, 64)?, STANDARD);
                json.push(b'"');
            }
            MARK_ROOM_ID => {
                json.push(b'"');
                json.extend_from_slice(room_id.as_bytes());
                json.push(b'"');
            }
            other => json.push(other),
        }
    }
    String::from_utf8(json).map_err(|_| damaged())
}

/// An event id in as few bytes as it needs.
pub(crate) fn put_id(out: &mut Vec<u8>, id: &EventId) {
    let text = id.as_bytes();
    if text.len() == 44
        && text[0] == b'$'
        && let Some(bytes) = decode64::<32>(&text[1..], URL_SAFE)
    {
        out.push(ID_BINARY);
        out.extend_from_slice(&bytes);
    } else {
        out.push(ID_TEXT);
        put_varint(out, text.len());
        out.extend_from_slice(text);
    }
}

/// The event id that [`put_id`] wrote.
pub(crate) fn take_id(bytes: &mut &[u8]) -> Result<OwnedEventId, StorageError> {
    let kind = take(bytes, 1)?[0];
    let text = if kind == ID_BINARY {
        let mut text = Vec::with_capacity(44);
        text.push(b'$');
        encode64(&mut text, take(bytes, 32)?, URL_SAFE);
        text
    } else {
        let length = take_varint(bytes)?;
        take(bytes, length)?.to_vec()
    };
    let text = String::from_utf8(text).map_err(|_| damaged())?;
    OwnedEventId::try_from(text).map_err(|_| damaged())
}

const STANDARD: [u8; 2] = [b'+', b'/'];
const URL_SAFE: [u8; 2] = [b'-', b'_'];

/// Unpadded base64 of exactly `N` bytes; `None` unless encoding gives the same text again.
fn decode64<const N: usize>(text: &[u8], last_two: [u8; 2]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let mut bits = 0u32;
    let mut count = 0;
    let mut index = 0;
    for &letter in text {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            _ if letter == last_two[0] => 62,
            _ if letter == last_two[1] => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            *bytes.get_mut(index)? = (bits >> count) as u8;
            index += 1;
            bits &= (1 << count) - 1;
        }
    }
    (index == N && bits == 0).then_some(bytes)
}

fn encode64(out: &mut Vec<u8>, bytes: &[u8], last_two: [u8; 2]) {
    let letter = |value: u32| match (value & 63) as u8 {
        value @ 0..26 => b'A' + value,
        value @ 26..52 => b'a' + value - 26,
        value @ 52..62 => b'0' + value - 52,
        62 => last_two[0],
        _ => last_two[1],
    };
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for index in 0..=chunk.len() {
            out.push(letter(bits >> (18 - 6 * index)));
        }
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Result<usize, StorageError> {
    let mut value = 0;
    for shift in (0..=28).step_by(7) {
        let byte = take(bytes, 1)?[0];
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    Err(damaged())
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], StorageError> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or_else(damaged)?;
    *bytes = rest;
    Ok(taken)
}

fn damaged() -> StorageError {
    StorageError::Broken("a stored event is damaged".to_owned())
}

#[allow(clippy::needless_pass_by_value, reason = "a function for map_err")]
fn broken(error: std::io::Error) -> StorageError {
    StorageError::Broken(format!("zstd: {error}"))
}

#[cfg(test)]
mod tests {
    use ruma_common::{event_id, room_id};

    use super::*;

    #[track_caller]
    fn check(id: &EventId, json: &str) -> usize {
        let codec = BodyCodec::new();
        let room_id = room_id!("!0123456789abcdef:example.org");
        let body = codec.encode(id, room_id, json).unwrap();
        let (same_id, same_json) = codec.decode(&body, room_id).unwrap();
        assert_eq!(same_id, id);
        assert_eq!(same_json, json);
        assert_eq!(codec.decode_id(&body).unwrap(), id);
        for length in 0..body.len() {
            // Damaged bodies give errors or other events, never a crash.
            let _ = codec.decode(&body[..length], room_id);
        }
        body.len()
    }

    const EVENT_ID: &str = "$ifTGKHvFGBiyYNpLlqXqPTkDpr9QRvgRSRqZJVVjKWE";

    #[test]
    fn decoding_gives_the_same_text() {
        let hash = "qqpDFvZXCd7cgMsZlHR0qAeFfPDzNb8mXBUkz4iJPwE";
        let signature = "o2ZbYVZnUgT0ZLmLuRGRMlSzvtxYhjGmcPNlHfEyVGVzn4IuGCEv/G3fvYvL1y2SI/mB5dZZ4mDUh5Zf4vCDBw";
        for json in [
            String::new(),
            "\"".to_owned(),
            "{}".to_owned(),
            r#"{"a":"\"","b":["!0123456789abcdef:example.org","!other:example.org","!"]}"#
                .to_owned(),
            format!(
                r#"{{"prev_events":["{EVENT_ID}","{EVENT_ID}"],"hashes":{{"sha256":"{hash}"}}}}"#
            ),
            format!(r#"{{"signatures":{{"example.org":{{"ed25519:1":"{signature}"}}}},"x":"$"}}"#),
            format!(r#"{{"not canonical":"{}F"}}"#, &hash[..42]),
            format!(r#"{{"body":"{}\\"}}"#, &hash[..41]),
            "{\"control\":\"\u{1}\"}".to_owned(),
            format!("{{\"body\":\"{}\"}}", "Grüße 🎉 ".repeat(3000)),
        ] {
            check(<&EventId>::try_from(EVENT_ID).unwrap(), &json);
            check(event_id!("$1234abc:example.org"), &json);
        }
    }

    #[test]
    fn a_short_message_is_small() {
        let json = format!(
            r#"{{"auth_events":["{EVENT_ID}","{EVENT_ID}","{EVENT_ID}"],"content":{{"body":"Shall we meet at five?","msgtype":"m.text"}},"depth":812,"hashes":{{"sha256":"qqpDFvZXCd7cgMsZlHR0qAeFfPDzNb8mXBUkz4iJPwE"}},"origin_server_ts":1795398012345,"prev_events":["{EVENT_ID}"],"room_id":"!0123456789abcdef:example.org","sender":"@alice:example.org","signatures":{{"example.org":{{"ed25519:a_Xyz1":"o2ZbYVZnUgT0ZLmLuRGRMlSzvtxYhjGmcPNlHfEyVGVzn4IuGCEv/G3fvYvL1y2SI/mB5dZZ4mDUh5Zf4vCDBw"}}}},"type":"m.room.message"}}"#
        );
        let bytes = check(<&EventId>::try_from(EVENT_ID).unwrap(), &json);
        println!("a message of {} bytes is stored in {bytes}", json.len());
        assert!(bytes < 400, "{bytes}");
    }
}
