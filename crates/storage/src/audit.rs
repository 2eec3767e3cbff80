//! Looking through all that a remote holds, and taking damaged objects out of it.

use std::time::SystemTime;

use futures::TryStreamExt as _;
use larder_backend::{
    BackendExt as _, DeleteOptions, ErrorKind, Key, ListOptions, Listed, ObjectMeta, Prefix, Version,
};
use larder_hashing::OutputPath;

use crate::error::Result;
use crate::layout::{Listing, OWN_SEGMENT, OutputKeys, output_name};
use crate::outcome::RemoteObject;
use crate::remote_storage::RemoteStorage;

/// Something that a remote holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stored {
    /// Where it is: remote, `/`, key.
    pub url: String,
    /// Its size, in bytes.
    pub bytes: u64,
    /// When it was published, by the remote's clock.
    pub last_modified: SystemTime,
    /// What it is.
    pub what: StoredKind,
    key: Key,
    version: Option<Version>,
}

/// What something in a remote is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StoredKind {
    /// An object of this output, whole or not.
    Object {
        /// The output.
        output: OutputPath,
        /// What its key says.
        object: RemoteObject,
    },
    /// An object without a byte, as a killed weasel leaves it. It counts as absent.
    Empty {
        /// The output.
        output: OutputPath,
        /// Why it is empty, as far as its name tells.
        reason: &'static str,
    },
    /// Nothing of larder's. It is never used.
    Foreign {
        /// Why it is none.
        reason: &'static str,
    },
}

/// What a look at an object told.
#[derive(Debug)]
#[non_exhaustive]
pub enum Checked {
    /// It is whole.
    Whole {
        /// Whether its content has the hash of its name; some names say nothing about it.
        verified: bool,
    },
    /// Its bytes end before it does.
    Truncated {
        /// Where in it that is.
        reason: String,
    },
    /// Its bytes are not what was written.
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// It is whole, and does not contain what its name says.
    OtherContent {
        /// The hash of what it contains.
        actual: String,
    },
    /// It is the archive of another output.
    OtherOutput {
        /// What it holds.
        reason: String,
    },
    /// It holds what larder does not restore: a link that leads out of it, or in the place of the output.
    Refused {
        /// What it holds.
        reason: String,
    },
    /// A later larder wrote it.
    NeedsNewerLarder,
    /// It is not there any more.
    Gone,
}

impl RemoteStorage {
    /// Lists all that the remote holds, in the order of the keys, without larder's own.
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn list_all(&self) -> Result<Vec<Stored>> {
        self.recover().await?;
        self.everything().await
    }

    async fn everything(&self) -> Result<Vec<Stored>> {
        let mut all = Vec::new();
        let mut listing = self.backend.list(&Prefix::root(), ListOptions::default());
        while let Some(item) = self.or_cancelled(listing.try_next()).await?? {
            let Listed::Object(meta) = item else { continue };
            if meta.key.segments().next() != Some(OWN_SEGMENT) {
                all.push(self.stored(&meta));
            }
        }
        all.sort_by(|a, b| a.key.as_str().cmp(b.key.as_str()));
        Ok(all)
    }

    fn stored(&self, meta: &ObjectMeta) -> Stored {
        let remote = self.backend.to_string();
        let url = format!("{remote}/{}", meta.key);
        let name = meta.key.segments().next().unwrap_or_default();
        let output = Prefix::parse(name)
            .ok()
            .and_then(|prefix| output_name(&prefix))
            .and_then(|name| OutputPath::with_literal_key(&name).ok());
        let what = match output {
            None => StoredKind::Foreign { reason: "its name is not that of an output" },
            Some(output) => match OutputKeys::new(remote, self.backend.capabilities(), &output) {
                Err(_) => StoredKind::Foreign { reason: "its name is too long" },
                Ok(keys) => match keys.read(meta) {
                    Listing::Object(object) => StoredKind::Object { output, object },
                    Listing::Empty { reason, .. } => StoredKind::Empty { output, reason },
                    Listing::Foreign { reason, .. } => StoredKind::Foreign { reason },
                },
            },
        };
        Stored {
            url,
            bytes: meta.size,
            last_modified: meta.last_modified,
            what,
            key: meta.key.clone(),
            version: meta.version.clone(),
        }
    }

    /// Reads an object to its end, as a pull would, and keeps nothing of it. It is unpacked into the project's `.larder`
    /// meanwhile.
    ///
    /// # Errors
    ///
    /// The remote fails, or the project's file system.
    pub async fn check(&self, output: &OutputPath, object: &RemoteObject) -> Result<Checked> {
        self.sweep().await?;
        self.check_object(output, object).await
    }

    /// Removes something from the remote, unless it has been replaced since it was listed. Returns whether it was removed.
    ///
    /// Where the remote cannot compare versions itself, what is published at the very moment of the removal may be removed
    /// too.
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn delete(&self, stored: &Stored) -> Result<bool> {
        let found = self.or_cancelled(self.backend.stat_if_exists(&stored.key)).await??;
        // An S3 ETag is the same after an upload of the same bytes. The time tells them apart.
        let is_same = found.is_some_and(|meta| {
            meta.size == stored.bytes
                && meta.last_modified == stored.last_modified
                && meta.version == stored.version
        });
        if !is_same {
            return Ok(false);
        }
        let mut options = DeleteOptions::default();
        options.if_version.clone_from(&stored.version);
        match self.or_cancelled(self.backend.delete(&stored.key, options)).await? {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
