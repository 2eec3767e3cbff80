//! Python's order of paths and its JSON, for the hashes of weasel.

use std::cmp::Ordering;
use std::fmt::Write as _;

/// Compares two names as Python compares strings: by code point. Each byte that is not part of valid UTF-8 counts as one of
/// U+DC80 to U+DCFF.
pub(crate) fn compare_names(a: &[u8], b: &[u8]) -> Ordering {
    match (std::str::from_utf8(a), std::str::from_utf8(b)) {
        // The order of UTF-8 bytes is that of code points.
        (Ok(_), Ok(_)) => a.cmp(b),
        _ => code_points(a).cmp(code_points(b)),
    }
}

fn code_points(name: &[u8]) -> impl Iterator<Item = u32> {
    name.utf8_chunks().flat_map(|chunk| {
        let invalid = chunk.invalid().iter().map(|byte| 0xDC00 + u32::from(*byte));
        chunk.valid().chars().map(u32::from).chain(invalid)
    })
}

/// Compares two paths as Python's `Path` does: component by component, without empty components and `.`. Weasel hashes the
/// files of a directory in this order.
///
/// ```
/// use larder_hashing::compare_weasel_paths;
///
/// assert!(compare_weasel_paths(b"a/x", b"a!").is_lt(), "`a` goes before `a!`");
/// ```
pub fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
    let mut a = components(a);
    let mut b = components(b);
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => match compare_names(x, y) {
                Ordering::Equal => {}
                different => return different,
            },
        }
    }
}

fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let root = path.starts_with(b"/").then_some(&b"/"[..]);
    root.into_iter()
        .chain(path.split(|byte| *byte == b'/').filter(|component| !matches!(*component, b"" | b".")))
}

/// Writes a text as Python's `json.dumps` does: in quotes, with escapes for everything but printable ASCII. Code points above
/// U+FFFF become two surrogates. Bytes that are not UTF-8 become the surrogates that Python decodes them to.
pub(crate) fn push_json_text(json: &mut String, text: &[u8]) {
    json.push('"');
    for point in code_points(text) {
        match char::from_u32(point) {
            Some('"') => json.push_str("\\\""),
            Some('\\') => json.push_str("\\\\"),
            Some('\n') => json.push_str("\\n"),
            Some('\r') => json.push_str("\\r"),
            Some('\t') => json.push_str("\\t"),
            Some('\u{8}') => json.push_str("\\b"),
            Some('\u{c}') => json.push_str("\\f"),
            Some(printable @ ' '..='~') => json.push(printable),
            Some(other) => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    push_escape(json, u32::from(*unit));
                }
            }
            None => push_escape(json, point),
        }
    }
    json.push('"');
}

fn push_escape(json: &mut String, unit: u32) {
    // Writing to a string does not fail.
    let _ = write!(json, "\\u{unit:04x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undecodable_bytes_sort_below_the_private_use_area() {
        let mut names: [&[u8]; 6] =
            [b"\xee\x80\x80", b"\xff", b"\xed\x9f\xbf", b"\x80", b"\xf0\x9f\x98\x80", b"z"];
        names.sort_by(|a, b| compare_names(a, b));
        let sorted: [&[u8]; 6] =
            [b"z", b"\xed\x9f\xbf", b"\x80", b"\xff", b"\xee\x80\x80", b"\xf0\x9f\x98\x80"];
        assert_eq!(names, sorted);
    }

    #[test]
    fn paths_compare_by_component() {
        let less = |a: &str, b: &str| compare_paths(a.as_bytes(), b.as_bytes()) == Ordering::Less;
        assert!(less("dir", "dir.txt"));
        assert!(less("dir/z", "dir.txt"));
        assert!(less("dir/../a", "dir/a"));
        assert!(less("/z", "a"));
        assert_eq!(compare_paths(b"./a//b/", b"a/b"), Ordering::Equal);
    }

    #[test]
    fn texts_are_escaped_as_python_does() {
        let mut json = String::new();
        push_json_text(&mut json, "\u{7f}\0\u{1f}/\u{2028}<\"\\\u{8}\u{c}\n\r\t😀".as_bytes());
        assert_eq!(json, r#""\u007f\u0000\u001f/\u2028<\"\\\b\f\n\r\t\ud83d\ude00""#);
    }
}
