//! The content of a record, with checked values.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use larder_hashing::{
    CommandHash, ContentHash, HashForm, InvalidHash, InvalidOutputPath, OutputPath, Scheme,
};
use serde::Deserialize;

use crate::run_id::{InvalidRunId, RunId};
use crate::statement::{
    Annotations, BUILD_TYPE, BUILDER, BuildDefinition, Builder, DigestSet, ExternalParameters, GitFields,
    InternalParameters, InvocationMetadata, OutputParameters, PREDICATE_TYPE, Provenance, ResourceDescriptor,
    RunMetadata, STATEMENT_TYPE, Statement,
};
use crate::time::RunTime;

/// The size limit of a record, in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// The tree manifests of all dependencies together stay below this size, in bytes.
pub const MAX_MANIFESTS: usize = 64 << 10;

/// Which outputs one run made together, from what, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunRecord {
    /// The run.
    pub id: RunId,
    /// The command hash of its outputs.
    pub command_hash: CommandHash,
    /// When the command began, or the push.
    pub started: RunTime,
    /// When the command ended, or the push.
    pub finished: RunTime,
    /// The outputs, in the order of their paths. Empty for a check.
    pub outputs: Vec<RecordedOutput>,
    /// The command and its inputs.
    pub details: RunDetails,
}

/// The command of a run and its inputs. For a push, nothing of the command is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunDetails {
    /// The arguments of the command. Bytes that are not UTF-8 are U+FFFD here; the manifest has them all. `None` for a push.
    pub command: Option<Vec<String>>,
    /// The directory of the command, relative to the project root. Empty for the root.
    pub cwd: String,
    /// The user's keys.
    pub keys: BTreeMap<String, String>,
    /// The names of the variables that the command hash covers. Never their values.
    pub env: Vec<String>,
    /// The manifest of the command hash, `larder-command 1`.
    pub manifest: Option<String>,
    /// Whether the command continued from outputs of an earlier run.
    pub incremental: bool,
    /// The commit of the project.
    pub git: Option<GitState>,
    /// The page of the CI job.
    pub ci_url: Option<String>,
    /// Who ran the command, and where, if the configuration asks for that.
    pub identity: Option<RunIdentity>,
    /// The dependencies.
    pub dependencies: Vec<Dependency>,
}

/// An output of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedOutput {
    /// The path of the output.
    pub path: OutputPath,
    /// What it contains.
    pub content_hash: ContentHash,
    /// The size of its object, in bytes.
    pub object_bytes: u64,
    /// The size of its content, in bytes.
    pub content_bytes: u64,
    /// The number of its files.
    pub files: u64,
    /// Whether it is an executable file, which the content hash of a file does not cover. `None` for a directory.
    pub executable: Option<bool>,
}

/// The state of the git repository of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitState {
    /// The full hash of the commit.
    pub commit: String,
    /// Whether tracked files were changed. `None` if git took too long to say.
    pub dirty: Option<bool>,
}

/// Who ran a command, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunIdentity {
    /// The name of the user.
    pub user: String,
    /// The name of the machine.
    pub host: String,
}

/// A file or directory that a command reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// Its path, as the manifest of the command names it.
    pub name: String,
    /// Its content.
    pub content_hash: ContentHash,
    /// The tree manifest, if it is a directory.
    pub manifest: Option<String>,
}

