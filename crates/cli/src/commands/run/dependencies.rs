//! The inputs of a run, hashed before and after the command.

use std::sync::Arc;
use std::time::SystemTime;

use larder_hashing::{HashedDependency, command_manifest, hash_dependencies};
use larder_storage::{CancellationToken, CommandHash, Dependency, RunDetails, tree_changes};

use crate::commands::key::Key;
use crate::context::CommandContext;
use crate::failure::Result;
use crate::output::console::Console;
use crate::progress::CancellableTask;
use crate::runtime::run_blocking;

/// The tree manifests of all dependencies are kept up to this size, in bytes, to name the files that change.
const MAX_MANIFESTS: usize = 8 << 20;

/// The hashed inputs of a run.
pub(super) struct Inputs {
    pub(super) command_hash: CommandHash,
    manifest: String,
    dependencies: Vec<HashedDependency>,
}

impl Inputs {
    pub(super) async fn hash(
        key: &Key,
        context: &CommandContext,
        cancel: CancellationToken,
        console: &Console,
    ) -> Result<Self> {
        let dependencies = hash(key.inputs.deps.clone(), context, cancel, console).await?;
        let mut inputs = key.inputs.clone();
        let known = dependencies.iter().map(|hashed| (hashed.given.clone(), hashed.content_hash.clone()));
        inputs.deps.clear();
        inputs = inputs.with_known_deps(known.collect::<Vec<_>>());
        let mut manifest = Vec::new();
        let command_hash = command_manifest(&context.root, &inputs, &context.hash_options(), &mut manifest)?;
        let manifest = String::from_utf8_lossy(&manifest).into_owned();
        Ok(Self { command_hash, manifest, dependencies })
    }

    /// Returns the command and its inputs, as a run record has them.
    pub(super) fn details(&self, key: &Key, context: &CommandContext) -> RunDetails {
        let mut details = RunDetails::default();
        let words = key.inputs.args.iter().map(|word| word.to_string_lossy().into_owned());
        details.command = Some(words.collect());
        details.cwd = context.below_root().to_string_lossy().into_owned();
        details.keys.clone_from(&key.inputs.keys);
        details.env = key.variables.keys().cloned().collect();
        details.manifest = Some(self.manifest.clone());
        details.dependencies = self
            .dependencies
            .iter()
            .map(|hashed| Dependency {
                name: hashed.path.to_string_lossy().into_owned(),
                content_hash: hashed.content_hash.clone(),
                manifest: hashed.manifest.clone(),
            })
            .collect();
        details
    }

    /// Warns of dependencies whose content or path keeps others from having the same key.
    pub(super) fn warn(&self, console: &Console) {
        for hashed in &self.dependencies {
            if hashed.path.is_absolute() {
                console.warn(&format_args!(
                    "the absolute path of the dependency {} is in the key, so the key differs on other machines: use a relative path",
                    hashed.path.display()
                ));
            }
            if let Some(git) = &hashed.git {
                console.warn(&format_args!(
                    "the dependency {} contains {}, which every commit and fetch changes, so the command runs again: add the line `.git` to .larderignore",
                    hashed.path.display(),
                    git.display()
                ));
            }
        }
    }

    /// Returns the modification time of the newest file.
    pub(super) fn newest(&self) -> Option<SystemTime> {
        self.dependencies.iter().filter_map(|hashed| hashed.newest).max()
    }

    /// Hashes the dependencies again. Returns one that has changed, or a file in it.
    pub(super) async fn changed(
        &self,
        context: &CommandContext,
        cancel: CancellationToken,
        console: &Console,
    ) -> Result<Option<String>> {
        let deps = self.dependencies.iter().map(|hashed| hashed.given.clone()).collect();
        let now = match hash(deps, context, cancel, console).await {
            Ok(now) => now,
            Err(failure) if failure.is_cancelled() => return Err(failure),
            // A dependency is gone, or it cannot be read any more.
            Err(_) => Vec::new(),
        };
        let changed = self.dependencies.iter().find_map(|before| {
            let after = now.iter().find(|after| after.path == before.path);
            match after {
                Some(after) if after.content_hash == before.content_hash => None,
                after => Some((before, after)),
            }
        });
        Ok(changed.map(|(before, after)| {
            let path = before.path.display().to_string();
            let manifests = before.manifest.as_deref().zip(after.and_then(|after| after.manifest.as_deref()));
            let files = manifests.map(|(before, after)| tree_changes(before, after)).unwrap_or_default();
            files.first().map_or(path.clone(), |(file, _)| format!("{path}/{file}"))
        }))
    }
}

async fn hash(
    deps: Vec<std::path::PathBuf>,
    context: &CommandContext,
    cancel: CancellationToken,
    console: &Console,
) -> Result<Vec<HashedDependency>> {
    let task = Arc::new(console.progress().begin("hashing dependencies", None));
    let mut options = context.hash_options();
    options.tree.observer = Arc::new(CancellableTask { task, cancel });
    let root = context.root.clone();
    Ok(run_blocking(move || hash_dependencies(&root, &deps, &options, MAX_MANIFESTS)).await??)
}
