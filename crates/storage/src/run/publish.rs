//! Recording a run that succeeded, and publishing its outputs.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use larder_archive::Prepared;
use larder_hashing::{ContentHash, OutputPath};
use larder_records::{RecordedOutput, RunId, RunRecord};

use super::command_run::CommandRun;
use super::made::check_made;
use crate::error::{Error, Result};
use crate::options::PushOptions;
use crate::outcome::Pushed;
use crate::push::{PreparedPush, PushRequest};
use crate::records::{RecordKeys, first_page, list_records, record_check, record_outputs};
use crate::state::LocalRun;
use crate::tasks::{MAX_TRANSFERS, few_at_once};

/// The outputs of a command that succeeded. They are recorded in the project, and not yet published.
#[derive(Debug)]
pub struct MadeOutputs {
    record: RunRecord,
    /// The outputs as they were hashed, in the order of the request. Missing for those of an earlier run.
    prepared: Option<Vec<Prepared>>,
}

/// Outputs that were published, with their run record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The outputs, in the order of the request.
    pub outputs: Vec<Pushed>,
    /// The outputs of which the remote has other contents from the same command.
    pub not_deterministic: Vec<OutputPath>,
}

impl From<LocalRun> for MadeOutputs {
    fn from(run: LocalRun) -> Self {
        Self { record: run.record, prepared: None }
    }
}

impl MadeOutputs {
    /// Returns the run record, as it is kept in the project.
    pub fn record(&self) -> &RunRecord {
        &self.record
    }
}

impl CommandRun<'_> {
    /// Checks that the command made its outputs.
    ///
    /// # Errors
    ///
    /// [`Error::NotMade`], [`Error::MadeSymlink`], [`Error::MountWithin`].
    pub fn check_made(&self) -> Result<()> {
        self.request.outputs.iter().try_for_each(|output| check_made(self.context, output))
    }

    /// Hashes the outputs of a command that succeeded, and records the run in the project. Then removes the previous
    /// versions.
    ///
    /// # Errors
    ///
    /// An output cannot be read, or the record cannot be written. The previous versions are still there then.
    pub async fn finish(
        &mut self,
        options: &PushOptions,
        started: SystemTime,
        finished: SystemTime,
    ) -> Result<MadeOutputs> {
        let (context, request) = (self.context, &self.request);
        let waiting = request.outputs.len();
        let hashing = request.outputs.iter().map(|output| async move {
            let push = PushRequest { context, output, command: &request.command_hash, options, waiting };
            push.prepare(&context.options.cancel).await
        });
        let prepared: Vec<Prepared> = few_at_once(hashing).try_collect().await?;
        let mut record =
            RunRecord::new(RunId::random(), request.command_hash.clone(), started.into(), finished.into());
        record.details = request.details.clone();
        let recorded = request.outputs.iter().zip(&prepared).map(|(output, prepared)| RecordedOutput {
            path: output.clone(),
            content_hash: prepared.content_hash().clone(),
            // Known once it is published.
            object_bytes: 0,
            content_bytes: prepared.content_bytes(),
            files: prepared.files(),
            executable: prepared.executable(),
        });
        record.outputs = recorded.collect();
        self.record_here(&record, false).await?;
        // The previous versions are not needed any more.
        self.leave_unrecorded().await?;
        Ok(MadeOutputs { record, prepared: Some(prepared) })
    }

    /// Publishes the outputs of a run and its record, and notes in the project that they are published.
    ///
    /// # Errors
    ///
    /// The remote fails, or an output was changed meanwhile.
    pub async fn publish(&self, made: &MadeOutputs, options: &PushOptions) -> Result<Published> {
        let context = self.context;
        if context.keeps_remote_in_state() {
            context.state.ensure_dir()?;
        }
        context.sweep().await?;
        context.or_cancelled(context.backend.get_ready()).await??;
        let mut options = options.clone();
        options.damaged.extend(self.damaged.iter().cloned());
        let mut outputs: Vec<(usize, Pushed)> =
            stream::iter((0..self.request.outputs.len()).map(|index| self.push(made, index, &options)))
                .buffer_unordered(MAX_TRANSFERS)
                .try_collect()
                .await?;
        outputs.sort_unstable_by_key(|(index, _)| *index);
        let outputs: Vec<Pushed> = outputs.into_iter().map(|(_, pushed)| pushed).collect();
        if outputs.is_empty() {
            record_check(context, &made.record).await?;
        } else {
            record_outputs(context, &made.record, outputs.clone()).await?;
        }
        self.record_here(&made.record, true).await?;
        let not_deterministic =
            if made.record.details.incremental { Vec::new() } else { self.not_deterministic(&outputs).await };
        Ok(Published { outputs, not_deterministic })
    }

    async fn push(&self, made: &MadeOutputs, index: usize, options: &PushOptions) -> Result<(usize, Pushed)> {
        let (context, command) = (self.context, &self.request.command_hash);
        let output = &self.request.outputs[index];
        let started = Instant::now();
        let again;
        let prepared = if let Some(prepared) = &made.prepared {
            &prepared[index]
        } else {
            let push = PushRequest { context, output, command, options, waiting: MAX_TRANSFERS };
            again = push.prepare(&context.options.cancel).await?;
            &again
        };
        let actual = prepared.content_hash().clone();
        if let Some(recorded) = made.record.output(output)
            && recorded.content_hash != actual
        {
            let expected = recorded.content_hash.clone();
            return Err(Error::ContentMismatch { output: output.clone(), expected, actual });
        }
        let push = PreparedPush { context, output, command, content: actual, options, prepared, started };
        Ok((index, push.run().await?))
    }

    /// Returns the outputs of which the command made other contents before. A failure is not worth an error.
    async fn not_deterministic(&self, outputs: &[Pushed]) -> Vec<OutputPath> {
        let checks = outputs.iter().map(|pushed| async move {
            let prefix = RecordKeys::of(&pushed.output).prefix(Some(&pushed.command_hash))?;
            let listing = list_records(self.context, &prefix, first_page(self.context)).await?;
            let contents: BTreeSet<&ContentHash> =
                listing.records.iter().map(|record| &record.name.content_hash).collect();
            Ok::<_, Error>(contents.iter().any(|content| **content != pushed.content_hash))
        });
        let others: Vec<Result<bool>> = few_at_once(checks).collect().await;
        let found = outputs.iter().zip(others).filter(|(_, others)| matches!(others, Ok(true)));
        found.map(|(pushed, _)| pushed.output.clone()).collect()
    }
}
