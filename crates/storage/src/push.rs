//! Pushing outputs.

use std::fs;
use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join;
use futures::{Stream, StreamExt as _, stream};
use larder_archive::{Compression, LATER_FORMAT, PackError, PackOptions, Packing, Prepared};
use larder_backend::{
    BackendExt as _, ErrorKind as BackendErrorKind, GetOptions, Key, ObjectMeta, PutMode, PutOptions, Upload,
};
use larder_hashing::{CommandHash, ContentHash, OutputPath, Scheme};
use tokio_util::sync::CancellationToken;

use crate::error::{Error, Result};
use crate::options::PushOptions;
use crate::outcome::{PushOutcome, Pushed};
use crate::remote_storage::{MAX_TRANSFERS, RemoteStorage};
use crate::report::{Phase, PhaseReport};
use crate::state::UploadRecorder;
use crate::turns::turn_to_upload;

/// About what an archive adds to each file: its header, padding, and now and then an extended header.
const BYTES_OF_AN_ENTRY: u64 = 1_024;

/// How much of several outputs is kept in memory between hashing and packing, in bytes.
const KEPT_OF_SEVERAL: usize = 32 << 20;

/// How often an output is sent again because somebody else got in between, before it is given up.
const MAX_CONFLICTS: u32 = 3;

impl RemoteStorage {
    /// Publishes an output as one object, under what made it and what it contains.
    ///
    /// The output is hashed first. Where the object exists nothing is sent; otherwise the output is packed, compressed
    /// and uploaded as a stream, and hashed again on the way: if it has changed, nothing is published. Of several
    /// pushers of one key, one publishes, and the others find it present.
    ///
    /// # Errors
    ///
    /// The output is missing, changes, or cannot be packed; it does not have the given content hash
    /// ([`crate::ErrorKind::Integrity`]); the remote fails.
    pub async fn push(
        &self,
        output: &OutputPath,
        command: &CommandHash,
        options: &PushOptions,
    ) -> Result<Pushed> {
        self.push_one_of(1, output, command, options).await
    }

