//! Hashes as people type them: whole, or the beginning of one that the remote has.

use std::collections::BTreeSet;
use std::str::FromStr;

use futures::TryStreamExt as _;
use larder_hashing::{CommandHash, ContentHash, HashForm, HashPrefix, InvalidHash, OutputPath};

use crate::context::StorageContext;
use crate::error::{Error, Result};
use crate::find::list_matches;
use crate::options::FindOptions;
use crate::outcome::RemoteObject;
use crate::records::{RecordKeys, all_records, list_records};
use crate::tasks::few_at_once;

/// How many hashes an error names that begin with an ambiguous text.
const MAX_NAMED: usize = 8;

/// A hash as a person types it: a whole one, or a unique beginning with at least 8 digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashQuery(String);

impl FromStr for HashQuery {
    type Err = InvalidHash;

    fn from_str(text: &str) -> Result<Self, InvalidHash> {
        if HashPrefix::parse(text).is_none() {
            ContentHash::parse(text)?;
        }
        Ok(Self(text.to_owned()))
    }
}

impl HashQuery {
    /// The text as the beginning of a hash, unless it is whole.
    fn prefix(&self) -> Option<HashPrefix> {
        let is_whole = ContentHash::parse(&*self.0).is_ok_and(|hash| hash.form() != HashForm::Opaque);
        HashPrefix::parse(&self.0).filter(|_| !is_whole)
    }

    /// Chooses among the hashes in a remote: the one of exactly this text, else the only one that begins with it.
    fn choose<'a>(
        &self,
        prefix: &HashPrefix,
        known: impl Iterator<Item = &'a str>,
    ) -> Result<Option<String>> {
        let mut matching = BTreeSet::new();
        for hash in known {
            if hash == self.0 {
                return Ok(Some(hash.to_owned()));
            }
            if prefix.matches(hash) {
                matching.insert(hash.to_owned());
            }
        }
        if matching.len() > 1 {
            let more = matching.len().saturating_sub(MAX_NAMED);
            let candidates = matching.into_iter().take(MAX_NAMED).collect();
            return Err(Error::AmbiguousHash { text: self.0.clone(), candidates, more });
        }
        Ok(matching.pop_first())
    }
}

/// See [`crate::RemoteStorage::resolve`].
pub(crate) async fn resolve(
    context: &StorageContext,
    outputs: &[OutputPath],
    of_command: Option<&HashQuery>,
    of_content: Option<&HashQuery>,
) -> Result<FindOptions> {
    let mut resolved = FindOptions::default();
    let prefixes = [of_command, of_content].map(|query| query.and_then(HashQuery::prefix));
    let objects =
        if prefixes.iter().any(Option::is_some) { objects_of(context, outputs).await? } else { Vec::new() };
    if let Some(query) = of_command {
        let chosen = match &prefixes[0] {
            Some(prefix) => {
                let recorded = recorded_commands(context, outputs).await?;
                let known = objects.iter().map(|object| &object.command_hash).chain(&recorded);
                query.choose(prefix, known.map(CommandHash::as_str))?
            }
            None => None,
        };
        // A text that begins no known hash may be a custom name.
        let hash = CommandHash::parse(chosen.unwrap_or_else(|| query.0.clone()));
        resolved.command_hash = Some(hash.map_err(|_| unknown(context, query))?);
    }
    if let Some(query) = of_content {
        let is_of_command = |object: &&RemoteObject| {
            resolved.command_hash.as_ref().is_none_or(|command| *command == object.command_hash)
        };
        let chosen = match &prefixes[1] {
            Some(prefix) => {
                let known = objects.iter().filter(is_of_command).map(|object| object.content_hash.as_str());
                query.choose(prefix, known)?
            }
            None => None,
        };
        let hash = ContentHash::parse(chosen.unwrap_or_else(|| query.0.clone()));
        resolved.content_hash = Some(hash.map_err(|_| unknown(context, query))?);
    }
    Ok(resolved)
}

fn unknown(context: &StorageContext, query: &HashQuery) -> Error {
    Error::UnknownHash { text: query.0.clone(), remote: context.backend.to_string() }
}

async fn objects_of(context: &StorageContext, outputs: &[OutputPath]) -> Result<Vec<RemoteObject>> {
    let everything = FindOptions::default();
    let listings = outputs.iter().map(|output| list_matches(context, output, &everything));
    let listed: Vec<Vec<RemoteObject>> = few_at_once(listings).try_collect().await?;
    Ok(listed.into_iter().flatten().collect())
}

/// The command hashes in the records of the outputs, or in all records if there are no outputs.
async fn recorded_commands(
    context: &StorageContext,
    outputs: &[OutputPath],
) -> Result<BTreeSet<CommandHash>> {
    let mut prefixes: Vec<_> =
        outputs.iter().map(|output| RecordKeys::of(output).prefix(None)).collect::<Result<_, _>>()?;
    if prefixes.is_empty() {
        prefixes.push(all_records()?);
    }
    let mut commands = BTreeSet::new();
    for prefix in prefixes {
        let listing = list_records(context, &prefix, None).await?;
        commands.extend(listing.records.into_iter().map(|record| record.command_hash));
    }
    Ok(commands)
}
