//! The storage: a project with a remote.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use larder_backend::Backend;
use larder_hashing::{CommandHash, ContentHash, OutputPath};
use larder_records::RunId;

use crate::audit::{self, Checked, Stored};
use crate::context::StorageContext;
use crate::error::Result;
use crate::options::{FindOptions, KnownVersion, PullOptions, PushOptions, StorageOptions};
use crate::outcome::{Found, OutputContent, PublishedContent, Pulled, Pushed, RemoteObject};
use crate::records::{LoggedRun, WhyReport};
use crate::remote::RemoteUrl;
use crate::resolve::HashQuery;
use crate::run::{CommandRun, RunRequest};
use crate::state::{LocalRun, OutputChanges, OutputGuard};
use crate::tasks::{few_at_once, run_blocking};
use crate::{find, hash, list, pull, push, records, resolve, run};

/// Keeps the outputs of one project in one remote.
///
/// Call [`RemoteStorage::close`] at the end: aborts may still be under way, and a destructor cannot wait.
#[derive(Debug)]
pub struct RemoteStorage {
    context: StorageContext,
}

impl RemoteStorage {
    /// Joins the project at `root`, which must be absolute, with a remote. Makes no request and creates nothing.
    ///
    /// # Errors
    ///
    /// This build has no backend for the remote, or the remote has an unknown option.
    pub fn open(root: impl Into<PathBuf>, remote: &RemoteUrl, options: StorageOptions) -> Result<Self> {
        Ok(Self { context: StorageContext::open(root.into(), remote, options)? })
    }

    /// Joins the project at `root` with any backend.
    pub fn with_backend(
        root: impl Into<PathBuf>,
        backend: Arc<dyn Backend>,
        options: StorageOptions,
    ) -> Self {
        Self { context: StorageContext::new(root.into(), backend, options) }
    }

    /// Returns the project root.
    pub fn root(&self) -> &Path {
        &self.context.root
    }

    /// Returns the remote: the beginning of the URLs of its objects.
    pub fn remote(&self) -> String {
        self.context.backend.to_string()
    }

    /// Returns the URL of an object, whether it exists or not: remote, `/`, key.
    ///
    /// # Errors
    ///
    /// The name of the output is too long for the remote.
    pub fn make_url(
        &self,
        output: &OutputPath,
        command: &CommandHash,
        content: &ContentHash,
    ) -> Result<String> {
        let keys = self.context.keys_of(output)?;
        Ok(keys.url(&keys.key(command, content)?))
    }

    /// Returns the content hash of a path under the storage's scheme. Progress is reported for `label`, if there is one.
    ///
    /// # Errors
    ///
    /// There is nothing at the path, or it cannot be hashed.
    pub async fn content_hash(&self, path: &Path, label: Option<&OutputPath>) -> Result<ContentHash> {
        hash::content_hash(&self.context, self.context.options.scheme, path, label).await
    }

    /// Refuses a path of the project that leads to the files of git, of larder or of the project through a symlink.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::Usage`], with the symlink.
    pub fn check_destination(&self, output: &OutputPath) -> Result<()> {
        self.context.check_destination(&output.below(&self.context.root))
    }

    /// Publishes an output as one object, under its command hash and its content hash.
    ///
    /// The output is hashed first. If the object exists, nothing is sent. Otherwise the output is packed, compressed and
    /// uploaded as a stream, and hashed again meanwhile: if it has changed, nothing is published. Of several pushers of one
    /// key, one publishes, and the others find the object present. At the end a run record says that this version is the
    /// newest, except under [`larder_hashing::Scheme::Weasel`].
    ///
    /// # Errors
    ///
    /// The output is missing, changes, or cannot be packed; it does not have the given content hash
    /// ([`crate::ErrorKind::Integrity`]); the remote fails; the output is published, but its record could not be written
    /// ([`crate::Error::Record`]).
    pub async fn push(
        &self,
        output: &OutputPath,
        command: &CommandHash,
        options: &PushOptions,
    ) -> Result<Pushed> {
        push::push(&self.context, output, command, options).await
    }

    /// Pushes several outputs of one command, up to four at once. Each stands alone: a failure does not stop the others.
    ///
    /// Calls `each` with each result as soon as it is known, and the index of its output. At the end it writes the run record
    /// of all outputs that were published or present, and returns its id. Under [`larder_hashing::Scheme::Weasel`] and in a dry run there is
    /// none.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Record`]: the outputs are published, but their record could not be written.
    pub async fn push_all(
        &self,
        outputs: &[OutputPath],
        command: &CommandHash,
        options: &PushOptions,
        each: impl FnMut(usize, Result<Pushed>),
    ) -> Result<Option<RunId>> {
        push::push_all(&self.context, outputs, command, options, each).await
    }

