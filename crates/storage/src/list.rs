//! Listing the outputs in a remote.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use larder_backend::{ListOptions, Listed, Prefix};
use larder_hashing::OutputPath;

use crate::context::StorageContext;
use crate::error::Result;
use crate::layout::{Listing, OWN_SEGMENT, output_name};
use crate::report::Warning;

/// How many names are looked into at once. A look is one request, and waits for its answer.
const LOOKS_AT_ONCE: usize = 16;

/// How many objects below a name are looked at: what S3 and Google Cloud Storage list with one request.
const MAX_LOOKED_AT: usize = 1000;

/// What is below a name at the top of a remote.
enum NameContent {
    /// At least one object of larder's: the output that they belong to.
    Output(String),
    /// Other objects only.
    Foreign,
    /// No object, as below a folder that somebody made in a console.
    Nothing,
}

/// See [`crate::RemoteStorage::list_outputs`].
pub(crate) async fn list_outputs(context: &StorageContext) -> Result<Vec<String>> {
    context.recover().await?;
    let prefixes = top_prefixes(context).await?;
    let mut contents =
        stream::iter(prefixes).map(|prefix| look_below(context, prefix)).buffer_unordered(LOOKS_AT_ONCE);
    let (mut names, mut foreign) = (Vec::new(), 0);
    while let Some(content) = context.or_cancelled(contents.try_next()).await?? {
        match content {
            NameContent::Output(name) => names.push(name),
            NameContent::Foreign => foreign += 1,
            NameContent::Nothing => {}
        }
    }
    if foreign > 0 {
        context.warn(&Warning::ForeignNames { count: foreign });
    }
    names.sort_unstable();
    Ok(names)
}

/// See [`crate::RemoteStorage::list_names`].
pub(crate) async fn list_names(context: &StorageContext) -> Result<Vec<String>> {
    let mut names: Vec<String> = top_prefixes(context).await?.iter().filter_map(output_name).collect();
    names.sort_unstable();
    Ok(names)
}

/// The names at the top, without larder's own.
async fn top_prefixes(context: &StorageContext) -> Result<Vec<Prefix>> {
    let mut prefixes = Vec::new();
    let mut listing = context.backend.list(&Prefix::root(), ListOptions::default().with_delimiter());
    while let Some(item) = context.or_cancelled(listing.try_next()).await?? {
        match item {
            Listed::Prefix(prefix) if !is_own(&prefix) => prefixes.push(prefix),
            _ => {}
        }
    }
    Ok(prefixes)
}

async fn look_below(context: &StorageContext, prefix: Prefix) -> Result<NameContent> {
    // A name that is no output's needs a look too: below a console's empty folder is nothing.
    let name = output_name(&prefix);
    let output = name.as_deref().and_then(|name| OutputPath::with_literal_key(name).ok());
    let keys = output.and_then(|output| context.keys_of(&output).ok());
    let mut listing = context.backend.list(&prefix, ListOptions::default().with_limit(MAX_LOOKED_AT));
    let mut found = NameContent::Nothing;
    while let Some(item) = listing.try_next().await? {
        let Listed::Object(meta) = item else { continue };
        match (&keys, &name) {
            (Some(keys), Some(name)) if matches!(keys.read(&meta), Listing::Object(_)) => {
                return Ok(NameContent::Output(name.clone()));
            }
            (Some(_), Some(_)) => found = NameContent::Foreign,
            _ => return Ok(NameContent::Foreign),
        }
    }
    Ok(found)
}

/// Whether everything below a name is larder's own.
fn is_own(prefix: &Prefix) -> bool {
    prefix.as_str().trim_end_matches('/') == OWN_SEGMENT
}
