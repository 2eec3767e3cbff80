//! Uploads with injected faults.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use larder_backend::{Key, ObjectMeta, Operation, Result, Upload, UploadGate};

use crate::faulty::script::{FaultScript, StreamDamage, Then, injected};

#[derive(Debug)]
pub(super) struct FaultyUpload {
    inner: Box<dyn Upload>,
    script: Arc<FaultScript>,
    key: Key,
    location: String,
    damage: Option<StreamDamage>,
    /// Whether further bytes are lost without an error.
    lossy: bool,
    gate: UploadGate,
}

impl FaultyUpload {
    pub(super) fn new(
        inner: Box<dyn Upload>,
        script: Arc<FaultScript>,
        key: Key,
        location: String,
        damage: Option<StreamDamage>,
    ) -> Self {
        Self { inner, script, key, location, damage, lossy: false, gate: UploadGate::default() }
    }
}

#[async_trait]
impl Upload for FaultyUpload {
    async fn write(&mut self, chunk: Bytes) -> Result<()> {
        if self.lossy {
            return Ok(());
        }
        let Some(damage) = &mut self.damage else { return self.inner.write(chunk).await };
        self.gate.enter(|| self.location.clone())?;
        let (bytes, then) = damage.apply(chunk).await;
        self.inner.write(bytes).await?;
        match then {
            Then::GoOn => {}
            Then::End => self.lossy = true,
            Then::Fail(kind) => return Err(injected(kind, Operation::Put, &self.location)),
        }
        self.gate.leave();
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<ObjectMeta> {
        let Self { inner, script, key, location, gate, .. } = *self;
        gate.check(Operation::Commit, || location.clone())?;
        match script.next(Operation::Commit, key.as_str()) {
            None => inner.commit().await,
            Some(effect) => effect.around(Operation::Commit, &location, inner.commit()).await,
        }
    }

    async fn abort(self: Box<Self>) -> Result<()> {
        let Self { inner, script, key, location, .. } = *self;
        match script.next(Operation::Abort, key.as_str()) {
            None => inner.abort().await,
            Some(effect) => effect.around(Operation::Abort, &location, inner.abort()).await,
        }
    }
}
