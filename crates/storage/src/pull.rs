//! Pulling outputs: choosing the objects, fetching and verifying all of them, and putting them into place as one unit.

mod candidates;
mod damaged;
mod fetch;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::TryStreamExt as _;
use larder_hashing::{ContentHash, OutputPath, Scheme};

use crate::error::{Error, ErrorKind, Result};
use crate::options::{FindOptions, PullOptions};
use crate::outcome::{Incomparable, PullOutcome, Pulled, RemoteObject};
use crate::remote_storage::{RemoteStorage, few_at_once, run_blocking};
use crate::report::{Phase, PhaseReport};
use crate::state::{Planned, Unplaced, check_one_mount, place};
use candidates::{Candidate, Choice};
use damaged::DamagedCandidates;
use fetch::Fetched;

/// How often outputs are put into place, while something else makes or removes what is there. Each time is a race of
/// microseconds that the other has to win.
const MAX_TRIES: u32 = 16;

impl RemoteStorage {
    /// Restores outputs, all or none: they come from one command hash (the given one, or the newest that has all of
    /// them), and the first is put into place only when every one of them has been fetched and verified.
    ///
    /// An existing output is compared with the remote's, and kept. [`PullOptions::force`] replaces it where it differs,
    /// in one step where the file system can exchange two names.
    ///
    /// Once outputs are being put into place, a request to stop waits until that is done.
    ///
    /// # Errors
    ///
    /// [`crate::ErrorKind::NotFound`] where nothing matches; [`crate::ErrorKind::Integrity`] where no whole object
    /// is left; [`Error::Differs`] where one of several outputs exists and differs, [`Error::Incomparable`] where it
    /// cannot be compared; the remote or the project's file system fails. Nothing has been changed then.
    pub async fn pull(&self, outputs: &[OutputPath], options: &PullOptions) -> Result<Vec<Pulled>> {
        let started = Instant::now();
        check_usage(outputs, options)?;
        let base = options.to.as_deref().unwrap_or(self.root());
        let wanted: Vec<Wanted> = outputs
            .iter()
            .map(|output| Wanted { output: output.clone(), destination: output.below(base) })
            .collect();
        for wanted in &wanted {
            self.check_apart(&wanted.output, &wanted.destination)?;
            self.check_outside_state(&wanted.destination)?;
            self.keys_of(&wanted.output)?;
            // Before anything is fetched in vain.
            check_reachable(&wanted.destination)?;
        }
        if options.dry_run {
            self.recover().await?;
        } else {
            self.sweep().await?;
        }
        let damaged = DamagedCandidates::default();
        let outcome = self.pull_best(&wanted, options, &damaged).await;
        damaged.finish(self);
        let mut pulled = outcome?;
        let elapsed = started.elapsed();
        for pulled in &mut pulled {
            pulled.elapsed = elapsed;
        }
        Ok(pulled)
    }

    async fn pull_best(
        &self,
        wanted: &[Wanted],
        options: &PullOptions,
        damaged: &DamagedCandidates,
    ) -> Result<Vec<Pulled>> {
        let choices = self.choices(wanted, options).await?;
        let mut left = choices.len();
        let mut failure = None;
        for choice in choices {
            left -= 1;
            match self.pull_choice(wanted, choice, options, damaged).await {
                // Another command hash may have them whole.
                Err(error @ (Error::Damaged { .. } | Error::NotFound { .. })) => {
                    if let (Error::Damaged { url, source }, true) = (&error, left > 0) {
                        damaged.report(self, url, &**source);
                    }
                    failure = failure.or(Some(error));
                }
                outcome => return outcome,
            }
        }
        Err(failure.unwrap_or_else(|| self.none_found(wanted, options)))
    }

