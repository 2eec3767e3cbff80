//! Pushing outputs.

use std::fs;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use futures::future::try_join;
use futures::{StreamExt as _, stream};
use larder_archive::{Compression, LATER_FORMAT, PackError, PackOptions, Packing, Prepared};
use larder_backend::{
    BackendExt as _, ErrorKind as BackendErrorKind, GetOptions, Key, ObjectMeta, PutMode, PutOptions, Upload,
};
use larder_hashing::{CommandHash, ContentHash, OutputPath, Scheme};
use larder_records::{RecordName, RunId, RunTime};
use tokio_util::sync::CancellationToken;

use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::options::PushOptions;
use crate::outcome::{OutputContent, PushOutcome, Pushed};
use crate::records::{RecordKeys, list_records, record_push};
use crate::report::{Phase, PhaseReport};
use crate::tasks::MAX_TRANSFERS;
use crate::turns::turn_to_upload;

/// About how many bytes an archive adds per file: header, padding, and sometimes an extended header.
const BYTES_OF_AN_ENTRY: u64 = 1_024;

/// How many bytes of several outputs are kept in memory between hashing and packing.
const KEPT_OF_SEVERAL: usize = 32 << 20;

/// How often an upload is repeated after a conflict with another pusher.
const MAX_CONFLICTS: u32 = 3;

/// See [`crate::RemoteStorage::push`].
pub(crate) async fn push(
    context: &StorageContext,
    output: &OutputPath,
    command: &CommandHash,
    options: &PushOptions,
) -> Result<Pushed> {
    let started = SystemTime::now();
    let pushed = PushRequest { context, output, command, options, waiting: 1 }.run().await?;
    if !options.dry_run {
        record_push(context, command, vec![pushed.clone()], &options.details, started).await?;
    }
    Ok(pushed)
}

/// See [`crate::RemoteStorage::push_all`].
pub(crate) async fn push_all(
    context: &StorageContext,
    outputs: &[OutputPath],
    command: &CommandHash,
    options: &PushOptions,
    mut each: impl FnMut(usize, Result<Pushed>),
) -> Result<Option<RunId>> {
    let started = SystemTime::now();
    let work: Vec<_> = outputs
        .iter()
        .enumerate()
        .map(|(index, output)| async move {
            let waiting = outputs.len().min(MAX_TRANSFERS);
            let request = PushRequest { context, output, command, options, waiting };
            (index, request.run().await)
        })
        .collect();
    let mut results = stream::iter(work).buffer_unordered(MAX_TRANSFERS);
    let mut pushed = Vec::new();
    while let Some((index, result)) = results.next().await {
        pushed.extend(result.as_ref().ok().cloned());
        each(index, result);
    }
    if options.dry_run {
        return Ok(None);
    }
    record_push(context, command, pushed, &options.details, started).await
}

/// See [`crate::RemoteStorage::describe`].
pub(crate) async fn describe(context: &StorageContext, output: &OutputPath) -> Result<OutputContent> {
    let path = output.below(&context.root);
    if let Err(error) = fs::metadata(&path) {
        return Err(match error.kind() {
            std::io::ErrorKind::NotFound => Error::MissingSource { path },
            _ => Error::io("look at", &path)(error),
        });
    }
    context.check_source(&path)?;
    let command = CommandHash::of_no_command(context.options.scheme);
    let options = PushOptions::default();
    // Nothing is packed, so nothing is kept in memory.
    let request = PushRequest { context, output, command: &command, options: &options, waiting: usize::MAX };
    let prepared = request.prepare(&context.options.cancel).await?;
    Ok(OutputContent {
        content_hash: prepared.content_hash().clone(),
        bytes: prepared.content_bytes(),
        files: prepared.files(),
    })
}

/// An output to be pushed.
pub(crate) struct PushRequest<'a> {
    pub(crate) context: &'a StorageContext,
    pub(crate) output: &'a OutputPath,
    pub(crate) command: &'a CommandHash,
    pub(crate) options: &'a PushOptions,
    /// How many hashed outputs may wait in memory at once.
    pub(crate) waiting: usize,
}

