//! Checking a remote that weasel has filled.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use larder_hashing::OutputPath;
use larder_storage::{Checked, RemoteObject, RemoteStorage, Stored, StoredKind};

use crate::error::Result;
use crate::exchange::AT_ONCE;

/// The objects of a remote, and the problems found.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Audit {
    /// The number of objects.
    pub objects: usize,
    /// The number of objects whose content was checked against the hash in the name.
    pub verified: usize,
    /// The findings in the order of their keys. Findings about several keys come last.
    pub findings: Vec<Finding>,
}

/// A problem in a remote.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The URLs that it concerns.
    pub urls: Vec<String>,
    /// The output as spelled in the key, if the finding concerns a single output.
    pub path: Option<String>,
    /// What is wrong, in words.
    pub reason: String,
    stored: Option<Stored>,
}

/// The kind of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// The object is empty or ends too early.
    Truncated,
    /// The bytes of the object were changed.
    Damaged,
    /// The content of the object does not have the hash in its name.
    WrongContent,
    /// The object holds an entry that weasel can write but larder does not restore.
    Refused,
    /// A newer version of larder wrote the object.
    Unsupported,
    /// The object does not belong to larder.
    Stray,
    /// An output has several contents under one command hash. A pull takes the newest.
    SeveralContents,
    /// Several output names refer to the same path (`out`, `out/`).
    SamePath,
    /// Several output names differ only in case. Some file systems treat them as the same path.
    SameButForCase,
}

impl FindingKind {
    /// The name in machine-readable output.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Damaged => "damaged",
            Self::WrongContent => "wrong_content",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
            Self::Stray => "stray",
            Self::SeveralContents => "several_contents",
            Self::SamePath => "same_path",
            Self::SameButForCase => "same_but_for_case",
        }
    }

    /// Returns whether the object is damaged.
    pub const fn is_damage(self) -> bool {
        matches!(self, Self::Truncated | Self::Damaged | Self::WrongContent)
    }
}

impl Audit {
    /// Reads all objects of the remote. The storage must use weasel's scheme.
    ///
    /// # Errors
    ///
    /// The remote fails, or an object cannot be unpacked in the project.
    pub async fn of(storage: &RemoteStorage) -> Result<Self> {
        let all = storage.list_all().await?;
        let mut audit = Self::default();
        let checks: Vec<_> = all.iter().map(|stored| check(storage, stored)).collect();
        let mut checks = futures::stream::iter(checks).buffered(AT_ONCE);
        while let Some(checked) = checks.next().await {
            let One { is_object, verified, finding } = checked?;
            audit.objects += usize::from(is_object);
            audit.verified += usize::from(verified);
            audit.findings.extend(finding);
        }
        drop(checks);
        audit.findings.extend(several_contents(&all));
        audit.findings.extend(same_names(&all));
        Ok(audit)
    }

    /// Returns the damaged objects.
    pub fn damage(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind.is_damage())
    }

    /// Deletes a damaged object, unless it has been replaced since. Returns whether it was deleted.
    ///
    /// # Errors
    ///
    /// The remote fails.
    pub async fn delete(storage: &RemoteStorage, finding: &Finding) -> Result<bool> {
        match &finding.stored {
            Some(stored) if finding.kind.is_damage() => Ok(storage.delete(stored).await?),
            _ => Ok(false),
        }
    }
}

/// The result of checking one object.
struct One {
    is_object: bool,
    verified: bool,
    finding: Option<Finding>,
}

