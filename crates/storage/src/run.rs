//! Runs of commands: a command runs once, and everybody else restores its outputs.
//!
//! [`CommandRun`] has the steps of one run. The caller starts the command between them, because only the caller knows its
//! terminal and its signals.

mod explain;
mod lookup;
mod made;
mod publish;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::TryStreamExt as _;
use larder_backend::error_chain;
use larder_hashing::{CommandHash, ContentHash, OutputPath, Scheme};
use larder_records::{RecordedOutput, RunDetails, RunRecord};

use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::options::PullOptions;
use crate::outcome::Pulled;
use crate::place::{check_apart, check_apart_by_text, lock_path, real_parent, real_path};
use crate::pull::{damaged_among, restore};
use crate::report::Warning;
use crate::state::{BroughtBack, LocalRun, OutputLocks, OutputsAside, RemotePause, check_one_mount};
use crate::tasks::{few_at_once, run_blocking};
pub use explain::MissReason;
pub use lookup::{FoundRun, NoRun};
use made::{executables, is_as_recorded, touch_if_older};
pub use publish::{MadeOutputs, Published};

/// How many of the newest runs here are compared with the outputs, to see whether one of them made an output.
const COMPARED: usize = 32;

/// The command of a run, and its outputs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunRequest {
    /// The key of the run.
    pub command_hash: CommandHash,
    /// The outputs. A check has none.
    pub outputs: Vec<OutputPath>,
    /// The outputs that stay in place while the command runs, because it continues from them.
    pub kept: Vec<OutputPath>,
    /// The command and its inputs, as the record will have them.
    pub details: RunDetails,
    /// Say what would be done, and do nothing. Nothing is locked then.
    pub dry_run: bool,
}

impl RunRequest {
    /// Creates a request without kept outputs.
    pub fn new(command_hash: CommandHash, outputs: Vec<OutputPath>, details: RunDetails) -> Self {
        Self { command_hash, outputs, kept: Vec::new(), details, dry_run: false }
    }
}

/// One run of a command. Its outputs are locked until it is dropped.
#[derive(Debug)]
pub struct CommandRun<'a> {
    context: &'a StorageContext,
    request: RunRequest,
    locks: Arc<OutputLocks>,
    aside: Option<OutputsAside>,
    /// The URLs of damaged objects. The push that follows replaces them.
    damaged: BTreeSet<String>,
    /// The outputs that no run here made, and that the command replaces.
    unknown: Vec<OutputPath>,
    replaced: Vec<PathBuf>,
}

impl<'a> CommandRun<'a> {
    fn new(context: &'a StorageContext, request: RunRequest, locks: Arc<OutputLocks>) -> Self {
        Self {
            context,
            request,
            locks,
            aside: None,
            damaged: BTreeSet::new(),
            unknown: Vec::new(),
            replaced: Vec::new(),
        }
    }
}

/// See [`crate::RemoteStorage::begin_run`].
pub(crate) async fn begin(context: &StorageContext, request: RunRequest) -> Result<CommandRun<'_>> {
    if context.options.scheme == Scheme::Weasel {
        return Err(Error::Usage(
            "a run needs run records, which weasel does not know: use another hash scheme".to_owned(),
        ));
    }
    check_outputs(context, &request).await?;
    if request.dry_run {
        context.recover().await?;
        let locks = Arc::new(OutputLocks::default());
        return Ok(CommandRun::new(context, request, locks));
    }
    // A failure of the command needs it, perhaps hours later.
    context.state.check_failed_directory()?;
    let locks = match context.lock_outputs(&request.outputs).await {
        // Nothing can be changed here, so nothing needs a lock. Outputs may be up to date, and checks may run.
        Err(error) if error.is_of_unwritable_project() => Arc::new(OutputLocks::default()),
        locks => locks?,
    };
    // It may be another than before the wait.
    check_outputs(context, &request).await?;
    Ok(CommandRun::new(context, request, locks))
}

