//! The keys of objects in a remote: `<encoded output path>/<command hash>/<content hash>`.

use larder_backend::{Capabilities, Key, ObjectMeta, Prefix};
use larder_hashing::{CommandHash, ContentHash, HashForm, OutputPath, decode_name};

use crate::error::{Error, Result};
use crate::outcome::RemoteObject;

/// The first segment of larder's own keys. It is the encoding of a path that no output can have.
pub(crate) const OWN_SEGMENT: &str = ".larder";

/// The keys of one output in one remote, and their URLs.
#[derive(Clone, Debug)]
pub(crate) struct OutputKeys {
    remote: String,
    encoded: String,
}

/// An item of a listing below an output's prefix.
pub(crate) enum Listing {
    Object(RemoteObject),
    /// An object without a byte, under the name of one of larder's. It counts as absent.
    Empty {
        url: String,
        reason: &'static str,
    },
    Foreign {
        url: String,
        reason: &'static str,
    },
}

impl OutputKeys {
    pub(crate) fn new(remote: String, capabilities: Capabilities, output: &OutputPath) -> Result<Self> {
        let encoded = output.encoded();
        if encoded.len() > capabilities.max_name_len {
            return Err(Error::NameTooLong {
                output: output.clone(),
                remote,
                len: encoded.len(),
                max: capabilities.max_name_len,
            });
        }
        Ok(Self { remote, encoded })
    }

    /// The key of one object.
    pub(crate) fn key(&self, command: &CommandHash, content: &ContentHash) -> Result<Key> {
        Ok(Key::parse(format!("{}/{command}/{content}", self.encoded))?)
    }

    /// The prefix of the output's objects, or of those that one command made.
    pub(crate) fn prefix(&self, command: Option<&CommandHash>) -> Result<Prefix> {
        Ok(Prefix::parse(match command {
            Some(command) => format!("{}/{command}", self.encoded),
            None => self.encoded.clone(),
        })?)
    }

    pub(crate) fn url(&self, key: &Key) -> String {
        format!("{}/{key}", self.remote)
    }

    /// Reads one item of a listing below [`Self::prefix`].
    pub(crate) fn read(&self, meta: &ObjectMeta) -> Listing {
        let url = self.url(&meta.key);
        let segments: Vec<&str> = meta.key.segments().collect();
        let [_, command, content] = segments.as_slice() else {
            return Listing::Foreign { url, reason: "it is not named <command hash>/<content hash>" };
        };
        let (Ok(command_hash), Ok(content_hash)) =
            (CommandHash::parse(*command), ContentHash::parse(*content))
        else {
            return Listing::Foreign { url, reason: "its name is not that of a hash" };
        };
        if meta.size == 0 {
            let is_of_weasel =
                command_hash.form() == HashForm::Hex32 && content_hash.form() == HashForm::Hex32;
            let reason = if is_of_weasel {
                "it is empty, as an interrupted weasel push leaves it"
            } else {
                "it is empty, and no archive is empty"
            };
            return Listing::Empty { url, reason };
        }
        Listing::Object(RemoteObject {
            url,
            command_hash,
            content_hash,
            bytes: meta.size,
            last_modified: meta.last_modified,
            recorded: None,
        })
    }
}

/// Reads one prefix of the top level: the name of an output, unless it is larder's own or foreign.
pub(crate) fn output_name(prefix: &Prefix) -> Option<String> {
    let segment = prefix.as_str().trim_end_matches('/');
    let name = decode_name(segment).filter(|_| segment != OWN_SEGMENT)?;
    OutputPath::with_literal_key(&name).is_ok().then_some(name)
}
