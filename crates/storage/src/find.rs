//! Finding outputs in a remote.

use std::cmp::Ordering;

use futures::TryStreamExt as _;
use larder_backend::{BackendExt as _, ListOptions, Listed};
use larder_hashing::OutputPath;

use crate::error::{Error, Result};
use crate::layout::{Listing, OutputKeys};
use crate::options::FindOptions;
use crate::outcome::{Found, RemoteObject};
use crate::remote_storage::RemoteStorage;
use crate::report::Warning;

/// Foreign objects that are named one by one; a folder that somebody else fills would fill the screen.
const MAX_NAMED_FOREIGN: u64 = 10;

impl RemoteStorage {
    /// Finds the newest object of an output that has the given hashes. With both it is one exact look-up, otherwise
    /// one listing.
    ///
    /// Newest is the greatest modification time by the remote's clock; ties go to the greater content hash, then to
    /// the greater command hash, so that every reader agrees.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where nothing matches; the remote fails.
    pub async fn find(&self, output: &OutputPath, options: &FindOptions) -> Result<Found> {
        self.recover().await?;
        let mut newest: Option<RemoteObject> = None;
        let mut count = 0;
        self.each_match(output, options, |object| {
            count += 1;
            if newest.as_ref().is_none_or(|newest| by_age(&object, newest).is_gt()) {
                newest = Some(object);
            }
        })
        .await?;
        newest.map(|newest| Found { newest, count }).ok_or_else(|| self.not_found(output, options))
    }

    /// Finds all objects of an output that have the given hashes, newest first.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] where nothing matches; the remote fails.
    pub async fn find_all(&self, output: &OutputPath, options: &FindOptions) -> Result<Vec<RemoteObject>> {
        self.recover().await?;
        let objects = self.matches(output, options).await?;
        if objects.is_empty() { Err(self.not_found(output, options)) } else { Ok(objects) }
    }

    /// All matches, newest first; none is no error.
    pub(crate) async fn matches(
        &self,
        output: &OutputPath,
        options: &FindOptions,
    ) -> Result<Vec<RemoteObject>> {
        let mut objects = Vec::new();
        self.each_match(output, options, |object| objects.push(object)).await?;
        objects.sort_unstable_by(|a, b| by_age(b, a));
        Ok(objects)
    }

    async fn each_match(
        &self,
        output: &OutputPath,
        options: &FindOptions,
        mut take: impl FnMut(RemoteObject),
    ) -> Result<()> {
        let keys = self.keys_of(output)?;
        let mut foreign = Foreign::default();
        if let (Some(command), Some(content)) = (&options.command_hash, &options.content_hash) {
            let key = keys.key(command, content)?;
            if let Some(meta) = self.or_cancelled(self.backend.stat_if_exists(&key)).await?? {
                self.take_listed(&keys, &meta, &mut foreign, &mut take);
            }
        } else {
            let mut listing =
                self.backend.list(&keys.prefix(options.command_hash.as_ref())?, ListOptions::default());
            while let Some(item) = self.or_cancelled(listing.try_next()).await?? {
                let Listed::Object(meta) = item else { continue };
                self.take_listed(&keys, &meta, &mut foreign, &mut |object| {
                    if options.content_hash.as_ref().is_none_or(|wanted| *wanted == object.content_hash) {
                        take(object);
                    }
                });
            }
        }
        if foreign.unnamed > 0 {
            self.warn(&Warning::MoreForeignObjects { count: foreign.unnamed });
        }
        Ok(())
    }

    fn take_listed(
        &self,
        keys: &OutputKeys,
        meta: &larder_backend::ObjectMeta,
        foreign: &mut Foreign,
        take: &mut impl FnMut(RemoteObject),
    ) {
        match keys.read(meta) {
            Listing::Object(object) => take(object),
            Listing::Empty { .. } | Listing::Foreign { .. } if foreign.named == MAX_NAMED_FOREIGN => {
                foreign.unnamed += 1;
            }
            Listing::Empty { url, reason } | Listing::Foreign { url, reason } => {
                foreign.named += 1;
                self.warn(&Warning::ForeignObject { url, reason });
            }
        }
    }

    pub(crate) fn not_found(&self, output: &OutputPath, options: &FindOptions) -> Error {
        Error::NotFound {
            remote: self.backend.to_string(),
            outputs: vec![output.clone()],
            narrowed: options.command_hash.is_some() || options.content_hash.is_some(),
        }
    }

    /// Waits for `future`, unless the caller asks to stop.
    pub(crate) async fn or_cancelled<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            biased;
            () = self.options.cancel.cancelled() => Err(Error::Cancelled),
            value = future => Ok(value),
        }
    }
}

#[derive(Default)]
struct Foreign {
    named: u64,
    unnamed: u64,
}

/// Orders objects from old to new.
pub(crate) fn by_age(a: &RemoteObject, b: &RemoteObject) -> Ordering {
    a.last_modified
        .cmp(&b.last_modified)
        .then_with(|| a.content_hash.cmp(&b.content_hash))
        .then_with(|| a.command_hash.cmp(&b.command_hash))
}