async fn check(storage: &RemoteStorage, stored: &Stored) -> Result<One> {
    let of = |kind, path: Option<&OutputPath>, reason: String| One {
        is_object: true,
        verified: false,
        finding: Some(Finding {
            kind,
            urls: vec![stored.url.clone()],
            path: path.map(|path| path.key_text().to_owned()),
            reason,
            stored: Some(stored.clone()),
        }),
    };
    let (output, object) = match &stored.what {
        StoredKind::Object { output, object } => (output, object),
        StoredKind::Empty { output, reason } => {
            return Ok(of(FindingKind::Truncated, Some(output), (*reason).to_owned()));
        }
        StoredKind::Foreign { reason } => {
            return Ok(One { is_object: false, ..of(FindingKind::Stray, None, (*reason).to_owned()) });
        }
        _ => return Ok(of(FindingKind::Stray, None, "this larder does not know what it is".to_owned())),
    };
    let some = Some(output);
    Ok(match storage.check(output, object).await? {
        Checked::Whole { verified } => One { is_object: true, verified, finding: None },
        Checked::Gone => One { is_object: false, verified: false, finding: None },
        Checked::Truncated { reason } => of(FindingKind::Truncated, some, reason),
        Checked::Damaged { reason } => of(FindingKind::Damaged, some, reason),
        Checked::OtherContent { actual } => {
            of(FindingKind::WrongContent, some, format!("its content has the hash {actual}"))
        }
        Checked::OtherOutput { reason } => of(FindingKind::WrongContent, some, reason),
        Checked::Refused { reason } => of(FindingKind::Refused, some, reason),
        _ => of(FindingKind::Unsupported, some, "it needs a newer larder".to_owned()),
    })
}

fn objects(all: &[Stored]) -> impl Iterator<Item = (&OutputPath, &RemoteObject)> {
    all.iter().filter_map(|stored| match &stored.what {
        StoredKind::Object { output, object } => Some((output, object)),
        _ => None,
    })
}

fn several_contents(all: &[Stored]) -> Vec<Finding> {
    let mut by_command: BTreeMap<(&str, &str), Vec<&RemoteObject>> = BTreeMap::new();
    for (output, object) in objects(all) {
        by_command.entry((output.key_text(), object.command_hash.as_str())).or_default().push(object);
    }
    let several = by_command.into_iter().filter(|(_, objects)| objects.len() > 1);
    several
        .map(|((path, command), objects)| Finding {
            kind: FindingKind::SeveralContents,
            reason: format!(
                "{} contents under the command hash {command}: a pull takes the newest",
                objects.len()
            ),
            urls: objects.into_iter().map(|object| object.url.clone()).collect(),
            path: Some(path.to_owned()),
            stored: None,
        })
        .collect()
}

/// Returns findings for output names that refer to the same path, and for names that differ only in case.
fn same_names(all: &[Stored]) -> Vec<Finding> {
    let outputs: BTreeSet<&OutputPath> = all
        .iter()
        .filter_map(|stored| match &stored.what {
            StoredKind::Object { output, .. } | StoredKind::Empty { output, .. } => Some(output),
            _ => None,
        })
        .collect();
    let mut findings = Vec::new();
    let mut group =
        |kind, key: fn(&OutputPath) -> String, told_apart: fn(&OutputPath) -> String, reason: &str| {
            let mut groups: BTreeMap<String, Vec<&OutputPath>> = BTreeMap::new();
            for output in &outputs {
                groups.entry(key(output)).or_default().push(output);
            }
            for outputs in groups.into_values() {
                let different: BTreeSet<String> = outputs.iter().map(|output| told_apart(output)).collect();
                if different.len() < 2 {
                    continue;
                }
                let names: Vec<String> =
                    outputs.iter().map(|output| format!("`{}`", output.key_text())).collect();
                let urls = outputs.iter().filter_map(|output| {
                    all.iter().find_map(|stored| match &stored.what {
                        StoredKind::Object { output: other, .. }
                        | StoredKind::Empty { output: other, .. }
                            if other == *output =>
                        {
                            let (remote, _) = stored.url.rsplit_once(&format!("/{}/", output.encoded()))?;
                            Some(format!("{remote}/{}", output.encoded()))
                        }
                        _ => None,
                    })
                });
                findings.push(Finding {
                    kind,
                    urls: urls.collect(),
                    path: None,
                    reason: format!("{} {reason}", names.join(", ")),
                    stored: None,
                });
            }
        };
    group(
        FindingKind::SamePath,
        |output| output.as_str().to_owned(),
        |output| output.key_text().to_owned(),
        "are spellings of one path: commands that spell it differently do not find each other's objects",
    );
    group(
        FindingKind::SameButForCase,
        |output| output.as_str().to_lowercase(),
        |output| output.as_str().to_owned(),
        "differ only in case: where file systems do not tell cases apart, they are one",
    );
    findings
}
