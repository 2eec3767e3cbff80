//! The text of an error and its causes.

use std::error::Error as StdError;
use std::iter::successors;

/// Renders an error and its causes as one line. A cause that repeats the text above it is left out.
///
/// ```
/// use std::io;
/// use larder_backend::{Error, ErrorKind, Operation, error_chain};
///
/// let error = Error::new(ErrorKind::Other, Operation::Get, "/store/a").with_source(io::Error::other("bad sector"));
/// assert_eq!(error_chain(&error), "failed to read /store/a: unexpected error: bad sector");
/// ```
pub fn error_chain(error: &(dyn StdError + '_)) -> String {
    let mut texts = error_causes(error);
    texts.insert(0, one_line(&error.to_string()));
    texts.join(": ")
}

/// Renders the causes of an error, outermost first, each as one line. A cause that repeats the text above it is left out.
pub fn error_causes(error: &(dyn StdError + '_)) -> Vec<String> {
    let mut above = one_line(&error.to_string()).to_lowercase();
    let mut causes = Vec::new();
    for cause in successors(error.source(), |&cause| cause.source()) {
        let text = one_line(&cause.to_string());
        // The system's error number adds nothing to its words.
        let words = text.split(" (os error ").next().unwrap_or(&text).to_lowercase();
        if !above.contains(&words) {
            above.push('\n');
            above.push_str(&words);
            causes.push(text);
        }
    }
    causes
}

/// Renders the last two causes of an error as one line. The outer causes of an HTTP client only name its layers.
pub fn root_causes(error: &(dyn StdError + 'static)) -> String {
    let (mut above, mut last) = (error, error);
    while let Some(cause) = last.source() {
        (above, last) = (last, cause);
    }
    let (above, last) = (one_line(&above.to_string()), one_line(&last.to_string()));
    if above.contains(&last) { above } else { format!("{above}: {last}") }
}

/// Some errors have several lines.
fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::{Error, ErrorKind, Operation};

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct CauseLayer {
        text: &'static str,
        source: Option<Box<Self>>,
    }

    fn layers(texts: &[&'static str]) -> CauseLayer {
        let (text, below) = texts.split_first().unwrap();
        CauseLayer { text, source: (!below.is_empty()).then(|| Box::new(layers(below))) }
    }

    #[test]
    fn each_cause_is_rendered_once() {
        let denied = || io::Error::from_raw_os_error(13);
        let error = Error::new(ErrorKind::PermissionDenied, Operation::Sweep, "/store").with_source(denied());
        assert_eq!(error_chain(&error), "failed to clean up /store: permission denied");
        assert!(error_causes(&error).is_empty());
        let error = Error::new(ErrorKind::Other, Operation::Sweep, "/store").with_source(denied());
        assert_eq!(error_causes(&error), ["Permission denied (os error 13)"]);
        let error = layers(&["request failed", "a: request failed", "timed out", "timed out"]);
        assert_eq!(error_chain(&error), "request failed: a: request failed: timed out");
    }

    #[test]
    fn lines_are_joined() {
        assert_eq!(error_chain(&layers(&["tried\n  one\n\n  two", "no"])), "tried; one; two: no");
    }

    #[test]
    fn root_causes_are_the_last_two() {
        assert_eq!(root_causes(&layers(&["outer", "middle", "inner"])), "middle: inner");
        assert_eq!(root_causes(&layers(&["outer", "it was inner", "inner"])), "it was inner");
        assert_eq!(root_causes(&layers(&["alone"])), "alone");
    }
}