    /// Reads the newest runs that the remote has records of, the newest first: of one output or of all, under one command
    /// hash or any, at most `limit`.
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn log(
        &self,
        output: Option<&OutputPath>,
        command: Option<&CommandHash>,
        limit: usize,
    ) -> Result<Vec<LoggedRun>> {
        records::log(&self.context, output, command, limit).await
    }

    /// Restores all outputs or none. They come from one command hash: the given one, or the newest that has all of them.
    /// The first is moved into place only after all of them were fetched and verified.
    ///
    /// An existing output is compared with the remote's, and kept. [`PullOptions::force`] replaces it if it differs. This
    /// is one step if the file system can exchange two names.
    ///
    /// Once outputs are being moved into place, a request to stop waits for the end.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::NotFound`] if nothing matches; [`crate::ErrorKind::Integrity`] if no whole object is left;
    /// [`crate::Error::Differs`] if one of several outputs exists and differs, [`crate::Error::Incomparable`] if it cannot
    /// be compared; the remote or the project's file system fails. Nothing is changed then.
    pub async fn pull(&self, outputs: &[OutputPath], options: &PullOptions) -> Result<Vec<Pulled>> {
        pull::pull(&self.context, outputs, options).await
    }

    /// Pulls outputs, each for itself: one may be restored while another fails. Reports each as soon as it is done, until `each`
    /// breaks.
    pub async fn pull_each(
        &self,
        wanted: &[(OutputPath, PullOptions)],
        each: impl FnMut(usize, Result<Pulled>) -> ControlFlow<()>,
    ) {
        pull::pull_each(&self.context, wanted, each).await;
    }

    /// Hashes an output in the project, and counts its bytes and files. Makes no request.
    ///
    /// # Errors
    ///
    /// The output is missing, or cannot be read or stored.
    pub async fn describe(&self, output: &OutputPath) -> Result<OutputContent> {
        push::describe(&self.context, output).await
    }

    /// Waits until no other command makes or restores the outputs, and keeps others away from them. In a project that cannot be
    /// written, nobody changes them.
    ///
    /// # Errors
    ///
    /// An outer command makes one of them ([`crate::ErrorKind::Usage`]); the project's file system fails.
    pub async fn lock(&self, outputs: &[OutputPath]) -> Result<OutputGuard> {
        match self.context.lock_outputs(outputs).await {
            Err(error) if error.is_of_unwritable_project() => Ok(OutputGuard(None)),
            locks => Ok(OutputGuard(Some(locks?))),
        }
    }

    /// Hashes outputs in the project, and looks for their contents in the remote, in any version. Each output has a result of its
    /// own, in their order.
    pub async fn find_published(&self, outputs: &[OutputPath]) -> Vec<Result<PublishedContent>> {
        let looks = outputs.iter().map(|output| async {
            let content = self.describe(output).await?;
            let options =
                FindOptions { content_hash: Some(content.content_hash.clone()), ..FindOptions::default() };
            let found = find::matches(&self.context, output, &options, find::RecordExtent::Newest).await?;
            // A push that was killed before its record counts as none: the next push records it.
            let no_command = CommandHash::of_no_command(self.context.options.scheme);
            let is_whole =
                |object: &RemoteObject| object.recorded.is_some() || object.command_hash != no_command;
            let object = found.objects.into_iter().next().filter(is_whole);
            let newest = found.records.iter().max_by_key(|record| record.name.time);
            let is_newest = newest.is_none_or(|record| record.name.content_hash == content.content_hash);
            Ok(PublishedContent { content, object, is_newest })
        });
        few_at_once(looks).collect().await
    }

    /// Returns of each version whether the remote has its object. Makes one request per version.
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn has_each(&self, versions: &[(OutputPath, KnownVersion)]) -> Result<Vec<bool>> {
        let looks = versions.iter().map(|(output, version)| find::has_object(&self.context, output, version));
        few_at_once(looks).try_collect().await
    }

    /// Completes or undoes what dead processes had begun in the project. Most operations do this themselves. A caller does it
    /// before it reads files that an operation depends on.
    ///
    /// # Errors
    ///
    /// The project's file system fails.
    pub async fn recover(&self) -> Result<()> {
        self.context.recover().await
    }

    /// The same as [`Self::recover`], and removes what dead processes left on the remote. Each push does this itself.
    ///
    /// # Errors
    ///
    /// The project's file system fails.
    pub async fn sweep(&self) -> Result<()> {
        self.context.sweep().await
    }

    /// Reads how often larder changed the outputs that some paths share files with. A command that reads them compares this
    /// before and after.
    ///
    /// # Errors
    ///
    /// The project's file system fails.
    pub async fn changes_of_outputs(&self, paths: Vec<PathBuf>) -> Result<OutputChanges> {
        let state = Arc::clone(&self.context.state);
        run_blocking(move || state.changes_of(&paths)).await
    }

