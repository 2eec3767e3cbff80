//! What an error says of its causes, in one line.

use std::error::Error as StdError;

/// The last two causes of an error: those above them say only which layers it came through.
pub fn root_causes(error: &(dyn StdError + 'static)) -> String {
    let (mut last, mut next) = (error, error.source());
    let mut above = error;
    while let Some(cause) = next {
        (above, last, next) = (last, cause, cause.source());
    }
    let (above, last) = (above.to_string(), last.to_string());
    if above.contains(&last) { above } else { format!("{above}: {last}") }
}

/// An error and its causes in one line, each said once.
pub fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        // Some say what they have tried on several lines.
        let text = error.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let text = lines.join("; ");
        if !texts.iter().any(|said| said.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}