    async fn pull_choice(
        &self,
        wanted: &[Wanted],
        choice: Choice,
        options: &PullOptions,
        damaged: &DamagedCandidates,
    ) -> Result<Vec<Pulled>> {
        let compared =
            wanted.iter().zip(&choice).map(|(wanted, candidates)| self.compare(wanted, candidates, options));
        let compared: Vec<Option<Compared>> = few_at_once(compared).try_collect().await?;
        if compared.iter().any(Option::is_none)
            && let Some(error) = compared.iter().flatten().find_map(Compared::as_error)
        {
            return Err(error);
        }
        let steps =
            wanted.iter().zip(&choice).zip(compared).map(|((wanted, candidates), compared)| async move {
                match compared {
                    Some(compared) => Ok::<_, Error>(Step::Leave(compared)),
                    None if options.dry_run => self.would_restore(wanted, candidates).await.map(Step::Leave),
                    None => {
                        // Before anything is fetched in vain.
                        let destination = wanted.destination.clone();
                        if options.force {
                            run_blocking(move || check_one_mount(&destination)).await?;
                        }
                        self.fetch(wanted, candidates, options, damaged).await.map(Step::Restore)
                    }
                }
            });
        // The first failure drops the others: their threads stop, and then remove their stagings.
        let steps: Vec<Step> = few_at_once(steps).try_collect().await?;
        self.check_cancelled()?;
        self.put_into_place(wanted, steps, options).await
    }

    async fn put_into_place(
        &self,
        wanted: &[Wanted],
        mut steps: Vec<Step>,
        options: &PullOptions,
    ) -> Result<Vec<Pulled>> {
        let mut tries = 1..=MAX_TRIES;
        // Kept until what was replaced is removed.
        let mut placing = Vec::new();
        loop {
            let restores: Vec<usize> =
                (0..steps.len()).filter(|&index| matches!(steps[index], Step::Restore(_))).collect();
            let planned: Vec<Planned> = restores
                .iter()
                .filter_map(|&index| match &steps[index] {
                    Step::Restore(fetched) => Some(fetched.plan(&wanted[index], options.force)),
                    Step::Leave(_) => None,
                })
                .collect();
            if planned.is_empty() {
                break;
            }
            placing = self.report_placing(restores.iter().map(|&index| &wanted[index].output));
            let journal = self.state.journal()?;
            match run_blocking(move || place(&journal, &planned)).await {
                Ok(()) => break,
                Err(Unplaced::Failed(error)) => return Err(error),
                Err(Unplaced::Appeared(index)) => {
                    let index = restores[index];
                    let destination = &wanted[index].destination;
                    if options.force || fs::symlink_metadata(destination).is_err() {
                        // To be replaced in the next plan, or gone again.
                        if tries.next().is_none() {
                            return Err(Error::Contended { destination: destination.clone() });
                        }
                        continue;
                    }
                    // Another pull was faster: compare, and keep what it has put there.
                    let Step::Restore(fetched) = &steps[index] else { continue };
                    let object = fetched.object.clone();
                    let compared = self.compare_with(&wanted[index], object).await?;
                    if wanted.len() > 1
                        && let Some(error) = compared.as_error()
                    {
                        return Err(error);
                    }
                    steps[index] = Step::Leave(compared);
                }
            }
        }
        let pulled = wanted.iter().zip(&steps).map(|(wanted, step)| step.pulled(wanted)).collect();
        // Removing what was replaced may take a while: not on a thread that others wait for.
        run_blocking(move || drop(steps)).await;
        drop(placing);
        Ok(pulled)
    }

