//! What unpacking promises: to archives of others, to hostile ones, and to those who change their mind.

#![expect(clippy::unwrap_used, reason = "a test that cannot prepare its case has failed")]

mod damage;
mod fuzz;
mod interop;
mod policy;
mod round_trip;
mod stopping;
mod support;
mod trees;
mod weasel;
