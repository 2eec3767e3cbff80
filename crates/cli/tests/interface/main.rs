//! The command line as people and programs see it: help, documents, errors, exit codes.
//!
//! What needs servers, signals or other users is in the workspace's end-to-end tests.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod completion;
mod configuration;
mod documents;
mod hashes;
mod help;
mod projects;
mod support;
mod terminal;
mod texts;
