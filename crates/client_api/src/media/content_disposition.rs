//! The header `Content-Disposition` (RFC 6266): whether a browser may show a file in place, and
//! its name.

use std::fmt::Write as _;

/// Types that a browser shows without running anything (specification, "Serving inline content").
const SHOWN_INLINE: [&str; 26] = [
    "text/css",
    "text/plain",
    "text/csv",
    "application/json",
    "application/ld+json",
    "image/jpeg",
    "image/gif",
    "image/png",
    "image/apng",
    "image/webp",
    "image/avif",
    "video/mp4",
    "video/webm",
    "video/ogg",
    "video/quicktime",
    "audio/mp4",
    "audio/webm",
    "audio/aac",
    "audio/mpeg",
    "audio/ogg",
    "audio/wave",
    "audio/wav",
    "audio/x-wav",
    "audio/x-pn-wav",
    "audio/flac",
    "audio/x-flac",
];

/// The header's value: printable ASCII only, whatever the name is.
pub(super) fn content_disposition(content_type: &str, file_name: Option<&str>) -> String {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let is_inline = SHOWN_INLINE
        .iter()
        .any(|shown| shown.eq_ignore_ascii_case(essence));
    let mut value = if is_inline { "inline" } else { "attachment" }.to_owned();
    match file_name {
        None | Some("") => {}
        Some(name) if is_plain(name) => {
            write!(value, "; filename=\"{name}\"").expect("writing into a string cannot fail");
        }
        Some(name) => {
            value.push_str("; filename*=utf-8''");
            for byte in name.bytes() {
                if is_attribute_char(byte) {
                    value.push(char::from(byte));
                } else {
                    write!(value, "%{byte:02X}").expect("writing into a string cannot fail");
                }
            }
        }
    }
    value
}

/// Whether all readers understand the name between quotes alike.
fn is_plain(name: &str) -> bool {
    name.bytes()
        .all(|byte| (0x20..0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\' | b'%'))
}

/// `attr-char` of RFC 5987.
fn is_attribute_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'&' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::content_disposition;

    #[test]
    fn names_and_types() {
        let check = |content_type, file_name, expect: &str| {
            assert_eq!(content_disposition(content_type, file_name), expect);
        };
        check("image/png", None, "inline");
        check("image/png", Some(""), "inline");
        check(
            "IMAGE/PNG; charset=x",
            Some("a b;c.png"),
            "inline; filename=\"a b;c.png\"",
        );
        check("text/html", None, "attachment");
        check(
            "image/svg+xml",
            Some("x.svg"),
            "attachment; filename=\"x.svg\"",
        );
        check("application/pdf", None, "attachment");
        check("", None, "attachment");
        check(
            "text/plain",
            Some("ümlaut.txt"),
            "inline; filename*=utf-8''%C3%BCmlaut.txt",
        );
        check("text/plain", Some("a\"b"), "inline; filename*=utf-8''a%22b");
        check("text/plain", Some("a\\b"), "inline; filename*=utf-8''a%5Cb");
        check(
            "text/plain",
            Some("100%"),
            "inline; filename*=utf-8''100%25",
        );
        check(
            "text/plain",
            Some("a\r\nSet-Cookie: b\0"),
            "inline; filename*=utf-8''a%0D%0ASet-Cookie%3A%20b%00",
        );
        check("text/plain", Some("../x"), "inline; filename=\"../x\"");
    }
}
