//! weasel and spaCy projects, and their outputs in a remote storage.
//!
//! A [`Project`] is read from a `project.yml` as weasel 1.0.1 reads it: YAML 1.2 by ruamel's rules, variables replaced as by
//! confection, and [`Overrides`] as `weasel run` takes them. A [`LockFile`] is its `project.lock`, written in srsly's
//! layout.
//!
//! A [`ProjectExchange`] joins a project with a [`larder_storage::RemoteStorage`]: it pushes, pulls and compares the outputs of
//! the project's commands, under weasel's keys. An [`Audit`] checks all objects of a remote.
//!
//! This crate neither prints nor starts a process. It reads the environment only through a function that the caller passes.

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
