//! The JSON of a record: an in-toto Statement v1 with a SLSA provenance v1 predicate.
//!
//! The types have the fields that larder writes. Readers ignore all other fields.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The type of the statement.
pub(crate) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The type of the predicate.
pub(crate) const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// Identifies the format of the parameters in a record. The page documents every field.
pub const BUILD_TYPE: &str = "https://github.com/larder-rs/larder/blob/main/docs/run-record.md#v1";
/// Identifies larder as the builder.
pub(crate) const BUILDER: &str = "https://github.com/larder-rs/larder";

type JsonText<'a> = Cow<'a, str>;
/// Names of algorithms, and bare digests.
pub(crate) type DigestSet<'a> = BTreeMap<JsonText<'a>, JsonText<'a>>;

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Statement<'a> {
    #[serde(rename = "_type")]
    pub(crate) of_type: JsonText<'a>,
    pub(crate) subject: Vec<ResourceDescriptor<'a>>,
    #[serde(rename = "predicateType")]
    pub(crate) predicate_type: JsonText<'a>,
    pub(crate) predicate: Provenance<'a>,
}

/// An output or a dependency.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ResourceDescriptor<'a> {
    pub(crate) name: JsonText<'a>,
    #[serde(default)]
    pub(crate) digest: DigestSet<'a>,
    #[serde(default, skip_serializing_if = "Annotations::is_empty")]
    pub(crate) annotations: Annotations<'a>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Annotations<'a> {
    /// The tree manifest of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<JsonText<'a>>,
}

impl Annotations<'_> {
    fn is_empty(&self) -> bool {
        self.manifest.is_none()
    }
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Provenance<'a> {
    pub(crate) build_definition: BuildDefinition<'a>,
    pub(crate) run_details: RunMetadata<'a>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BuildDefinition<'a> {
    pub(crate) build_type: JsonText<'a>,
    pub(crate) external_parameters: ExternalParameters<'a>,
    pub(crate) internal_parameters: InternalParameters<'a>,
    #[serde(default)]
    pub(crate) resolved_dependencies: Vec<ResourceDescriptor<'a>>,
}

/// The parameters that the user of larder chose.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct ExternalParameters<'a> {
    #[serde(default)]
    pub(crate) command: Option<Vec<JsonText<'a>>>,
    #[serde(default)]
    pub(crate) cwd: JsonText<'a>,
    #[serde(default)]
    pub(crate) keys: BTreeMap<JsonText<'a>, JsonText<'a>>,
    #[serde(default)]
    pub(crate) env: Vec<JsonText<'a>>,
    #[serde(default)]
    pub(crate) outputs: BTreeMap<JsonText<'a>, OutputParameters<'a>>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct OutputParameters<'a> {
    pub(crate) content_hash: JsonText<'a>,
    #[serde(default)]
    pub(crate) object_bytes: u64,
    #[serde(default)]
    pub(crate) content_bytes: u64,
    #[serde(default)]
    pub(crate) files: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) executable: Option<bool>,
}

/// The parameters that larder found by itself.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct InternalParameters<'a> {
    pub(crate) command_hash: JsonText<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) manifest: Option<JsonText<'a>>,
    #[serde(default)]
    pub(crate) incremental: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) git: Option<GitFields<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ci_url: Option<JsonText<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<JsonText<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) host: Option<JsonText<'a>>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct GitFields<'a> {
    pub(crate) commit: JsonText<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) dirty: Option<bool>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct RunMetadata<'a> {
    pub(crate) builder: Builder<'a>,
    pub(crate) metadata: InvocationMetadata<'a>,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Builder<'a> {
    #[serde(default)]
    pub(crate) id: JsonText<'a>,
    #[serde(default)]
    pub(crate) version: BTreeMap<JsonText<'a>, JsonText<'a>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InvocationMetadata<'a> {
    pub(crate) invocation_id: JsonText<'a>,
    pub(crate) started_on: JsonText<'a>,
    pub(crate) finished_on: JsonText<'a>,
}