/// The bytes are not a record that this version reads.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidRecord {
    /// It is larger than [`MAX_BYTES`].
    #[error("it is larger than 1 MiB")]
    TooLarge,
    /// It is not JSON, or a field is missing or of another type.
    #[error("it is not a run record: {0}")]
    Json(serde_json::Error),
    /// It is another statement, or one of a later version of larder.
    #[error("it is a statement of another kind, or of a later version of larder")]
    Kind,
    /// A path in it is not the path of an output.
    #[error(transparent)]
    Path(#[from] InvalidOutputPath),
    /// A path in it is not normalised.
    #[error("`{0}` is not a normalised path")]
    PathText(String),
    /// A hash in it is malformed.
    #[error(transparent)]
    Hash(#[from] InvalidHash),
    /// The id of the run is malformed.
    #[error(transparent)]
    RunId(#[from] InvalidRunId),
    /// A time in it is malformed.
    #[error("`{0}` is not a time")]
    Time(String),
}

impl RunRecord {
    /// Begins the record of a run without outputs and details.
    pub fn new(id: RunId, command_hash: CommandHash, started: RunTime, finished: RunTime) -> Self {
        Self { id, command_hash, started, finished, outputs: Vec::new(), details: RunDetails::default() }
    }

    /// Returns the output of this path.
    pub fn output(&self, path: &OutputPath) -> Option<&RecordedOutput> {
        self.outputs.iter().find(|output| output.path.as_str() == path.as_str())
    }

    /// Returns how long the command or the push took. It is exact to the millisecond.
    pub fn duration(&self) -> Duration {
        Duration::from_millis(self.finished.as_millis().saturating_sub(self.started.as_millis()))
    }

    /// Writes the record as JSON, with at most [`MAX_BYTES`].
    ///
    /// A larger record loses its tree manifests first, then its manifest, then its command, then its dependencies.
    ///
    /// # Errors
    ///
    /// [`InvalidRecord::TooLarge`]: there are too many outputs for one record.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidRecord> {
        self.to_bytes_within(MAX_BYTES)
    }

    /// Writes the record like [`Self::to_bytes`], with at most `max` bytes.
    ///
    /// # Errors
    ///
    /// [`InvalidRecord::TooLarge`].
    pub fn to_bytes_within(&self, max: usize) -> Result<Vec<u8>, InvalidRecord> {
        let mut record = self.clone();
        record.details.limit_manifests();
        let shorten: [fn(&mut Self); 4] = [
            |record| record.details.dependencies.iter_mut().for_each(|dependency| dependency.manifest = None),
            |record| record.details.manifest = None,
            |record| record.details.command = None,
            |record| record.details.dependencies.clear(),
        ];
        let mut bytes = record.serialize()?;
        for shorten in shorten {
            if bytes.len() <= max {
                break;
            }
            shorten(&mut record);
            bytes = record.serialize()?;
        }
        if bytes.len() > max { Err(InvalidRecord::TooLarge) } else { Ok(bytes) }
    }

    fn serialize(&self) -> Result<Vec<u8>, InvalidRecord> {
        let mut bytes = serde_json::to_vec(&self.statement()).map_err(InvalidRecord::Json)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn statement(&self) -> Statement<'_> {
        let details = &self.details;
        let subject = self.outputs.iter().map(|output| ResourceDescriptor {
            name: output.path.as_str().into(),
            digest: digest_set(&output.content_hash),
            annotations: Annotations::default(),
        });
        let outputs = self.outputs.iter().map(|output| {
            let parameters = OutputParameters {
                content_hash: output.content_hash.as_str().into(),
                object_bytes: output.object_bytes,
                content_bytes: output.content_bytes,
                files: output.files,
                executable: output.executable,
            };
            (output.path.as_str().into(), parameters)
        });
        let dependencies = details.dependencies.iter().map(|dependency| ResourceDescriptor {
            name: dependency.name.as_str().into(),
            digest: digest_set(&dependency.content_hash),
            annotations: Annotations { manifest: dependency.manifest.as_deref().map(Into::into) },
        });
        let command = details.command.as_ref();
        Statement {
            of_type: STATEMENT_TYPE.into(),
            subject: subject.collect(),
            predicate_type: PREDICATE_TYPE.into(),
            predicate: Provenance {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE.into(),
                    external_parameters: ExternalParameters {
                        command: command.map(|args| args.iter().map(|arg| arg.as_str().into()).collect()),
                        cwd: details.cwd.as_str().into(),
                        keys: details
                            .keys
                            .iter()
                            .map(|(name, value)| (name.as_str().into(), value.as_str().into()))
                            .collect(),
                        env: details.env.iter().map(|name| name.as_str().into()).collect(),
                        outputs: outputs.collect(),
                    },
                    internal_parameters: InternalParameters {
                        command_hash: self.command_hash.as_str().into(),
                        manifest: details.manifest.as_deref().map(Into::into),
                        incremental: details.incremental,
                        git: details
                            .git
                            .as_ref()
                            .map(|git| GitFields { commit: git.commit.as_str().into(), dirty: git.dirty }),
                        ci_url: details.ci_url.as_deref().map(Into::into),
                        user: details
                            .identity
                            .as_ref()
                            .map(|identity| identity.user.as_str())
                            .filter(|user| !user.is_empty())
                            .map(Into::into),
                        host: details.identity.as_ref().map(|identity| identity.host.as_str().into()),
                    },
                    resolved_dependencies: dependencies.collect(),
                },
                run_details: RunMetadata {
                    builder: Builder {
                        id: BUILDER.into(),
                        version: [("larder".into(), env!("CARGO_PKG_VERSION").into())].into(),
                    },
                    metadata: InvocationMetadata {
                        invocation_id: self.id.to_string().into(),
                        started_on: self.started.to_text().into(),
                        finished_on: self.finished.to_text().into(),
                    },
                },
            },
        }
    }

    /// Reads a record. The bytes may come from anybody who can write to the remote.
    ///
    /// # Errors
    ///
    /// The bytes are not a record that this version reads.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidRecord> {
        Self::from_bytes_within(bytes, MAX_BYTES)
    }

    /// Reads a record like [`Self::from_bytes`], with at most `max` bytes.
    ///
    /// # Errors
    ///
    /// The bytes are not a record that this version reads.
    pub fn from_bytes_within(bytes: &[u8], max: usize) -> Result<Self, InvalidRecord> {
        if bytes.len() > max {
            return Err(InvalidRecord::TooLarge);
        }
        // A statement of another kind has other parameters, so its kind is read first.
        let header: StatementHeader<'_> = serde_json::from_slice(bytes).map_err(InvalidRecord::Json)?;
        if !header.is_run_record() {
            return Err(InvalidRecord::Kind);
        }
        let statement: Statement<'_> = serde_json::from_slice(bytes).map_err(InvalidRecord::Json)?;
        let Provenance { build_definition: definition, run_details } = statement.predicate;
        let (external, internal) = (definition.external_parameters, definition.internal_parameters);
        let outputs = external.outputs.into_iter().map(|(path, output)| {
            Ok::<_, InvalidRecord>(RecordedOutput {
                path: output_path(&path)?,
                content_hash: ContentHash::parse(output.content_hash)?,
                object_bytes: output.object_bytes,
                content_bytes: output.content_bytes,
                files: output.files,
                executable: output.executable,
            })
        });
        let dependencies = definition.resolved_dependencies.into_iter().map(|dependency| {
            Ok::<_, InvalidRecord>(Dependency {
                content_hash: content_hash(&dependency.digest).ok_or(InvalidRecord::Kind)??,
                name: dependency.name.into_owned(),
                manifest: dependency.annotations.manifest.map(Into::into),
            })
        });
        let identity = match (internal.user, internal.host) {
            (None, None) => None,
            (user, host) => Some(RunIdentity {
                user: user.unwrap_or_default().into_owned(),
                host: host.unwrap_or_default().into_owned(),
            }),
        };
        Ok(Self {
            id: run_details.metadata.invocation_id.parse()?,
            command_hash: CommandHash::parse(internal.command_hash)?,
            started: time(&run_details.metadata.started_on)?,
            finished: time(&run_details.metadata.finished_on)?,
            outputs: outputs.collect::<Result<_, _>>()?,
            details: RunDetails {
                command: external.command.map(|args| args.into_iter().map(Into::into).collect()),
                cwd: external.cwd.into_owned(),
                keys: external.keys.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
                env: external.env.into_iter().map(Into::into).collect(),
                manifest: internal.manifest.map(Into::into),
                incremental: internal.incremental,
                git: internal.git.map(|git| GitState { commit: git.commit.into_owned(), dirty: git.dirty }),
                ci_url: internal.ci_url.map(Into::into),
                identity,
                dependencies: dependencies.collect::<Result<_, _>>()?,
            },
        })
    }
}

