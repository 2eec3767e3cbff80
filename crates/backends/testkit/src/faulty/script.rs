//! Faults and their schedule.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use larder_backend::{Error, ErrorKind, Key, ObjectStream, Operation, Result};

use crate::gate::Gate;

/// A fault that happens once, at the first call of an operation, unless configured otherwise.
#[derive(Clone, Debug)]
pub struct Fault {
    operation: Operation,
    effect: Effect,
    target: Option<String>,
    skip: usize,
    times: usize,
}

/// The effect of a fault. Positions count the bytes of a get or a put from the start of the stream, and the items of a
/// listing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Effect {
    /// The call fails before anything happens.
    Error(ErrorKind),
    /// The call succeeds, and then reports an error: its answer was lost.
    LoseAnswer(ErrorKind),
    /// The call waits until the gate is released, and then proceeds.
    Stall(Gate),
    /// The stream of a get, the writes of a put or a listing fail after this number of bytes or items.
    FailAt(u64, ErrorKind),
    /// The stream of a get or a listing ends early without an error. A put loses all later bytes.
    TruncateAt(u64),
    /// The byte at this position arrives, or is stored, with all its bits flipped.
    CorruptAt(u64),
    /// The stream of a get or the writes of a put wait at this position until the gate is released.
    StallAt(u64, Gate),
}

impl Fault {
    /// Creates a fault for the next call of `operation`. [`Operation::Put`] covers the start of an upload and its writes.
    pub fn new(operation: Operation, effect: Effect) -> Self {
        Self { operation, effect, target: None, skip: 0, times: 1 }
    }

    /// Restricts the fault to calls for this key.
    #[must_use]
    pub fn on_key(mut self, key: &Key) -> Self {
        self.target = Some(key.to_string());
        self
    }

    /// Lets this number of calls pass first.
    #[must_use]
    pub fn after(mut self, calls: usize) -> Self {
        self.skip = calls;
        self
    }

    /// Applies to this number of calls.
    #[must_use]
    pub fn times(mut self, calls: usize) -> Self {
        self.times = calls;
        self
    }

    /// Applies to all calls.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(usize::MAX)
    }
}

#[derive(Debug, Default)]
pub(super) struct FaultScript(Mutex<Vec<Fault>>);

impl FaultScript {
    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, fault: Fault) {
        self.faults().push(fault);
    }

    pub(super) fn clear(&self) {
        self.faults().clear();
    }

    pub(super) fn pending(&self) -> Vec<Fault> {
        self.faults().iter().filter(|fault| (1..usize::MAX).contains(&fault.times)).cloned().collect()
    }

    /// Returns the effect on this call.
    pub(super) fn next(&self, operation: Operation, target: &str) -> Option<Effect> {
        let mut faults = self.faults();
        let mut hit = None;
        for fault in faults.iter_mut() {
            let matches =
                fault.operation == operation && fault.target.as_deref().is_none_or(|key| key == target);
            if !matches || fault.times == 0 {
                continue;
            }
            if fault.skip > 0 {
                fault.skip -= 1;
            } else if hit.is_none() {
                fault.times -= usize::from(fault.times != usize::MAX);
                hit = Some(fault.effect.clone());
            }
        }
        hit
    }
}

/// Creates the error that a test injected.
pub(super) fn injected(kind: ErrorKind, operation: Operation, location: &str) -> Error {
    Error::new(kind, operation, location).with_source("injected by the test")
}

impl Effect {
    /// Runs an operation that has no stream of bytes.
    pub(super) async fn around<T>(
        self,
        operation: Operation,
        location: &str,
        inner: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        match self {
            Self::Error(kind) => Err(injected(kind, operation, location)),
            Self::LoseAnswer(kind) => {
                inner.await?;
                Err(injected(kind, operation, location))
            }
            Self::Stall(gate) => {
                gate.pass().await;
                inner.await
            }
            // This operation has no positions.
            Self::FailAt(..) | Self::TruncateAt(_) | Self::CorruptAt(_) | Self::StallAt(..) => inner.await,
        }
    }

    pub(super) async fn on_list(self, inner: ObjectStream, location: &str) -> ObjectStream {
        let error = |kind| stream::iter([Err(injected(kind, Operation::List, location))]);
        let items = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        match self {
            Self::Error(kind) | Self::LoseAnswer(kind) => error(kind).boxed(),
            Self::FailAt(count, kind) => inner.take(items(count)).chain(error(kind)).boxed(),
            Self::TruncateAt(count) => inner.take(items(count)).boxed(),
            Self::Stall(gate) | Self::StallAt(_, gate) => {
                gate.pass().await;
                inner
            }
            Self::CorruptAt(_) => inner,
        }
    }

    /// Returns the damage to the bytes of a stream, if the effect has any.
    pub(super) fn damage(&self) -> Option<StreamDamage> {
        let (position, what) = match self {
            Self::FailAt(position, kind) => (*position, DamageKind::Fail(*kind)),
            Self::TruncateAt(position) => (*position, DamageKind::Truncate),
            Self::CorruptAt(position) => (*position, DamageKind::Corrupt),
            Self::StallAt(position, gate) => (*position, DamageKind::Stall(gate.clone())),
            Self::Error(_) | Self::LoseAnswer(_) | Self::Stall(_) => return None,
        };
        Some(StreamDamage { remaining: Some(position), what })
    }
}

/// Damage to a stream of bytes.
#[derive(Clone, Debug)]
pub(super) struct StreamDamage {
    /// The bytes before the damage. `None` after damage that lets the stream continue.
    remaining: Option<u64>,
    what: DamageKind,
}

#[derive(Clone, Debug)]
enum DamageKind {
    Fail(ErrorKind),
    Truncate,
    Corrupt,
    Stall(Gate),
}

/// The next step of a stream after a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    GoOn,
    End,
    Fail(ErrorKind),
}

impl StreamDamage {
    /// Applies the damage to a chunk. Returns the remaining bytes and the next step.
    pub(super) async fn apply(&mut self, chunk: Bytes) -> (Bytes, Then) {
        let Some(remaining) = self.remaining else { return (chunk, Then::GoOn) };
        let at = usize::try_from(remaining).unwrap_or(usize::MAX);
        if at >= chunk.len() {
            self.remaining = Some(remaining - chunk.len() as u64);
            return (chunk, Then::GoOn);
        }
        match &self.what {
            DamageKind::Fail(kind) => (chunk.slice(..at), Then::Fail(*kind)),
            DamageKind::Truncate => (chunk.slice(..at), Then::End),
            DamageKind::Corrupt => {
                self.remaining = None;
                let mut bytes = BytesMut::from(chunk);
                bytes[at] = !bytes[at];
                (bytes.freeze(), Then::GoOn)
            }
            DamageKind::Stall(gate) => {
                gate.pass().await;
                self.remaining = None;
                (chunk, Then::GoOn)
            }
        }
    }

    /// Returns the next step at the end of the stream, where it may still have to fail.
    pub(super) fn at_end(&self) -> Then {
        match self.what {
            DamageKind::Fail(kind) if self.remaining == Some(0) => Then::Fail(kind),
            _ => Then::End,
        }
    }
}
