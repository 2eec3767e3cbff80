//! Multipart uploads: beginning, sending parts, and aborting, even if the caller does not wait any more.

use std::mem;
use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedPart, ServerSideEncryption, StorageClass};
use larder_backend::{Error, ErrorKind, Key, Operation, Result, UploadJournal, UploadToken};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::client::S3Connection;
use crate::context::S3Context;
use crate::part::{S3Part, spool_error};

/// How many parts S3 allows.
const MAX_PARTS: i32 = 10_000;

/// The media type of objects.
pub(crate) const CONTENT_TYPE: &str = "application/octet-stream";

/// Aborts an upload of a process that has ended.
pub(crate) async fn abort_orphan(context: &S3Context, token: &UploadToken) -> Result<()> {
    let mut words = token.as_str().splitn(3, ' ');
    let (Some(endpoint), Some(id), Some(Ok(key))) =
        (words.next(), words.next(), words.next().map(Key::parse))
    else {
        // This backend did not write the token.
        return Ok(());
    };
    let connection = context.connection().await?;
    if endpoint != endpoint_name(connection) {
        // Another server does not know the upload, and the journal would lose it.
        return Err(Error::new(ErrorKind::Other, Operation::Sweep, context.location(&key)).with_hint(
            format!("an upload is open at the endpoint {endpoint}: push or pull with that endpoint again"),
        ));
    }
    abort(context, &key, id, Operation::Sweep).await
}

/// The name of a server, because several servers may have a bucket of the same name.
fn endpoint_name(connection: &S3Connection) -> &str {
    connection.endpoint.as_deref().unwrap_or("aws")
}

/// Aborts an upload. An absent upload is a success.
async fn abort(context: &S3Context, key: &Key, id: &str, operation: Operation) -> Result<()> {
    let connection = context.connection().await?;
    let location = context.location(key);
    let target = context.target(operation, &location);
    let budget = context.retry_budget.for_cleaning_up();
    let request = || async {
        let request = connection
            .client
            .abort_multipart_upload()
            .bucket(&context.config.bucket)
            .key(context.object(key))
            .upload_id(id)
            .set_request_payer(context.request_payer());
        let Ok(sent) = tokio::time::timeout(budget.attempt_timeout(), request.send()).await else {
            return Err(Error::new(ErrorKind::Timeout, operation, location.as_str()).into());
        };
        match sent.map_err(|error| target.failure(&error)) {
            // Any other 404 may come from another kind of server.
            Err(failure) if matches!(&*failure.code, "NoSuchUpload" | "NoSuchBucket") => Ok(()),
            aborted => aborted.map(drop),
        }
    };
    budget.retrying(request).await
}

/// An open multipart upload. If it is dropped, a task aborts it, which [`larder_backend::Backend::close`] awaits.
pub(crate) struct Multipart {
    context: Arc<S3Context>,
    key: Key,
    endpoint: String,
    pub(crate) id: String,
    /// A time before the upload was opened, by the clock of the server.
    pub(crate) opened_after: SystemTime,
    journal: Option<Arc<dyn UploadJournal>>,
    parts: JoinSet<Result<CompletedPart>>,
    /// How many parts may be sent at once.
    at_once: usize,
    /// The number of parts so far.
    begun: i32,
    done: Vec<CompletedPart>,
    /// The upload is completed or aborted.
    is_over: bool,
}

