//! Hashes of the commands that make outputs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::content::{hash_dependency, hash_like_weasel};
use crate::digest::{DigestHasher, Scheme};
use larder_tree::TreeError;

use crate::error::HashError;
use crate::hash_text::{CommandHash, ContentHash, EnvHash, SiteHash};
use crate::manifest::encoded;
use crate::options::HashOptions;
use crate::output_path::symlink_before_parent;
use crate::weasel;

/// The parts of a command that its hash covers. Without any part it is the default command of a plain push.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CommandInputs {
    /// The hash of its Python environment, if it depends on the environment.
    pub site: Option<SiteHash>,
    /// The hash of the variables that it depends on.
    pub env: Option<EnvHash>,
    /// The directory in which it runs, relative to the project root. Empty for the root itself.
    pub cwd: PathBuf,
    /// Names and values by which the user distinguishes runs, such as `os` and `linux`.
    pub keys: BTreeMap<String, String>,
    /// The files and directories that it reads, relative to the project root, or absolute.
    pub deps: Vec<PathBuf>,
    /// Known hashes of dependencies, by their path in `deps`. These dependencies are not read.
    pub known: BTreeMap<PathBuf, ContentHash>,
    /// The words of the command, or under [`Scheme::Weasel`] the lines of the script.
    pub args: Vec<OsString>,
    /// Under [`Scheme::Weasel`], the minor version (`3.6`) of a spaCy before 3.7, whose command hashes begin with it.
    pub spacy_version: Option<String>,
}

impl CommandInputs {
    /// Creates inputs with the words of a command.
    pub fn new(args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        Self { args: args.into_iter().map(Into::into).collect(), ..Self::default() }
    }

    /// Adds the hash of a Python environment.
    #[must_use]
    pub fn with_site(mut self, site: SiteHash) -> Self {
        self.site = Some(site);
        self
    }

    /// Adds the hash of variables.
    #[must_use]
    pub fn with_env(mut self, env: EnvHash) -> Self {
        self.env = Some(env);
        self
    }

    /// Sets the directory in which it runs.
    #[must_use]
    pub fn with_cwd(mut self, cwd: impl Into<PathBuf>) -> Self {
        self.cwd = cwd.into();
        self
    }

    /// Adds a name and a value.
    #[must_use]
    pub fn with_key(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.keys.insert(name.into(), value.into());
        self
    }

    /// Adds dependencies.
    #[must_use]
    pub fn with_deps(mut self, deps: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        self.deps.extend(deps.into_iter().map(Into::into));
        self
    }

    /// Adds dependencies with known hashes. They are not read.
    #[must_use]
    pub fn with_known_deps(mut self, deps: impl IntoIterator<Item = (PathBuf, ContentHash)>) -> Self {
        for (path, hash) in deps {
            self.deps.push(path.clone());
            self.known.insert(path, hash);
        }
        self
    }

    /// Sets the version of a spaCy before 3.7.
    #[must_use]
    pub fn with_spacy_version(mut self, version: impl Into<String>) -> Self {
        self.spacy_version = Some(version.into());
        self
    }
}

/// A command could not be hashed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// A dependency is missing.
    #[error("the dependency `{}` does not exist", path.display())]
    MissingDependency {
        /// The path, as given.
        path: PathBuf,
    },
    /// A dependency could not be hashed.
    #[error("failed to hash the dependency `{}`", path.display())]
    Dependency {
        /// The path, as given.
        path: PathBuf,
        /// Why it could not be hashed.
        source: HashError,
    },
    /// A dependency has a `..` behind a symlink. The system reads another file than the one that the path seems to name.
    #[error(
        "`{}` is a symlink, so the dependency `{}` is not the file that it seems: name it without `..`",
        link.display(),
        path.display()
    )]
    BehindSymlink {
        /// The path, as given.
        path: PathBuf,
        /// The symlink.
        link: PathBuf,
    },
    /// Weasel has no such input.
    #[error("a command hash of weasel cannot have {what}: leave it out, or use another scheme")]
    NotUnderWeasel {
        /// The input.
        what: &'static str,
    },
    /// The manifest could not be written.
    #[error("failed to write the manifest")]
    Manifest(#[source] io::Error),
}

/// Hashes a command, its dependencies, and the directory in which it runs. `root` is the project root.
///
/// # Errors
///
/// A dependency is missing, cannot be hashed, or has a link that leaves it. Under [`Scheme::Weasel`], also an input that
/// weasel does not know.
///
/// ```
/// use std::path::Path;
/// use larder_hashing::{CommandInputs, HashOptions, command_hash};
///
/// let nothing = command_hash(Path::new("."), &CommandInputs::default(), &HashOptions::default())?;
/// assert_eq!(nothing.as_str(), "blake3-fbf342f09f6540cc37fd7db3a1a89826f76f3398e5279a3cb6db7516379c5cff");
/// # Ok::<(), larder_hashing::CommandError>(())
/// ```
pub fn command_hash(
    root: &Path,
    inputs: &CommandInputs,
    options: &HashOptions,
) -> Result<CommandHash, CommandError> {
    command_manifest(root, inputs, options, &mut io::sink())
}

