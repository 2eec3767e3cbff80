//! Errors of backends.

use std::error::Error as StdError;
use std::fmt;

/// The result of an operation on a backend.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An operation on a remote failed.
///
/// `Display` says what failed and where; [`StdError::source`] says why; [`Error::kind`] is for code.
#[derive(Debug)]
pub struct Error(Box<ErrorDetails>);

#[derive(Debug)]
struct ErrorDetails {
    kind: ErrorKind,
    operation: Operation,
    location: String,
    retryable: bool,
    /// Replaces the phrase of the kind.
    problem: Option<String>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// Why an operation failed, for code that branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No object has this name.
    NotFound,
    /// The bucket, or the directory of the remote, does not exist, and an upload would not create it.
    RootMissing,
    /// The key of a create-only upload exists.
    AlreadyExists,
    /// The object, or something on its path, was changed by another operation.
    Conflict,
    /// The remote knows the user, and denies access.
    PermissionDenied,
    /// The remote does not know the user.
    Unauthenticated,
    /// The key of the host is unknown, changed or revoked, so it may be another host.
    Untrusted,
    /// The remote asks for fewer requests, and retries did not help.
    RateLimited,
    /// No bytes were transferred within the no-progress timeout.
    Timeout,
    /// The remote cannot be reached, or fails.
    Unavailable,
    /// The storage behind the remote is full, or a quota is used up.
    NoSpace,
    /// The key or an option is not possible on this remote.
    InvalidInput,
    /// The remote cannot do this.
    Unsupported,
    /// The received bytes differ from the sent ones.
    Integrity,
    /// The caller asked to stop.
    Cancelled,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// The text of the kind, as the end of a sentence.
    const fn phrase(self) -> &'static str {
        match self {
            Self::NotFound => "no such object",
            Self::RootMissing => "the remote does not exist",
            Self::AlreadyExists => "an object of this name exists",
            Self::Conflict => "the object changed meanwhile",
            Self::PermissionDenied => "permission denied",
            Self::Unauthenticated => "not authenticated",
            Self::Untrusted => "the host is not trusted",
            Self::RateLimited => "too many requests",
            Self::Timeout => "no progress for too long",
            Self::Unavailable => "the remote cannot be reached",
            Self::NoSpace => "no space left",
            Self::InvalidInput => "the remote does not take this name or option",
            Self::Unsupported => "the remote cannot do this",
            Self::Integrity => "the bytes were damaged on their way",
            Self::Cancelled => "cancelled",
            Self::Other => "unexpected error",
        }
    }
}

/// An operation on a remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// [`crate::Backend`] construction and [`crate::Backend::get_ready`].
    Open,
    /// [`crate::Backend::stat`].
    Stat,
    /// [`crate::Backend::get`] and its stream.
    Get,
    /// [`crate::Backend::begin_put`] and [`crate::Upload::write`].
    Put,
    /// [`crate::Upload::commit`].
    Commit,
    /// [`crate::Upload::abort`].
    Abort,
    /// [`crate::Backend::list`].
    List,
    /// [`crate::Backend::delete`].
    Delete,
    /// [`crate::Backend::sweep`].
    Sweep,
    /// [`crate::Backend::close`].
    Close,
}

impl Operation {
    const fn phrase(self) -> &'static str {
        match self {
            Self::Open => "failed to open",
            Self::Stat => "failed to look for",
            Self::Get => "failed to read",
            Self::Put => "failed to write",
            Self::Commit => "failed to publish",
            Self::Abort => "failed to abort the upload of",
            Self::List => "failed to list",
            Self::Delete => "failed to delete",
            Self::Sweep => "failed to clean up",
            Self::Close => "failed to close",
        }
    }
}

impl Error {
    /// Creates an error at `location`: the URL of the object, or of the remote.
    pub fn new(kind: ErrorKind, operation: Operation, location: impl Into<String>) -> Self {
        let retryable = matches!(kind, ErrorKind::RateLimited | ErrorKind::Timeout | ErrorKind::Unavailable);
        Self(Box::new(ErrorDetails {
            kind,
            operation,
            location: location.into(),
            retryable,
            problem: None,
            hint: None,
            source: None,
        }))
    }

    /// Adds the reason.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Adds advice for the user: a sentence without a capital letter and a full stop.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Sets whether the same call may succeed later. By default the kind decides.
    #[must_use]
    pub fn with_retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Says what is wrong, if the kind has no words for it.
    #[must_use]
    pub fn with_problem(mut self, problem: impl Into<String>) -> Self {
        self.0.problem = Some(problem.into());
        self
    }

    /// The kind of the failure, for code.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The operation that failed.
    pub fn operation(&self) -> Operation {
        self.0.operation
    }

    /// The URL of the object, or of the remote.
    pub fn location(&self) -> &str {
        &self.0.location
    }

    /// Whether the same call may succeed later.
    pub fn is_retryable(&self) -> bool {
        self.0.retryable
    }

    /// The advice for the user.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// Whether no object has this name.
    pub fn is_not_found(&self) -> bool {
        self.0.kind == ErrorKind::NotFound
    }

    /// Whether a create-only upload failed because its key exists.
    pub fn is_already_exists(&self) -> bool {
        self.0.kind == ErrorKind::AlreadyExists
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ErrorDetails { kind, operation, location, problem, hint, .. } = &*self.0;
        let problem = problem.as_deref().unwrap_or(kind.phrase());
        match (operation, kind) {
            (Operation::Stat, ErrorKind::RootMissing) => write!(f, "failed to open {location}: {problem}"),
            (Operation::Stat, _) => write!(f, "failed to check whether {location} exists: {problem}"),
            _ => write!(f, "{} {location}: {problem}", operation.phrase()),
        }?;
        hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_what_failed_where_and_what_to_do_and_the_source_says_why() {
        let error = Error::new(ErrorKind::PermissionDenied, Operation::Get, "/mnt/store/model/c/h")
            .with_hint("check the permissions of the folder")
            .with_source("os error 13");
        assert_eq!(
            error.to_string(),
            "failed to read /mnt/store/model/c/h: permission denied (check the permissions of the folder)"
        );
        assert_eq!(error.source().unwrap().to_string(), "os error 13");
    }

    #[test]
    fn a_problem_replaces_the_words_of_the_kind() {
        let error =
            Error::new(ErrorKind::RootMissing, Operation::Stat, "/store/a").with_problem("/store is a file");
        assert_eq!(error.to_string(), "failed to open /store/a: /store is a file");
    }

    #[test]
    fn only_what_may_pass_is_retryable() {
        let error = |kind| Error::new(kind, Operation::Get, "x");
        assert!(error(ErrorKind::Timeout).is_retryable());
        assert!(!error(ErrorKind::PermissionDenied).is_retryable());
        assert!(!error(ErrorKind::NotFound).is_retryable());
    }
}
