//! Rules for requests.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gcs::call::{GcsCall, GcsRequest};
use crate::gcs::failure::GcsFailure;
use crate::proxy::Fired;
use crate::proxy::closing::Closing;

/// A rule that applies to the next request, unless configured otherwise.
pub struct GcsRule {
    action: GcsAction,
    such: Box<dyn Fn(&GcsRequest) -> bool + Send + Sync>,
    skip: usize,
    times: usize,
}

/// The action of a rule. Positions count the bytes of the request's body, or of the answer's. An action does not apply to
/// a body that is not longer, or to a request without the bytes that it affects.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GcsAction {
    /// The server reads the request, does nothing, and answers with this error.
    Fail(GcsFailure),
    /// The server processes the request, and closes the connection without an answer.
    LoseAnswer,
    /// The server processes the request, and flips all bits of the first byte of its answer's body. The action does not
    /// apply to downloads, or to answers over gRPC.
    GarbleAnswer,
    /// The server processes the request, and closes the connection after this number of bytes of its answer's body. The
    /// head announces the whole length. The action does not apply to downloads, or to answers over gRPC.
    CutAnswer {
        /// The number of bytes before it.
        after: u64,
    },
    /// The server does nothing, and never answers.
    StallAnswer,
    /// The connection is reset after this number of bytes of an upload. The server stores whole quanta of 256 KiB of a
    /// resumable upload.
    ResetUpload {
        /// The number of bytes before it.
        after: u64,
    },
    /// After this number of bytes of an upload, the server reads no more and never answers.
    StallUpload {
        /// The number of bytes before it.
        after: u64,
    },
    /// The connection is reset after this number of bytes of a download. Some of them may be lost.
    ResetDownload {
        /// The number of bytes before it.
        after: u64,
    },
    /// A download stalls after this number of bytes.
    StallDownload {
        /// The number of bytes before it.
        after: u64,
    },
    /// The byte of a download at this position arrives with all its bits flipped.
    CorruptDownload {
        /// The number of bytes before it.
        at: u64,
    },
    /// The answer has a wrong CRC32C. The action applies to a download, a request for the metadata of an object, and the
    /// last request of an upload.
    WrongChecksum,
}

impl GcsAction {
    fn fits(&self, request: &GcsRequest) -> bool {
        let call = request.call();
        match self {
            Self::Fail(_) | Self::LoseAnswer | Self::StallAnswer => true,
            Self::GarbleAnswer | Self::CutAnswer { .. } => !request.is_grpc() && call != GcsCall::ReadObject,
            Self::ResetUpload { .. } | Self::StallUpload { .. } => {
                matches!(call, GcsCall::InsertObject | GcsCall::UploadChunk)
            }
            Self::ResetDownload { .. } | Self::StallDownload { .. } | Self::CorruptDownload { .. } => {
                call == GcsCall::ReadObject
            }
            Self::WrongChecksum => {
                matches!(call, GcsCall::ReadObject | GcsCall::GetObject) || request.is_whole()
            }
        }
    }
}

impl From<GcsFailure> for GcsAction {
    fn from(failure: GcsFailure) -> Self {
        Self::Fail(failure)
    }
}

impl GcsRule {
    /// Creates a rule for the next request to which the action can apply.
    pub fn new(action: impl Into<GcsAction>) -> Self {
        Self { action: action.into(), such: Box::new(|_| true), skip: 0, times: 1 }
    }

    /// Restricts the rule to requests for which `such` returns true.
    #[must_use]
    pub fn on(mut self, such: impl Fn(&GcsRequest) -> bool + Send + Sync + 'static) -> Self {
        self.such = Box::new(such);
        self
    }

    /// Restricts the rule to requests for this call. Replaces the condition of [`GcsRule::on`].
    #[must_use]
    pub fn on_call(self, call: GcsCall) -> Self {
        self.on(move |request| request.call() == call)
    }

    /// Lets this number of requests pass first.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Applies to this number of requests.
    #[must_use]
    pub fn times(mut self, requests: usize) -> Self {
        self.times = requests;
        self
    }

    /// Applies to all requests.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Whether the rule applies to a request. Counts the requests that pass first.
    fn hits(&mut self, request: &GcsRequest) -> bool {
        if self.times == 0 || !self.action.fits(request) || !(self.such)(request) {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        true
    }

    fn used(&mut self) {
        self.times -= usize::from(self.times != usize::MAX);
    }
}

impl fmt::Debug for GcsRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GcsRule")
            .field("action", &self.action)
            .field("skip", &self.skip)
            .field("times", &self.times)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct GcsRules(Mutex<Vec<(GcsRule, Fired)>>);

impl GcsRules {
    fn rules(&self) -> MutexGuard<'_, Vec<(GcsRule, Fired)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, rule: GcsRule) -> Fired {
        let fired = Fired::new();
        self.rules().push((rule, fired.clone()));
        fired
    }

    pub(super) fn clear(&self) {
        self.rules().clear();
    }

    /// Returns the action for a request, and the count to increase when it happens. Every rule sees every request, so that the
    /// count of requests that pass first does not depend on other rules.
    pub(super) fn pick(&self, request: &GcsRequest) -> Option<(GcsAction, Fired)> {
        let mut picked = None;
        for (rule, fired) in self.rules().iter_mut() {
            if rule.hits(request) && picked.is_none() {
                rule.used();
                picked = Some((rule.action.clone(), fired.clone()));
            }
        }
        picked
    }
}

/// The damage to a request that is otherwise answered.
#[derive(Clone, Debug)]
pub(super) struct ReplyDamage {
    pub(super) action: GcsAction,
    pub(super) fired: Fired,
    pub(super) closing: Arc<Closing>,
}

impl ReplyDamage {
    /// Whether to change the checksum in the answer. Counts the use.
    pub(super) fn takes_checksum(&self) -> bool {
        let takes = matches!(self.action, GcsAction::WrongChecksum);
        if takes {
            self.fired.add();
        }
        takes
    }
}
