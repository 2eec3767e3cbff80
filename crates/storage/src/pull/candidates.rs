//! The objects that a pull may restore, in the order in which it tries them.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::mem;
use std::time::SystemTime;

use futures::TryStreamExt as _;
use larder_backend::{BackendExt as _, Key};
use larder_hashing::{CommandHash, ContentHash, OutputPath, Scheme};
use larder_records::RunId;

use super::wanted::Wanted;
use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::find::{OutputMatches, RecordExtent, by_age, matches};
use crate::layout::{Listing, OutputKeys};
use crate::options::{FindOptions, PullOptions};
use crate::outcome::RemoteObject;
use crate::records::RecordRef;
use crate::tasks::few_at_once;

/// An object that may be restored.
#[derive(Clone, Debug)]
pub(crate) enum Candidate {
    /// A listing showed it.
    Listed(RemoteObject),
    /// The caller named it. The download shows whether it exists.
    Named { command: CommandHash, content: ContentHash },
}

impl Candidate {
    /// The key of the object, among those of its output.
    pub(super) fn key(&self, keys: &OutputKeys) -> Result<Key> {
        match self {
            Self::Listed(object) => keys.key(&object.command_hash, &object.content_hash),
            Self::Named { command, content } => keys.key(command, content),
        }
    }

    /// The size of the object in bytes, where it is known.
    pub(super) fn size(&self) -> Option<u64> {
        if let Self::Listed(object) = self { Some(object.bytes) } else { None }
    }

    pub(super) fn content_hash(&self) -> &ContentHash {
        match self {
            Self::Listed(object) => &object.content_hash,
            Self::Named { content, .. } => content,
        }
    }
}

/// For each output its candidates, the best one first. All candidates of a choice have one command hash in common.
pub(super) type Choice = Vec<Vec<Candidate>>;

/// All choices, the best one first.
pub(super) async fn choices(
    context: &StorageContext,
    wanted: &[Wanted],
    options: &PullOptions,
) -> Result<Vec<Choice>> {
    if let (Some(command), Some(content)) = (&options.command_hash, &options.content_hash) {
        let named = Candidate::Named { command: command.clone(), content: content.clone() };
        return Ok(vec![wanted.iter().map(|_| vec![named.clone()]).collect()]);
    }
    let find = FindOptions {
        command_hash: options.command_hash.clone(),
        content_hash: options.content_hash.clone(),
    };
    let outputs: Vec<OutputPath> = wanted.iter().map(|wanted| wanted.output.clone()).collect();
    let search = async |extent| matches_of_all(context, &outputs, &find, extent).await;
    let mut found = search(RecordExtent::Newest).await?;
    // The newest run of all outputs may be older than the newest runs of one of them.
    if found.len() > 1 && found.iter().any(|matches| matches.is_truncated) && common_runs(&found).is_empty() {
        found = search(RecordExtent::All).await?;
    }
    let missing: Vec<_> = wanted
        .iter()
        .zip(&found)
        .filter(|(_, matches)| matches.objects.is_empty())
        .map(|(wanted, _)| wanted.output.clone())
        .collect();
    if !missing.is_empty() {
        return Err(Error::NotFound {
            remote: context.backend.to_string(),
            outputs: missing,
            narrowed: options.command_hash.is_some() || options.content_hash.is_some(),
        });
    }
    Ok(match found.as_mut_slice() {
        [only] => vec![listed(vec![mem::take(&mut only.objects)])],
        _ => units(found),
    })
}

/// Returns the matches of each output.
pub(crate) async fn matches_of_all(
    context: &StorageContext,
    outputs: &[OutputPath],
    options: &FindOptions,
    extent: RecordExtent,
) -> Result<Vec<OutputMatches>> {
    let found = outputs.iter().map(|output| matches(context, output, options, extent));
    few_at_once(found).try_collect().await
}

