//! Whether the server honors `If-None-Match` on writes.

use std::sync::{Mutex, PoisonError};

/// The knowledge about the server. Only an answer that proves support counts as support.
#[derive(Debug, Default)]
pub(crate) struct CreateOnlySupport {
    knowledge: Mutex<Knowledge>,
    /// Held during the request to the server.
    pub(crate) asking: tokio::sync::Mutex<()>,
}

/// Whether the server honors the condition, as far as known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Knowledge {
    /// Nobody has asked yet.
    #[default]
    NotAsked,
    /// The server refuses to replace an object.
    Honored,
    /// The server replaces objects, or refuses the condition.
    Ignored,
    /// The server could not be reached, and the next upload tries again.
    Unknown,
    /// The server refuses the test, for example because the credentials may not write there.
    Refused,
}

impl CreateOnlySupport {
    pub(crate) fn get(&self) -> Knowledge {
        *self.knowledge.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the knowledge, and returns the earlier one.
    pub(crate) fn set(&self, knowledge: Knowledge) -> Knowledge {
        std::mem::replace(&mut *self.knowledge.lock().unwrap_or_else(PoisonError::into_inner), knowledge)
    }

    /// Whether creators exclude each other, as far as known. Before the first request, the answer is yes.
    pub(crate) fn is_believed(&self) -> bool {
        matches!(self.get(), Knowledge::NotAsked | Knowledge::Honored)
    }
}