impl RunDetails {
    /// Keeps the tree manifests that fit into [`MAX_MANIFESTS`] together, in order.
    fn limit_manifests(&mut self) {
        let mut left = MAX_MANIFESTS;
        for dependency in &mut self.dependencies {
            let len = dependency.manifest.as_ref().map_or(0, String::len);
            match left.checked_sub(len) {
                Some(rest) => left = rest,
                None => dependency.manifest = None,
            }
        }
    }
}

/// The fields that tell a run record from other statements.
#[derive(Deserialize)]
struct StatementHeader<'a> {
    #[serde(rename = "_type", borrow)]
    statement_type: Cow<'a, str>,
    #[serde(rename = "predicateType", borrow)]
    predicate_type: Cow<'a, str>,
    #[serde(borrow)]
    predicate: HeaderPredicate<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeaderPredicate<'a> {
    #[serde(borrow)]
    build_definition: HeaderDefinition<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeaderDefinition<'a> {
    #[serde(borrow)]
    build_type: Cow<'a, str>,
}

impl StatementHeader<'_> {
    fn is_run_record(&self) -> bool {
        self.statement_type == STATEMENT_TYPE
            && self.predicate_type == PREDICATE_TYPE
            && self.predicate.build_definition.build_type.ends_with(RUN_RECORD_TYPE)
    }
}