/// Hashes a command like [`command_hash`], and writes the manifest to `manifest`. [`Scheme::Weasel`] has no manifest.
///
/// # Errors
///
/// Those of [`command_hash`], and [`CommandError::Manifest`].
pub fn command_manifest(
    root: &Path,
    inputs: &CommandInputs,
    options: &HashOptions,
    manifest: &mut dyn Write,
) -> Result<CommandHash, CommandError> {
    // The option is for outputs only.
    let mut options = options.clone();
    options.tree.dereference = false;
    let text = if options.scheme == Scheme::Weasel {
        weasel_text(root, inputs, &options)?
    } else {
        let text = manifest_text(root, inputs, &options)?;
        manifest.write_all(&text).map_err(CommandError::Manifest)?;
        text
    };
    let mut hasher = DigestHasher::new(options.scheme);
    hasher.update(&text);
    Ok(CommandHash::plain(options.scheme, &hasher.finish()))
}

impl CommandHash {
    /// Returns the hash of no command: [`command_hash`] of [`CommandInputs::default`]. A plain push uses it.
    ///
    /// ```
    /// use larder_hashing::{CommandHash, Scheme};
    ///
    /// assert!(CommandHash::of_no_command(Scheme::Blake3).as_str().starts_with("blake3-fbf342f0"));
    /// ```
    pub fn of_no_command(scheme: Scheme) -> Self {
        let text = if scheme == Scheme::Weasel { "" } else { "larder-command 1\nsite -\nenv -\n" };
        Self::plain(scheme, &scheme.digest(text.as_bytes()))
    }
}

fn manifest_text(
    root: &Path,
    inputs: &CommandInputs,
    options: &HashOptions,
) -> Result<Vec<u8>, CommandError> {
    let site = inputs.site.as_ref().map_or("-", SiteHash::as_str);
    let env = inputs.env.as_ref().map_or("-", EnvHash::as_str);
    let mut lines = vec!["larder-command 1".to_owned(), format!("site {site}"), format!("env {env}")];
    let cwd = from_root(root, &inputs.cwd);
    if !cwd.as_os_str().is_empty() {
        lines.push(format!("cwd {}", encoded(cwd.as_os_str().as_bytes())));
    }
    for (name, value) in &inputs.keys {
        lines.push(format!("key {} {}", encoded(name.as_bytes()), encoded(value.as_bytes())));
    }
    check_symlinks(root, &inputs.deps)?;
    // Sorted by bytes, without duplicates.
    let deps: BTreeMap<Vec<u8>, &PathBuf> = inputs
        .deps
        .iter()
        .map(|given| (from_root(root, given).into_os_string().into_encoded_bytes(), given))
        .collect();
    for (path, given) in deps {
        let hash = if let Some(hash) = inputs.known.get(given) {
            hash.clone()
        } else {
            dependency(root, &from_root(root, given), given, |path| {
                hash_dependency(root, path, options, &mut io::sink(), |_| {})
            })?
        };
        // The root itself has no name.
        let path = if path.is_empty() { b".".to_vec() } else { path };
        lines.push(format!("dep {hash} {}", encoded(&path)));
    }
    lines.extend(inputs.args.iter().map(|arg| format!("arg {}", encoded(arg.as_bytes()))));
    Ok((lines.join("\n") + "\n").into_bytes())
}

/// Refuses dependencies with a `..` behind a symlink.
pub(crate) fn check_symlinks(root: &Path, deps: &[PathBuf]) -> Result<(), CommandError> {
    for given in deps {
        if let Some(link) = symlink_before_parent(root, given) {
            return Err(CommandError::BehindSymlink { path: given.clone(), link });
        }
    }
    Ok(())
}

fn weasel_text(root: &Path, inputs: &CommandInputs, options: &HashOptions) -> Result<Vec<u8>, CommandError> {
    if !inputs.keys.is_empty() {
        return Err(CommandError::NotUnderWeasel { what: "keys" });
    }
    if !from_root(root, &inputs.cwd).as_os_str().is_empty() {
        return Err(CommandError::NotUnderWeasel { what: "a working directory other than the project root" });
    }
    let mut text = inputs.spacy_version.clone().unwrap_or_default().into_bytes();
    text.extend_from_slice(inputs.site.as_ref().map_or("", SiteHash::as_str).as_bytes());
    text.extend_from_slice(inputs.env.as_ref().map_or("", EnvHash::as_str).as_bytes());
    let mut deps: Vec<&PathBuf> = inputs.deps.iter().collect();
    deps.sort_by(|a, b| weasel::compare_paths(a.as_os_str().as_bytes(), b.as_os_str().as_bytes()));
    for given in deps {
        let hash = match inputs.known.get(given) {
            Some(hash) => hash.clone(),
            None => dependency(root, given, given, |path| hash_like_weasel(&root.join(path), options))?,
        };
        text.extend_from_slice(hash.as_str().as_bytes());
    }
    inputs.args.iter().for_each(|line| text.extend_from_slice(line.as_bytes()));
    Ok(text)
}

