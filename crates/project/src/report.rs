//! What was done with the outputs of a project.

use std::time::Duration;

use larder_storage::{CommandHash, ContentHash, PullOutcome, Pulled, PushOutcome, Pushed, RemoteObject};

use crate::error::Error;

/// What was done with one output of one command.
#[derive(Debug)]
#[non_exhaustive]
pub struct OutputReport {
    /// The name of the command.
    pub command: String,
    /// The output, as the project spells it.
    pub path: String,
    /// What was done.
    pub outcome: OutputOutcome,
    /// What made it: the hash of the command as it is now.
    pub command_hash: Option<CommandHash>,
    /// What it contains.
    pub content_hash: Option<ContentHash>,
    /// Where the object is.
    pub url: Option<String>,
    /// The size of the object, in bytes, where it is known.
    pub bytes: Option<u64>,
    /// The size of what was uploaded or restored, in bytes.
    pub content_bytes: Option<u64>,
    /// How long the transfer took.
    pub elapsed: Option<Duration>,
    /// Whether the bytes were checked against their hash.
    pub verified: Option<bool>,
    /// Whether `project.lock` says that the command made this.
    pub recorded: Option<bool>,
}

/// What was done with an output.
#[derive(Debug)]
#[non_exhaustive]
pub enum OutputOutcome {
    /// It was published. In a dry run: it would be.
    Uploaded,
    /// The remote had it.
    AlreadyPresent,
    /// It was restored. In a dry run: it would be.
    Restored,
    /// What is there is what the remote has.
    UpToDate,
    /// What is there is stale: the remote has another content of this command. It was kept.
    Kept,
    /// The remote has nothing of it.
    NotFound,
    /// It is what another command made, and this one's key holds something else, or nothing.
    MadeBy {
        /// The other command.
        command: String,
    },
    /// Nothing could be done.
    Skipped {
        /// Why.
        reason: String,
    },
    /// It was not pushed, because it was made from something else than its key would say.
    Refused {
        /// What differs.
        reason: String,
    },
    /// It cannot be an output: its path is none within the project, or is reserved.
    Invalid {
        /// Why.
        reason: String,
    },
    /// It failed.
    Failed(Error),
}

impl OutputOutcome {
    /// The name in machine-readable output; a failure has none.
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

    /// Whether something is left to be wished for: the output is not there, or not what the remote has.
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
