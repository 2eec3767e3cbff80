//! Comparing two runs: which of their inputs differ.

use std::collections::BTreeMap;
use std::fmt;

use percent_encoding::percent_decode_str;

/// A difference between the inputs of two runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// The packages of the Python environment.
    Site,
    /// The values of the variables.
    Environment,
    /// The directory of the command.
    Directory {
        /// Relative to the project root.
        before: String,
        /// Relative to the project root.
        after: String,
    },
    /// A key of the user.
    Key {
        /// The name of the key.
        name: String,
        /// Its value, if it was there.
        before: Option<String>,
        /// Its value, if it is there.
        after: Option<String>,
    },
    /// A dependency.
    Dependency {
        /// Its path.
        path: String,
        /// What happened to it.
        change: Change,
        /// The files in it that differ. Empty for a file, and where a tree manifest is not known.
        files: Vec<(String, Change)>,
    },
    /// The arguments of the command.
    Arguments {
        /// One text per argument.
        before: Vec<String>,
        /// One text per argument.
        after: Vec<String>,
    },
}

/// What happened to a dependency or a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is another.
    Changed,
}

impl Change {
    /// The change as a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The inputs of a command, as their manifest names them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandManifest {
    site: String,
    env: String,
    cwd: String,
    keys: BTreeMap<String, String>,
    /// The hash of each dependency.
    deps: BTreeMap<String, String>,
    args: Vec<String>,
    /// The tree manifests that are known, by dependency.
    trees: BTreeMap<String, String>,
}

impl CommandManifest {
    /// Reads the text of a manifest, `larder-command 1`. Returns `None` for another format.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        if lines.next() != Some("larder-command 1") {
            return None;
        }
        let mut manifest = Self::default();
        for line in lines {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            match name {
                "site" => value.clone_into(&mut manifest.site),
                "env" => value.clone_into(&mut manifest.env),
                "cwd" => manifest.cwd = decoded(value),
                "key" => {
                    let (name, value) = value.split_once(' ')?;
                    manifest.keys.insert(decoded(name), decoded(value));
                }
                "dep" => {
                    let (hash, path) = value.split_once(' ')?;
                    manifest.deps.insert(decoded(path), hash.to_owned());
                }
                "arg" => manifest.args.push(decoded(value)),
                _ => return None,
            }
        }
        Some(manifest)
    }

    /// Adds the tree manifest of a dependency, so that a comparison names the files in it.
    pub fn add_tree(&mut self, path: impl Into<String>, manifest: impl Into<String>) {
        self.trees.insert(path.into(), manifest.into());
    }

    /// Counts the lines that two manifests have in common.
    pub fn common_lines(&self, other: &Self) -> usize {
        let same = |is_same: bool| usize::from(is_same);
        let keys = self.keys.iter().filter(|(name, value)| other.keys.get(*name) == Some(value)).count();
        let deps = self.deps.iter().filter(|(path, hash)| other.deps.get(*path) == Some(hash)).count();
        let args = self.args.iter().zip(&other.args).filter(|(one, another)| one == another).count();
        same(self.site == other.site)
            + same(self.env == other.env)
            + same(self.cwd == other.cwd)
            + keys
            + deps
            + args
    }

    /// Returns what differs from `before` to this manifest, in the order of its lines.
    pub fn differences(&self, before: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        if self.site != before.site {
            found.push(Difference::Site);
        }
        if self.env != before.env {
            found.push(Difference::Environment);
        }
        if self.cwd != before.cwd {
            found.push(Difference::Directory { before: before.cwd.clone(), after: self.cwd.clone() });
        }
        for name in changes(&before.keys, &self.keys).into_keys() {
            found.push(Difference::Key {
                before: before.keys.get(&name).cloned(),
                after: self.keys.get(&name).cloned(),
                name,
            });
        }
        for (path, change) in changes(&before.deps, &self.deps) {
            let files = match (before.trees.get(&path), self.trees.get(&path)) {
                (Some(old), Some(new)) => tree_changes(old, new),
                _ => Vec::new(),
            };
            found.push(Difference::Dependency { path, change, files });
        }
        if self.args != before.args {
            found.push(Difference::Arguments { before: before.args.clone(), after: self.args.clone() });
        }
        found
    }
}