pub(crate) fn dependency(
    root: &Path,
    path: &Path,
    given: &Path,
    hash: impl FnOnce(&Path) -> Result<ContentHash, HashError>,
) -> Result<ContentHash, CommandError> {
    hash(path).map_err(|error| match error {
        HashError::Tree(TreeError::Missing { path: missing }) if missing == root.join(path) => {
            CommandError::MissingDependency { path: given.to_owned() }
        }
        source => CommandError::Dependency { path: given.to_owned(), source },
    })
}

/// Returns the normalized path relative to the root. Outside of the root it begins with `..`, or is absolute if it was given
/// so.
pub(crate) fn from_root(root: &Path, given: &Path) -> PathBuf {
    if root.is_absolute()
        && let Ok(inside) = normalize(&root.join(given)).strip_prefix(normalize(root))
    {
        return inside.to_owned();
    }
    normalize(given)
}

/// Resolves `.` and `..` in the text of a path.
fn normalize(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match normal.components().next_back() {
                Some(Component::Normal(_)) => {
                    normal.pop();
                }
                // The parent of `/` is `/`.
                Some(Component::RootDir) => {}
                _ => normal.push(".."),
            },
            other => normal.push(other),
        }
    }
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dependencies_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a"), "a").unwrap();
        std::fs::write(dir.path().join("b"), "b").unwrap();
        for scheme in Scheme::ALL {
            let options = HashOptions::new(scheme);
            let read = CommandInputs::new(["c"]).with_deps(["b", "a"]);
            let hash = command_hash(dir.path(), &read, &options).unwrap();
            let known = ["b", "a"].map(|name| {
                (PathBuf::from(name), crate::content_hash(&dir.path().join(name), &options).unwrap())
            });
            let known = CommandInputs::new(["c"]).with_known_deps(known);
            assert_eq!(command_hash(Path::new("/nowhere"), &known, &options).unwrap(), hash);
        }
    }

    #[test]
    fn a_dependency_behind_a_symlink_is_refused_where_its_path_is_normalized() {
        let dir = tempfile::tempdir().unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::create_dir(other.path().join("sub")).unwrap();
        std::fs::write(other.path().join("x"), "of the system").unwrap();
        std::fs::write(dir.path().join("x"), "of the text").unwrap();
        std::os::unix::fs::symlink(other.path().join("sub"), dir.path().join("lk")).unwrap();
        let inputs = CommandInputs::new(["c"]).with_deps(["lk/../x"]);
        let error = command_hash(dir.path(), &inputs, &HashOptions::default()).unwrap_err();
        assert!(
            matches!(&error, CommandError::BehindSymlink { link, .. } if link == Path::new("lk")),
            "{error}"
        );
        // Weasel reads what the system reads.
        let weasel = HashOptions::new(Scheme::Weasel);
        let absolute = CommandInputs::new(["c"]).with_deps([other.path().join("x")]);
        assert_eq!(
            command_hash(dir.path(), &inputs, &weasel).unwrap(),
            command_hash(dir.path(), &absolute, &weasel).unwrap()
        );
    }

    #[test]
    fn the_hash_of_no_command_is_that_of_no_inputs() {
        for scheme in Scheme::ALL {
            let computed =
                command_hash(Path::new("."), &CommandInputs::default(), &HashOptions::new(scheme)).unwrap();
            assert_eq!(CommandHash::of_no_command(scheme), computed);
        }
    }

    #[test]
    fn dependencies_are_named_from_the_root() {
        let rows = [
            ("./a", "a"),
            ("a/../b/", "b"),
            ("/p/top/a", "a"),
            ("../top/a", "a"),
            ("../other/./x", "../other/x"),
            ("/data/x/..//y", "/data/y"),
            ("/../data", "/data"),
            (".", ""),
            ("/p/toped", "/p/toped"),
        ];
        for (given, named) in rows {
            assert_eq!(from_root(Path::new("/p/top"), Path::new(given)), Path::new(named), "{given}");
        }
        assert_eq!(from_root(Path::new("rel"), Path::new("../a")), Path::new("../a"));
    }
}