    /// Pushes one of so many outputs, which share the memory of the process.
    async fn push_one_of(
        &self,
        outputs: usize,
        output: &OutputPath,
        command: &CommandHash,
        options: &PushOptions,
    ) -> Result<Pushed> {
        let started = Instant::now();
        let path = output.below(self.root());
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::MissingSource { path });
            }
            Err(error) => return Err(Error::io("look at", &path)(error)),
            Ok(_) => {}
        }
        self.check_apart(output, &path)?;
        self.keys_of(output)?;
        if options.dry_run {
            if self.keeps_remote_in_state() {
                self.state.check_dir()?;
            }
            self.recover().await?;
        } else {
            if self.keeps_remote_in_state() {
                self.state.ensure_dir()?;
            }
            self.sweep().await?;
        }

        let prepared = self.prepare_and_get_ready(outputs, output, options).await?;
        let content = self.content_hash_of(output, &prepared, options)?;
        let push = Push { storage: self, output, command, content, options, prepared, started };
        push.run().await
    }

    /// Pushes several outputs of one command, up to four at once. Each stands alone: a failure does not stop the others.
    ///
    /// Yields each result as soon as it is known, with the index of its output.
    pub fn push_all<'a>(
        &'a self,
        outputs: &'a [OutputPath],
        command: &'a CommandHash,
        options: &'a PushOptions,
    ) -> impl Stream<Item = (usize, Result<Pushed>)> + 'a {
        let pushes: Vec<_> = outputs
            .iter()
            .enumerate()
            .map(|(index, output)| async move {
                (index, self.push_one_of(outputs.len(), output, command, options).await)
            })
            .collect();
        stream::iter(pushes).buffer_unordered(MAX_TRANSFERS)
    }

    /// Prepares the output, unless the remote cannot be used: whoever has no credentials should not learn it after a
    /// terabyte was hashed.
    async fn prepare_and_get_ready(
        &self,
        outputs: usize,
        output: &OutputPath,
        options: &PushOptions,
    ) -> Result<Prepared> {
        let stop = self.options.cancel.child_token();
        let mut refused = None;
        let get_ready = async {
            if let Err(error) = self.or_cancelled(self.backend.get_ready()).await? {
                // The hashing ends by itself then, and is waited for.
                stop.cancel();
                refused = Some(error);
            }
            Ok(())
        };
        let prepared = try_join(self.prepare(outputs, output, options, &stop), get_ready).await;
        match (prepared, refused) {
            (Ok(_) | Err(Error::Cancelled), Some(error)) => Err(error.into()),
            (prepared, _) => prepared.map(|(prepared, ())| prepared),
        }
    }

    async fn prepare(
        &self,
        outputs: usize,
        output: &OutputPath,
        options: &PushOptions,
        stop: &CancellationToken,
    ) -> Result<Prepared> {
        let report = PhaseReport::start(&self.options.reporter, stop, output, Phase::Hash, None);
        let pack = self.pack_options(options).with_observer(report);
        // Of several, each may wait in memory for its turn.
        let kept = if outputs > 1 { KEPT_OF_SEVERAL / MAX_TRANSFERS } else { pack.kept_bytes };
        larder_archive::prepare(self.root(), output, &pack.with_kept_bytes(kept)).await.map_err(from_pack)
    }

    fn pack_options(&self, options: &PushOptions) -> PackOptions {
        let scheme = options
            .content_hash
            .as_ref()
            .and_then(|hash| hash.verifiable_under(self.options.scheme))
            .unwrap_or(self.options.scheme);
        let compression = options.compression.unwrap_or(match self.options.scheme {
            Scheme::Weasel => Compression::gzip(),
            Scheme::Blake3 | Scheme::Sha256 => Compression::default(),
        });
        PackOptions::new(scheme)
            .with_compression(compression)
            .with_dereference(options.dereference)
            .with_limits(self.options.limits)
            .with_workers(self.options.workers.clone())
    }

    /// The content hash of the key: the given one, if what is there does not contradict it.
    fn content_hash_of(
        &self,
        output: &OutputPath,
        prepared: &Prepared,
        options: &PushOptions,
    ) -> Result<ContentHash> {
        let actual = prepared.content_hash();
        match &options.content_hash {
            None => Ok(actual.clone()),
            Some(given) if given.verifiable_under(self.options.scheme).is_none() || given == actual => {
                Ok(given.clone())
            }
            Some(given) => Err(Error::ContentMismatch {
                output: output.clone(),
                expected: given.clone(),
                actual: actual.clone(),
            }),
        }
    }
}

struct Push<'a> {
    storage: &'a RemoteStorage,
    output: &'a OutputPath,
    command: &'a CommandHash,
    content: ContentHash,
    options: &'a PushOptions,
    prepared: Prepared,
    started: Instant,
}

