//! Writing objects.

use std::fmt;
use std::mem;
use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::types::{CompletedMultipartUpload, ServerSideEncryption, StorageClass};
use bytes::Bytes;
use larder_backend::{
    Error, ErrorKind, Key, ObjectMeta, Operation, PutMode, PutOptions, Result, Upload, UploadGate,
    UploadJournal,
};
use larder_tree::BufferPool;

use crate::context::S3Context;
use crate::error::S3Failure;
use crate::get;
use crate::multipart::{CONTENT_TYPE, Multipart};
use crate::part::{PartBuffer, S3Part, part_size, parts_at_once, spool_error};
use crate::precondition::Knowledge;
use crate::probe::create_only_support;

/// An upload: a buffer that becomes a single request, or the parts of a multipart upload.
pub(crate) struct S3Upload {
    context: Arc<S3Context>,
    key: Key,
    mode: PutMode,
    journal: Option<Arc<dyn UploadJournal>>,
    part_size: usize,
    buffers: BufferPool,
    buffer: PartBuffer,
    multipart: Option<Multipart>,
    written: u64,
    gate: UploadGate,
}

impl S3Upload {
    pub(crate) fn new(context: Arc<S3Context>, key: Key, options: PutOptions) -> Self {
        let part_size = context.config.part_size.unwrap_or_else(|| part_size(options.size_hint));
        let buffers = BufferPool::default();
        Self {
            context,
            key,
            mode: options.mode,
            journal: options.journal,
            part_size,
            buffer: PartBuffer::new(part_size, &buffers),
            buffers,
            multipart: None,
            written: 0,
            gate: UploadGate::default(),
        }
    }

    fn location(&self) -> String {
        self.context.location(&self.key)
    }

    fn broken(&self, operation: Operation) -> Error {
        UploadGate::broken(operation, self.location())
    }

    /// Ends the current part.
    async fn take_part(&mut self) -> Result<S3Part> {
        let next = PartBuffer::new(self.part_size, &self.buffers);
        let part = mem::replace(&mut self.buffer, next);
        part.finish().await.map_err(|error| spool_error(self.location(), error))
    }

    /// Sends the buffer as a part, while other parts are being sent.
    async fn send_part(&mut self) -> Result<()> {
        let part = self.take_part().await?;
        let multipart = if let Some(multipart) = &mut self.multipart {
            multipart
        } else {
            let at_once = parts_at_once(self.part_size);
            let begun = Multipart::begin(&self.context, &self.key, at_once, self.journal.clone()).await?;
            self.multipart.insert(begun)
        };
        multipart.send(part).await
    }

    /// The condition under which the server publishes the object.
    async fn condition(&self) -> Result<Option<String>> {
        if self.mode == PutMode::Overwrite {
            return Ok(None);
        }
        let exclusive = Some("*".to_owned());
        let support = create_only_support(&self.context).await;
        if support == Knowledge::Honored {
            return Ok(exclusive);
        }
        // Look, then publish. Another creator between the two publishes the same content.
        match get::stat(&self.context, &self.key).await {
            Ok(_) => Err(Error::new(ErrorKind::AlreadyExists, Operation::Commit, self.location())),
            // The server may honor the condition, if it could not be asked.
            Err(error) if error.is_not_found() => Ok(exclusive.filter(|_| support != Knowledge::Ignored)),
            Err(error) => Err(error),
        }
    }

    /// Publishes, until it is done or fails for good.
    async fn publish<F>(
        &self,
        mut attempt: impl FnMut(Option<String>) -> F,
    ) -> Result<(ObjectMeta, Certainty)>
    where
        F: Future<Output = Result<Option<String>, S3Failure>>,
    {
        let mut attempts = self.context.retry_budget.attempts();
        loop {
            let condition = match self.condition().await {
                Err(error) if error.is_already_exists() && attempts.is_uncertain() => {
                    return self.own_object(error).await;
                }
                condition => condition?,
            };
            let failure = match attempt(condition).await {
                Ok(e_tag) => {
                    let published =
                        ObjectMeta::new(self.key.clone(), self.written, self.published_at().await?);
                    let published = match e_tag {
                        Some(e_tag) => published.with_version(get::version(&e_tag)),
                        None => published,
                    };
                    return Ok((published, Certainty::Certain));
                }
                Err(failure) => failure,
            };
            let may_be_ours = failure.error.is_already_exists() || failure.code == "NoSuchUpload";
            if may_be_ours && attempts.is_uncertain() {
                return self.own_object(failure.error).await;
            }
            if failure.status == Some(501)
                && self.mode == PutMode::CreateOnly
                && self.context.create_only.set(Knowledge::Ignored) != Knowledge::Ignored
            {
                continue;
            }
            attempts.pause_after(failure).await?;
        }
    }

    /// Looks for the object that an earlier attempt may have published, whose answer was lost.
    async fn own_object(&self, error: Error) -> Result<(ObjectMeta, Certainty)> {
        match get::stat(&self.context, &self.key).await {
            Ok(meta) if meta.size == self.written && self.is_new(&meta) => Ok((meta, Certainty::Probable)),
            _ => Err(error),
        }
    }

