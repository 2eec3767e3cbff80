//! The objects that a pull may restore, in the order in which it tries them.

use std::collections::HashMap;
use std::time::SystemTime;

use futures::TryStreamExt as _;
use larder_backend::{BackendExt as _, Key};
use larder_hashing::{CommandHash, ContentHash};

use super::wanted::Wanted;
use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::find::{by_age, matches};
use crate::layout::{Listing, OutputKeys};
use crate::options::{FindOptions, PullOptions};
use crate::outcome::RemoteObject;
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
    let found = wanted.iter().map(|wanted| matches(context, &wanted.output, &find));
    let found: Vec<Vec<RemoteObject>> = few_at_once(found).try_collect().await?;
    let missing: Vec<_> = wanted
        .iter()
        .zip(&found)
        .filter(|(_, objects)| objects.is_empty())
        .map(|(wanted, _)| wanted.output.clone())
        .collect();
    if !missing.is_empty() {
        return Err(Error::NotFound {
            remote: context.backend.to_string(),
            outputs: missing,
            narrowed: options.command_hash.is_some() || options.content_hash.is_some(),
        });
    }
    Ok(if found.len() == 1 { vec![listed(found)] } else { common_commands(found) })
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

/// Groups the objects of several outputs by command hash, and keeps the commands that have all outputs. The command with
/// the newest object comes first, in the order of `find`.
fn common_commands(found: Vec<Vec<RemoteObject>>) -> Vec<Choice> {
    type Rank = (SystemTime, ContentHash, CommandHash);
    let outputs = found.len();
    let mut commands: HashMap<CommandHash, Vec<Vec<RemoteObject>>> = HashMap::new();
    for (index, objects) in found.into_iter().enumerate() {
        for object in objects {
            let of_command =
                commands.entry(object.command_hash.clone()).or_insert_with(|| vec![Vec::new(); outputs]);
            of_command[index].push(object);
        }
    }
    let mut ranked: Vec<(Rank, Choice)> = commands
        .into_values()
        .filter(|outputs| outputs.iter().all(|objects| !objects.is_empty()))
        .filter_map(|outputs| {
            let newest = outputs.iter().flatten().max_by(|a, b| by_age(a, b))?;
            let rank = (newest.last_modified, newest.content_hash.clone(), newest.command_hash.clone());
            Some((rank, listed(outputs)))
        })
        .collect();
    ranked.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
    ranked.into_iter().map(|(_, choice)| choice).collect()
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
        }
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
            names(&common_commands(vec![a, b])),
            [[vec!["a2"], vec!["b2"]], [vec!["a1"], vec!["b1b", "b1"]]]
        );
    }

    #[test]
    fn ties_are_broken_as_in_find() {
        let a = vec![object("x", "same", 5), object("y", "same", 5)];
        let b = vec![object("y", "b", 5), object("x", "c", 5)];
        // The newest object of each command decides: `same` in both, then the greater command hash.
        assert_eq!(
            names(&common_commands(vec![a, b])),
            [[vec!["same"], vec!["b"]], [vec!["same"], vec!["c"]]]
        );
    }
}
