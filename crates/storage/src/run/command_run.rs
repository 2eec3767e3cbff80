//! One run of a command, from its locks to its record.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use larder_hashing::OutputPath;
use larder_records::{RunDetails, RunRecord};

use super::made::executables;
use super::request::RunRequest;
use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::state::{LocalRun, OutputLocks, OutputsAside, RemotePause};
use crate::tasks::run_blocking;

/// One run of a command. Its outputs are locked until it is dropped.
#[derive(Debug)]
pub struct CommandRun<'a> {
    pub(super) context: &'a StorageContext,
    pub(super) request: RunRequest,
    pub(super) locks: Arc<OutputLocks>,
    pub(super) aside: Option<OutputsAside>,
    /// The URLs of damaged objects. The push that follows replaces them.
    pub(super) damaged: BTreeSet<String>,
    /// The outputs that no run here made, and that the command replaces.
    pub(super) unknown: Vec<OutputPath>,
    pub(super) replaced: Vec<PathBuf>,
}

impl<'a> CommandRun<'a> {
    pub(super) fn new(context: &'a StorageContext, request: RunRequest, locks: Arc<OutputLocks>) -> Self {
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

impl CommandRun<'_> {
    /// Returns the command and its inputs, as the record will have them.
    pub fn details_mut(&mut self) -> &mut RunDetails {
        &mut self.request.details
    }

    /// Returns whether this remote has a run of this project.
    pub fn is_published(&self, run: &LocalRun) -> bool {
        run.published_to.as_deref() == Some(self.context.backend.to_string().as_str())
    }

    /// Returns the pause in which the runs of this project leave the remote alone, because it failed.
    pub fn pause(&self) -> Option<RemotePause> {
        self.context.state.pause_of(&self.context.backend.to_string())
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

    pub(super) async fn within<T>(
        &self,
        timeout: Duration,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match tokio::time::timeout(timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::NoAnswer { remote: self.context.backend.to_string(), timeout }),
        }
    }

    /// Records the run in this project.
    pub(super) async fn record_here(&self, record: &RunRecord, published: bool) -> Result<()> {
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
