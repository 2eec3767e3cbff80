//! Exit codes.

use std::process::ExitCode;

/// The name of `larder run`, whose exit codes are those of its command.
pub(crate) const RUN: &str = "run";

/// The exit code of the process. The codes are an interface, because scripts depend on them.
///
/// The most serious failure decides. The variants are ordered by severity, the most serious last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// Done, or nothing to do.
    #[default]
    Done,
    /// Nothing in the remote matches.
    NotFound,
    /// Something failed: a missing source, a source that changed while it was packed, a full disk, no permission.
    Failed,
    /// The arguments, a hash, a URL or the configuration are wrong.
    Usage,
    /// The remote cannot be reached, denies access, or does not exist.
    Remote,
    /// An object or output is damaged, or does not have its hash.
    Integrity,
    /// Ended by SIGINT.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
    /// Ended by SIGHUP.
    HungUp,
    /// Ended by SIGQUIT.
    Quit,
    /// The exit code of a command that larder ran, or 125 if `larder run` itself failed.
    OfRun(u8),
}

impl Exit {
    /// `larder run` failed before or after its command.
    pub(crate) const RUN_FAILED: Self = Self::OfRun(125);

    /// Returns the code that the parent process sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Integrity => 4,
            Self::Remote => 5,
            // As in shells, the code is 128 plus the number of the signal.
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::HungUp => 129,
            Self::Quit => 131,
            Self::OfRun(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_decides() {
        let gravest_first = [130, 4, 5, 1, 3, 0];
        let mut exits =
            [Exit::Done, Exit::Failed, Exit::NotFound, Exit::Integrity, Exit::Remote, Exit::Interrupted];
        exits.sort_by(|a, b| b.cmp(a));
        assert_eq!(exits.map(Exit::code), gravest_first);
    }
}
