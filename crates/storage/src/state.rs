//! larder's own files in a project, below `<root>/.larder`: staging directories in `tmp`, and in `journal` one locked file
//! for each process that has something open. A journal that can be locked belongs to a dead process. The next command
//! completes, undoes or removes what it names.

mod dead_journal;
mod directory;
mod journal;
mod lock;
mod mounts;
mod placement;
mod project_state;
mod protected;
mod record;
mod recovery;
mod removal;
mod rename;
mod staging;
mod steps;

pub(crate) use placement::{Planned, Unplaced, check_one_mount, place};
pub(crate) use project_state::{ProjectState, UploadRecorder};
pub(crate) use staging::Staging;
