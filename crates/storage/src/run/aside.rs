//! Moving previous outputs aside before the command runs, and their fate after it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder_hashing::{ContentHash, OutputPath};

use super::command_run::CommandRun;
use super::lookup::FoundRun;
use super::made;
use crate::error::{Error, Result};
use crate::place::check_apart;
use crate::state::{BroughtBack, LocalRun, OutputsAside};
use crate::tasks::run_blocking;

/// How many of the newest runs here are compared with the outputs, to see whether one of them made an output.
const COMPARED: usize = 32;

impl CommandRun<'_> {
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

    /// Returns where previous versions of outputs are kept, because no run here made them and nothing says that the remote has
    /// them.
    pub fn replaced(&self) -> &[PathBuf] {
        &self.replaced
    }

    /// Moves existing outputs aside that no run here made and that are not what the found run made.
    pub(super) async fn set_unknown_aside(&self, found: &FoundRun) -> Result<Option<OutputsAside>> {
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

    pub(super) async fn keep_replaced(&self, aside: Option<OutputsAside>) -> Result<Vec<PathBuf>> {
        match aside {
            Some(aside) => run_blocking(move || aside.keep_replaced()).await,
            None => Ok(Vec::new()),
        }
    }

    /// Refuses a remote inside an output, also through symlinks.
    async fn check_apart(&self) -> Result<()> {
        let Some(remote) = self.context.remote_path().map(Path::to_owned) else { return Ok(()) };
        let (outputs, root) = (self.request.outputs.clone(), self.context.root.clone());
        let check = move |output: &OutputPath| check_apart(&remote, output, &output.below(&root));
        run_blocking(move || outputs.iter().try_for_each(check)).await
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
}
