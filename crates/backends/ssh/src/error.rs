//! From errors of libssh2 and of the server to errors of the backend.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use larder_backend::{Error, ErrorKind, Operation, seconds};
use ssh2::ErrorCode;

const CHECK_PERMISSIONS: &str = "check who may read and write there, and in the directory of the remote";
const FREE_SPACE: &str = "free some space on the file system of the remote, or ask for a larger quota";

/// An attempt failed, before it is known what for and where: see [`Trouble::at`].
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) kind: ErrorKind,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
    /// What the server said, where it is the server that refused.
    status: Option<Status>,
    /// Who did not answer, and for how long.
    pub(crate) silence: Option<(&'static str, Duration)>,
    /// The connection is gone, as far as the network is concerned.
    pub(crate) is_lost: bool,
    /// The connection cannot be used any more.
    pub(crate) is_broken: bool,
    /// Another attempt, on another connection, may succeed.
    pub(crate) is_retryable: bool,
}

/// The answers of an SFTP server, as far as they tell something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    NoSuchFile,
    PermissionDenied,
    /// Anything: version 3 of the protocol, which all servers speak, has no other word for it.
    Failure,
    NoSpace,
    Unsupported,
}

/// What libssh2 says, which its wrapper does not name.
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
    /// What the end of a connection can look like.
    pub(super) const LOST: [i32; 6] = [
        raw::LIBSSH2_ERROR_BANNER_RECV,
        raw::LIBSSH2_ERROR_SOCKET_SEND,
        raw::LIBSSH2_ERROR_SOCKET_DISCONNECT,
        raw::LIBSSH2_ERROR_SOCKET_TIMEOUT,
        raw::LIBSSH2_ERROR_SOCKET_RECV,
        raw::LIBSSH2_ERROR_BAD_SOCKET,
    ];
    /// All that a server can answer.
    pub(super) const STATUSES: std::ops::RangeInclusive<i32> = 1..=raw::LIBSSH2_FX_LINK_LOOP;
}

/// Whether a call that does not block has to be made again.
pub(crate) fn is_again(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(code::AGAIN)
}

/// Whether this is how a directory ends.
pub(crate) fn is_end_of_directory(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(code::END_OF_DIRECTORY)
}

/// Whether the call is not answered in time.
fn is_timeout(error: &ssh2::Error) -> bool {
    error.code() == ErrorCode::Session(code::TIMEOUT)
}

/// A read or a write failed. The wrapper of libssh2 passes on its words only, not its code.
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

    /// The connection is of no use any more, and another may do.
    pub(crate) fn broken(mut self) -> Self {
        self.is_broken = true;
        self.is_retryable = true;
        self
    }

    /// The connection is of no use, and another would be none either.
    pub(crate) fn hopeless(mut self) -> Self {
        self.is_broken = true;
        self.is_retryable = false;
        self
    }

    /// Nothing came for too long. An operation that was tried several times says for how long in all: see
    /// [`Trouble::after_attempts`].
    pub(crate) fn silent(who: &'static str, limit: Duration) -> Self {
        let silence = Some((who, limit));
        let source = format!("{who} did not answer for {}", seconds(limit));
        Self { silence, ..Self::new(ErrorKind::Timeout).with_source(source).broken() }
    }

    /// The trouble of the last of several attempts, during which nothing came for so long.
    pub(crate) fn after_attempts(self, attempts: u32, idle: Duration) -> Self {
        match self.silence {
            Some((who, _)) if attempts > 1 => {
                let source = format!("{who} did not answer for {}, in {attempts} attempts", seconds(idle));
                self.with_source(source)
            }
            _ => self,
        }
    }

    /// The server is there, and its files are not.
    pub(crate) fn hanging(limit: Duration) -> Self {
        Self::new(ErrorKind::Timeout)
            .with_source(format!("the server is there, but its files did not answer for {}", seconds(limit)))
            .with_hint("look whether the disk of the server hangs")
            .broken()
            .hopeless()
    }

    /// The caller does not want it any more.
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

    /// Says what failed, and where.
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
    /// The server answered, and the answer is no.
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

/// What libssh2 or the server said, without its number where there are words.
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
    fn what_the_user_can_mend_has_a_hint_and_what_the_server_said_is_the_source() {
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
