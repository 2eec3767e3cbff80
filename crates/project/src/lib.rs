//! Weasel and spaCy projects, and their outputs in remote storage.
//!
//! A [`Project`] is read from a `project.yml` as weasel 1.0.1 reads it. The YAML follows ruamel's rules for
//! version 1.2, and variables are replaced as in confection. [`Overrides`] work as in `weasel run`. A
//! [`LockFile`] is the `project.lock`, written in srsly's layout.
//!
//! A [`ProjectExchange`] connects a project with a [`larder_storage::RemoteStorage`]. It pushes, pulls and
//! compares the outputs of the project's commands, under weasel's keys. An [`Audit`] checks all objects of a
//! remote.
//!
//! This crate does not print or start processes. It reads the environment only through a function that the
//! caller passes.

mod audit;
mod error;
mod exchange;
mod files;
mod interpolate;
mod json;
mod lock;
mod overrides;
mod project;
mod pull;
mod push;
mod report;
mod schema;
mod status;
mod value;
mod yaml;

pub use audit::{Audit, Finding, FindingKind};
pub use error::{Error, Result, SourceLine};
pub use exchange::{ExchangeOptions, ProjectExchange};
pub use lock::{FileInfo, LockEntry, LockFile};
pub use overrides::{OVERRIDES_VARIABLE, Overrides};
pub use project::{Project, ProjectCommand, ProjectRemote};
pub use pull::PullReport;
pub use report::{OutputOutcome, OutputReport};
pub use status::{OutputState, OutputStatus};

/// The README's examples, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
