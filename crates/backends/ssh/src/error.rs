//! Converts errors of libssh2 and of the server into errors of the backend.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use larder_backend::{Error, ErrorKind, Operation, seconds};
use larder_backend_files::advice::{CHECK_PERMISSIONS, FREE_SPACE};
use ssh2::ErrorCode;

/// The failure of an attempt, still without operation and location: see [`Trouble::at`].
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: ErrorKind,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// The status that the server answered, if it refused.
    status: Option<Status>,
    /// Who did not answer, and for how long.
    pub(crate) silence: Option<(&'static str, Duration)>,
    /// The network has lost the connection.
    pub(crate) is_lost: bool,
    /// The connection cannot be used any more.
    pub(crate) is_broken: bool,
    /// Another attempt, on another connection, may succeed.
    pub(crate) is_retryable: bool,
}

/// The statuses of SFTP that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    NoSuchFile,
    PermissionDenied,
    /// Any other failure. Version 3 of the protocol, which all servers speak, has no finer statuses.
    Failure,
    NoSpace,
    Unsupported,
}

/// Codes of libssh2 for which its wrapper has no names.
mod code {
    use libssh2_sys as raw;

    pub(super) const AGAIN: i32 = raw::LIBSSH2_ERROR_EAGAIN;
    pub(super) const END_OF_DIRECTORY: i32 = raw::LIBSSH2_ERROR_FILE;
    pub(super) const TIMEOUT: i32 = raw::LIBSSH2_ERROR_TIMEOUT;
    pub(super) const NO_SUCH_FILE: i32 = raw::LIBSSH2_FX_NO_SUCH_FILE;
    pub(super) const NO_SUCH_PATH: i32 = raw::LIBSSH2_FX_NO_SUCH_PATH;
    pub(super) const NOT_A_DIRECTORY: i32 = raw::LIBSSH2_FX_NOT_A_DIRECTORY;
    pub(super) const PERMISSION_DENIED: i32 = raw::LIBSSH2_FX_PERMISSION_DENIED;
    pub(super) const WRITE_PROTECT: i32 = raw::LIBSSH2_FX_WRITE_PROTECT;
    pub(super) const NO_SPACE: i32 = raw::LIBSSH2_FX_NO_SPACE_ON_FILESYSTEM;
    pub(super) const QUOTA: i32 = raw::LIBSSH2_FX_QUOTA_EXCEEDED;
    pub(super) const UNSUPPORTED: i32 = raw::LIBSSH2_FX_OP_UNSUPPORTED;
    pub(super) const CONNECTION_LOST: i32 = raw::LIBSSH2_FX_CONNECTION_LOST;
    pub(super) const NO_CONNECTION: i32 = raw::LIBSSH2_FX_NO_CONNECTION;
    /// The codes of a lost connection.
    pub(super) const LOST: [i32; 6] = [
        raw::LIBSSH2_ERROR_BANNER_RECV,
        raw::LIBSSH2_ERROR_SOCKET_SEND,
        raw::LIBSSH2_ERROR_SOCKET_DISCONNECT,
        raw::LIBSSH2_ERROR_SOCKET_TIMEOUT,
        raw::LIBSSH2_ERROR_SOCKET_RECV,
        raw::LIBSSH2_ERROR_BAD_SOCKET,
    ];
    /// All statuses that a server can answer.
    pub(super) const STATUSES: std::ops::RangeInclusive<i32> = 1..=raw::LIBSSH2_FX_LINK_LOOP;
}

/// Whether a call did not block, and has to be repeated.
pub(crate) fn is_again(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(code::AGAIN)
}

/// Whether a directory has no more entries.
pub(crate) fn is_end_of_directory(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(code::END_OF_DIRECTORY)
}

/// Whether a call was not answered in time.
fn is_timeout(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(code::TIMEOUT)
}

/// Finds the error of libssh2 behind a failed read or write. Its wrapper passes on the text only, not the code.
pub(crate) fn from_io(error: &io::Error) -> ssh2::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        return ssh2::Error::from_errno(ErrorCode::Session(code::AGAIN));
    }
    let text = error.to_string();
    code::STATUSES
        .map(|status| ssh2::Error::from_errno(ErrorCode::SFTP(status)))
        .find(|status| status.message() == text)
        .unwrap_or_else(|| {
            ssh2::Error::from_errno(ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_SOCKET_RECV))
        })
}

