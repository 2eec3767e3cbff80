//! Writes the text of `larder.lock`.

use toml_writer::{ToTomlValue as _, TomlStringBuilder};

use crate::pin::Pin;

/// The only version of the format.
pub(crate) const VERSION: u64 = 1;

/// The beginning of a file.
pub(crate) fn header() -> String {
    format!("# Written by larder. Commit this file.\nversion = {VERSION}\n")
}

/// Appends a pin to the text of a file.
///
/// Its lines are next to each other. So git finds a conflict where both sides change one pin, also different lines of it.
pub(crate) fn append_pin(text: &mut String, pin: &Pin) {
    text.push_str("[[pin]]\n");
    let mut line = |key: &str, value: &str| text.extend([key, " = ", value, "\n"]);
    line("path", &quoted(pin.path.as_str()));
    line("content", &quoted(pin.content.as_str()));
    line("command", &quoted(pin.command.as_str()));
    line("bytes", &pin.bytes.to_string());
    line("files", &pin.files.to_string());
    if let Some(remote) = &pin.remote {
        line("remote", &quoted(remote));
    }
}

/// Quotes a text so that it stays on one line. Git merges lines, and conflict markers stand at the beginning of a line.
fn quoted(text: &str) -> String {
    TomlStringBuilder::new(text).as_basic().to_toml_value()
}
