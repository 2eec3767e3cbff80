//! Objects and their metadata.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::gcs::checksums::{Checksums, encode_crc32c, encode_md5};
use crate::gcs::content::Content;
use crate::gcs::failure::GcsFailure;

/// The metadata that a client sets when it creates an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) content_type: Option<String>,
    pub(super) content_encoding: Option<String>,
    pub(super) content_disposition: Option<String>,
    pub(super) content_language: Option<String>,
    pub(super) cache_control: Option<String>,
    pub(super) custom: BTreeMap<String, String>,
}

impl Metadata {
    /// Reads the resource in an upload request.
    pub(super) fn of_resource(resource: &Value) -> Self {
        let text = |field: &str| resource[field].as_str().map(str::to_owned);
        let custom = resource["metadata"].as_object().into_iter().flatten();
        Self {
            content_type: text("contentType"),
            content_encoding: text("contentEncoding"),
            content_disposition: text("contentDisposition"),
            content_language: text("contentLanguage"),
            cache_control: text("cacheControl"),
            custom: custom
                .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
                .collect(),
        }
    }

    /// Returns the text fields with their names in a resource.
    fn texts(&self) -> [(&'static str, &Option<String>); 5] {
        [
            ("contentType", &self.content_type),
            ("contentEncoding", &self.content_encoding),
            ("contentDisposition", &self.content_disposition),
            ("contentLanguage", &self.content_language),
            ("cacheControl", &self.cache_control),
        ]
    }
}

/// A stored object.
#[derive(Clone, Debug)]
pub(super) struct StoredObject {
    /// The description, shared, so that a finished upload can keep it without the bytes.
    pub(super) description: Arc<Description>,
    pub(super) content: Content,
}

impl Deref for StoredObject {
    type Target = Description;

    fn deref(&self) -> &Description {
        &self.description
    }
}

/// The metadata of an object. Its metageneration is always 1, because the server changes no metadata.
#[derive(Clone, Debug)]
pub(super) struct Description {
    pub(super) bucket: String,
    pub(super) name: String,
    pub(super) generation: i64,
    pub(super) created: Timestamp,
    pub(super) metadata: Metadata,
    pub(super) size: u64,
    pub(super) checksums: Checksums,
}

pub(super) const METAGENERATION: i64 = 1;
pub(super) const STORAGE_CLASS: &str = "STANDARD";

impl Description {
    pub(super) fn etag(&self) -> String {
        format!("{:x}", self.generation)
    }

    /// Returns the [resource](https://cloud.google.com/storage/docs/json_api/v1/objects#resource), with 64-bit numbers as text.
    pub(super) fn resource(&self, checksums: &Checksums) -> Value {
        let created = self.created.to_string();
        let mut resource = json!({
            "kind": "storage#object",
            "id": format!("{}/{}/{}", self.bucket, self.name, self.generation),
            "name": self.name,
            "bucket": self.bucket,
            "generation": self.generation.to_string(),
            "metageneration": METAGENERATION.to_string(),
            "storageClass": STORAGE_CLASS,
            "size": self.size.to_string(),
            "crc32c": encode_crc32c(checksums.crc32c),
            "etag": self.etag(),
            "timeCreated": created,
            "updated": created,
            "timeStorageClassUpdated": created,
            "timeFinalized": created,
        });
        if let Some(md5) = checksums.md5 {
            resource["md5Hash"] = encode_md5(md5).into();
        }
        for (name, text) in self.metadata.texts() {
            if let Some(text) = text {
                resource[name] = text.as_str().into();
            }
        }
        if !self.metadata.custom.is_empty() {
            let custom =
                self.metadata.custom.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
            resource["metadata"] = custom.collect::<Map<_, _>>().into();
        }
        resource
    }
}

/// Refuses an invalid name: <https://cloud.google.com/storage/docs/objects#naming>.
pub(super) fn check_name(name: &str) -> Result<(), GcsFailure> {
    let is_bad = name.is_empty()
        || name.len() > 1024
        || name.contains(['\r', '\n'])
        || name == "."
        || name == ".."
        || name.starts_with(".well-known/acme-challenge/");
    if is_bad { Err(GcsFailure::invalid(format!("Invalid object name: '{name}'"))) } else { Ok(()) }
}

/// The preconditions of a request on the live object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the names are Google's")]
pub(super) struct Preconditions {
    pub(super) generation_match: Option<i64>,
    pub(super) generation_not_match: Option<i64>,
    pub(super) metageneration_match: Option<i64>,
    pub(super) metageneration_not_match: Option<i64>,
}

impl Preconditions {
    /// Checks the preconditions of a read. Generation 0 means that no object exists. A failed `NotMatch` condition is
    /// answered with "not modified".
    pub(super) fn check(&self, live: Option<&StoredObject>) -> Result<(), GcsFailure> {
        let generation = live.map_or(0, |object| object.generation);
        let metageneration = live.map_or(0, |_| METAGENERATION);
        let matches = |wanted: Option<i64>, found| wanted.is_none_or(|wanted| wanted == found);
        let differs = |unwanted: Option<i64>, found| unwanted.is_none_or(|unwanted| unwanted != found);
        if !matches(self.generation_match, generation) || !matches(self.metageneration_match, metageneration)
        {
            Err(GcsFailure::precondition())
        } else if !differs(self.generation_not_match, generation)
            || !differs(self.metageneration_not_match, metageneration)
        {
            Err(GcsFailure::not_modified())
        } else {
            Ok(())
        }
    }

    /// Checks the preconditions of a request that changes something.
    pub(super) fn check_change(&self, live: Option<&StoredObject>) -> Result<(), GcsFailure> {
        self.check(live).map_err(|_| GcsFailure::precondition())
    }
}