    /// Whether an object cannot be the one that was to be replaced. The time of an object is that of the beginning of its
    /// upload on AWS, and of its end on other servers.
    fn is_new(&self, meta: &ObjectMeta) -> bool {
        self.mode == PutMode::CreateOnly
            || self.multipart.as_ref().is_some_and(|multipart| meta.last_modified >= multipart.opened_after)
    }

    async fn published_at(&self) -> Result<std::time::SystemTime> {
        Ok(self.context.connection().await?.clock.last_answer())
    }

    async fn put(&self, part: &S3Part) -> Result<ObjectMeta> {
        let location = self.location();
        let target = self.context.target(Operation::Commit, &location);
        let connection = self.context.connection().await?;
        let (config, location) = (&self.context.config, &location);
        self.publish(|condition| async move {
            let request = connection
                .client
                .put_object()
                .bucket(&config.bucket)
                .key(self.context.object(&self.key))
                .content_type(CONTENT_TYPE)
                .content_length(part.len())
                .set_if_none_match(condition)
                .set_storage_class(config.options.storage_class.as_deref().map(StorageClass::from))
                .set_server_side_encryption(config.options.sse.as_deref().map(ServerSideEncryption::from))
                .set_ssekms_key_id(config.options.sse_kms_key_id.clone())
                .set_request_payer(self.context.request_payer())
                .body(part.body().await.map_err(|error| spool_error(location.as_str(), error))?);
            let request = request.customize();
            let request = if connection.has_checksums { request.disable_payload_signing() } else { request };
            let output = request.send().await.map_err(|error| target.failure(&error))?;
            Ok(output.e_tag().map(str::to_owned))
        })
        .await
        .map(|(meta, _)| meta)
    }

    async fn complete(&mut self) -> Result<ObjectMeta> {
        let Some(multipart) = &mut self.multipart else { return Err(self.broken(Operation::Commit)) };
        let parts = multipart.finish().await?;
        let id = multipart.id.clone();
        let location = self.location();
        let target = self.context.target(Operation::Commit, &location);
        let connection = self.context.connection().await?;
        let upload = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let (id, upload, this) = (&id, &upload, &*self);
        let published = this
            .publish(|condition| async move {
                let request = connection
                    .client
                    .complete_multipart_upload()
                    .bucket(&this.context.config.bucket)
                    .key(this.context.object(&this.key))
                    .upload_id(id)
                    .set_if_none_match(condition)
                    .multipart_upload(upload.clone())
                    .set_request_payer(this.context.request_payer());
                let output = request.send().await.map_err(|error| {
                    let failure = target.failure(&error);
                    // The same upload would get the same answer again. The caller has to send everything again.
                    match failure.error.kind() {
                        ErrorKind::Conflict => failure.into_kind(ErrorKind::Conflict, Operation::Commit),
                        _ => failure,
                    }
                })?;
                Ok(output.e_tag().map(str::to_owned))
            })
            .await;
        let (meta, certainty) = published?;
        if let (Some(multipart), Certainty::Certain) = (self.multipart.take(), certainty) {
            multipart.published();
        }
        // Otherwise the upload is dropped, and so aborted, because another creator may have published the object.
        Ok(meta)
    }
}

/// How sure it is that an object is the one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Certainty {
    Certain,
    /// The answer was lost, and there is an object of this size.
    Probable,
}

#[async_trait]
impl Upload for S3Upload {
    async fn write(&mut self, mut chunk: Bytes) -> Result<()> {
        let (context, key) = (&self.context, &self.key);
        self.gate.enter(|| context.location(key))?;
        self.written += chunk.len() as u64;
        while !chunk.is_empty() {
            // A full buffer is sent only when more bytes come, because a small object takes one request.
            if self.buffer.is_full() {
                self.send_part().await?;
            }
            self.buffer.take(&mut chunk).await.map_err(|error| spool_error(self.location(), error))?;
        }
        self.gate.leave();
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<ObjectMeta> {
        self.gate.check(Operation::Commit, || self.location())?;
        let committed = if self.multipart.is_some() {
            match self.send_part().await {
                Ok(()) => self.complete().await,
                Err(error) => Err(error),
            }
        } else {
            match self.take_part().await {
                Ok(part) => self.put(&part).await,
                Err(error) => Err(error),
            }
        };
        if committed.is_err()
            && let Some(multipart) = self.multipart.take()
        {
            // The caller needs the error of the commit. The journal keeps an upload that could not be aborted.
            multipart.abort().await.ok();
        }
        committed
    }

    async fn abort(mut self: Box<Self>) -> Result<()> {
        match self.multipart.take() {
            Some(multipart) => multipart.abort().await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for S3Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Upload")
            .field("key", &self.key)
            .field("mode", &self.mode)
            .field("written", &self.written)
            .finish_non_exhaustive()
    }
}
