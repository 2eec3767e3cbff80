//! `larder find`

use std::slice;

use larder_storage::{Error, FindOptions, OutputPath, RemoteObject, RemoteStorage};

use super::near::with_near_names;
use crate::args::FindArgs;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{FailedEntry, ObjectEntry};
use crate::paths::Named;

pub(super) fn run(args: &FindArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    let named = context.named(&args.path)?;
    output.set_typed(&args.path);
    let session = context.open(output.console())?;
    let search = under_either_name(&named, async |path| {
        let hashes = [args.command_hash.as_ref(), args.content_hash.as_ref()];
        let options = session.storage.resolve(slice::from_ref(path), hashes[0], hashes[1]).await?;
        find(&session.storage, path, &options, args.all).await
    });
    let (found, near) =
        session.run(output, async { with_near_names(&session.storage, search.await).await })?;
    output.set_near(near);
    match found {
        Ok((path, Matches { objects, count })) => {
            let noun = if count == 1 { "object matches" } else { "objects match" };
            output.console().verbose(&format_args!("{count} {noun}"));
            for object in objects {
                output.entry(ObjectEntry::new(path.key_text(), &object));
                output.line(&object.url);
            }
            Ok(())
        }
        Err(error) => {
            if error.kind() == larder_storage::ErrorKind::NotFound {
                output.entry(FailedEntry::not_found(named.output.key_text()));
            }
            Err(Failure::from(error))
        }
    }
}

struct Matches {
    objects: Vec<RemoteObject>,
    count: u64,
}

async fn find(
    storage: &RemoteStorage,
    path: &OutputPath,
    options: &FindOptions,
    all: bool,
) -> larder_storage::Result<Matches> {
    if all {
        let objects = storage.find_all(path, options).await?;
        Ok(Matches { count: objects.len() as u64, objects })
    } else {
        let found = storage.find(path, options).await?;
        Ok(Matches { objects: vec![found.newest], count: found.count })
    }
}

/// Looks for the path. If the remote has no object for it, looks for the typed text as a key. If both fail,
/// returns the error for the path.
pub(super) async fn under_either_name<'a, T>(
    named: &'a Named,
    ask: impl AsyncFn(&'a OutputPath) -> larder_storage::Result<T>,
) -> larder_storage::Result<(&'a OutputPath, T)> {
    match (ask(&named.output).await, &named.literal) {
        (Err(error @ Error::NotFound { .. }), Some(literal)) => match ask(literal).await {
            Err(Error::NotFound { .. }) => Err(error),
            outcome => outcome.map(|value| (literal, value)),
        },
        (outcome, _) => outcome.map(|value| (&named.output, value)),
    }
}