impl Push<'_> {
    async fn run(&self) -> Result<Pushed> {
        let keys = self.storage.keys_of(self.output)?;
        let key = keys.key(self.command, &self.content)?;
        let backend = &self.storage.backend;
        let existing = self.storage.or_cancelled(backend.stat_if_exists(&key)).await??;
        let pushed = |outcome, bytes| Pushed {
            output: self.output.clone(),
            outcome,
            url: keys.url(&key),
            command_hash: self.command.clone(),
            content_hash: self.content.clone(),
            bytes,
            content_bytes: self.prepared.content_bytes(),
            elapsed: self.started.elapsed(),
        };
        let mut mode = PutMode::CreateOnly;
        if let Some(meta) = &existing {
            if meta.size > 0 && !self.options.force {
                return Ok(pushed(PushOutcome::AlreadyPresent, meta.size));
            }
            if meta.size > 0 {
                self.refuse_later_format(&key).await?;
            }
            mode = PutMode::Overwrite;
        }
        if self.options.dry_run {
            self.storage.or_cancelled(backend.check_put(&key)).await??;
            return Ok(pushed(PushOutcome::Uploaded, 0));
        }
        let mut conflicts = 0;
        loop {
            let error = match self.upload(&key, mode).await {
                Ok(meta) => {
                    self.storage.warn_where_not_exclusive();
                    return Ok(pushed(PushOutcome::Uploaded, meta.size));
                }
                Err(Error::Backend(error)) => error,
                Err(error) => return Err(error),
            };
            match error.kind() {
                BackendErrorKind::AlreadyExists if mode == PutMode::CreateOnly => {
                    match self.storage.or_cancelled(backend.stat_if_exists(&key)).await?? {
                        Some(meta) if meta.size > 0 => {
                            return Ok(pushed(PushOutcome::AlreadyPresent, meta.size));
                        }
                        // An empty object, as an interrupted weasel leaves it, came in between: it counts as absent.
                        Some(_) => mode = PutMode::Overwrite,
                        // It was deleted since.
                        None if conflicts < MAX_CONFLICTS => conflicts += 1,
                        None => return Err(error.into()),
                    }
                }
                // Somebody else was at work, and may or may not have published. All of it has to be sent again.
                BackendErrorKind::Conflict if conflicts < MAX_CONFLICTS => {
                    conflicts += 1;
                    let found = self.storage.or_cancelled(backend.stat_if_exists(&key)).await??;
                    if let Some(meta) = found.filter(|meta| meta.size > 0 && mode == PutMode::CreateOnly) {
                        return Ok(pushed(PushOutcome::AlreadyPresent, meta.size));
                    }
                }
                _ => return Err(error.into()),
            }
        }
    }

    /// An object of a later format is not ours to replace.
    async fn refuse_later_format(&self, key: &Key) -> Result<()> {
        let range = GetOptions::default().with_range(0..LATER_FORMAT.len() as u64);
        let backend = &self.storage.backend;
        let head = self.storage.or_cancelled(backend.get_bytes(key, range, LATER_FORMAT.len())).await?;
        match head {
            Ok(head) if head == LATER_FORMAT => {
                Err(Error::NeedsNewerLarder { url: format!("{backend}/{key}") })
            }
            // It was deleted meanwhile, or it cannot be read: replacing it is what the caller wants.
            _ => Ok(()),
        }
    }

    async fn upload(&self, key: &Key, mode: PutMode) -> Result<ObjectMeta> {
        let storage = self.storage;
        let _turn = storage.or_cancelled(turn_to_upload(self.prepared.content_bytes())).await?;
        let total = Some(self.prepared.content_bytes());
        let report = PhaseReport::start(
            &storage.options.reporter,
            &storage.options.cancel,
            self.output,
            Phase::Upload,
            total,
        );
        let journal =
            UploadRecorder { state: Arc::clone(&storage.state), remote: storage.backend.to_string() };
        let options = PutOptions::new(mode)
            .with_size_hint(self.prepared.content_bytes() + self.prepared.entries() * BYTES_OF_AN_ENTRY)
            .with_journal(Arc::new(journal));
        let packing = self.prepared.pack_observed(report);
        let begun = storage.or_cancelled(storage.backend.begin_put(key, options)).await?;
        storage.warn_where_created();
        let mut upload = begun?;
        match self.send(packing, upload.as_mut()).await {
            // Parts may still be under way. Dropped, it is aborted, and `close` waits for that.
            Ok(()) => Ok(storage.or_cancelled(upload.commit()).await??),
            Err(error) => {
                // What failed first is what the caller should read; what an abort leaves behind is for a later sweep.
                upload.abort().await.ok();
                Err(error)
            }
        }
    }

    /// Succeeds only where the packing says that it is complete: that a stream has ended means nothing.
    async fn send(&self, mut packing: Packing, upload: &mut dyn Upload) -> Result<()> {
        while let Some(chunk) = self.storage.or_cancelled(packing.next()).await? {
            self.storage.or_cancelled(upload.write(chunk.map_err(from_pack)?)).await??;
        }
        packing.finish().await.map_err(from_pack)?;
        self.storage.check_cancelled()
    }
}

fn from_pack(error: PackError) -> Error {
    if error.is_cancelled() { Error::Cancelled } else { Error::Pack(error) }
}
