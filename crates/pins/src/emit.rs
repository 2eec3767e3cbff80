//! Writes the text of `larder.lock`.

use toml_writer::{ToTomlValue as _, TomlStringBuilder};

use crate::pin::Pin;

/// The only version of the format.
pub(crate) const VERSION: u64 = 1;

/// Returns the text of a file with these pins.
///
/// `content`, `command` and `bytes` are next to each other. So git never merges changes of both sides into one pin without
/// a conflict.
pub(crate) fn emit<'a>(pins: impl Iterator<Item = &'a Pin>) -> String {
    let mut text = format!("# Written by larder. Commit this file.\nversion = {VERSION}\n");
    for pin in pins {
        text.push_str("\n[[pin]]\n");
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
    text
}

/// Quotes a text so that it stays on one line. Git merges lines, and conflict markers stand at the beginning of a line.
fn quoted(text: &str) -> String {
    TomlStringBuilder::new(text).as_basic().to_toml_value()
}
