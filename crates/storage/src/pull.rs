//! Pulling outputs: choosing the objects, fetching and verifying all of them, and putting them into place as one unit.

mod candidates;
mod compare;
mod damaged;
mod fetch;
mod fingerprint;
mod wanted;

use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use larder_hashing::OutputPath;
use rustix::fs::{Access, AtFlags, CWD};

use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::options::{KnownVersion, PullOptions};
use crate::outcome::{PullOutcome, Pulled, RemoteObject};
use crate::report::{Phase, PhaseReport, Warning};
use crate::state::{OutputLocks, Planned, Unplaced, check_one_mount, place};
use crate::tasks::{MAX_TRANSFERS, few_at_once, run_blocking};
use candidates::{Choice, choices, none_found};
use compare::{Compared, Comparison, Decision, compare, compare_with, known_version, would_restore};
use damaged::DamagedCandidates;
use fetch::{Fetched, fetch};
use fingerprint::Fingerprint;

pub(crate) use candidates::{Candidate, common_runs, matches_of_all, runs_of_command};
pub(crate) use fetch::{ContentDiffers, fetch_candidate};
pub(crate) use wanted::Wanted;

/// How often outputs are put into place while another process creates or removes what is there. The other must win a race
/// of microseconds each time.
const MAX_TRIES: u32 = 16;

/// See [`crate::RemoteStorage::pull`].
pub(crate) async fn pull(
    context: &StorageContext,
    outputs: &[OutputPath],
    options: &PullOptions,
) -> Result<Vec<Pulled>> {
    let started = Instant::now();
    let plan = PullPlan::new(context, outputs, options)?;
    let _locks = if options.dry_run {
        context.recover().await?;
        None
    } else {
        let locks = plan.lock().await?;
        context.sweep().await?;
        locks
    };
    let outcome = plan.run().await;
    plan.damaged.finish(context);
    let mut pulled = outcome?;
    let elapsed = started.elapsed();
    for pulled in &mut pulled {
        pulled.elapsed = elapsed;
    }
    Ok(pulled)
}

/// See [`crate::RemoteStorage::pull_each`].
pub(crate) async fn pull_each(
    context: &StorageContext,
    wanted: &[(OutputPath, PullOptions)],
    mut each: impl FnMut(usize, Result<Pulled>) -> ControlFlow<()>,
) {
    let pulls = wanted.iter().enumerate().map(|(index, (output, options))| async move {
        (index, pull(context, std::slice::from_ref(output), options).await)
    });
    let mut pulled = stream::iter(pulls).buffer_unordered(MAX_TRANSFERS);
    while let Some((index, result)) = pulled.next().await {
        let result = result.map(|mut pulled| pulled.remove(0));
        if each(index, result).is_break() {
            break;
        }
    }
}

/// Restores one object of each output: all of them, or none. `executables` says which of them become executable files, where
/// that is known. The caller holds the locks of the outputs.
pub(crate) async fn restore(
    context: &StorageContext,
    outputs: &[OutputPath],
    objects: &[RemoteObject],
    executables: &[Option<bool>],
    options: &PullOptions,
) -> Result<Vec<Pulled>> {
    let started = Instant::now();
    let mut plan = PullPlan::new(context, outputs, options)?;
    for (wanted, executable) in plan.wanted.iter_mut().zip(executables) {
        wanted.executable = *executable;
    }
    let choice = objects.iter().map(|object| vec![Candidate::Listed(object.clone())]).collect();
    let mut pulled = plan.pull_choice(choice).await?;
    let elapsed = started.elapsed();
    for pulled in &mut pulled {
        pulled.elapsed = elapsed;
    }
    Ok(pulled)
}

/// Reads one object of each output, and returns the URLs of the damaged ones.
pub(crate) async fn damaged_among(
    context: &StorageContext,
    outputs: &[OutputPath],
    objects: &[RemoteObject],
    options: &PullOptions,
) -> Result<Vec<String>> {
    let checks = outputs.iter().zip(objects).map(|(output, object)| async move {
        let wanted = Wanted::new(output, output.below(&context.root));
        match fetch_candidate(context, &wanted, &Candidate::Listed(object.clone()), options).await {
            Err(Error::Damaged { url, .. }) => Ok(Some(url)),
            Err(Error::Cancelled) => Err(Error::Cancelled),
            _ => Ok(None),
        }
    });
    let found: Vec<Option<String>> = few_at_once(checks).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// The outputs of one pull: all are restored, or none.
struct PullPlan<'a> {
    context: &'a StorageContext,
    wanted: Vec<Wanted>,
    options: &'a PullOptions,
    damaged: DamagedCandidates,
}

