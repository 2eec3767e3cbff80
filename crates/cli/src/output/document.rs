//! The document of `--json`. It is an interface: fields are added, never renamed or removed.

mod pins;
mod runs;

use std::io::{self, Write};
use std::path::Path;

use larder_storage::{PullOutcome, Pulled, PushOutcome, Pushed, RemoteObject, error_causes};
use serde::Serialize;

use super::text;
use crate::failure::Failure;
pub(crate) use pins::PinEntry;
pub(crate) use runs::{LogEntry, WhyEntry};

/// The version of the document. It increases when programs that read the document would have to change.
const SCHEMA: u32 = 1;

/// The whole document.
#[derive(Debug)]
pub(crate) struct ResultDocument<'a> {
    /// The command, if it could be parsed.
    pub(crate) command: Option<&'a str>,
    pub(crate) ok: bool,
    pub(crate) dry_run: bool,
    pub(crate) results: &'a [ResultEntry],
    pub(crate) error: Option<ErrorEntry>,
}

#[derive(Serialize)]
struct DocumentFields<'a> {
    schema: u32,
    command: Option<&'a str>,
    ok: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    results: &'a [ResultEntry],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a ErrorEntry>,
}

impl ResultDocument<'_> {
    /// Writes the document as one line.
    pub(crate) fn write_to(&self, sink: &mut dyn Write) -> io::Result<()> {
        let Self { command, ok, dry_run, results, ref error } = *self;
        let fields = DocumentFields { schema: SCHEMA, command, ok, dry_run, results, error: error.as_ref() };
        serde_json::to_writer(&mut *sink, &fields)?;
        writeln!(sink)?;
        sink.flush()
    }
}

/// The most serious failure of the command.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ErrorEntry {
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    pub(crate) causes: Vec<String>,
}

impl ErrorEntry {
    pub(crate) fn new(kind: &'static str, error: &dyn std::error::Error) -> Self {
        Self { kind, message: error.to_string(), causes: error_causes(error) }
    }
}

/// One result.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum ResultEntry {
    Transfer(TransferEntry),
    Failed(FailedEntry),
    Object(ObjectEntry),
    Output(OutputName),
    Outcome(OutcomeEntry),
    NewProject(ProjectEntry),
    Hash(Hashed),
    Project(Box<ProjectOutput>),
    Finding(AuditFinding),
    Log(Box<LogEntry>),
    Why(Box<WhyEntry>),
    Pin(Box<PinEntry>),
}

/// An output that was pushed or pulled.
#[derive(Debug, Serialize)]
pub(crate) struct TransferEntry {
    path: String,
    url: String,
    command_hash: String,
    content_hash: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    /// The size of the object. It is unknown if a dry run would create the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
}

/// An output of a command of a weasel project.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ProjectOutput {
    pub(crate) command: String,
    /// The path as the project spells it.
    pub(crate) path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) verified: Option<bool>,
    /// Whether project.lock records it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recorded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    /// Why it was skipped or refused, or what has changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// The other command that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) made_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<ErrorEntry>,
}

/// A problem in a remote.
#[derive(Debug, Serialize)]
pub(crate) struct AuditFinding {
    pub(crate) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    pub(crate) urls: Vec<String>,
    pub(crate) reason: String,
    /// Set for damaged objects only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) deleted: Option<bool>,
}

impl From<LogEntry> for ResultEntry {
    fn from(entry: LogEntry) -> Self {
        Self::Log(Box::new(entry))
    }
}

impl From<WhyEntry> for ResultEntry {
    fn from(entry: WhyEntry) -> Self {
        Self::Why(Box::new(entry))
    }
}

impl From<PinEntry> for ResultEntry {
    fn from(entry: PinEntry) -> Self {
        Self::Pin(Box::new(entry))
    }
}

impl From<ProjectOutput> for ResultEntry {
    fn from(entry: ProjectOutput) -> Self {
        Self::Project(Box::new(entry))
    }
}

/// An output that failed.
#[derive(Debug, Serialize)]
pub(crate) struct FailedEntry {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorEntry>,
}

impl FailedEntry {
    /// Creates an entry for an output without an object in the remote.
    pub(crate) fn not_found(path: &str) -> Self {
        Self { path: path.to_owned(), outcome: Some("not_found"), error: None }
    }

    pub(crate) fn new(path: &str, failure: &Failure) -> Self {
        Self { path: path.to_owned(), outcome: None, error: Some(ErrorEntry::new(failure.kind(), failure)) }
    }
}