/// Returns the objects of each run that made all outputs and has all its objects, the newest run first. The matches are those
/// of one command.
pub(crate) fn runs_of_command(found: &[OutputMatches]) -> Vec<Vec<RemoteObject>> {
    let of_command = OfCommand {
        objects: found.iter().map(|matches| matches.objects.clone()).collect(),
        records: found.iter().map(|matches| matches.records.clone()).collect(),
    };
    let mut runs = of_command.runs();
    runs.sort_by_cached_key(|run| Reverse(rank(run)));
    runs.into_iter().map(|run| run.into_iter().flatten().collect()).collect()
}

/// Returns the error for the case that no choice is left to try.
pub(super) fn none_found(context: &StorageContext, wanted: &[Wanted], options: &PullOptions) -> Error {
    let outputs = wanted.iter().map(|wanted| wanted.output.clone()).collect();
    let remote = context.backend.to_string();
    if options.command_hash.is_none() && wanted.len() > 1 {
        Error::NoCommonCommand { remote, outputs }
    } else {
        Error::NotFound { remote, outputs, narrowed: options.command_hash.is_some() }
    }
}

/// Describes a candidate without fetching it.
pub(super) async fn look_at(
    context: &StorageContext,
    wanted: &Wanted,
    candidate: &Candidate,
) -> Result<RemoteObject> {
    let (command_hash, content_hash) = match candidate {
        Candidate::Listed(object) => return Ok(object.clone()),
        Candidate::Named { command, content } => (command, content),
    };
    let keys = context.keys_of(&wanted.output)?;
    let meta = context
        .or_cancelled(context.backend.stat_if_exists(&keys.key(command_hash, content_hash)?))
        .await??;
    match meta.map(|meta| keys.read(&meta)) {
        Some(Listing::Object(object)) => Ok(object),
        _ => Err(Error::NotFound {
            remote: context.backend.to_string(),
            outputs: vec![wanted.output.clone()],
            narrowed: true,
        }),
    }
}

fn listed(found: Vec<Vec<RemoteObject>>) -> Choice {
    found.into_iter().map(|objects| objects.into_iter().map(Candidate::Listed).collect()).collect()
}

/// What orders choices, from old to new.
type Rank = (SystemTime, ContentHash, CommandHash);

/// The objects and records of one command, for each output.
struct OfCommand {
    objects: Vec<Vec<RemoteObject>>,
    records: Vec<Vec<RecordRef>>,
}

/// Groups the objects of several outputs by the commands that have all outputs, and within a command by the run that made
/// them together. The choice with the newest object comes first.
///
/// A command of its own makes its outputs together, so they come from one run if a record names one. Under the hash of no
/// command, outputs are pushed one by one, so every output takes its own newest object.
fn units(found: Vec<OutputMatches>) -> Vec<Choice> {
    let outputs = found.len();
    let mut commands: HashMap<CommandHash, OfCommand> = HashMap::new();
    for (index, matches) in found.into_iter().enumerate() {
        let of_none = || OfCommand { objects: vec![Vec::new(); outputs], records: vec![Vec::new(); outputs] };
        for object in matches.objects {
            let command = commands.entry(object.command_hash.clone()).or_insert_with(of_none);
            command.objects[index].push(object);
        }
        for record in matches.records {
            let command = commands.entry(record.command_hash.clone()).or_insert_with(of_none);
            command.records[index].push(record);
        }
    }
    let no_commands = Scheme::ALL.map(CommandHash::of_no_command);
    let mut ranked: Vec<(Rank, Choice)> = Vec::new();
    for (command, of_command) in commands {
        if of_command.objects.iter().any(Vec::is_empty) {
            continue;
        }
        let runs = if no_commands.contains(&command) { Vec::new() } else { of_command.runs() };
        let choices = if runs.is_empty() { vec![of_command.objects] } else { runs };
        ranked.extend(choices.into_iter().filter_map(|choice| Some((rank(&choice)?, listed(choice)))));
    }
    ranked.sort_by(|(a, _), (b, _)| b.cmp(a));
    ranked.into_iter().map(|(_, choice)| choice).collect()
}