    fn report_placing<'a>(&self, outputs: impl Iterator<Item = &'a OutputPath>) -> Vec<Arc<PhaseReport>> {
        let (reporter, cancel) = (&self.options.reporter, &self.options.cancel);
        outputs.map(|output| PhaseReport::start(reporter, cancel, output, Phase::Place, None)).collect()
    }

    /// Compares what is at the destination with the newest candidate. `None` where the output is to be restored.
    async fn compare(
        &self,
        wanted: &Wanted,
        candidates: &[Candidate],
        options: &PullOptions,
    ) -> Result<Option<Compared>> {
        let Ok(existing) = fs::symlink_metadata(&wanted.destination) else { return Ok(None) };
        let Some(candidate) = candidates.first() else { return Ok(None) };
        if !options.force {
            let object = self.look_at(wanted, candidate).await?;
            return self.compare_with(wanted, object).await.map(Some);
        }
        // A link is replaced by what the remote has, wherever it leads.
        if existing.is_symlink() {
            return Ok(None);
        }
        match self.compare_content(wanted, candidate.content_hash()).await {
            Ok(Comparison::Same) if self.has_same_mode(wanted, candidate, &existing).await? => {
                let object = self.look_at(wanted, candidate).await?;
                let destination = wanted.destination.clone();
                Ok(Some(Compared { destination, object, found: Comparison::Same }))
            }
            Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
            // What cannot even be hashed is not what the remote has.
            Ok(_) | Err(_) => Ok(None),
        }
    }

    async fn compare_with(&self, wanted: &Wanted, object: RemoteObject) -> Result<Compared> {
        let found = self.compare_content(wanted, &object.content_hash).await?;
        Ok(Compared { destination: wanted.destination.clone(), object, found })
    }

    async fn compare_content(&self, wanted: &Wanted, expected: &ContentHash) -> Result<Comparison> {
        Ok(match expected.verifiable_under(self.options.scheme) {
            Some(scheme) if self.hash_destination(wanted, scheme).await?.as_ref() == Some(expected) => {
                Comparison::Same
            }
            Some(_) => Comparison::Differs,
            None if expected.verifiable_under(Scheme::Weasel).is_some() => {
                Comparison::Impossible(Incomparable::OtherScheme)
            }
            // A custom name says nothing about the content.
            None => Comparison::Impossible(Incomparable::OwnName),
        })
    }

    async fn hash_destination(&self, wanted: &Wanted, scheme: Scheme) -> Result<Option<ContentHash>> {
        if fs::metadata(&wanted.destination).is_err() {
            // A dangling link is none of what a remote holds.
            return Ok(None);
        }
        self.content_hash_under(scheme, &wanted.destination, Some(&wanted.output)).await.map(Some)
    }

    /// Whether a file at the destination is executable if the remote's is. The content hash of a file does not tell; that of
    /// a directory does, except under weasel's scheme.
    async fn has_same_mode(
        &self,
        wanted: &Wanted,
        candidate: &Candidate,
        existing: &fs::Metadata,
    ) -> Result<bool> {
        if !existing.is_file() {
            return Ok(true);
        }
        match self.is_executable(wanted, candidate).await {
            Ok(executable) => Ok(executable == Some(existing.mode() & 0o100 != 0)),
            Err(error) if error.kind() == ErrorKind::Cancelled => Err(error),
            // Fetching it reports the failure.
            Err(_) => Ok(false),
        }
    }

    async fn would_restore(&self, wanted: &Wanted, candidates: &[Candidate]) -> Result<Compared> {
        let candidate =
            candidates.first().ok_or_else(|| self.not_found(&wanted.output, &FindOptions::default()))?;
        let object = self.look_at(wanted, candidate).await?;
        Ok(Compared { destination: wanted.destination.clone(), object, found: Comparison::Absent })
    }
}

/// An output, and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) output: OutputPath,
    pub(crate) destination: PathBuf,
}

/// What a pull does with one output.
enum Step {
    Leave(Compared),
    Restore(Fetched),
}

/// What is at the destination, beside what the remote has.
struct Compared {
    destination: PathBuf,
    object: RemoteObject,
    found: Comparison,
}

#[derive(Clone, Copy)]
enum Comparison {
    Same,
    Differs,
    Impossible(Incomparable),
    /// Nothing is there, and a dry run leaves it so.
    Absent,
}

impl Compared {
    /// Why several outputs cannot be restored as one.
    fn as_error(&self) -> Option<Error> {
        let (destination, url) = (self.destination.clone(), self.object.url.clone());
        match self.found {
            Comparison::Same | Comparison::Absent => None,
            Comparison::Differs => Some(Error::Differs { destination, url }),
            Comparison::Impossible(reason) => Some(Error::Incomparable { destination, url, reason }),
        }
    }
}

impl Step {
    fn pulled(&self, wanted: &Wanted) -> Pulled {
        let content_bytes = match self {
            Self::Restore(fetched) => Some(fetched.content_bytes),
            Self::Leave(_) => None,
        };
        let (object, outcome, verified, incomparable) = match self {
            Self::Restore(fetched) => (&fetched.object, PullOutcome::Restored, fetched.verified, None),
            Self::Leave(Compared { object, found, .. }) => match *found {
                Comparison::Absent => (object, PullOutcome::Restored, false, None),
                Comparison::Same => (object, PullOutcome::UpToDate, true, None),
                Comparison::Differs => (object, PullOutcome::Kept, false, None),
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
            bytes: object.bytes,
            content_bytes,
            // Known when all outputs are in place.
            elapsed: Duration::ZERO,
        }
    }
}

/// Refuses a destination that can never be made, because something above it is no directory and no link to one.
fn check_reachable(destination: &Path) -> Result<()> {
    for above in destination.ancestors().skip(1) {
        match fs::metadata(above) {
            Ok(found) if found.is_dir() => break,
            // A link to nothing is in the way like a file.
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