impl PushRequest<'_> {
    /// See [`crate::RemoteStorage::push`].
    pub(crate) async fn run(&self) -> Result<Pushed> {
        let Self { context, output, options, .. } = *self;
        let started = Instant::now();
        let path = output.below(&context.root);
        match fs::metadata(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::MissingSource { path });
            }
            Err(error) => return Err(Error::io("look at", &path)(error)),
            Ok(_) => {}
        }
        context.check_source(&path)?;
        context.check_apart(output, &path)?;
        context.keys_of(output)?;
        if options.dry_run {
            if context.keeps_remote_in_state() {
                context.state.check_dir()?;
            }
            context.recover().await?;
        } else {
            if context.keeps_remote_in_state() {
                context.state.ensure_dir()?;
            }
            context.sweep().await?;
        }

        let prepared = self.prepare_and_get_ready().await?;
        let content = self.content_hash_of(&prepared)?;
        let push = PreparedPush {
            context,
            output,
            command: self.command,
            content,
            options,
            prepared: &prepared,
            started,
        };
        push.run().await
    }

    /// Prepares the output while the backend gets ready. Missing credentials are reported at once, not after a terabyte was
    /// hashed.
    async fn prepare_and_get_ready(&self) -> Result<Prepared> {
        let stop = self.context.options.cancel.child_token();
        let mut refused = None;
        let get_ready = async {
            let _asking = self.context.asking_about(self.output);
            if let Err(error) = self.context.or_cancelled(self.context.backend.get_ready()).await? {
                // This ends the hashing, which is awaited below.
                stop.cancel();
                refused = Some(error);
            }
            Ok(())
        };
        let prepared = try_join(self.prepare(&stop), get_ready).await;
        match (prepared, refused) {
            (Ok(_) | Err(Error::Cancelled), Some(error)) => Err(error.into()),
            (prepared, _) => prepared.map(|(prepared, ())| prepared),
        }
    }

    /// Hashes the output, and keeps a small one in memory.
    pub(crate) async fn prepare(&self, stop: &CancellationToken) -> Result<Prepared> {
        let Self { context, output, .. } = *self;
        let report = PhaseReport::start(&context.options.reporter, stop, output, Phase::Hash, None);
        let pack = self.pack_options().with_observer(Arc::clone(&report) as _);
        // Several outputs may wait for their turn in memory.
        let kept = match self.waiting {
            0 | 1 => pack.kept_bytes,
            waiting => KEPT_OF_SEVERAL / waiting,
        };
        let prepared = larder_archive::prepare(&context.root, output, &pack.with_kept_bytes(kept))
            .await
            .map_err(from_pack);
        // The prepared output keeps its options, and so the report.
        report.finish();
        prepared
    }

    fn pack_options(&self) -> PackOptions {
        let (options, settings) = (self.options, &self.context.options);
        let scheme = options
            .content_hash
            .as_ref()
            .and_then(|hash| hash.verifiable_under(settings.scheme))
            .unwrap_or(settings.scheme);
        let compression = options.compression.unwrap_or(match settings.scheme {
            Scheme::Weasel => Compression::gzip(),
            Scheme::Blake3 | Scheme::Sha256 => Compression::default(),
        });
        PackOptions::new(scheme)
            .with_compression(compression)
            .with_dereference(options.dereference)
            .with_limits(settings.limits)
            .with_workers(settings.workers.clone())
            .with_stat_cache(settings.stat_cache.clone())
    }

    /// Returns the content hash for the key: the given one, unless the output contradicts it.
    fn content_hash_of(&self, prepared: &Prepared) -> Result<ContentHash> {
        let actual = prepared.content_hash();
        match &self.options.content_hash {
            None => Ok(actual.clone()),
            Some(given)
                if given.verifiable_under(self.context.options.scheme).is_none() || given == actual =>
            {
                Ok(given.clone())
            }
            Some(given) => Err(Error::ContentMismatch {
                output: self.output.clone(),
                expected: given.clone(),
                actual: actual.clone(),
            }),
        }
    }
}

/// An output that was hashed.
pub(crate) struct PreparedPush<'a> {
    pub(crate) context: &'a StorageContext,
    pub(crate) output: &'a OutputPath,
    pub(crate) command: &'a CommandHash,
    pub(crate) content: ContentHash,
    pub(crate) options: &'a PushOptions,
    pub(crate) prepared: &'a Prepared,
    pub(crate) started: Instant,
}

