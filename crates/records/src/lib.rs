//! Run records.
//!
//! A [`RunRecord`] says which outputs one push or one run of a command made together, from which inputs, and when. In a
//! remote it is an [in-toto Statement v1](https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md) with a
//! [SLSA provenance v1](https://slsa.dev/spec/v1.0/provenance) predicate, so other tools read it too. The page
//! `docs/run-record.md` documents every field.
//!
//! A [`RecordName`] is the last segment of a record's key. It alone tells which version of an output is the newest.
//!
//! This crate has no input or output. It neither reads the environment nor starts a program.

mod compare;
mod name;
mod record;
mod run_id;
mod statement;
mod time;

pub use compare::{Change, CommandManifest, Difference, tree_changes};
pub use name::{InvalidRecordName, RecordName};
pub use record::{
    Dependency, GitState, InvalidRecord, MAX_BYTES, MAX_MANIFESTS, RecordedOutput, RunDetails, RunIdentity,
    RunRecord,
};
pub use run_id::{InvalidRunId, RunId};
pub use statement::BUILD_TYPE;
pub use time::RunTime;

/// The README's example, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
