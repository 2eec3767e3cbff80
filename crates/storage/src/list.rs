//! Listing the outputs in a remote.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use larder_backend::{ListOptions, Listed, Prefix};
use larder_hashing::OutputPath;

use crate::error::Result;
use crate::layout::{Listing, OWN_SEGMENT, output_name};
use crate::remote_storage::RemoteStorage;
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

impl RemoteStorage {
    /// Lists the outputs that the remote has objects of, by the text of their keys, sorted.
    ///
    /// It lists the names at the top of the remote, then looks below each: with one request in a bucket. Of each name it
    /// looks at no more than 1000 objects. A name with only foreign objects among these is counted in
    /// [`Warning::ForeignNames`].
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn list_outputs(&self) -> Result<Vec<String>> {
        self.recover().await?;
        let prefixes = self.top_prefixes().await?;
        let mut contents =
            stream::iter(prefixes).map(|prefix| self.look_below(prefix)).buffer_unordered(LOOKS_AT_ONCE);
        let (mut names, mut foreign) = (Vec::new(), 0);
        while let Some(content) = self.or_cancelled(contents.try_next()).await?? {
            match content {
                NameContent::Output(name) => names.push(name),
                NameContent::Foreign => foreign += 1,
                NameContent::Nothing => {}
            }
        }
        if foreign > 0 {
            self.warn(&Warning::ForeignNames { count: foreign });
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Lists the names at the top of the remote that an output can have, sorted: for the completion of a command line.
    ///
    /// Unlike [`Self::list_outputs`] it does not look below the names, and repairs nothing in the project.
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn list_names(&self) -> Result<Vec<String>> {
        let mut names: Vec<String> = self.top_prefixes().await?.iter().filter_map(output_name).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The names at the top, without larder's own.
    async fn top_prefixes(&self) -> Result<Vec<Prefix>> {
        let mut prefixes = Vec::new();
        let mut listing = self.backend.list(&Prefix::root(), ListOptions::default().with_delimiter());
        while let Some(item) = self.or_cancelled(listing.try_next()).await?? {
            match item {
                Listed::Prefix(prefix) if !is_own(&prefix) => prefixes.push(prefix),
                _ => {}
            }
        }
        Ok(prefixes)
    }

    async fn look_below(&self, prefix: Prefix) -> Result<NameContent> {
        // A name that is no output's needs a look too: below a console's empty folder is nothing.
        let name = output_name(&prefix);
        let output = name.as_deref().and_then(|name| OutputPath::with_literal_key(name).ok());
        let keys = output.and_then(|output| self.keys_of(&output).ok());
        let mut listing = self.backend.list(&prefix, ListOptions::default()).take(MAX_LOOKED_AT);
        let mut content = NameContent::Nothing;
        while let Some(item) = listing.try_next().await? {
            let Listed::Object(meta) = item else { continue };
            match (&keys, &name) {
                (Some(keys), Some(name)) if matches!(keys.read(&meta), Listing::Object(_)) => {
                    return Ok(NameContent::Output(name.clone()));
                }
                (Some(_), Some(_)) => content = NameContent::Foreign,
                _ => return Ok(NameContent::Foreign),
            }
        }
        Ok(content)
    }
}

/// Whether everything below a name is larder's own.
fn is_own(prefix: &Prefix) -> bool {
    prefix.as_str().trim_end_matches('/') == OWN_SEGMENT
}