impl PreparedPush<'_> {
    /// Publishes the output, unless the remote has it.
    pub(crate) async fn run(&self) -> Result<Pushed> {
        let keys = self.context.keys_of(self.output)?;
        let key = keys.key(self.command, &self.content)?;
        let backend = &self.context.backend;
        let asking = self.context.asking_about(self.output);
        let (existing, newest_record) = try_join(
            async { Ok(self.context.or_cancelled(backend.stat_if_exists(&key)).await??) },
            self.newest_record(),
        )
        .await?;
        drop(asking);
        let pushed = |outcome, bytes| Pushed {
            output: self.output.clone(),
            outcome,
            url: keys.url(&key),
            command_hash: self.command.clone(),
            content_hash: self.content.clone(),
            bytes,
            content_bytes: self.prepared.content_bytes(),
            files: self.prepared.files(),
            executable: self.prepared.executable(),
            newest_record,
            elapsed: self.started.elapsed(),
        };
        let mut mode = PutMode::CreateOnly;
        if let Some(meta) = &existing {
            let replaces = self.options.force || self.options.damaged.contains(&keys.url(&key));
            if meta.size > 0 && !replaces {
                if self.options.dry_run {
                    self.check_record().await?;
                }
                return Ok(pushed(PushOutcome::AlreadyPresent, meta.size));
            }
            if meta.size > 0 {
                self.refuse_later_format(&key).await?;
            }
            mode = PutMode::Overwrite;
        }
        if self.options.dry_run {
            self.context.or_cancelled(backend.check_put(&key)).await??;
            self.check_record().await?;
            self.context.warn_where_missing();
            return Ok(pushed(PushOutcome::Uploaded, 0));
        }
        let mut conflicts = 0;
        loop {
            let error = match self.upload(&key, mode).await {
                Ok(meta) => {
                    self.context.warn_where_not_exclusive();
                    return Ok(pushed(PushOutcome::Uploaded, meta.size));
                }
                Err(Error::Backend(error)) => error,
                Err(error) => return Err(error),
            };
            match error.kind() {
                BackendErrorKind::AlreadyExists if mode == PutMode::CreateOnly => {
                    match self.context.or_cancelled(backend.stat_if_exists(&key)).await?? {
                        Some(meta) if meta.size > 0 => {
                            return Ok(pushed(PushOutcome::AlreadyPresent, meta.size));
                        }
                        // An empty object appeared, as an interrupted weasel leaves it: it counts as absent.
                        Some(_) => mode = PutMode::Overwrite,
                        // It was deleted since.
                        None if conflicts < MAX_CONFLICTS => conflicts += 1,
                        None => return Err(error.into()),
                    }
                }
                // Another pusher may or may not have published. The whole output must be sent again.
                BackendErrorKind::Conflict if conflicts < MAX_CONFLICTS => {
                    conflicts += 1;
                    let found = self.context.or_cancelled(backend.stat_if_exists(&key)).await??;
                    if let Some(meta) = found.filter(|meta| meta.size > 0 && mode == PutMode::CreateOnly) {
                        return Ok(pushed(PushOutcome::AlreadyPresent, meta.size));
                    }
                }
                _ => return Err(error.into()),
            }
        }
    }

    /// Returns the time of the newest run record of the output, under any command hash. The record of this push must be later.
    async fn newest_record(&self) -> Result<Option<RunTime>> {
        if self.options.dry_run || self.context.options.scheme == Scheme::Weasel {
            return Ok(None);
        }
        let prefix = RecordKeys::of(self.output).prefix(None)?;
        let listing = list_records(self.context, &prefix, None).await?;
        Ok(listing.records.iter().map(|record| record.name.time).max())
    }

    /// Checks what the run record of this push needs, as far as the remote tells without a write.
    async fn check_record(&self) -> Result<()> {
        if self.context.options.scheme == Scheme::Weasel {
            return Ok(());
        }
        let time = RunTime::from(SystemTime::now());
        let name = RecordName { time, run: RunId::random(), content_hash: self.content.clone() };
        match RecordKeys::of(self.output).key(self.command, &name) {
            Ok(key) => Ok(self.context.or_cancelled(self.context.backend.check_put(&key)).await??),
            // The remote cannot hold such a long key, so the push writes no record.
            Err(_) => Ok(()),
        }
    }

    /// Refuses to replace an object of a later format.
    async fn refuse_later_format(&self, key: &Key) -> Result<()> {
        let range = GetOptions::default().with_range(0..LATER_FORMAT.len() as u64);
        let backend = &self.context.backend;
        let head = self.context.or_cancelled(backend.get_bytes(key, range, LATER_FORMAT.len())).await?;
        match head {
            Ok(head) if head == LATER_FORMAT => {
                Err(Error::NeedsNewerLarder { url: format!("{backend}/{key}") })
            }
            // It was deleted meanwhile, or it cannot be read: the caller wants to replace it.
            _ => Ok(()),
        }
    }

    async fn upload(&self, key: &Key, mode: PutMode) -> Result<ObjectMeta> {
        let context = self.context;
        let _turn = context.or_cancelled(turn_to_upload(self.prepared.content_bytes())).await?;
        let total = Some(self.prepared.content_bytes());
        let report = PhaseReport::start(
            &context.options.reporter,
            &context.options.cancel,
            self.output,
            Phase::Upload,
            total,
        );
        let options = PutOptions::new(mode)
            .with_size_hint(self.prepared.content_bytes() + self.prepared.entries() * BYTES_OF_AN_ENTRY)
            .with_journal(context.upload_journal());
        let packing = self.prepared.pack_observed(report);
        let begun = context.or_cancelled(context.backend.begin_put(key, options)).await?;
        context.warn_where_created();
        let mut upload = begun?;
        match self.send(packing, upload.as_mut()).await {
            // Parts may still be under way. A dropped upload is aborted, and `close` waits for that.
            Ok(()) => Ok(context.or_cancelled(upload.commit()).await??),
            Err(error) => {
                // The caller gets the first error. A later sweep removes what the abort leaves behind.
                upload.abort().await.ok();
                Err(error)
            }
        }
    }

    /// Succeeds only if the packing confirms that it is complete: the end of a stream does not.
    async fn send(&self, mut packing: Packing, upload: &mut dyn Upload) -> Result<()> {
        while let Some(chunk) = self.context.or_cancelled(packing.next()).await? {
            self.context.or_cancelled(upload.write(chunk.map_err(from_pack)?)).await??;
        }
        packing.finish().await.map_err(from_pack)?;
        self.context.check_cancelled()
    }
}

fn from_pack(error: PackError) -> Error {
    if error.is_cancelled() { Error::Cancelled } else { Error::Pack(error) }
}