impl<'a> PullPlan<'a> {
    /// Checks what needs no request: that the outputs can be pulled together, and that there is a place for each.
    fn new(context: &'a StorageContext, outputs: &[OutputPath], options: &'a PullOptions) -> Result<Self> {
        check_usage(outputs, options)?;
        let base = options.to.as_deref().unwrap_or(&context.root);
        let wanted: Vec<Wanted> =
            outputs.iter().map(|output| Wanted::new(output, output.below(base))).collect();
        for wanted in &wanted {
            context.check_apart(&wanted.output, &wanted.destination)?;
            context.check_destination(&wanted.destination)?;
            context.keys_of(&wanted.output)?;
            check_reachable(&wanted.destination)?;
        }
        Ok(Self { context, wanted, options, damaged: DamagedCandidates::default() })
    }

    /// Locks the destinations in the project, so that no command changes them meanwhile.
    async fn lock(&self) -> Result<Option<Arc<OutputLocks>>> {
        let outputs: Vec<OutputPath> =
            self.wanted.iter().filter_map(|wanted| self.in_project(wanted)).collect();
        if outputs.is_empty() {
            return Ok(None);
        }
        match self.context.lock_outputs(&outputs).await {
            Ok(locks) => Ok(Some(locks)),
            // Nothing can be restored in such a project, so nothing needs a lock.
            Err(error) if error.is_of_unwritable_project() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Returns the path of a destination in the project.
    fn in_project(&self, wanted: &Wanted) -> Option<OutputPath> {
        OutputPath::new(wanted.destination.strip_prefix(&self.context.root).ok()?).ok()
    }

    async fn run(&self) -> Result<Vec<Pulled>> {
        let choices = choices(self.context, &self.wanted, self.options).await?;
        let mut left = choices.len();
        let mut failure = None;
        for choice in choices {
            left -= 1;
            match self.pull_choice(choice).await {
                // Another command hash may have them whole.
                Err(error @ (Error::Damaged { .. } | Error::NotFound { .. })) => {
                    if let (Error::Damaged { url, source }, true) = (&error, left > 0) {
                        self.damaged.report(self.context, url, &**source);
                    }
                    failure = failure.or(Some(error));
                }
                outcome => return outcome,
            }
        }
        Err(failure.unwrap_or_else(|| none_found(self.context, &self.wanted, self.options)))
    }

    async fn pull_choice(&self, choice: Choice) -> Result<Vec<Pulled>> {
        let (context, options) = (self.context, self.options);
        let pairs = || self.wanted.iter().zip(&choice);
        let compared = pairs().map(|(wanted, candidates)| compare(context, wanted, candidates, options));
        let decisions: Vec<Decision> = few_at_once(compared).try_collect().await?;
        let left = || {
            decisions.iter().filter_map(|decision| match decision {
                Decision::Leave(compared) => Some(compared),
                _ => None,
            })
        };
        if left().count() < decisions.len()
            && let Some(error) = left().find_map(Compared::as_error)
        {
            return Err(error);
        }
        let steps = pairs().zip(decisions).map(|((wanted, candidates), decision)| async move {
            let replaces = match decision {
                Decision::Leave(compared) => return Ok::<_, Error>(OutputStep::Leave(compared)),
                Decision::Restore => None,
                Decision::Replace(known) => Some(known),
            };
            // Checked before the download.
            let destination = wanted.destination.clone();
            if options.force || replaces.is_some() {
                run_blocking(move || check_one_mount(&destination)).await?;
            }
            if options.dry_run {
                check_writable(&wanted.destination)?;
                return would_restore(context, wanted, candidates).await.map(OutputStep::Leave);
            }
            let fetched = fetch(context, wanted, candidates, options, &self.damaged).await?;
            Ok(OutputStep::Restore { fetched, replaces, seen: None })
        });
        // The first failure drops the others: their threads stop, and then remove their stagings.
        let steps: Vec<OutputStep> = few_at_once(steps).try_collect().await?;
        context.check_cancelled()?;
        self.put_into_place(steps).await
    }

    async fn put_into_place(&self, mut steps: Vec<OutputStep>) -> Result<Vec<Pulled>> {
        let (wanted, options) = (&self.wanted, self.options);
        let mut tries = 1..=MAX_TRIES;
        // Kept until what was replaced is removed.
        let mut placing = Vec::new();
        self.keep_changed(&mut steps).await?;
        loop {
            let restores: Vec<usize> = (0..steps.len())
                .filter(|&index| matches!(steps[index], OutputStep::Restore { .. }))
                .collect();
            let planned: Vec<Planned> = restores
                .iter()
                .filter_map(|&index| match &steps[index] {
                    OutputStep::Restore { fetched, replaces, .. } => {
                        Some(fetched.plan(&wanted[index], options.force || replaces.is_some()))
                    }
                    OutputStep::Leave(_) => None,
                })
                .collect();
            if planned.is_empty() {
                break;
            }
            placing = self.report_placing(restores.iter().map(|&index| &wanted[index].output));
            let replaced: Vec<OutputPath> =
                restores.iter().filter_map(|&index| self.in_project(&wanted[index])).collect();
            let (journal, state) = (self.context.state.journal()?, Arc::clone(&self.context.state));
            let placed = run_blocking(move || {
                state.count_changes(&replaced);
                place(&journal, &planned)
            });
            match placed.await {
                Ok(()) => {
                    self.keep_edited(&steps).await?;
                    break;
                }
                Err(Unplaced::Failed(error)) => return Err(error),
                Err(Unplaced::Appeared(index)) => {
                    let index = restores[index];
                    let destination = &wanted[index].destination;
                    if options.force || fs::symlink_metadata(destination).is_err() {
                        // The next attempt replaces it, or it is gone again.
                        if tries.next().is_none() {
                            return Err(Error::Contended { destination: destination.clone() });
                        }
                        continue;
                    }
                    // Another pull was faster: compare its result with the object, and keep it.
                    let OutputStep::Restore { fetched, .. } = &steps[index] else { continue };
                    let object = fetched.object.clone();
                    let compared = compare_with(self.context, &wanted[index], object).await?;
                    if wanted.len() > 1
                        && let Some(error) = compared.as_error()
                    {
                        return Err(error);
                    }
                    steps[index] = OutputStep::Leave(compared);
                }
            }
        }
        let pulled = wanted.iter().zip(&steps).map(|(wanted, step)| step.pulled(wanted)).collect();
        // Removing the previous versions may take a while, so it does not run on an async thread.
        run_blocking(move || drop(steps)).await;
        drop(placing);
        Ok(pulled)
    }

    /// Keeps the outputs that were changed while their objects were fetched.
    async fn keep_changed(&self, steps: &mut [OutputStep]) -> Result<()> {
        for (wanted, step) in self.wanted.iter().zip(steps) {
            let OutputStep::Restore { fetched, replaces: Some(known), seen } = &mut *step else { continue };
            // `keep_edited` needs it, when it is too late for an error.
            self.context.state.check_failed_directory()?;
            // Before the comparison, so that no edit after it goes unnoticed.
            *seen = fingerprint(&wanted.destination).await;
            let is_gone = fs::symlink_metadata(&wanted.destination).is_err();
            if is_gone || known_version(self.context, wanted, std::slice::from_ref(known)).await?.is_some() {
                continue;
            }
            let compared = compare_with(self.context, wanted, fetched.object.clone()).await?;
            if self.wanted.len() > 1
                && let Some(error) = compared.as_error()
            {
                return Err(error);
            }
            *step = OutputStep::Leave(compared);
        }
        Ok(())
    }

    /// Keeps versions in the project that were edited between the last comparison and their replacement.
    async fn keep_edited(&self, steps: &[OutputStep]) -> Result<()> {
        for (wanted, step) in self.wanted.iter().zip(steps) {
            let OutputStep::Restore { fetched, replaces: Some(_), seen: Some(seen) } = step else { continue };
            // An exchange leaves the previous version where the new one was.
            let places = [fetched.staging.backup(), wanted.output.below(&fetched.staging.new_root())];
            let Some(previous) = places.into_iter().find(|place| fs::symlink_metadata(place).is_ok()) else {
                continue;
            };
            if fingerprint(&previous).await == Some(*seen) {
                continue;
            }
            let (state, output) = (Arc::clone(&self.context.state), wanted.output.clone());
            let place = run_blocking(move || state.keep_replaced(&output, &previous)).await?;
            self.context.warn(&Warning::Edited { output: wanted.output.clone(), place });
        }
        Ok(())
    }

    fn report_placing<'o>(&self, outputs: impl Iterator<Item = &'o OutputPath>) -> Vec<Arc<PhaseReport>> {
        let (reporter, cancel) = (&self.context.options.reporter, &self.context.options.cancel);
        outputs.map(|output| PhaseReport::start(reporter, cancel, output, Phase::Place, None)).collect()
    }
}

/// The step of a pull for one output.
enum OutputStep {
    Leave(Compared),
    Restore {
        fetched: Fetched,
        /// The version that may be replaced.
        replaces: Option<KnownVersion>,
        /// The state in which that version was seen last.
        seen: Option<Fingerprint>,
    },
}

impl OutputStep {
    fn pulled(&self, wanted: &Wanted) -> Pulled {
        let content_bytes = match self {
            Self::Restore { fetched, .. } => Some(fetched.content_bytes),
            Self::Leave(_) => None,
        };
        let is_only_copy = matches!(self, Self::Leave(Compared { found: Comparison::OnlyCopy, .. }));
        let (object, outcome, verified, incomparable) = match self {
            Self::Restore { fetched, .. } => (&fetched.object, PullOutcome::Restored, fetched.verified, None),
            Self::Leave(Compared { object, found, .. }) => match *found {
                Comparison::Absent => (object, PullOutcome::Restored, false, None),
                Comparison::Same => (object, PullOutcome::UpToDate, true, None),
                Comparison::Differs | Comparison::OnlyCopy => (object, PullOutcome::Kept, false, None),
                Comparison::Impossible(reason) => (object, PullOutcome::Kept, false, Some(reason)),
            },
        };
        Pulled {
            output: wanted.output.clone(),
            destination: wanted.destination.clone(),
            outcome,
            url: object.url.clone(),
            command_hash: object.command_hash.clone(),
            content_hash: object.content_hash.clone(),
            verified,
            incomparable,
            is_only_copy,
            bytes: object.bytes,
            content_bytes,
            // Known when all outputs are in place.
            elapsed: Duration::ZERO,
        }
    }
}

async fn fingerprint(path: &Path) -> Option<Fingerprint> {
    let path = path.to_owned();
    run_blocking(move || Fingerprint::of(&path)).await.ok()
}

/// Refuses a destination that cannot be created, because something above it is not a directory or a link to one.
fn check_reachable(destination: &Path) -> Result<()> {
    for above in destination.ancestors().skip(1) {
        match fs::metadata(above) {
            Ok(found) if found.is_dir() => break,
            // A dangling link is in the way like a file.
            Err(_) if fs::symlink_metadata(above).is_err() => {}
            Err(error) if error.kind() != io::ErrorKind::NotFound => break,
            _ => {
                let (destination, obstacle) = (destination.to_owned(), above.to_owned());
                return Err(Error::Obstructed { destination, obstacle });
            }
        }
    }
    Ok(())
}

/// Refuses a destination that this user cannot create. A dry run has nothing else that would fail.
fn check_writable(destination: &Path) -> Result<()> {
    let Some(existing) = destination.ancestors().skip(1).find(|above| above.exists()) else { return Ok(()) };
    let needed = Access::WRITE_OK | Access::EXEC_OK;
    let writable = rustix::fs::accessat(CWD, existing, needed, AtFlags::EACCESS);
    writable.map_err(|error| Error::io("write to", existing)(error.into()))
}

fn check_usage(outputs: &[OutputPath], options: &PullOptions) -> Result<()> {
    if outputs.len() > 1 && options.content_hash.is_some() {
        return Err(Error::Usage("a content hash names one output: pull several without it".to_owned()));
    }
    for (index, output) in outputs.iter().enumerate() {
        if let Some(other) =
            outputs[..index].iter().find(|other| other.contains(output) || output.contains(other))
        {
            let text = if other.as_str() == output.as_str() {
                format!("{output} is named twice")
            } else {
                format!("{other} and {output} lie inside one another: pull them one after the other")
            };
            return Err(Error::Usage(text));
        }
    }
    Ok(())
}
