//! Hashes of Python environments.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::digest::{Digest, Scheme};
use crate::hash_text::SiteHash;
use crate::weasel;

/// A Python environment could not be hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SiteError {
    /// The interpreter could not be started.
    #[error("failed to run the Python interpreter `{}`", python.display())]
    Start {
        /// The interpreter.
        python: PathBuf,
        /// Why it did not start.
        source: io::Error,
    },
    /// The interpreter ran, and its answer cannot be used.
    #[error("the Python interpreter `{}` did not report its site directories: {said}", python.display())]
    Answer {
        /// The interpreter.
        python: PathBuf,
        /// The last line that it wrote to standard error, or what was wrong with its answer.
        said: String,
    },
    /// A site directory could not be read.
    #[error("failed to read `{}`", path.display())]
    Read {
        /// The directory, or a file in it.
        path: PathBuf,
        /// Why it could not be read.
        source: io::Error,
    },
    /// The manifest could not be written.
    #[error("failed to write the manifest")]
    Manifest(#[source] io::Error),
}

/// A Python environment: the kind and version of the interpreter, and the directories of its distributions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteEnvironment {
    implementation: String,
    version: String,
    directories: Vec<PathBuf>,
}

/// The program that asks an interpreter for everything at once. It prints directories as hex because their names may be any
/// bytes. It does not import modules from the working directory, which `-c` puts first on the path.
const QUESTION: &str = "
import sys
if sys.path[:1] == ['']: del sys.path[0]
import os, site
found = list(getattr(site, 'getsitepackages', list)())
if site.ENABLE_USER_SITE: found.append(site.getusersitepackages())
print('larder-site', sys.implementation.name, '%d.%d' % sys.version_info[:2], *[os.fsencode(p).hex() for p in found])
";

impl SiteEnvironment {
    /// Creates a description. `implementation` is Python's name of the interpreter (`cpython`), and `version` its major and minor
    /// version (`3.12`).
    pub fn new(
        implementation: impl Into<String>,
        version: impl Into<String>,
        directories: Vec<PathBuf>,
    ) -> Self {
        Self { implementation: implementation.into(), version: version.into(), directories }
    }

    /// Returns the interpreter of the active environment: `explicit`, else that of `$VIRTUAL_ENV`, else that of
    /// `$CONDA_PREFIX`, else `python3` on the system's path. `lookup` returns variables of the process.
    pub fn interpreter(explicit: Option<&Path>, lookup: impl Fn(&str) -> Option<OsString>) -> PathBuf {
        let prefix = |name| lookup(name).filter(|prefix| !prefix.is_empty());
        match explicit {
            Some(python) => python.to_owned(),
            None => prefix("VIRTUAL_ENV")
                .or_else(|| prefix("CONDA_PREFIX"))
                .map_or_else(|| PathBuf::from("python3"), |prefix| PathBuf::from(prefix).join("bin/python")),
        }
    }

    /// Starts an interpreter once, and asks for its environment.
    ///
    /// # Errors
    ///
    /// It cannot be started, fails, or gives an invalid answer.
    pub fn query(python: &Path) -> Result<Self, SiteError> {
        let answer = |said: &str| SiteError::Answer { python: python.to_owned(), said: said.to_owned() };
        let output = Command::new(python)
            .args(["-c", QUESTION])
            .stdin(Stdio::null())
            .output()
            .map_err(|source| SiteError::Start { python: python.to_owned(), source })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(answer(said.lines().last().unwrap_or("it failed without a message")));
        }
        // Start-up code of the environment may have printed something before.
        let stdout = String::from_utf8_lossy(&output.stdout);
        let mut words =
            stdout.lines().rev().find_map(|line| line.strip_prefix("larder-site ")).unwrap_or("").split(' ');
        let (Some(implementation), Some(version)) =
            (words.next().filter(|word| !word.is_empty()), words.next())
        else {
            return Err(answer("its answer was empty"));
        };
        let directories =
            words.map(|word| decode_hex(word).map(|bytes| PathBuf::from(OsString::from_vec(bytes))));
        let directories =
            directories.collect::<Option<_>>().ok_or_else(|| answer("its answer was not valid"))?;
        Ok(Self::new(implementation, version, directories))
    }

    /// Returns the directories where distributions are installed.
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }
}

fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok());
    rest.is_empty().then(|| bytes.collect())?
}

/// The hash of an environment, and the distributions that it does not cover.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Site {
    /// The hash.
    pub hash: SiteHash,
    /// The distributions that are installed as links to their source (`pip install -e`). The hash does not cover their code, so
    /// they need a warning.
    pub editable: Vec<String>,
}

/// Hashes an environment: the kind and version of the interpreter, and the name and version of each distribution. The hash
/// also covers the origin of distributions that are not from an index.
///
/// # Errors
///
/// [`SiteError::Read`]: a site directory that exists cannot be read.
///
/// ```
/// use larder_hashing::{Scheme, SiteEnvironment, site_hash};
///
/// # let dir = tempfile::tempdir()?;
/// std::fs::create_dir(dir.path().join("numpy-2.1.0.dist-info"))?;
/// let environment = SiteEnvironment::new("cpython", "3.11", vec![dir.path().to_owned()]);
/// let site = site_hash(&environment, Scheme::Sha256)?;
/// assert!(site.hash.as_str().starts_with("sha256-4ca051db"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn site_hash(environment: &SiteEnvironment, scheme: Scheme) -> Result<Site, SiteError> {
    site_manifest(environment, scheme, &mut io::sink())
}

