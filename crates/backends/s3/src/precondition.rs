//! Whether the server honors `If-None-Match` on writes.

use std::sync::{Mutex, PoisonError};

/// What is known of the server. Only an answer that proves it counts as support.
#[derive(Debug, Default)]
pub(crate) struct CreateOnlySupport {
    knowledge: Mutex<Knowledge>,
    /// Held while the server is being asked.
    pub(crate) asking: tokio::sync::Mutex<()>,
}

/// An answer to the question, or its absence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// Nobody has asked yet.
    #[default]
    NotAsked,
    /// The server refuses to replace an object.
    Honored,
    /// The server replaces objects, or refuses the condition.
    Ignored,
    /// The server could not be asked, and the next upload asks again.
    Unknown,
    /// The server refuses the question, as to credentials that may not write there.
    Refused,
}

impl CreateOnlySupport {
    pub(crate) fn get(&self) -> Knowledge {
        *self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what is known, and returns what was known before.
    pub(crate) fn set(&self, knowledge: Knowledge) -> Knowledge {
        std::mem::replace(&mut *self.knowledge.lock().unwrap_or_else(PoisonError::into_inner), knowledge)
    }

    /// Whether creators exclude each other as far as is known. Before anybody has asked they are believed to.
    pub(crate) fn is_believed(&self) -> bool {
        matches!(self.get(), Knowledge::NotAsked | Knowledge::Honored)
    }
}
