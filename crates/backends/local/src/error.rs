//! From errors of the operating system to errors of the backend.

use std::io;

use larder_backend::{Error, ErrorKind, Operation};
use larder_backend_files::advice::{CHECK_PERMISSIONS, FILE_TOO_LARGE, FREE_SPACE, LOOP_OF_LINKS};
use rustix::io::Errno;

const SHORTEN: &str = "the name is too long for the file system of the remote";

/// The kind of an error of the operating system. It is never `NotFound`: see [`is_absent`].
fn kind(error: &io::Error) -> ErrorKind {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => ErrorKind::NoSpace,
        Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => ErrorKind::PermissionDenied,
        Some(Errno::NAMETOOLONG | Errno::ILSEQ) => ErrorKind::InvalidInput,
        Some(
            Errno::STALE
            | Errno::TIMEDOUT
            | Errno::HOSTDOWN
            | Errno::HOSTUNREACH
            | Errno::NOTCONN
            | Errno::CONNABORTED
            | Errno::CONNRESET,
        ) => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    }
}

/// Whether nothing has the name. That includes a file or a link in place of a directory.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

/// Whether the file system or the kernel does not support a call or a flag.
pub(crate) fn is_unsupported(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) || error == Errno::OPNOTSUPP
}

/// An operation on `location` failed in the operating system.
pub(crate) fn failed(operation: Operation, location: impl Into<String>, error: io::Error) -> Error {
    let kind = kind(&error);
    let failed = Error::new(kind, operation, location);
    let failed = match Errno::from_io_error(&error) {
        Some(Errno::FBIG) => return failed.with_problem(FILE_TOO_LARGE).with_source(error),
        Some(Errno::LOOP) => return failed.with_problem(LOOP_OF_LINKS).with_source(error),
        _ => failed,
    };
    let failed = match kind {
        ErrorKind::PermissionDenied => failed.with_hint(CHECK_PERMISSIONS),
        ErrorKind::NoSpace => failed.with_hint(FREE_SPACE),
        ErrorKind::InvalidInput => failed.with_hint(SHORTEN),
        _ => failed,
    };
    failed.with_source(error)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn what_the_user_can_mend_has_a_hint_and_the_reason_stays_the_source() {
        for (errno, kind) in [
            (Errno::NOSPC, ErrorKind::NoSpace),
            (Errno::DQUOT, ErrorKind::NoSpace),
            (Errno::ACCESS, ErrorKind::PermissionDenied),
            (Errno::ROFS, ErrorKind::PermissionDenied),
            (Errno::NAMETOOLONG, ErrorKind::InvalidInput),
        ] {
            let error = failed(Operation::Put, "/store/a", errno.into());
            assert_eq!(error.kind(), kind, "{errno:?}");
            assert!(error.hint().is_some(), "{errno:?}");
            assert!(error.to_string().contains("/store/a"), "{error}");
            assert_eq!(error.source().unwrap().to_string(), io::Error::from(errno).to_string());
        }
        let text = |errno: Errno| failed(Operation::Put, "/store/a", errno.into()).to_string();
        assert!(!text(Errno::FBIG).contains("no space") && text(Errno::FBIG).contains("`ulimit -f`"));
        assert_eq!(text(Errno::LOOP), "failed to write /store/a: the path has a loop of links");
        assert_eq!(failed(Operation::Get, "x", Errno::STALE.into()).kind(), ErrorKind::Unavailable);
        assert_eq!(failed(Operation::Get, "x", Errno::IO.into()).kind(), ErrorKind::Other);
    }
}
