//! Hashing of real files.

#![expect(clippy::unwrap_used, reason = "a test that cannot build its tree has failed")]
#![expect(clippy::type_complexity, reason = "tables of cases are read once, where they are")]

mod changes;
mod ignored;
mod refusals;
mod remembered;
mod support;
mod trees;
mod vectors;
