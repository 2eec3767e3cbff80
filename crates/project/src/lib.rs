//! weasel and spaCy projects, and their outputs in a remote storage.
//!
//! A [`Project`] is what a `project.yml` says, read as weasel 1.0.1 reads it: YAML 1.2 as ruamel has it, variables as
//! confection replaces them, and [`Overrides`] as `weasel run` takes them.

mod error;
mod interpolate;
mod json;
mod lock;
mod overrides;
mod project;
mod schema;
mod value;
mod yaml;

pub use error::{Error, Place, Result};
pub use lock::{FileInfo, Lock, LockEntry};
pub use overrides::{OVERRIDES_VARIABLE, Overrides};
pub use project::{Command, Project, Remote};