/// An object of an output.
#[derive(Debug, Serialize)]
pub(crate) struct ObjectEntry {
    pub(crate) path: String,
    pub(crate) url: String,
    pub(crate) command_hash: String,
    pub(crate) content_hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_modified: Option<String>,
    /// The time of the newest run record that names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) recorded: Option<String>,
}

impl ObjectEntry {
    pub(crate) fn new(path: &str, object: &RemoteObject) -> Self {
        Self {
            path: path.to_owned(),
            url: object.url.clone(),
            command_hash: object.command_hash.to_string(),
            content_hash: object.content_hash.to_string(),
            bytes: Some(object.bytes),
            last_modified: text::time(object.last_modified),
            recorded: object.recorded.and_then(text::time),
        }
    }
}

/// An output with objects in the remote.
#[derive(Debug, Serialize)]
pub(crate) struct OutputName {
    pub(crate) path: String,
}

/// What was done to an output.
#[derive(Debug, Serialize)]
pub(crate) struct OutcomeEntry {
    pub(crate) path: String,
    pub(crate) outcome: &'static str,
}

/// A project, new or not.
#[derive(Debug, Serialize)]
pub(crate) struct ProjectEntry {
    pub(crate) root: String,
    pub(crate) outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) remote: Option<String>,
    /// The files that were created or changed.
    pub(crate) files: Vec<&'static str>,
}

impl ProjectEntry {
    /// Creates the entry of a new project without a remote.
    pub(crate) fn new(root: &Path) -> Self {
        let root = root.display().to_string();
        Self { root, outcome: "created", remote: None, files: Vec::new() }
    }
}

/// A computed hash.
#[derive(Debug, Serialize)]
pub(crate) struct Hashed {
    /// The path as given. Set for a content hash only.
    pub(crate) path: Option<String>,
    pub(crate) scheme: &'static str,
    pub(crate) hash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<String>,
}

const fn push_outcome(outcome: PushOutcome) -> &'static str {
    match outcome {
        PushOutcome::Uploaded => "uploaded",
        PushOutcome::AlreadyPresent => "already_present",
    }
}

const fn pull_outcome(outcome: PullOutcome) -> &'static str {
    match outcome {
        PullOutcome::Restored => "restored",
        PullOutcome::UpToDate => "up_to_date",
        PullOutcome::Kept => "kept",
    }
}

impl TransferEntry {
    pub(crate) fn pushed(pushed: &Pushed) -> Self {
        Self {
            path: pushed.output.as_str().to_owned(),
            url: pushed.url.clone(),
            command_hash: pushed.command_hash.to_string(),
            content_hash: pushed.content_hash.to_string(),
            outcome: push_outcome(pushed.outcome),
            verified: None,
            bytes: (pushed.bytes > 0).then_some(pushed.bytes),
        }
    }

    /// Creates an entry for an output whose content the remote has.
    pub(crate) fn present(path: &str, object: &RemoteObject) -> Self {
        Self {
            path: path.to_owned(),
            url: object.url.clone(),
            command_hash: object.command_hash.to_string(),
            content_hash: object.content_hash.to_string(),
            outcome: push_outcome(PushOutcome::AlreadyPresent),
            verified: None,
            bytes: Some(object.bytes),
        }
    }

    pub(crate) fn pulled(pulled: &Pulled, dry_run: bool) -> Self {
        // A dry run does not read the object.
        let is_checked = !(dry_run && pulled.outcome == PullOutcome::Restored);
        Self {
            path: pulled.output.as_str().to_owned(),
            url: pulled.url.clone(),
            command_hash: pulled.command_hash.to_string(),
            content_hash: pulled.content_hash.to_string(),
            outcome: pull_outcome(pulled.outcome),
            verified: is_checked.then_some(pulled.verified),
            bytes: Some(pulled.bytes),
        }
    }
}

macro_rules! entry_from {
    ($($variant:ident($type:ty)),* $(,)?) => {
        $(impl From<$type> for ResultEntry {
            fn from(entry: $type) -> Self {
                Self::$variant(entry)
            }
        })*
    };
}

entry_from!(
    Transfer(TransferEntry),
    Failed(FailedEntry),
    Object(ObjectEntry),
    Output(OutputName),
    Outcome(OutcomeEntry),
    NewProject(ProjectEntry),
    Hash(Hashed),
    Finding(AuditFinding),
);
