//! The beginning of a run: checks of its outputs, and their locks.

use std::sync::Arc;

use larder_hashing::{OutputPath, Scheme};

use super::command_run::CommandRun;
use super::request::RunRequest;
use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::place::{check_apart_by_text, lock_path, real_parent, real_path};
use crate::report::Warning;
use crate::state::{OutputLocks, check_one_mount};
use crate::tasks::run_blocking;

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