impl Trouble {
    pub(crate) fn new(kind: ErrorKind) -> Self {
        Self {
            kind,
            hint: None,
            source: None,
            status: None,
            silence: None,
            is_lost: false,
            is_broken: false,
            is_retryable: false,
        }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Marks the connection as broken. Another connection may work.
    pub(crate) fn broken(mut self) -> Self {
        self.is_broken = true;
        self.is_retryable = true;
        self
    }

    /// Marks the connection as broken. Another connection would fail too.
    pub(crate) fn hopeless(mut self) -> Self {
        self.is_broken = true;
        self.is_retryable = false;
        self
    }

    /// Nothing came for too long. After several attempts the error states the time of all: see [`Trouble::after_attempts`].
    pub(crate) fn silent(who: &'static str, limit: Duration) -> Self {
        let silence = Some((who, limit));
        let source = format!("{who} did not answer for {}", seconds(limit));
        Self { silence, ..Self::new(ErrorKind::Timeout).with_source(source).broken() }
    }

    /// The trouble of the last of several attempts, which were silent for so long together.
    pub(crate) fn after_attempts(self, attempts: u32, idle: Duration) -> Self {
        match self.silence {
            Some((who, _)) if attempts > 1 => {
                let source = format!("{who} did not answer for {}, in {attempts} attempts", seconds(idle));
                self.with_source(source)
            }
            _ => self,
        }
    }

    /// The server answers keepalives, but not a request about its files.
    pub(crate) fn hanging(limit: Duration) -> Self {
        Self::new(ErrorKind::Timeout)
            .with_source(format!("the server is there, but its files did not answer for {}", seconds(limit)))
            .with_hint("look whether the disk of the server hangs")
            .broken()
            .hopeless()
    }

    /// The caller has cancelled the operation.
    pub(crate) fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled).hopeless()
    }

    pub(crate) fn is_absent(&self) -> bool {
        self.status == Some(Status::NoSuchFile)
    }

    /// Whether the server refused without a reason.
    pub(crate) fn is_failure(&self) -> bool {
        self.status == Some(Status::Failure)
    }

    pub(crate) fn is_denied(&self) -> bool {
        self.status == Some(Status::PermissionDenied)
    }

    pub(crate) fn is_unsupported(&self) -> bool {
        self.status == Some(Status::Unsupported)
    }

    /// The server refused without a reason, and its file system has no space left.
    pub(crate) fn into_no_space(self) -> Self {
        Self { kind: ErrorKind::NoSpace, hint: Some(FREE_SPACE.to_owned()), ..self }
    }

    /// Adds the operation and the location.
    pub(crate) fn at(self, operation: Operation, location: impl Into<String>) -> Error {
        let mut error = Error::new(self.kind, operation, location).with_retryable(self.is_retryable);
        if let Some(hint) = self.hint {
            error = error.with_hint(hint);
        }
        if let Some(source) = self.source {
            error = error.with_source(source);
        }
        error
    }
}

impl From<ssh2::Error> for Trouble {
    fn from(error: ssh2::Error) -> Self {
        let trouble = match error.code() {
            ErrorCode::SFTP(code::CONNECTION_LOST | code::NO_CONNECTION) => {
                Self::new(ErrorKind::Unavailable).broken()
            }
            ErrorCode::SFTP(status) => Self::refused(status),
            ErrorCode::Session(_) if is_timeout(&error) => Self::new(ErrorKind::Timeout).broken(),
            ErrorCode::Session(code) => {
                let is_lost = code::LOST.contains(&code);
                Self { is_lost, ..Self::new(ErrorKind::Unavailable).broken() }
            }
        };
        trouble.with_source(Said(error))
    }
}

impl Trouble {
    /// The server answered with a status of failure.
    fn refused(status: i32) -> Self {
        let (kind, status, hint) = match status {
            code::NO_SUCH_FILE | code::NO_SUCH_PATH | code::NOT_A_DIRECTORY => {
                (ErrorKind::NotFound, Some(Status::NoSuchFile), None)
            }
            code::PERMISSION_DENIED | code::WRITE_PROTECT => {
                (ErrorKind::PermissionDenied, Some(Status::PermissionDenied), Some(CHECK_PERMISSIONS))
            }
            code::NO_SPACE | code::QUOTA => (ErrorKind::NoSpace, Some(Status::NoSpace), Some(FREE_SPACE)),
            code::UNSUPPORTED => (ErrorKind::Unsupported, Some(Status::Unsupported), None),
            _ => (ErrorKind::Other, Some(Status::Failure), None),
        };
        Self { status, hint: hint.map(str::to_owned), ..Self::new(kind) }
    }
}

/// The text of libssh2 or of the server. Codes of libssh2 are added, statuses of the server are not.
#[derive(Debug)]
struct Said(ssh2::Error);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.code() {
            ErrorCode::SFTP(_) => write!(f, "the server answers: {}", self.0.message()),
            ErrorCode::Session(code) => write!(f, "{} (libssh2 error {code})", self.0.message()),
        }
    }
}

impl StdError for Said {}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn trouble(status: i32) -> Trouble {
        ssh2::Error::from_errno(ErrorCode::SFTP(status)).into()
    }

    #[test]
    fn errors_have_a_hint_and_the_servers_words_as_source() {
        for (status, kind) in
            [(code::PERMISSION_DENIED, ErrorKind::PermissionDenied), (code::NO_SPACE, ErrorKind::NoSpace)]
        {
            let error = trouble(status).at(Operation::Put, "ssh://h/a");
            assert_eq!(error.kind(), kind);
            assert!(error.hint().is_some(), "{error}");
            assert!(!error.is_retryable());
            assert!(error.source().unwrap().to_string().starts_with("the server answers: "));
        }
        assert!(trouble(code::NO_SUCH_FILE).is_absent());
        let full = trouble(4).into_no_space().at(Operation::Put, "ssh://h/a");
        assert_eq!((full.kind(), full.hint()), (ErrorKind::NoSpace, Some(FREE_SPACE)));
    }

    #[test]
    fn a_lost_connection_is_worth_another_one() {
        let lost = ssh2::Error::from_errno(ErrorCode::Session(libssh2_sys::LIBSSH2_ERROR_SOCKET_DISCONNECT));
        let trouble = Trouble::from(lost);
        assert!(trouble.is_broken && trouble.is_retryable && trouble.is_lost);
        assert_eq!(trouble.kind, ErrorKind::Unavailable);
    }

    #[test]
    fn the_answer_behind_an_io_error_is_found() {
        for status in code::STATUSES {
            let error = ssh2::Error::from_errno(ErrorCode::SFTP(status));
            let text = error.message().to_owned();
            assert_eq!(from_io(&io::Error::other(text)).code(), error.code(), "{status}");
        }
        assert!(is_again(&from_io(&io::ErrorKind::WouldBlock.into())));
        assert!(matches!(from_io(&io::Error::other("Failure while draining")).code(), ErrorCode::Session(_)));
    }
}
