//! larder's own files in a project, below `<root>/.larder`:
//!
//! - `journal` has one locked file for each process that has something open. A journal that can be locked belongs to a dead
//!   process. The next command completes, undoes or removes what it names. If the project cannot be written, the journal of a
//!   pull to another place is in a temporary directory.
//! - `tmp` has staging directories.
//! - `locks` has the locks of outputs, which a command holds while it changes them, and `waiting` who waits for one.
//! - `runs` has the last run of each command, and `failed` the products of failed commands.

mod aside;
mod changes;
mod dead_journal;
mod directory;
mod identity;
mod journal;
mod local_runs;
mod lock;
mod lock_file;
mod mounts;
mod output_locks;
mod placement;
mod process_identity;
mod project_state;
mod protected;
mod record;
mod recovery;
mod remote_pause;
mod removal;
mod rename;
mod staging;
mod steps;
mod waiting;

pub use aside::BroughtBack;
pub(crate) use aside::OutputsAside;
pub use changes::OutputChanges;
pub use local_runs::LocalRun;
pub use output_locks::OutputGuard;
pub(crate) use output_locks::{BusyLock, LockAttempt, OutputLocks};
pub(crate) use placement::{Planned, Unplaced, check_one_mount, place};
pub(crate) use project_state::{ProjectState, UploadRecorder};
pub use remote_pause::RemotePause;
pub(crate) use staging::Staging;
