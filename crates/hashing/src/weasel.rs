//! What weasel does differently: Python's order of paths, and its JSON.

use std::cmp::Ordering;

/// Compares two names as Python compares the texts that it decodes them to: by code point, where each byte that is
/// not part of valid UTF-8 counts as one of U+DC80 to U+DCFF.
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

/// Compares two paths as Python's `Path` does: component by component. Empty components and `.` do not count.
pub(crate) fn compare_paths(a: &[u8], b: &[u8]) -> Ordering {
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
