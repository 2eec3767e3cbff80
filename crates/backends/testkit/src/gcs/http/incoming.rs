//! Bodies of requests.

use std::future::pending;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use crate::gcs::failure::GcsFailure;
use crate::gcs::fault::{GcsAction, ReplyDamage};
use crate::gcs::http::End;

/// The maximum size of metadata in a request.
const DOCUMENT_LIMIT: usize = 1 << 20;

/// The body of a request, with injected faults.
#[derive(Debug)]
pub(super) struct IncomingBody {
    body: Incoming,
    /// The damage, and the number of bytes before it.
    damage: Option<(ReplyDamage, u64)>,
    /// Whether the damage happens now.
    is_due: bool,
}

impl IncomingBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self { body, damage: None, is_due: false }
    }

    pub(super) fn damage(&mut self, damage: ReplyDamage) {
        if let GcsAction::ResetUpload { after } | GcsAction::StallUpload { after } = damage.action {
            self.damage = Some((damage, after));
        }
    }

    /// Returns the length of the body, if the client announced it.
    pub(super) fn len(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// Returns the next bytes. `None` is the end. Only a complete body has an end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, End> {
        loop {
            if self.is_due {
                return self.go_wrong().await;
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|_| End::Gone)?;
            let Ok(chunk) = frame.into_data() else { continue };
            let chunk = self.pass(chunk);
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
    }

    fn pass(&mut self, chunk: Bytes) -> Bytes {
        let Some((_, remaining)) = &mut self.damage else { return chunk };
        match usize::try_from(*remaining) {
            Ok(at) if at < chunk.len() => {
                self.is_due = true;
                chunk.slice(..at)
            }
            _ => {
                *remaining -= chunk.len() as u64;
                chunk
            }
        }
    }

    async fn go_wrong(&mut self) -> Result<Option<Bytes>, End> {
        if let Some((damage, _)) = &self.damage {
            if let GcsAction::ResetUpload { .. } = damage.action {
                damage.closing.reset();
                damage.closing.now();
            }
            damage.fired.add();
        }
        pending().await
    }

    /// Reads the body to its end.
    pub(super) async fn exhaust(&mut self) -> Result<(), End> {
        while self.next().await?.is_some() {}
        Ok(())
    }

    /// Reads a short body as a whole.
    pub(super) async fn document(&mut self) -> Result<Vec<u8>, End> {
        let mut document = Vec::new();
        while let Some(chunk) = self.next().await? {
            if document.len() + chunk.len() > DOCUMENT_LIMIT {
                return Err(GcsFailure::invalid("The metadata is too long.").into());
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}