    /// Begins a run of a command: locks its outputs, and waits while other commands use them. Makes no request.
    ///
    /// # Errors
    ///
    /// The outputs lie inside one another, or one is a symlink or a mount point, or an outer command makes one
    /// ([`crate::ErrorKind::Usage`]); the project's file system fails.
    pub async fn begin_run(&self, request: RunRequest) -> Result<CommandRun<'_>> {
        run::begin(&self.context, request).await
    }

    /// Returns the newest run of a command in this project, of an output or of any.
    ///
    /// # Errors
    ///
    /// The project's file system fails.
    pub fn last_run_here(&self, output: Option<&OutputPath>) -> Result<Option<LocalRun>> {
        let is_wanted = |run: &LocalRun| output.is_none_or(|output| run.record.output(output).is_some());
        Ok(self.context.state.newest_runs(1, is_wanted)?.pop())
    }

    /// Compares the newest run of an output, under the given command hash or any, with the nearest run of another command.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotFound`]: no run is recorded; the remote fails.
    pub async fn why(&self, output: &OutputPath, command: Option<&CommandHash>) -> Result<WhyReport> {
        records::why(&self.context, output, command).await
    }

    /// Compares a run in this project with the nearest run of another command in the remote.
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn why_here(&self, run: &LocalRun) -> Result<WhyReport> {
        records::why_here(&self.context, &run.record).await
    }

    /// Completes hashes that a person typed in part, from the objects and records of these outputs, or of all outputs if there
    /// are none. An exact name wins. Whole hashes cost no request.
    ///
    /// # Errors
    ///
    /// [`crate::Error::AmbiguousHash`], [`crate::Error::UnknownHash`]; the remote fails.
    pub async fn resolve(
        &self,
        outputs: &[OutputPath],
        command: Option<&HashQuery>,
        content: Option<&HashQuery>,
    ) -> Result<FindOptions> {
        resolve::resolve(&self.context, outputs, command, content).await
    }

    /// Finds the newest object of an output that has the given hashes. With both it is one exact look-up, otherwise
    /// one listing.
    ///
    /// Newest is the object that a run record names last. An object that no record names counts by its modification time, by
    /// the remote's clock. Ties go to the greater content hash, then to
    /// the greater command hash, so that every reader agrees.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotFound`] if nothing matches; the remote fails.
    pub async fn find(&self, output: &OutputPath, options: &FindOptions) -> Result<Found> {
        find::find(&self.context, output, options).await
    }

    /// Finds all objects of an output that have the given hashes, newest first.
    ///
    /// # Errors
    ///
    /// [`crate::Error::NotFound`] if nothing matches; the remote fails.
    pub async fn find_all(&self, output: &OutputPath, options: &FindOptions) -> Result<Vec<RemoteObject>> {
        find::find_all(&self.context, output, options).await
    }

    /// Lists the outputs that the remote has objects of, by the text of their keys, sorted.
    ///
    /// It lists the names at the top of the remote, and then the objects below each. In a bucket this takes one request per
    /// name. It reads at most 1000 objects per name. A name with only foreign objects among these is counted in
    /// [`crate::Warning::ForeignNames`].
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn list_outputs(&self) -> Result<Vec<String>> {
        list::list_outputs(&self.context).await
    }

    /// Lists the names at the top of the remote that an output can have, sorted: for the completion of a command line.
    ///
    /// Unlike [`Self::list_outputs`] it does not look below the names, and repairs nothing in the project.
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn list_names(&self) -> Result<Vec<String>> {
        list::list_names(&self.context).await
    }

    /// Lists all objects of the remote in the order of their keys, without larder's own files.
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn list_all(&self) -> Result<Vec<Stored>> {
        audit::list_all(&self.context).await
    }

    /// Reads an object to its end, as a pull would. It is unpacked into the project's `.larder` and removed again.
    ///
    /// # Errors
    ///
    /// The remote fails, or the project's file system.
    pub async fn check(&self, output: &OutputPath, object: &RemoteObject) -> Result<Checked> {
        audit::check(&self.context, output, object).await
    }

    /// Removes an object from the remote, unless it was replaced since it was listed. Returns whether it was removed.
    ///
    /// If the remote cannot compare versions itself, an object that is published at the very moment of the removal may be
    /// removed too.
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn delete(&self, stored: &Stored) -> Result<bool> {
        audit::delete(&self.context, stored).await
    }

    /// Waits for aborts under way, removes the journal of this process, and closes connections.
    ///
    /// # Errors
    ///
    /// An abort or a connection could not be ended in order.
    pub async fn close(&self) -> Result<()> {
        let closed = self.context.backend.close().await;
        let state = Arc::clone(&self.context.state);
        run_blocking(move || state.close()).await;
        Ok(closed?)
    }
}
