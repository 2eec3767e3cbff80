//! The result of a test.

use libtest_mimic::{Completion, Failed};

pub(crate) type Outcome = Result<Completion, Failed>;

pub(crate) const DONE: Outcome = Ok(Completion::Completed);