/// Returns the files that differ between two tree manifests, `larder-tree 1`, sorted by path.
pub fn tree_changes(before: &str, after: &str) -> Vec<(String, Change)> {
    changes(&tree_entries(before), &tree_entries(after)).into_iter().collect()
}

/// The names whose values differ.
fn changes(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> BTreeMap<String, Change> {
    let mut changes = BTreeMap::new();
    for (name, value) in after {
        match before.get(name) {
            None => changes.insert(name.clone(), Change::Added),
            Some(old) if old != value => changes.insert(name.clone(), Change::Changed),
            Some(_) => None,
        };
    }
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    changes.extend(removed.map(|name| (name.clone(), Change::Removed)));
    changes
}

/// The entries of a tree manifest by their paths: kind, size and digest.
fn tree_entries(manifest: &str) -> BTreeMap<String, String> {
    let entries = manifest.lines().skip(1).filter_map(|line| {
        let (entry, path) = line.rsplit_once(' ')?;
        Some((decoded(path), entry.to_owned()))
    });
    entries.collect()
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(lines: &[&str]) -> CommandManifest {
        CommandManifest::parse(&format!("larder-command 1\n{}\n", lines.join("\n"))).unwrap()
    }

    #[test]
    fn every_kind_of_line_is_compared() {
        let before = manifest(&[
            "site s1",
            "env e1",
            "key os linux",
            "key old 1",
            "dep h1 a",
            "dep h2 b%20c",
            "arg x",
            "arg ",
        ]);
        let after = manifest(&[
            "site s2",
            "env e2",
            "cwd sub",
            "key os mac",
            "dep h1 a",
            "dep h3 b%20c",
            "dep h4 d",
            "arg x",
        ]);
        let key = |name: &str, before: Option<&str>, after: Option<&str>| Difference::Key {
            name: name.into(),
            before: before.map(Into::into),
            after: after.map(Into::into),
        };
        let dep =
            |path: &str, change| Difference::Dependency { path: path.into(), change, files: Vec::new() };
        assert_eq!(
            after.differences(&before),
            [
                Difference::Site,
                Difference::Environment,
                Difference::Directory { before: String::new(), after: "sub".into() },
                key("old", Some("1"), None),
                key("os", Some("linux"), Some("mac")),
                dep("b c", Change::Changed),
                dep("d", Change::Added),
                Difference::Arguments { before: vec!["x".into(), String::new()], after: vec!["x".into()] },
            ]
        );
        assert!(after.differences(&after).is_empty());
        assert_eq!(after.common_lines(&before), 2, "the dependency `a` and the first argument");
    }

    #[test]
    fn the_files_of_a_directory_are_named() {
        let mut before = manifest(&["site -", "env -", "dep h1 src"]);
        let mut after = manifest(&["site -", "env -", "dep h2 src"]);
        before.add_tree("src", "larder-tree 1\nf 1 aa same.py\nf 1 bb train.py\nd - - gone\n");
        after.add_tree("src", "larder-tree 1\nf 1 aa same.py\nf 2 cc train.py\nf 1 dd new%20.py\n");
        let files = vec![
            ("gone".to_owned(), Change::Removed),
            ("new .py".to_owned(), Change::Added),
            ("train.py".to_owned(), Change::Changed),
        ];
        assert_eq!(
            after.differences(&before),
            [Difference::Dependency { path: "src".into(), change: Change::Changed, files }]
        );
    }

    #[test]
    fn another_format_is_not_read() {
        for text in ["", "larder-command 2\n", "larder-command 1\nnew line\n", "larder-command 1\ndep only\n"]
        {
            assert_eq!(CommandManifest::parse(text), None, "{text}");
        }
    }
}