/// Hashes an environment like [`site_hash`], and writes the manifest to `manifest`. [`Scheme::Weasel`] has no manifest.
///
/// # Errors
///
/// Those of [`site_hash`], and [`SiteError::Manifest`].
pub fn site_manifest(
    environment: &SiteEnvironment,
    scheme: Scheme,
    manifest: &mut dyn Write,
) -> Result<Site, SiteError> {
    let installed = installed(environment, scheme)?;
    let editable: BTreeSet<String> =
        installed.iter().filter(|found| found.editable).map(Distribution::stem).collect();
    let editable = editable.into_iter().collect();
    if scheme == Scheme::Weasel {
        let mut stems: Vec<&[u8]> = installed.iter().map(|found| found.stem.as_bytes()).collect();
        stems.sort_by(|a, b| weasel::compare_names(a, b));
        stems.dedup();
        return Ok(Site { hash: SiteHash::plain(scheme, &scheme.digest(&stems.concat())), editable });
    }
    // Sorted by name, then version, then origin.
    let mut lines: BTreeSet<(String, String, Option<String>)> = BTreeSet::new();
    for found in &installed {
        let stem = found.stem.to_string_lossy();
        let (name, version) = stem.rsplit_once('-').unwrap_or((&stem, ""));
        lines.insert((normalize(name), version.to_owned(), found.origin.map(|digest| digest.to_string())));
    }
    let mut text = format!("larder-site 1\npython {} {}\n", environment.implementation, environment.version);
    for (name, version, origin) in lines {
        text.push_str(&format_line(&name, &version, origin.as_deref()));
    }
    manifest.write_all(text.as_bytes()).map_err(SiteError::Manifest)?;
    Ok(Site { hash: SiteHash::plain(scheme, &scheme.digest(text.as_bytes())), editable })
}

fn format_line(name: &str, version: &str, origin: Option<&str>) -> String {
    match origin {
        Some(digest) => format!("{name}=={version} @ {digest}\n"),
        None => format!("{name}=={version}\n"),
    }
}

struct Distribution {
    /// The name of its directory without `.dist-info`.
    stem: OsString,
    /// The digest of its `direct_url.json`, if it has one.
    origin: Option<Digest>,
    editable: bool,
}

impl Distribution {
    fn stem(&self) -> String {
        self.stem.to_string_lossy().into_owned()
    }
}

fn installed(environment: &SiteEnvironment, scheme: Scheme) -> Result<Vec<Distribution>, SiteError> {
    let mut found = Vec::new();
    for directory in &environment.directories {
        let failed = |source| SiteError::Read { path: directory.clone(), source };
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            // Python also names directories that do not exist.
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(failed(error)),
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some(stem) = name.as_bytes().strip_suffix(b".dist-info") else { continue };
            let origin = entry.path().join("direct_url.json");
            let origin = match fs::read(&origin) {
                Ok(bytes) => Some(bytes),
                Err(error) if is_absent(&error) => None,
                Err(source) => return Err(SiteError::Read { path: origin, source }),
            };
            found.push(Distribution {
                stem: OsStr::from_bytes(stem).to_owned(),
                origin: origin.as_ref().map(|bytes| scheme.digest(bytes)),
                editable: origin.is_some_and(|bytes| is_editable(&bytes)),
            });
        }
    }
    Ok(found)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Returns whether a `direct_url.json` (PEP 610) says that the distribution is a link to its source.
fn is_editable(direct_url: &[u8]) -> bool {
    let parsed: Result<serde_json::Value, _> = serde_json::from_slice(direct_url);
    parsed.is_ok_and(|value| value.pointer("/dir_info/editable") == Some(&serde_json::Value::Bool(true)))
}

/// Normalizes the name of a distribution by PEP 503: in lower case, with one `-` for each run of `-`, `_` and `.`.
fn normalize(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    let mut in_run = false;
    for character in name.chars() {
        let separator = matches!(character, '-' | '_' | '.');
        match (separator, in_run) {
            (true, false) => normal.push('-'),
            (true, true) => {}
            (false, _) => normal.extend(character.to_lowercase()),
        }
        in_run = separator;
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalized() {
        for (name, normal) in [("Foo.Bar_baz", "foo-bar-baz"), ("a-_.b", "a-b"), ("zlib_ng", "zlib-ng")] {
            assert_eq!(normalize(name), normal);
        }
    }

    #[test]
    fn the_interpreter_is_that_of_the_active_environment() {
        let set = |wanted: &'static str| move |name: &str| (name == wanted).then(|| OsString::from("/env"));
        assert_eq!(SiteEnvironment::interpreter(Some(Path::new("/p")), set("VIRTUAL_ENV")), Path::new("/p"));
        assert_eq!(SiteEnvironment::interpreter(None, set("VIRTUAL_ENV")), Path::new("/env/bin/python"));
        assert_eq!(SiteEnvironment::interpreter(None, set("CONDA_PREFIX")), Path::new("/env/bin/python"));
        assert_eq!(SiteEnvironment::interpreter(None, |_| None), Path::new("python3"));
        assert_eq!(SiteEnvironment::interpreter(None, |_| Some(OsString::new())), Path::new("python3"));
    }

    #[test]
    fn a_failing_interpreter_is_an_error() {
        let missing = SiteEnvironment::query(Path::new("/nonexistent/python")).unwrap_err();
        assert!(matches!(missing, SiteError::Start { .. }), "{missing}");
        let failing = SiteEnvironment::query(Path::new("false")).unwrap_err();
        assert!(matches!(failing, SiteError::Answer { .. }), "{failing}");
        let mute = SiteEnvironment::query(Path::new("true")).unwrap_err();
        assert!(mute.to_string().ends_with("its answer was empty"), "{mute}");
    }
}
