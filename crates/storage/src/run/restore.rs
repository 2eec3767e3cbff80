//! Restoring the outputs of a run instead of running the command.

use std::sync::Arc;
use std::time::SystemTime;

use futures::TryStreamExt as _;
use larder_records::RecordedOutput;

use super::command_run::CommandRun;
use super::lookup::FoundRun;
use super::made::{is_as_recorded, touch_if_older};
use crate::error::{Error, Result};
use crate::options::PullOptions;
use crate::outcome::Pulled;
use crate::pull::{damaged_among, restore};
use crate::state::{LocalRun, OutputsAside};
use crate::tasks::{few_at_once, run_blocking};

impl CommandRun<'_> {
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
        // The object may be older than the run, and the run may have changed only the execute bit of a file.
        let executable = |output| found.run.record.output(output).and_then(|listed| listed.executable);
        let executables: Vec<Option<bool>> = outputs.iter().map(executable).collect();
        let pulled = match restore(self.context, outputs, &found.objects, &executables, &options).await {
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
                    executable: listed.and_then(|listed| listed.executable),
                }
            })
            .collect();
        self.record_here(&record, true).await?;
        Ok(pulled)
    }

    /// Notes in this project that a check passed.
    ///
    /// # Errors
    ///
    /// The file system fails.
    pub async fn note_passed(&self, found: &FoundRun) -> Result<()> {
        self.record_here(&found.run.record, true).await
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
}