impl OfCommand {
    /// The objects of each run that made all outputs and has all its objects.
    fn runs(&self) -> Vec<Vec<Vec<RemoteObject>>> {
        let made: Vec<HashMap<RunId, RemoteObject>> = self
            .objects
            .iter()
            .zip(&self.records)
            .map(|(objects, records)| by_run(objects, records))
            .collect();
        let Some(first) = made.first() else { return Vec::new() };
        let objects_of = |run| made.iter().map(|made| Some(vec![made.get(run)?.clone()])).collect();
        first.keys().filter_map(objects_of).collect()
    }
}

/// The object of an output that each run made, dated as its record says.
fn by_run(objects: &[RemoteObject], records: &[RecordRef]) -> HashMap<RunId, RemoteObject> {
    let objects: HashMap<&ContentHash, &RemoteObject> =
        objects.iter().map(|object| (&object.content_hash, object)).collect();
    let made = records.iter().filter_map(|record| {
        let object = RemoteObject::clone(objects.get(&record.name.content_hash)?);
        Some((record.name.run, RemoteObject { recorded: Some(record.name.time.as_system_time()), ..object }))
    });
    made.collect()
}

/// The runs that have a record for each of several outputs.
pub(crate) fn common_runs(found: &[OutputMatches]) -> HashSet<RunId> {
    let runs = |matches: &OutputMatches| matches.records.iter().map(|record| record.name.run).collect();
    found.iter().map(runs).reduce(|common: HashSet<RunId>, runs| &common & &runs).unwrap_or_default()
}

/// The rank of the newest object, in the order of `find`.
fn rank(choice: &[Vec<RemoteObject>]) -> Option<Rank> {
    let newest = choice.iter().flatten().max_by(|a, b| by_age(a, b))?;
    Some((newest.time(), newest.content_hash.clone(), newest.command_hash.clone()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn object(command: &str, content: &str, seconds: u64) -> RemoteObject {
        RemoteObject {
            url: format!("mem/{command}/{content}"),
            command_hash: CommandHash::parse(command).unwrap(),
            content_hash: ContentHash::parse(content).unwrap(),
            bytes: 1,
            last_modified: SystemTime::UNIX_EPOCH + Duration::from_secs(seconds),
            recorded: None,
        }
    }

    fn matched(found: Vec<Vec<RemoteObject>>) -> Vec<OutputMatches> {
        let of = |objects| OutputMatches {
            objects,
            records: Vec::new(),
            is_truncated: false,
            has_foreign_records: false,
        };
        found.into_iter().map(of).collect()
    }

    fn names(choices: &[Choice]) -> Vec<Vec<Vec<String>>> {
        let name = |candidate: &Candidate| match candidate {
            Candidate::Listed(object) => object.content_hash.to_string(),
            Candidate::Named { content, .. } => content.to_string(),
        };
        choices
            .iter()
            .map(|choice| choice.iter().map(|objects| objects.iter().map(name).collect()).collect())
            .collect()
    }

    #[test]
    fn outputs_come_from_the_newest_command_that_has_all_of_them() {
        let a = vec![object("run3", "a3", 30), object("run2", "a2", 20), object("run1", "a1", 10)];
        let b = vec![object("run2", "b2", 21), object("run1", "b1b", 12), object("run1", "b1", 11)];
        assert_eq!(
            names(&units(matched(vec![a, b]))),
            [[vec!["a2"], vec!["b2"]], [vec!["a1"], vec!["b1b", "b1"]]]
        );
    }

    #[test]
    fn ties_are_broken_as_in_find() {
        let a = vec![object("x", "same", 5), object("y", "same", 5)];
        let b = vec![object("y", "b", 5), object("x", "c", 5)];
        // The newest object of each command decides: `same` in both, then the greater command hash.
        assert_eq!(
            names(&units(matched(vec![a, b]))),
            [[vec!["same"], vec!["b"]], [vec!["same"], vec!["c"]]]
        );
    }
}
