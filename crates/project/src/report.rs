//! The results for the outputs of a project.

use std::time::Duration;

use larder_storage::{CommandHash, ContentHash, PullOutcome, Pulled, PushOutcome, Pushed, RemoteObject};

use crate::error::Error;

/// The result for one output of one command.
#[derive(Debug)]
#[non_exhaustive]
pub struct OutputReport {
    /// The name of the command.
    pub command: String,
    /// The output, as the project spells it.
    pub path: String,
    /// The outcome.
    pub outcome: OutputOutcome,
    /// The hash of the command as it is now.
    pub command_hash: Option<CommandHash>,
    /// The content hash.
    pub content_hash: Option<ContentHash>,
    /// The URL of the object.
    pub url: Option<String>,
    /// The size of the object in bytes, if it is known.
    pub bytes: Option<u64>,
    /// The size of the uploaded or restored content, in bytes.
    pub content_bytes: Option<u64>,
    /// How long the transfer took.
    pub elapsed: Option<Duration>,
    /// Whether the bytes were checked against their hash.
    pub verified: Option<bool>,
    /// Whether `project.lock` records that the command made this content.
    pub recorded: Option<bool>,
}

/// The outcome for an output.
#[derive(Debug)]
#[non_exhaustive]
pub enum OutputOutcome {
    /// It was uploaded. In a dry run: it would be.
    Uploaded,
    /// The remote already had it.
    AlreadyPresent,
    /// It was restored. In a dry run: it would be.
    Restored,
    /// The output has the content of the remote's object.
    UpToDate,
    /// The output is stale: the remote has different content for this command. It was kept.
    Kept,
    /// The remote has no object for it.
    NotFound,
    /// Another command made this content. The remote has no object with this content for this command.
    MadeBy {
        /// The other command.
        command: String,
    },
    /// It was skipped.
    Skipped {
        /// The reason.
        reason: String,
    },
    /// It was not pushed, because it was made from other inputs than those of its key.
    Refused {
        /// The difference.
        reason: String,
    },
    /// It cannot be an output: its path leaves the project or is reserved.
    Invalid {
        /// The reason.
        reason: String,
    },
    /// It failed.
    Failed(Error),
}

impl OutputOutcome {
    /// Returns the name in machine-readable output. A failure has none.
    pub const fn name(&self) -> Option<&'static str> {
        Some(match self {
            Self::Uploaded => "uploaded",
            Self::AlreadyPresent => "already_present",
            Self::Restored => "restored",
            Self::UpToDate => "up_to_date",
            Self::Kept => "kept",
            Self::NotFound => "not_found",
            Self::MadeBy { .. } => "made_by_other",
            Self::Skipped { .. } => "skipped",
            Self::Refused { .. } | Self::Invalid { .. } => "refused",
            Self::Failed(_) => return None,
        })
    }

    /// Returns whether the output is missing, or does not have the content of the remote's object.
    pub const fn is_incomplete(&self) -> bool {
        matches!(
            self,
            Self::Kept | Self::NotFound | Self::Skipped { .. } | Self::Refused { .. } | Self::Invalid { .. }
        )
    }
}

impl OutputReport {
    pub(crate) fn ends_everything(&self) -> bool {
        matches!(&self.outcome, OutputOutcome::Failed(error) if error.ends_everything())
    }

    pub(crate) fn new(command: &str, path: &str, outcome: OutputOutcome) -> Self {
        Self {
            command: command.to_owned(),
            path: path.to_owned(),
            outcome,
            command_hash: None,
            content_hash: None,
            url: None,
            bytes: None,
            content_bytes: None,
            elapsed: None,
            verified: None,
            recorded: None,
        }
    }

    pub(crate) fn of_push(command: &str, path: &str, pushed: Pushed) -> Self {
        let outcome = match pushed.outcome {
            PushOutcome::Uploaded => OutputOutcome::Uploaded,
            PushOutcome::AlreadyPresent => OutputOutcome::AlreadyPresent,
        };
        Self {
            command_hash: Some(pushed.command_hash),
            content_hash: Some(pushed.content_hash),
            url: Some(pushed.url),
            bytes: Some(pushed.bytes).filter(|bytes| *bytes > 0),
            content_bytes: Some(pushed.content_bytes),
            elapsed: Some(pushed.elapsed),
            ..Self::new(command, path, outcome)
        }
    }

    pub(crate) fn of_pull(command: &str, path: &str, pulled: Pulled, dry_run: bool) -> Self {
        let outcome = match pulled.outcome {
            PullOutcome::Restored => OutputOutcome::Restored,
            PullOutcome::UpToDate => OutputOutcome::UpToDate,
            PullOutcome::Kept => OutputOutcome::Kept,
        };
        Self {
            command_hash: Some(pulled.command_hash),
            content_hash: Some(pulled.content_hash),
            url: Some(pulled.url),
            bytes: Some(pulled.bytes),
            content_bytes: pulled.content_bytes,
            elapsed: Some(pulled.elapsed),
            verified: Some(pulled.verified).filter(|_| !dry_run),
            ..Self::new(command, path, outcome)
        }
    }

    pub(crate) fn of_object(command: &str, path: &str, outcome: OutputOutcome, object: RemoteObject) -> Self {
        Self {
            command_hash: Some(object.command_hash),
            content_hash: Some(object.content_hash),
            url: Some(object.url),
            bytes: Some(object.bytes),
            ..Self::new(command, path, outcome)
        }
    }
}
