//! Reads the text of `larder.lock`.
//!
//! The code reads the tables without a derived deserializer, so that each error names the line and the key.

use std::fmt::Display;
use std::ops::Range;
use std::path::Path;

use larder_hashing::{CommandHash, ContentHash, OutputPath};
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use crate::clash::PinClash;
use crate::emit::VERSION;
use crate::error::{Error, Result};
use crate::larder_lock::LarderLock;
use crate::pin::Pin;

const KEYS: &str = "known are `version` and `[[pin]]`";
const PIN_KEYS: &str = "known in a pin are `path`, `content`, `command`, `bytes`, `files` and `remote`";

type TomlValue<'a> = Spanned<DeValue<'a>>;

impl LarderLock {
    /// Parses the text of the file at `path`. The path only appears in errors.
    ///
    /// # Errors
    ///
    /// The text is not TOML, has another version, a key or value that larder does not know, or pins that clash. The error
    /// names the file and the line.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut lock = Self::default();
        for (line, pin) in parse_pins(text, path)? {
            let clash = |clash| Error::Clash { path: path.to_owned(), line, clash };
            let output = pin.path.to_string();
            if lock.insert(pin).map_err(clash)?.is_some() {
                return Err(clash(PinClash::Twice { path: output }));
            }
        }
        Ok(lock)
    }
}

/// Parses the pins of a text, each with the line of its path. They may clash.
pub(crate) fn parse_pins(text: &str, path: &Path) -> Result<Vec<(usize, Pin)>> {
    let document = LockDocument { line_starts: line_starts(text), path };
    let table = DeTable::parse(text).map_err(|error| Error::Syntax {
        path: path.to_owned(),
        // An error at the end of the text may have no span. It then belongs to the last line.
        line: document.line(&error.span().unwrap_or(text.len()..text.len())),
        problem: error.message().replace('\n', ", "),
    })?;
    document.pins(table.get_ref())
}

struct LockDocument<'a> {
    line_starts: Vec<usize>,
    path: &'a Path,
}

impl LockDocument<'_> {
    fn pins(&self, table: &DeTable<'_>) -> Result<Vec<(usize, Pin)>> {
        // A file of another version may have other keys.
        self.check_version(table.get("version"))?;
        if let Some(unknown) = table.keys().find(|key| !matches!(key.get_ref().as_ref(), "version" | "pin")) {
            return Err(self.unknown_key(unknown, KEYS));
        }
        let no_list = |value| self.wrong(value, "pin", "must be a list of tables: write each as `[[pin]]`");
        let Some(list) = table.get("pin") else { return Ok(Vec::new()) };
        let DeValue::Array(pins) = list.get_ref() else { return Err(no_list(list)) };
        let pin = |value| match TomlValue::get_ref(value) {
            DeValue::Table(table) => self.pin(value, table),
            _ => Err(no_list(value)),
        };
        pins.iter().map(pin).collect()
    }

    fn check_version(&self, version: Option<&TomlValue<'_>>) -> Result<()> {
        let Some(version) = version else {
            return Err(Error::Value {
                path: self.path.to_owned(),
                line: 1,
                key: "version",
                problem: format!("is missing: write `version = {VERSION}`, or restore the file from git"),
            });
        };
        match version.get_ref() {
            DeValue::Integer(_) if self.number("version", version).ok() == Some(VERSION) => Ok(()),
            DeValue::Integer(other) => Err(Error::UnknownVersion {
                path: self.path.to_owned(),
                line: self.line(&version.span()),
                version: other.to_string(),
            }),
            _ => Err(self.wrong(version, "version", &format!("must be the number {VERSION}"))),
        }
    }

    /// Reads a pin. Returns it with the line of its path.
    fn pin(&self, whole: &TomlValue<'_>, table: &DeTable<'_>) -> Result<(usize, Pin)> {
        let is_known =
            |key: &str| matches!(key, "path" | "content" | "command" | "bytes" | "files" | "remote");
        if let Some(unknown) = table.keys().find(|key| !is_known(key.get_ref())) {
            return Err(self.unknown_key(unknown, PIN_KEYS));
        }
        let required = |key: &'static str| {
            table
                .get(key)
                .ok_or_else(|| self.wrong(whole, key, "is missing in this pin: restore the file from git"))
        };
        let path_value = required("path")?;
        let text = self.text("path", path_value)?;
        let path = OutputPath::new(text).map_err(|error| self.bad("path", path_value, &error))?;
        if path.as_str() != text {
            return Err(self.wrong(path_value, "path", &format!("must be normalized: write `{path}`")));
        }
        let content_value = required("content")?;
        let content = ContentHash::parse(self.text("content", content_value)?)
            .map_err(|error| self.bad("content", content_value, &error))?;
        let command_value = required("command")?;
        let command = CommandHash::parse(self.text("command", command_value)?)
            .map_err(|error| self.bad("command", command_value, &error))?;
        let bytes = self.number("bytes", required("bytes")?)?;
        let files = self.number("files", required("files")?)?;
        let remote = table.get("remote").map(|value| self.remote(value)).transpose()?;
        Ok((self.line(&path_value.span()), Pin { path, content, command, bytes, files, remote }))
    }

    fn remote(&self, value: &TomlValue<'_>) -> Result<String> {
        let name = self.text("remote", value)?;
        if name.is_empty() || name.contains(['/', '\\']) {
            let problem = "must be the name of a remote in larder.toml, and not a URL or a path";
            return Err(self.wrong(value, "remote", problem));
        }
        Ok(name.to_owned())
    }

    fn text<'t>(&self, key: &'static str, value: &'t TomlValue<'_>) -> Result<&'t str> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text.as_ref()),
            _ => Err(self.wrong(value, key, "must be a text in quotes")),
        }
    }

    fn number(&self, key: &'static str, value: &TomlValue<'_>) -> Result<u64> {
        let number = match value.get_ref() {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix()).ok(),
            _ => None,
        };
        number.ok_or_else(|| self.wrong(value, key, "must be a whole number that is not negative"))
    }

    fn unknown_key(&self, key: &Spanned<DeString<'_>>, expected: &'static str) -> Error {
        Error::UnknownKey {
            path: self.path.to_owned(),
            line: self.line(&key.span()),
            key: key.get_ref().to_string(),
            expected,
        }
    }

    fn bad(&self, key: &'static str, value: &TomlValue<'_>, error: &dyn Display) -> Error {
        self.wrong(value, key, &format!("is refused: {error}"))
    }

    fn wrong<T>(&self, spanned: &Spanned<T>, key: &'static str, problem: &str) -> Error {
        let line = self.line(&spanned.span());
        Error::Value { path: self.path.to_owned(), line, key, problem: problem.to_owned() }
    }

    fn line(&self, span: &Range<usize>) -> usize {
        self.line_starts.partition_point(|start| *start <= span.start)
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let after_breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_breaks).collect()
}

#[cfg(test)]
mod tests;
