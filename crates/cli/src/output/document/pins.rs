//! Entries about pinned outputs.

use larder_pins::{Pin, PinState};
use larder_storage::ContentHash;
use serde::Serialize;

/// A pinned output: how it differs from its pin, or why a push or pull left it alone.
#[derive(Debug, Serialize)]
pub(crate) struct PinEntry {
    path: String,
    /// `clean`, `behind`, `modified`, `diverged` or `missing`.
    state: &'static str,
    /// `skipped` or `kept`, in a push or pull.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    /// The hashes of the pin.
    command_hash: String,
    content_hash: String,
    /// The hash of the content in the project, if there is one that can be compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    disk: Option<String>,
    /// The size of the pinned content, and the number of its files.
    bytes: u64,
    files: u64,
    /// The name of the remote that the pin names.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
    /// Whether the remote has the pinned version, if it was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    online: Option<bool>,
}

impl PinEntry {
    pub(crate) fn new(pin: &Pin, state: PinState, disk: Option<&ContentHash>) -> Self {
        Self {
            path: pin.path.as_str().to_owned(),
            state: state.name(),
            outcome: None,
            command_hash: pin.command.to_string(),
            content_hash: pin.content.to_string(),
            disk: disk.map(ToString::to_string),
            bytes: pin.bytes,
            files: pin.files,
            remote: pin.remote.clone(),
            online: None,
        }
    }

    pub(crate) fn with_outcome(self, outcome: &'static str) -> Self {
        Self { outcome: Some(outcome), ..self }
    }

    pub(crate) fn with_online(self, online: Option<bool>) -> Self {
        Self { online, ..self }
    }
}
