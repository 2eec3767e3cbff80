//! The command line: help, documents, errors, exit codes.
//!
//! The end-to-end tests of the workspace cover servers, signals and other users.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod completion;
mod configuration;
mod documents;
mod hashes;
mod help;
mod projects;
mod remembered;
mod support;
mod terminal;
mod texts;