/// The end of [`BUILD_TYPE`]. The page may move to another host.
const RUN_RECORD_TYPE: &str = "run-record.md#v1";

fn output_path(text: &str) -> Result<OutputPath, InvalidRecord> {
    let path = OutputPath::new(text)?;
    if path.as_str() == text { Ok(path) } else { Err(InvalidRecord::PathText(text.to_owned())) }
}

fn time(text: &str) -> Result<RunTime, InvalidRecord> {
    RunTime::parse(text).ok_or_else(|| InvalidRecord::Time(text.chars().take(64).collect()))
}

/// The name of the algorithm of a custom hash.
const OPAQUE: &str = "opaque";

fn digest_set(hash: &ContentHash) -> DigestSet<'_> {
    let text = hash.as_str();
    let (algorithm, digest) = match hash.form() {
        HashForm::Plain(scheme) => (scheme.name().to_owned(), text.rsplit('-').next().unwrap_or(text)),
        HashForm::Tree(scheme) => (format!("larder-tree-{scheme}"), text.rsplit('-').next().unwrap_or(text)),
        HashForm::Hex32 | HashForm::Opaque => (OPAQUE.to_owned(), text),
    };
    [(algorithm.into(), digest.into())].into()
}

fn content_hash(digests: &DigestSet<'_>) -> Option<Result<ContentHash, InvalidHash>> {
    let known = [Scheme::Blake3, Scheme::Sha256].into_iter().flat_map(|scheme| {
        [
            (scheme.name().to_owned(), format!("{scheme}-")),
            (format!("larder-tree-{scheme}"), format!("{scheme}-tree-")),
        ]
    });
    known
        .chain([(OPAQUE.to_owned(), String::new())])
        .find_map(|(algorithm, prefix)| Some(format!("{prefix}{}", digests.get(algorithm.as_str())?)))
        .map(ContentHash::parse)
}

#[cfg(test)]
mod tests;
