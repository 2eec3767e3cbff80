//! Looking through a remote that weasel has filled.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use larder_hashing::OutputPath;
use larder_storage::{Checked, RemoteObject, RemoteStorage, Stored, StoredKind};

use crate::error::Result;
use crate::exchange::AT_ONCE;

/// What is in a remote, and what is wrong with it.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Audit {
    /// How many objects there are.
    pub objects: usize,
    /// How many of them have the content that their names say; a name that is no hash says nothing.
    pub verified: usize,
    /// What there is to say, in the order of the keys; what concerns several of them at the end.
    pub findings: Vec<Finding>,
}

/// Something that is not as it should be.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Where it is: one place, or the several that it is about.
    pub urls: Vec<String>,
    /// The output, as keys spell it, where it is about one.
    pub path: Option<String>,
    /// What is wrong, in words.
    pub reason: String,
    stored: Option<Stored>,
}

/// What is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// The object is empty, or its bytes end before it does.
    Truncated,
    /// The bytes of the object are not what was written.
    Damaged,
    /// The object does not contain what its name says.
    WrongContent,
    /// The object holds what larder does not restore, and weasel may have written so.
    Refused,
    /// A later larder wrote the object.
    Unsupported,
    /// There is something that is no object.
    Stray,
    /// There are several contents of one output under one command hash: which of them a pull takes is decided by time.
    SeveralContents,
    /// Names of outputs that are spellings of one path (`out`, `out/`).
    SamePath,
    /// Names of outputs that are one name on file systems that do not tell cases apart.
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

    /// Whether the object is of no use to anybody.
    pub const fn is_damage(self) -> bool {
        matches!(self, Self::Truncated | Self::Damaged | Self::WrongContent)
    }
}

impl Audit {
    /// Reads everything that the remote holds. The storage must be under weasel's scheme.
    ///
    /// # Errors
    ///
    /// The remote fails, or there is no place to unpack an object.
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

    /// What is damaged.
    pub fn damage(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.kind.is_damage())
    }

    /// Removes a damaged object, unless somebody has replaced it meanwhile. Says whether it is gone.
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

/// What a look at one thing told.
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

/// The names of outputs that are one path, and those that are one but for the case of letters.
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
