//! Failures of a command, and their exit codes.

use std::error::Error;
use std::io;
use std::iter::successors;
use std::path::PathBuf;

use larder_config::Origin;
use larder_hashing::{CommandError, HashError, InvalidOutputPath, SiteError};
use larder_project::Error as ProjectError;
use larder_storage::{ErrorKind, InvalidRemote, PackError, UnpackError};
use larder_tree::TreeError;
use rustix::io::Errno;

use crate::exit::Exit;

/// The result of a part of a command.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// A command, or its work on one output, failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Config(#[from] larder_config::Error),
    #[error(transparent)]
    Path(#[from] InvalidOutputPath),
    /// An invalid remote that a file or the environment defines, with its origin.
    #[error("{origin}: {error}")]
    Remote { origin: Origin, error: InvalidRemote },
    #[error(transparent)]
    GivenRemote(#[from] InvalidRemote),
    #[error(transparent)]
    Storage(#[from] larder_storage::Error),
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error(transparent)]
    CommandHash(#[from] CommandError),
    #[error(transparent)]
    Site(#[from] SiteError),
    #[error(transparent)]
    Project(ProjectError),
    #[error(transparent)]
    Pins(#[from] larder_pins::Error),
    /// Outputs have no pin. `near` are pins with similar names.
    #[error("{} not pinned", names_are(paths))]
    NotPinned { paths: Vec<String>, near: Vec<String> },
    /// A push refused outputs of a project. Each was already reported.
    #[error("refused to push {} of the project's outputs: {}", changed + invalid, after_refusal(*changed, *invalid))]
    Refused { changed: usize, invalid: usize },
    #[error("{}", damaged_objects(*count, *repairable))]
    DamagedObjects { count: usize, repairable: usize },
    #[error("{count} damaged {} replaced after the audit read {}: run the audit again", if *count == 1 { "object was" } else { "objects were" }, if *count == 1 { "it" } else { "them" })]
    ReplacedObjects { count: usize },
    #[error("{count} of the project's outputs {} not up to date, and --strict is set", if *count == 1 { "is" } else { "are" })]
    Incomplete { count: usize },
    #[error(transparent)]
    Pinned(Box<PinnedFailure>),
    #[error(
        "larder.lock pins no outputs: name a PATH, or pin outputs with `larder pin PATH`; without PATH, {does}"
    )]
    NoPins { does: &'static str },
    #[error("{path} was not pushed, because its pin was changed too")]
    Diverged { path: String },
    #[error("{count} {} kept, and --strict is set", if *count == 1 { "output was" } else { "outputs were" })]
    Kept { count: usize },
    #[error("the pin of {path} was changed in the meantime: nothing was written to larder.lock, try again")]
    PinChanged { path: String },
    #[error(transparent)]
    PinClash(larder_pins::PinClash),
    #[error("larder.lock names the remote `{name}`, which is not configured: {}", known_remotes(known))]
    PinnedRemote { name: String, known: Vec<String> },
    #[error("{count} {} not as pinned", if *count == 1 { "output is" } else { "outputs are" })]
    NotAsPinned { count: usize },
    #[error("{count} pinned {} missing, and --strict is set", if *count == 1 { "output is" } else { "outputs are" })]
    MissingOutputs { count: usize },
    #[error("failed to look at {}", path.display())]
    LookAt { path: PathBuf, source: io::Error },
    #[error("failed to change to the directory {}", path.display())]
    ChangeDirectory { path: PathBuf, source: io::Error },
    #[error("failed to find the project directory {}", path.display())]
    ProjectDirectory { path: PathBuf, source: io::Error },
    #[error("no remote is called `default`: {}", known_remotes(known))]
    NoDefaultRemote { known: Vec<String> },
    #[error("failed to write manual pages to {}", path.display())]
    ManPages { path: PathBuf, source: io::Error },
    #[error("failed to run `{program}`")]
    StartCommand { program: String, source: io::Error },
    #[error("failed to create the directory {} of an output", path.display())]
    CreateParent { path: PathBuf, source: io::Error },
    #[error("failed to write the report to {}", path.display())]
    Report { path: PathBuf, source: io::Error },
    #[error("failed to find the working directory")]
    WorkingDirectory(#[source] io::Error),
    #[error("failed to start the threads that wait for the remote")]
    Runtime(#[source] io::Error),
    #[error("failed to write the results to standard output")]
    Stdout(#[source] io::Error),
}

/// A pinned output could not be pulled.
#[derive(Debug, thiserror::Error)]
#[error("{}", pin_failed(path, remote, by.as_deref(), source))]
pub(crate) struct PinnedFailure {
    pub(crate) path: String,
    pub(crate) remote: String,
    /// The commit that pinned it.
    pub(crate) by: Option<String>,
    pub(crate) source: larder_storage::Error,
}

impl From<ProjectError> for Failure {
    fn from(error: ProjectError) -> Self {
        match error {
            // The hint about `--dereference` is for `larder push` only.
            error @ ProjectError::Storage(larder_storage::Error::Pack(PackError::Link { .. })) => {
                Self::Project(error)
            }
            ProjectError::Storage(error) => Self::Storage(error),
            ProjectError::Hash(error) => Self::Hash(error),
            ProjectError::Command(error) => Self::CommandHash(error),
            ProjectError::Path(error) => Self::Path(error),
            error => Self::Project(error),
        }
    }
}

impl Failure {
    /// Returns the name of the kind in machine-readable output.
    pub(crate) fn kind(&self) -> &'static str {
        self.error_kind().name()
    }

    /// Returns the exit code. For a cancelled operation, the signal decides.
    pub(crate) fn exit(&self) -> Exit {
        match self.error_kind() {
            ErrorKind::NotFound => Exit::NotFound,
            ErrorKind::Integrity => Exit::Integrity,
            ErrorKind::Usage => Exit::Usage,
            ErrorKind::Remote => Exit::Remote,
            ErrorKind::Cancelled => Exit::Interrupted,
            // This covers `Unsupported`, `Failed`, and future kinds of the storage crate.
            _ => Exit::Failed,
        }
    }

    /// Returns whether nothing matches. This is an answer with its own exit code.
    pub(crate) fn is_miss(&self) -> bool {
        use larder_storage::Error;
        let error = match self {
            Self::Storage(error) => error,
            Self::Pinned(pinned) => &pinned.source,
            _ => return matches!(self, Self::NotPinned { .. }),
        };
        matches!(error, Error::NotFound { .. } | Error::NoCommonCommand { .. })
    }

    /// Returns whether an output has a link that cannot be stored as a link.
    pub(crate) fn is_of_link(&self) -> bool {
        matches!(self, Self::Storage(larder_storage::Error::Pack(PackError::Link { .. })))
    }

    /// Returns whether a signal was the cause.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.error_kind() == ErrorKind::Cancelled
    }

    /// Returns what the user can do, unless the message already says so.
    ///
    /// `PATH` in it stands for the path that the user typed.
    pub(crate) fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Storage(larder_storage::Error::NotFound { narrowed: true, .. }) => {
                Some("`larder ls PATH` lists its objects")
            }
            Self::Storage(larder_storage::Error::NotFound { narrowed: false, .. }) => {
                Some("`larder ls` lists the outputs in the remote")
            }
            _ if self.is_of_link() => Some("`--dereference` stores the targets of links"),
            _ => match Limit::met_by(self) {
                Some(Limit::OpenFiles) => Some("raise the limit on open files, `ulimit -n`"),
                Some(Limit::FileSize) => Some(
                    "raise the limit on file sizes, `ulimit -f`, or use a file system that takes larger files",
                ),
                Some(Limit::Threads) => Some(
                    "raise the limits on processes and memory, `ulimit -u` and `ulimit -v`, or lower `--jobs`",
                ),
                Some(Limit::SystemFiles) => {
                    Some("the whole system has too many files open: close some programs")
                }
                // Some messages already say so.
                Some(Limit::Memory) if self.to_string().contains("memory") => None,
                Some(Limit::Memory) => Some("free some memory, or raise its limit, `ulimit -v`"),
                None if self.is_denied_here() => Some("check its permissions, and who owns it"),
                None if self.is_of_python() => Some("name another interpreter with `--python EXE`"),
                None => None,
            },
        }
    }

    /// Returns whether a thread or a process could not be started.
    fn is_of_thread(&self) -> bool {
        use larder_storage::Error;
        matches!(
            self,
            Self::Runtime(_)
                | Self::Site(SiteError::Start { .. })
                | Self::Storage(Error::Pack(PackError::Thread(_)) | Error::Unpack(UnpackError::Thread(_)))
        )
    }

    /// Returns whether access to a file of this machine was denied and the message does not say so.
    fn is_denied_here(&self) -> bool {
        let first: &dyn Error = self;
        let is_denied = |error: &(dyn Error + 'static)| {
            let error = error.downcast_ref::<io::Error>();
            error.is_some_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
        };
        self.error_kind() == ErrorKind::Failed
            && !self.to_string().contains("permission")
            && successors(Some(first), |&error| error.source()).any(is_denied)
    }

    /// Returns whether a Python interpreter did not answer.
    fn is_of_python(&self) -> bool {
        matches!(self, Self::Site(SiteError::Start { .. } | SiteError::Answer { .. }))
    }

    fn error_kind(&self) -> ErrorKind {
        match self {
            // This also holds for an operation on a remote.
            _ if Limit::met_by(self).is_some() => ErrorKind::Failed,
            Self::Storage(error) => error.kind(),
            Self::Pinned(pinned) => pinned.source.kind(),
            Self::Project(error) => error.kind(),
            Self::Pins(error) if error.is_content() => ErrorKind::Usage,
            Self::Incomplete { .. } | Self::MissingOutputs { .. } | Self::NotPinned { .. } => {
                ErrorKind::NotFound
            }
            Self::DamagedObjects { .. } | Self::ReplacedObjects { .. } => ErrorKind::Integrity,
            Self::Hash(error) | Self::CommandHash(CommandError::Dependency { source: error, .. })
                if error.is_cancelled() =>
            {
                ErrorKind::Cancelled
            }
            Self::CommandHash(
                CommandError::NotUnderWeasel { .. }
                | CommandError::BehindSymlink { .. }
                | CommandError::Dependency { source: HashError::Tree(TreeError::IgnoreFile { .. }), .. },
            )
            | Self::Usage(_)
            | Self::Path(_)
            | Self::Remote { .. }
            | Self::GivenRemote(_)
            | Self::Config(_)
            | Self::ChangeDirectory { .. }
            | Self::ProjectDirectory { .. }
            | Self::PinnedRemote { .. }
            | Self::NoPins { .. }
            | Self::PinClash(_)
            | Self::NoDefaultRemote { .. } => ErrorKind::Usage,
            Self::CommandHash(_)
            | Self::Hash(_)
            | Self::Site(_)
            | Self::WorkingDirectory(_)
            | Self::Runtime(_)
            | Self::Refused { .. }
            | Self::NotAsPinned { .. }
            | Self::Diverged { .. }
            | Self::Kept { .. }
            | Self::PinChanged { .. }
            | Self::LookAt { .. }
            | Self::ManPages { .. }
            | Self::Pins(_)
            | Self::CreateParent { .. }
            | Self::StartCommand { .. }
            | Self::Report { .. }
            | Self::Stdout(_) => ErrorKind::Failed,
        }
    }
}

fn names_are(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("{} {}", quoted.join(", "), if names.len() == 1 { "is" } else { "are" })
}

/// Says why a pinned output could not be pulled.
fn pin_failed(path: &str, remote: &str, by: Option<&str>, error: &larder_storage::Error) -> String {
    let pinned = by.map_or_else(|| "is pinned".to_owned(), |by| format!("was pinned by {by}"));
    match error {
        larder_storage::Error::NotFound { .. } => format!(
            "{path} {pinned}, but {remote} does not have that version: whoever has it on disk can run `larder pin {path}`"
        ),
        _ => format!("failed to pull {path}, which {pinned}"),
    }
}

/// Returns what to do about outputs that were made from other inputs, and about outputs with invalid paths.
fn after_refusal(changed: usize, invalid: usize) -> String {
    let force = "`--force` pushes outputs that were made from other inputs";
    match (changed, invalid) {
        (_, 0) => force.to_owned(),
        (0, 1) => "change its path in project.yml".to_owned(),
        (0, _) => "change their paths in project.yml".to_owned(),
        (_, 1) => format!("{force}, and the other needs another path in project.yml"),
        _ => format!("{force}, and the other {invalid} need other paths in project.yml"),
    }
}

fn damaged_objects(count: usize, repairable: usize) -> String {
    let (objects, them) = if count == 1 { ("object is", "it") } else { ("objects are", "them") };
    let push = match repairable {
        0 => format!("no output in the project can repair {them}"),
        _ if repairable == count => format!("`larder project push --force` repairs {them}"),
        _ => format!("`larder project push --force` repairs {repairable} of them"),
    };
    format!("{count} damaged {objects} on the remote: {push}, `--delete` removes {them}")
}

fn known_remotes(known: &[String]) -> String {
    if known.is_empty() {
        return "name one below `remotes` in project.yml, or `[remotes]` in larder.toml".to_owned();
    }
    let names: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("name one of {}", names.join(", "))
}

/// A system limit that the process has reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    FileSize,
    Memory,
    OpenFiles,
    SystemFiles,
    Threads,
}

impl Limit {
    /// Returns the limit that caused a failure, if any.
    fn met_by(failure: &Failure) -> Option<Self> {
        let first: &dyn Error = failure;
        successors(Some(first), |&error| error.source()).find_map(|error| {
            match Errno::from_io_error(error.downcast_ref()?)? {
                Errno::FBIG => Some(Self::FileSize),
                Errno::MFILE => Some(Self::OpenFiles),
                Errno::NOMEM => Some(Self::Memory),
                Errno::NFILE => Some(Self::SystemFiles),
                // For files, `EAGAIN` means something else: a lock, or no data yet.
                Errno::AGAIN if failure.is_of_thread() => Some(Self::Threads),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use larder_storage::error_causes;

    use super::*;

    #[test]
    fn causes_are_those_that_add_something() {
        let denied = || io::Error::from_raw_os_error(13);
        let outer = Failure::Stdout(denied());
        assert_eq!(error_causes(&outer), ["Permission denied (os error 13)"]);
        let read = larder_config::Error::Read { path: "permission denied".into(), source: denied() };
        assert!(error_causes(&Failure::Config(read)).is_empty());
    }

    #[test]
    fn a_limit_of_this_process_is_no_failure_of_the_remote() {
        // Backends wrap their sources in an error like this.
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let wrapped = |errno: Errno| io::Error::other(Outer(errno.into()));
        let storage = |source: io::Error| {
            Failure::Storage(larder_storage::Error::Io { action: "read", path: "x".into(), source })
        };
        for failure in [storage(Errno::MFILE.into()), storage(wrapped(Errno::MFILE))] {
            assert_eq!(failure.exit(), Exit::Failed);
            assert!(failure.hint().unwrap().contains("`ulimit -n`"));
        }
        // A system call of the local backend can lack memory too.
        assert_eq!(storage(wrapped(Errno::NOMEM)).exit(), Exit::Failed);
        assert!(storage(Errno::NOMEM.into()).hint().unwrap().contains("`ulimit -v`"));
        let denied = TreeError::Io { operation: "open", path: "x".into(), source: Errno::ACCESS.into() };
        assert!(Failure::Hash(denied.into()).hint().unwrap().contains("permissions"));
        assert_eq!(storage(Errno::ACCESS.into()).hint(), None, "its message says so");
        assert!(Failure::Runtime(Errno::AGAIN.into()).hint().unwrap().contains("`ulimit -u`"));
        assert_eq!(storage(Errno::AGAIN.into()).hint(), None);
    }
}
