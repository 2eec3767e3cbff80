//! The conflict markers that git writes into a file: the styles `merge`, `diff3` and `zdiff3`.

use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};

/// The texts of both sides of a merge. Lines that a side does not have are empty, so that the numbers of lines stay.
#[derive(Debug, Default)]
pub(crate) struct SideTexts {
    pub(crate) ours: String,
    pub(crate) theirs: String,
    /// The common ancestor, if the style shows it.
    pub(crate) base: Option<String>,
}

/// A line that separates the parts of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    Ours,
    Base,
    Theirs,
    End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Common,
    Ours,
    Base,
    Theirs,
}

impl Marker {
    /// Reads a marker: seven characters, and then a space or the end of the line.
    fn of_line(line: &str) -> Option<Self> {
        let (character, rest) = line.split_at_checked(7)?;
        let marker = match character {
            "<<<<<<<" => Self::Ours,
            "|||||||" => Self::Base,
            "=======" => Self::Theirs,
            ">>>>>>>" => Self::End,
            _ => return None,
        };
        (rest.is_empty() || rest.starts_with([' ', '\r', '\n'])).then_some(marker)
    }
}

/// The label of conflicts that larder writes.
const LABEL: &str = "larder";

/// A conflict around whole pins, as larder writes it in the style `diff3`.
#[derive(Debug)]
pub(crate) struct ConflictSection {
    pub(crate) ours: String,
    pub(crate) base: String,
    pub(crate) theirs: String,
}

impl fmt::Display for ConflictSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ours, base, theirs } = self;
        write!(f, "<<<<<<< {LABEL}: ours\n{ours}||||||| {LABEL}: base\n{base}")?;
        write!(f, "=======\n{theirs}>>>>>>> {LABEL}: theirs\n")
    }
}

/// Returns whether larder wrote all conflicts of a text.
pub(crate) fn are_of_larder(text: &str) -> bool {
    let mut begins = text.lines().filter(|line| Marker::of_line(line) == Some(Marker::Ours));
    begins.all(|line| line[7..].trim_start().starts_with(LABEL))
}

/// Returns whether a text has a conflict marker.
pub(crate) fn has_markers(text: &str) -> bool {
    text.lines().any(|line| Marker::of_line(line).is_some())
}

/// Splits a text with conflict markers. `path` only appears in errors.
pub(crate) fn split(text: &str, path: &Path) -> Result<SideTexts> {
    let mut sides = SideTexts::default();
    let mut base = String::new();
    let mut has_base = false;
    let mut part = Part::Common;
    let mut begun_at = 0;
    let error = |line, problem| Err(Error::Markers { path: path.to_owned(), line, problem });
    for (index, line) in text.split_inclusive('\n').enumerate() {
        let marker = Marker::of_line(line);
        part = match (part, marker) {
            (Part::Common, Some(Marker::Ours)) => {
                begun_at = index + 1;
                Part::Ours
            }
            (Part::Ours, Some(Marker::Base)) => {
                has_base = true;
                Part::Base
            }
            (Part::Ours | Part::Base, Some(Marker::Theirs)) => Part::Theirs,
            (Part::Theirs, Some(Marker::End)) => Part::Common,
            (_, Some(Marker::Ours)) => return error(index + 1, "a conflict begins inside another one"),
            (_, Some(_)) => return error(index + 1, "this conflict marker is not where git writes one"),
            (part, None) => part,
        };
        let is_in = |own| marker.is_none() && (part == Part::Common || part == own);
        for (side, own) in
            [(&mut sides.ours, Part::Ours), (&mut sides.theirs, Part::Theirs), (&mut base, Part::Base)]
        {
            side.push_str(if is_in(own) { line } else { "\n" });
        }
    }
    if part != Part::Common {
        return error(begun_at, "the end of this conflict is missing");
    }
    sides.base = has_base.then_some(base);
    Ok(sides)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<&str> {
        text.lines().filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn all_styles_and_line_ends_are_split() {
        let merge = "a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> feature\nd\n";
        let diff3 = "a\n<<<<<<< HEAD\nb\n||||||| 1a2b3c\nx\n=======\nc\n>>>>>>> feature\nd\n";
        for text in [merge, diff3, "a\n<<<<<<<\nb\n=======\nc\n>>>>>>>\nd"] {
            for text in [text.to_owned(), text.replace('\n', "\r\n")] {
                assert!(has_markers(&text));
                let sides = split(&text, Path::new("larder.lock")).unwrap();
                assert_eq!(lines(&sides.ours), ["a", "b", "d"]);
                assert_eq!(lines(&sides.theirs), ["a", "c", "d"]);
                let base = sides.base.as_deref().map(lines);
                assert_eq!(base, text.contains('|').then(|| vec!["a", "x", "d"]));
                assert_eq!(sides.ours.lines().count(), text.lines().count());
            }
        }
    }

    #[test]
    fn other_lines_are_no_markers() {
        for text in ["", "<<<<<<", "<<<<<<<<", "========\n", " <<<<<<< HEAD", "=======x", "<<<<<<\u{e4}<"] {
            assert!(!has_markers(text), "{text}");
        }
    }

    #[test]
    fn markers_out_of_order_are_named_with_their_line() {
        for (text, line, problem) in [
            ("a\n<<<<<<< x\nb\n", 2, "the end"),
            ("<<<<<<< x\n=======\n", 1, "the end"),
            ("a\n=======\n", 2, "not where"),
            (">>>>>>> x\n", 1, "not where"),
            ("<<<<<<< x\n<<<<<<< x\n", 2, "inside another"),
            ("<<<<<<< x\n>>>>>>> x\n", 2, "not where"),
            ("<<<<<<< x\n=======\n=======\n", 3, "not where"),
            ("<<<<<<< x\n=======\n||||||| x\n", 3, "not where"),
        ] {
            let said = split(text, Path::new("larder.lock")).unwrap_err().to_string();
            assert!(said.starts_with(&format!("larder.lock:{line}: ")) && said.contains(problem), "{said}");
        }
    }
}