/// Refuses outputs that no command can make, or that cannot be replaced.
async fn check_outputs(context: &StorageContext, request: &RunRequest) -> Result<()> {
    let outputs = &request.outputs;
    let places: Vec<OutputPath> = outputs.iter().map(|output| lock_path(&context.root, output)).collect();
    for (index, output) in outputs.iter().enumerate() {
        let place = &places[index];
        let nested = places[..index].iter().position(|other| other.contains(place) || place.contains(other));
        if let Some(other) = nested.map(|other| &outputs[other]) {
            return Err(Error::Usage(format!(
                "the outputs {other} and {output} lie inside one another: name only the outer one"
            )));
        }
        let path = output.below(&context.root);
        if !real_parent(&path).starts_with(real_path(&context.root)) {
            context.warn_once(&Warning::OutputOutside { output: output.clone(), place: real_parent(&path) });
        }
        if let Some(remote) = context.remote_path() {
            check_apart_by_text(remote, output, &path)?;
        }
        context.check_destination(&path)?;
        context.keys_of(output)?;
        if path.is_symlink() {
            return Err(Error::Usage(format!(
                "the output {} is a symlink: remove it, so that the command creates a file or directory",
                path.display()
            )));
        }
        run_blocking(move || check_one_mount(&path)).await?;
    }
    Ok(())
}

