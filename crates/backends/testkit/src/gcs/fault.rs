//! What goes wrong with which requests.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::gcs::call::{GcsCall, GcsRequest};
use crate::gcs::failure::GcsFailure;
use crate::proxy::Fired;
use crate::proxy::closing::Closing;

/// Something that happens to one request, the next one, unless it is told otherwise.
pub struct GcsRule {
    action: GcsAction,
    such: Box<dyn Fn(&GcsRequest) -> bool + Send + Sync>,
    skip: usize,
    times: usize,
}

/// What happens to a request. Positions count the bytes of its body, or of the answer's; a body that is not longer is not
/// hit. Requests that an action does not fit pass: only some bring bytes or have them answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum GcsAction {
    /// The request is read, nothing is done, and this is the answer.
    Fail(GcsFailure),
    /// The server does what it should, and closes the connection without an answer.
    LoseAnswer,
    /// The server does what it should, and flips all bits of the first byte of its answer's body. The body of a download
    /// is not hit, and neither is an answer over gRPC.
    GarbleAnswer,
    /// The server does what it should, and closes the connection after so many bytes of its answer's body. The head
    /// announces the whole length. The body of a download is not hit, and neither is an answer over gRPC.
    CutAnswer {
        /// How many bytes come before it.
        after: u64,
    },
    /// Nothing is done, and nothing is ever answered.
    StallAnswer,
    /// The connection is reset when so many bytes of an upload have come. What the server keeps of a resumable one are
    /// whole quanta of 256 KiB.
    ResetUpload {
        /// How many bytes come before it.
        after: u64,
    },
    /// When so many bytes of an upload have come, no more are read, and nothing is ever answered.
    StallUpload {
        /// How many bytes come before it.
        after: u64,
    },
    /// The connection is reset behind so many bytes of a download; some of those may be lost with it.
    ResetDownload {
        /// How many bytes come before it.
        after: u64,
    },
    /// Behind so many bytes of a download nothing more comes.
    StallDownload {
        /// How many bytes come before it.
        after: u64,
    },
    /// The byte of a download at this position arrives with all its bits flipped.
    CorruptDownload {
        /// How many bytes come before it.
        at: u64,
    },
    /// The answer says another CRC32C than the object's: that to a download, to a request for what is said about an
    /// object, and the last one to an upload.
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
    /// Hits the next request that the action fits.
    pub fn new(action: impl Into<GcsAction>) -> Self {
        Self { action: action.into(), such: Box::new(|_| true), skip: 0, times: 1 }
    }

    /// Hits only such requests.
    #[must_use]
    pub fn on(mut self, such: impl Fn(&GcsRequest) -> bool + Send + Sync + 'static) -> Self {
        self.such = Box::new(such);
        self
    }

    /// Hits only requests for this; what [`GcsRule::on`] said is forgotten.
    #[must_use]
    pub fn on_call(self, call: GcsCall) -> Self {
        self.on(move |request| request.call() == call)
    }

    /// Lets so many requests pass first.
    #[must_use]
    pub fn after(mut self, requests: usize) -> Self {
        self.skip = requests;
        self
    }

    /// Hits so many requests.
    #[must_use]
    pub fn times(mut self, requests: usize) -> Self {
        self.times = requests;
        self
    }

    /// Hits all requests.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }

    /// Whether the rule hits a request, which it then has done.
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
pub(super) struct Rules(Mutex<Vec<(GcsRule, Fired)>>);

impl Rules {
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

    /// What is to happen to a request, and the count for whoever makes it happen. Every rule sees every request, so that
    /// those which one of them lets pass do not depend on the others.
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

/// What goes wrong with a request that is otherwise answered.
#[derive(Clone, Debug)]
pub(super) struct Damage {
    pub(super) action: GcsAction,
    pub(super) fired: Fired,
    pub(super) closing: Arc<Closing>,
}

impl Damage {
    /// Whether the answer is to have another checksum, which it then has.
    pub(super) fn takes_checksum(&self) -> bool {
        let takes = matches!(self.action, GcsAction::WrongChecksum);
        if takes {
            self.fired.add();
        }
        takes
    }
}
