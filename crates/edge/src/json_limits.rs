//! What no JSON that comes in may have, wherever it stands: it would be lost or altered on its way
//! to others, or could not be read again.

use lyceum_model::MatrixError;

/// How deep lists and objects may lie in each other. Parsers give up at 128 or so, and what is
/// stored is sent on inside of something else.
const DEPTH_MAX: usize = 100;
/// The greatest integer that all can read (Appendices, "Canonical JSON").
const INTEGER_MAX: u64 = (1 << 53) - 1;

/// Looks at JSON that has been found to be well-formed. Parsers pass over texts and numbers that
/// are kept as they came.
pub(crate) fn check(json: &[u8]) -> Result<(), MatrixError> {
    let mut depth = 0;
    let mut rest = json;
    while let [byte, after @ ..] = rest {
        rest = match byte {
            b'"' => after_text(after)?,
            b'-' | b'0'..=b'9' => after_number(rest)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    let text = format!("The body is nested more than {DEPTH_MAX} levels deep");
                    return Err(MatrixError::bad_json(text));
                }
                after
            }
            b'}' | b']' => {
                depth -= 1;
                after
            }
            _ => after,
        };
    }
    Ok(())
}

/// What follows a text of which the opening quote was read.
fn after_text(json: &[u8]) -> Result<&[u8], MatrixError> {
    let mut rest = json;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Ok(after),
            [b'\\', b'u', after @ ..] => after_unit(after)?,
            [b'\\', _, after @ ..] | [_, after @ ..] => after,
            [] => return Ok(rest),
        };
    }
}

/// What follows an escaped unit of UTF-16, or a pair of them.
fn after_unit(json: &[u8]) -> Result<&[u8], MatrixError> {
    let unit = |digits: &[u8]| u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    let (first, after) = json.split_at_checked(4).unwrap_or((json, &[]));
    match unit(first) {
        Some(0xd800..=0xdbff) => {}
        Some(0xdc00..=0xdfff) => return Err(half_a_pair()),
        Some(_) | None => return Ok(after),
    }
    let second = after
        .strip_prefix(b"\\u")
        .and_then(|after| after.split_at_checked(4));
    match second {
        Some((second, after)) if matches!(unit(second), Some(0xdc00..=0xdfff)) => Ok(after),
        Some(_) | None => Err(half_a_pair()),
    }
}

fn half_a_pair() -> MatrixError {
    MatrixError::not_json("The body has half of a surrogate pair, which is no character")
}

/// What follows a number.
fn after_number(json: &[u8]) -> Result<&[u8], MatrixError> {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let end = json.iter().position(|byte| !is_part(byte));
    let (number, after) = json.split_at(end.unwrap_or(json.len()));
    let text = std::str::from_utf8(number).unwrap_or_default();
    if text.contains(['.', 'e', 'E']) {
        if text.parse().is_ok_and(f64::is_infinite) {
            return Err(MatrixError::not_json(
                "The body has a number beyond all limits",
            ));
        }
    } else if !text
        .trim_start_matches('-')
        .parse()
        .is_ok_and(|integer: u64| integer <= INTEGER_MAX)
    {
        return Err(MatrixError::bad_json(
            "The body has an integer beyond 2^53 - 1, which not all can read",
        ));
    }
    Ok(after)
}

#[cfg(test)]
mod tests {
    use super::check;

    fn code(json: &str) -> Option<String> {
        check(json.as_bytes())
            .err()
            .map(|error| error.code.to_string())
    }

    #[test]
    fn what_all_can_read_passes() {
        for json in [
            "{}",
            r#"{"a":[1,-2,0.5,1e3,9007199254740991,-9007199254740991]}"#,
            r#"{"a":"[[[{{{ 99999999999999999999 \" \\","b":"\\ud800"}"#,
            r#"{"a":"\ud83d\ude00\u00e4\n\/"}"#,
            &nested(100),
        ] {
            assert_eq!(code(json), None, "{json}");
        }
    }

    #[test]
    fn what_not_all_can_read_does_not() {
        for (json, expected) in [
            (r#"{"a":9007199254740992}"#, "M_BAD_JSON"),
            (r#"{"a":-9007199254740992}"#, "M_BAD_JSON"),
            (r#"{"a":[123456789012345678901234567890]}"#, "M_BAD_JSON"),
            (r#"{"a":1e400}"#, "M_NOT_JSON"),
            (r#"{"a":"\ud800"}"#, "M_NOT_JSON"),
            (r#"{"a":"\ud800\ud800"}"#, "M_NOT_JSON"),
            (r#"{"\udc00":1}"#, "M_NOT_JSON"),
            (r#"{"a":"\ud800x"}"#, "M_NOT_JSON"),
            (&nested(101), "M_BAD_JSON"),
        ] {
            assert_eq!(code(json).as_deref(), Some(expected), "{json}");
        }
    }

    fn nested(depth: usize) -> String {
        format!("{}1{}", "[".repeat(depth), "]".repeat(depth))
    }
}