impl Multipart {
    /// Creates an upload in a task, because the server may have created it when the caller stops waiting.
    pub(crate) async fn begin(
        context: &Arc<S3Context>,
        key: &Key,
        at_once: usize,
        journal: Option<Arc<dyn UploadJournal>>,
    ) -> Result<Self> {
        let (sender, receiver) = oneshot::channel();
        let create = Self::create(Arc::clone(context), key.clone(), at_once, journal);
        context.aborts.add(tokio::spawn(async move {
            // If nobody receives the upload, it is dropped, and so aborted.
            drop(sender.send(create.await));
        }));
        receiver.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Cancelled, Operation::Put, context.location(key))
                .with_source("the runtime is ending"))
        })
    }

    async fn create(
        context: Arc<S3Context>,
        key: Key,
        at_once: usize,
        journal: Option<Arc<dyn UploadJournal>>,
    ) -> Result<Self> {
        let connection = context.connection().await?;
        let config = &context.config;
        let location = context.location(&key);
        let target = context.target(Operation::Put, &location);
        let request = || async {
            let request = connection
                .client
                .create_multipart_upload()
                .bucket(&config.bucket)
                .key(context.object(&key))
                .content_type(CONTENT_TYPE)
                // S3 accepts parts only with the kind of checksum that the upload began with.
                .set_checksum_algorithm(connection.has_checksums.then_some(ChecksumAlgorithm::Crc32))
                .set_storage_class(config.options.storage_class.as_deref().map(StorageClass::from))
                .set_server_side_encryption(config.options.sse.as_deref().map(ServerSideEncryption::from))
                .set_ssekms_key_id(config.options.sse_kms_key_id.clone())
                .set_request_payer(context.request_payer());
            request.send().await.map_err(|error| target.failure(&error))
        };
        let opened_after = connection.clock.last_answer();
        let created = context.retry_budget.retrying(request).await?;
        let id = created.upload_id().unwrap_or_default().to_owned();
        let multipart = Self {
            endpoint: endpoint_name(connection).to_owned(),
            id,
            opened_after,
            journal,
            parts: JoinSet::new(),
            at_once,
            begun: 0,
            done: Vec::new(),
            is_over: false,
            key,
            context: Arc::clone(&context),
        };
        if let Some(journal) = &multipart.journal {
            // If that fails, the upload is dropped, and so aborted.
            journal.opened(&multipart.token()).map_err(|error| {
                Error::new(ErrorKind::Other, Operation::Put, location.as_str())
                    .with_hint("the upload could not be noted in the project's journal")
                    .with_source(error)
            })?;
        }
        Ok(multipart)
    }

    fn token(&self) -> UploadToken {
        UploadToken::new(format!("{} {} {}", self.endpoint, self.id, self.key))
    }

    /// Sends a part, and first waits until fewer parts are being sent.
    pub(crate) async fn send(&mut self, part: S3Part) -> Result<()> {
        while self.parts.len() >= self.at_once {
            self.wait_for_one().await?;
        }
        if self.begun == MAX_PARTS {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                Operation::Put,
                self.context.location(&self.key),
            )
            .with_hint("the object is much larger than expected, and S3 accepts at most 10,000 parts"));
        }
        self.begun += 1;
        let send = send_part(Arc::clone(&self.context), self.key.clone(), self.id.clone(), self.begun, part);
        self.parts.spawn(send);
        Ok(())
    }

    async fn wait_for_one(&mut self) -> Result<()> {
        match self.parts.join_next().await {
            Some(Ok(part)) => self.done.push(part?),
            Some(Err(error)) => {
                return Err(Error::new(ErrorKind::Other, Operation::Put, self.context.location(&self.key))
                    .with_source(error));
            }
            None => {}
        }
        Ok(())
    }

    /// Waits for all parts.
    pub(crate) async fn finish(&mut self) -> Result<Vec<CompletedPart>> {
        while !self.parts.is_empty() {
            self.wait_for_one().await?;
        }
        let mut parts = mem::take(&mut self.done);
        parts.sort_unstable_by_key(CompletedPart::part_number);
        Ok(parts)
    }

    /// Notes that the server has published the object.
    pub(crate) fn published(mut self) {
        self.is_over = true;
        if let Some(journal) = &self.journal {
            journal.closed(&self.token());
        }
    }

    pub(crate) async fn abort(mut self) -> Result<()> {
        let aborted = self.start_abort();
        match aborted {
            Some(aborted) => aborted.await.unwrap_or(Ok(())),
            None => Ok(()),
        }
    }

    /// Aborts in a task, which continues if nobody waits.
    fn start_abort(&mut self) -> Option<oneshot::Receiver<Result<()>>> {
        if mem::replace(&mut self.is_over, true) {
            return None;
        }
        // Without a runtime nothing can be sent. The journal keeps the upload.
        let runtime = Handle::try_current().ok()?;
        let (sender, receiver) = oneshot::channel();
        let mut parts = mem::take(&mut self.parts);
        let (context, key, id) = (Arc::clone(&self.context), self.key.clone(), self.id.clone());
        let (journal, token) = (self.journal.take(), self.token());
        self.context.aborts.add(runtime.spawn(async move {
            // A part that arrives after the abort would stay.
            parts.shutdown().await;
            let aborted = abort(&context, &key, &id, Operation::Abort).await;
            if let (Ok(()), Some(journal)) = (&aborted, journal) {
                journal.closed(&token);
            }
            sender.send(aborted).ok();
        }));
        Some(receiver)
    }
}

impl Drop for Multipart {
    fn drop(&mut self) {
        self.start_abort();
    }
}

async fn send_part(
    context: Arc<S3Context>,
    key: Key,
    id: String,
    number: i32,
    part: S3Part,
) -> Result<CompletedPart> {
    let connection = context.connection().await?;
    let location = context.location(&key);
    let target = context.target(Operation::Put, &location);
    let request = || async {
        let request = connection
            .client
            .upload_part()
            .bucket(&context.config.bucket)
            .key(context.object(&key))
            .upload_id(&id)
            .part_number(number)
            .set_checksum_algorithm(connection.has_checksums.then_some(ChecksumAlgorithm::Crc32))
            .content_length(part.len())
            .set_request_payer(context.request_payer())
            .body(part.body().await.map_err(|error| spool_error(location.as_str(), error))?);
        let request = request.customize();
        let request = if connection.has_checksums { request.disable_payload_signing() } else { request };
        request.send().await.map_err(|error| target.failure(&error))
    };
    let sent = context.retry_budget.retrying(request).await?;
    Ok(CompletedPart::builder()
        .part_number(number)
        .set_e_tag(sent.e_tag().map(str::to_owned))
        .set_checksum_crc32(sent.checksum_crc32().map(str::to_owned))
        .set_checksum_crc32_c(sent.checksum_crc32_c().map(str::to_owned))
        .set_checksum_crc64_nvme(sent.checksum_crc64_nvme().map(str::to_owned))
        .build())
}