impl CommandRun<'_> {
    /// Returns the command and its inputs, as the record will have them.
    pub fn details_mut(&mut self) -> &mut RunDetails {
        &mut self.request.details
    }

    /// Returns whether this remote has a run of this project.
    pub fn is_published(&self, run: &LocalRun) -> bool {
        run.published_to.as_deref() == Some(self.context.backend.to_string().as_str())
    }

    /// Returns the last run of this command in this project, if the outputs are as it made them. Makes no request.
    ///
    /// # Errors
    ///
    /// An output could not be read.
    pub async fn up_to_date(&self) -> Result<Option<LocalRun>> {
        let (state, command) = (Arc::clone(&self.context.state), self.request.command_hash.clone());
        let is_check = self.request.outputs.is_empty();
        let Some(last) = run_blocking(move || state.last_run(&command, is_check)).await? else {
            return Ok(None);
        };
        let checks = self.request.outputs.iter().map(|output| is_as_recorded(self.context, output, &last));
        let unchanged: Vec<bool> = few_at_once(checks).try_collect().await?;
        Ok(unchanged.into_iter().all(|is_same| is_same).then_some(last))
    }

    /// Returns the pause in which the runs of this project leave the remote alone, because it failed.
    pub fn pause(&self) -> Option<RemotePause> {
        self.context.state.pause_of(&self.context.backend.to_string())
    }

    /// Looks for a run in the remote that made all outputs. After a failure, the runs of this project leave the remote alone
    /// for a minute.
    ///
    /// # Errors
    ///
    /// The remote fails, or does not answer in time.
    pub async fn find(&self, timeout: Duration) -> Result<Result<FoundRun, NoRun>> {
        let found = self.within(timeout, lookup::find(self.context, &self.request)).await;
        let remote = self.context.backend.to_string();
        match &found {
            _ if self.request.dry_run => {}
            Err(error) if error.kind() != crate::ErrorKind::Cancelled => {
                unless_unwritable(self.context.state.begin_pause(&remote, &error_chain(error)))?;
            }
            Ok(_) if self.pause().is_some() => unless_unwritable(self.context.state.end_pause())?,
            _ => {}
        }
        found
    }

    /// Refuses a remote inside an output, also through symlinks.
    async fn check_apart(&self) -> Result<()> {
        let Some(remote) = self.context.remote_path().map(Path::to_owned) else { return Ok(()) };
        let (outputs, root) = (self.request.outputs.clone(), self.context.root.clone());
        let check = move |output: &OutputPath| check_apart(&remote, output, &output.below(&root));
        run_blocking(move || outputs.iter().try_for_each(check)).await
    }

    /// Waits until the remote answers. Unlike after [`CommandRun::find`], a failure begins no pause.
    ///
    /// # Errors
    ///
    /// The remote fails, or does not answer in time.
    pub async fn ask(&self, timeout: Duration) -> Result<()> {
        self.within(timeout, lookup::find(self.context, &self.request)).await.map(drop)
    }

    async fn within<T>(&self, timeout: Duration, work: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::NoAnswer { remote: self.context.backend.to_string(), timeout }),
        }
    }

    /// Restores the outputs of a run as one unit, and records the run here. Outputs that are right already stay.
    ///
    /// # Errors
    ///
    /// [`Error::Damaged`]: an object is damaged; [`Error::NotFound`]: one is gone; the remote or the file system fails.
    /// Nothing is changed then.
    pub async fn restore(&mut self, found: &FoundRun) -> Result<Vec<Pulled>> {
        let aside = self.set_unknown_aside(found).await?;
        match self.restore_over(found).await {
            Ok(pulled) => {
                self.replaced = self.keep_replaced(aside).await?;
                Ok(pulled)
            }
            Err(error) => {
                // The first error says why. If this fails too, the next command tries it again.
                run_blocking(move || aside.map(OutputsAside::put_back)).await.transpose().ok();
                Err(error)
            }
        }
    }

    async fn restore_over(&mut self, found: &FoundRun) -> Result<Vec<Pulled>> {
        let command_hash = Some(self.request.command_hash.clone());
        let options = PullOptions { force: true, command_hash, ..PullOptions::default() };
        let outputs = &self.request.outputs;
        let pulled = match restore(self.context, outputs, &found.objects, &options).await {
            Err(Error::Damaged { url, source }) => {
                self.damaged.insert(url.clone());
                self.damaged.extend(damaged_among(self.context, outputs, &found.objects, &options).await?);
                return Err(Error::Damaged { url, source });
            }
            pulled => pulled?,
        };
        let mut record = found.run.record.clone();
        // A record lists a part of many outputs.
        record.outputs = pulled
            .iter()
            .map(|pulled| {
                let listed = record.output(&pulled.output);
                RecordedOutput {
                    path: pulled.output.clone(),
                    content_hash: pulled.content_hash.clone(),
                    object_bytes: pulled.bytes,
                    content_bytes: listed.map_or(0, |listed| listed.content_bytes),
                    files: listed.map_or(0, |listed| listed.files),
                }
            })
            .collect();
        self.record_here(&record, true).await?;
        Ok(pulled)
    }

    /// Gives the outputs that are older than `newest` the present time. Make then takes them as made from their inputs.
    ///
    /// # Errors
    ///
    /// The time of an output cannot be changed.
    pub fn touch_if_older(&self, newest: SystemTime) -> Result<()> {
        let mut paths = self.request.outputs.iter().map(|output| output.below(&self.context.root));
        paths.try_for_each(|path| touch_if_older(&path, newest))
    }

    /// Returns where previous versions of outputs are kept, because no run here made them and nothing says that the remote has
    /// them.
    pub fn replaced(&self) -> &[PathBuf] {
        &self.replaced
    }

    /// Moves existing outputs aside that no run here made and that are not what the found run made.
    async fn set_unknown_aside(&self, found: &FoundRun) -> Result<Option<OutputsAside>> {
        let known = self.known_runs().await?;
        let mut unknown = Vec::new();
        for (output, object) in self.request.outputs.iter().zip(&found.objects) {
            if self.is_unknown(output, &known, Some(&object.content_hash)).await? {
                unknown.push(output.clone());
            }
        }
        if unknown.is_empty() {
            return Ok(None);
        }
        let state = Arc::clone(&self.context.state);
        run_blocking(move || state.set_aside(&unknown, &[])).await.map(Some)
    }

    /// Reads the newest runs here that made one of the outputs. They are read once for all outputs.
    async fn known_runs(&self) -> Result<Vec<LocalRun>> {
        let exists = |output: &&OutputPath| fs::symlink_metadata(output.below(&self.context.root)).is_ok();
        let outputs: Vec<OutputPath> = self.request.outputs.iter().filter(exists).cloned().collect();
        if outputs.is_empty() {
            return Ok(Vec::new());
        }
        let state = Arc::clone(&self.context.state);
        let made_one = move |run: &LocalRun| outputs.iter().any(|output| run.record.output(output).is_some());
        run_blocking(move || state.newest_runs(COMPARED, made_one)).await
    }

    /// Returns whether an output exists that none of these runs made, and that is not this content.
    async fn is_unknown(
        &self,
        output: &OutputPath,
        known: &[LocalRun],
        content: Option<&ContentHash>,
    ) -> Result<bool> {
        if fs::symlink_metadata(output.below(&self.context.root)).is_err() {
            return Ok(false);
        }
        made::is_unknown(self.context, output, known, content).await
    }

    async fn keep_replaced(&self, aside: Option<OutputsAside>) -> Result<Vec<PathBuf>> {
        match aside {
            Some(aside) => run_blocking(move || aside.keep_replaced()).await,
            None => Ok(Vec::new()),
        }
    }

    /// Notes in this project that a check passed.
    ///
    /// # Errors
    ///
    /// The file system fails.
    pub async fn note_passed(&self, found: &FoundRun) -> Result<()> {
        self.record_here(&found.run.record, true).await
    }

    /// Says why the command has to run: how its inputs differ from those of the nearest earlier run, here or in the remote.
    pub async fn explain(&self, timeout: Duration, ask_remote: bool) -> MissReason {
        explain::explain(self, timeout, ask_remote).await
    }

    /// Moves the existing outputs aside, and creates the directories above the outputs. Kept outputs stay.
    ///
    /// # Errors
    ///
    /// The remote is inside an output; an output could not be moved. Everything is as before then.
    pub async fn set_aside(&mut self, timeout: Duration) -> Result<()> {
        if self.request.outputs.is_empty() {
            return Ok(());
        }
        match self.within(timeout, self.check_apart()).await {
            // A remote that does not answer is on another mount, and outputs have no mount within.
            Err(Error::NoAnswer { .. }) => {}
            checked => checked?,
        }
        let (state, request) = (Arc::clone(&self.context.state), &self.request);
        let is_kept = |output: &&OutputPath| request.kept.contains(output);
        let kept: Vec<OutputPath> = request.outputs.iter().filter(is_kept).cloned().collect();
        let moved: Vec<OutputPath> =
            request.outputs.iter().filter(|output| !is_kept(output)).cloned().collect();
        self.request.details.incremental =
            kept.iter().any(|output| output.below(&self.context.root).exists());
        let known = self.known_runs().await?;
        let mut unknown = Vec::new();
        for output in &moved {
            if self.is_unknown(output, &known, None).await? {
                unknown.push(output.clone());
            }
        }
        self.unknown = unknown;
        self.aside = Some(run_blocking(move || state.set_aside(&moved, &kept)).await?);
        Ok(())
    }

    /// Lets the processes that this one starts inherit the locks, or ends that. A command that inherits them protects its
    /// outputs even if this process is killed.
    ///
    /// # Errors
    ///
    /// The system refuses it.
    pub fn let_inherit_locks(&self, inherit: bool) -> io::Result<()> {
        self.locks.set_inherited(inherit)
    }

    /// Removes the previous versions of the outputs, and records nothing. Keeps those that no run here made.
    ///
    /// # Errors
    ///
    /// A previous version could not be kept. The next command brings it back.
    pub async fn leave_unrecorded(&mut self) -> Result<()> {
        let unknown = std::mem::take(&mut self.unknown);
        if let Some(aside) = self.aside.take() {
            self.replaced = run_blocking(move || aside.discard(&unknown)).await?;
        }
        Ok(())
    }

    /// Brings the previous outputs back after the command has failed, and keeps its products in `.larder/failed`.
    ///
    /// # Errors
    ///
    /// An output could not be moved. The next command tries again.
    pub async fn put_back(&mut self) -> Result<Vec<BroughtBack>> {
        match self.aside.take() {
            Some(aside) => run_blocking(move || aside.put_back()).await,
            None => Ok(Vec::new()),
        }
    }

    /// Records the run in this project.
    async fn record_here(&self, record: &RunRecord, published: bool) -> Result<()> {
        let (root, outputs) = (self.context.root.clone(), self.request.outputs.clone());
        let (state, record) = (Arc::clone(&self.context.state), record.clone());
        let published_to = published.then(|| self.context.backend.to_string());
        run_blocking(move || {
            let executables = executables(&root, &outputs);
            unless_unwritable(state.record_run(&LocalRun { record, published_to, executables }))
        })
        .await
    }
}

/// Ignores that the project cannot be written: then nothing is remembered in it.
fn unless_unwritable(written: Result<()>) -> Result<()> {
    match written {
        Err(error) if error.is_of_unwritable_project() => Ok(()),
        written => written,
    }
}
