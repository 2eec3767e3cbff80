//! Runs of commands: a command runs once, and everybody else restores its outputs.
//!
//! [`CommandRun`] has the steps of one run. The caller starts the command between them, because only the caller knows its
//! terminal and its signals.

mod aside;
mod begin;
mod command_run;
mod explain;
mod lookup;
mod made;
mod publish;
mod request;
mod restore;

pub(crate) use begin::begin;
pub use command_run::CommandRun;
pub use explain::MissReason;
pub use lookup::{FoundRun, NoRun};
pub use publish::{MadeOutputs, Published};
pub use request::RunRequest;
