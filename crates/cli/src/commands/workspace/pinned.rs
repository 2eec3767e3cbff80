//! Pinned outputs, compared with what the project has.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use larder_hashing::{HashOptions, content_hash};
use larder_pins::{Base, Bases, Pin, PinState};
use larder_storage::{CancellationToken, ContentHash, KnownVersion, OutputPath, Scheme};

use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::console::Console;
use crate::progress::{CancellableTask, ProgressTask};

/// A pinned output, and what the project has of it.
#[derive(Debug)]
pub(super) struct PinnedOutput {
    pub(super) pin: Pin,
    /// The version that was synchronized last in this checkout.
    pub(super) base: Option<Base>,
    /// The content in the project. `None` if there is none, or if it cannot be compared with the pin.
    pub(super) disk: Option<ContentHash>,
    pub(super) state: PinState,
}

impl PinnedOutput {
    /// Returns the version that larder may replace without force.
    pub(super) fn synchronized(&self) -> Option<KnownVersion> {
        let base = self.base.as_ref()?;
        Some(KnownVersion { command_hash: base.command.clone(), content_hash: base.content.clone() })
    }
}

/// Returns the version that a pin names.
pub(super) fn version_of(pin: &Pin) -> KnownVersion {
    KnownVersion { command_hash: pin.command.clone(), content_hash: pin.content.clone() }
}

/// Says what to do about an output that changed like its pin.
pub(super) fn both_changed(path: &OutputPath) -> String {
    format!(
        "it and its pin were changed; `larder push {path} --force` or `larder pull {path} --force` decides"
    )
}

/// Compares pinned outputs with the project. Makes no request. Remembers that clean ones are synchronized.
pub(super) fn compare(
    pins: Vec<Pin>,
    context: &CommandContext,
    cancel: &CancellationToken,
    console: &Console,
) -> Vec<(OutputPath, Result<PinnedOutput>)> {
    let task = Arc::new(console.progress().begin("comparing pinned outputs", None));
    let bases = Bases::of(&context.root);
    let compared = pins.into_iter().map(|pin| {
        let hashing = Hashing { context, cancel, task: &task };
        (pin.path.clone(), hashing.compare(pin, &bases))
    });
    compared.collect()
}

/// What the hashing of outputs needs.
struct Hashing<'a> {
    context: &'a CommandContext,
    cancel: &'a CancellationToken,
    task: &'a Arc<ProgressTask>,
}

impl Hashing<'_> {
    fn compare(&self, pin: Pin, bases: &Bases) -> Result<PinnedOutput> {
        let base = bases.get(&pin.path)?;
        let path = pin.path.below(&self.context.root);
        match fs::symlink_metadata(&path) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(PinnedOutput { pin, base, disk: None, state: PinState::Missing });
            }
            Err(source) => return Err(Failure::LookAt { path, source }),
        }
        let scheme = self.context.scheme;
        let disk = match pin.content.verifiable_under(scheme) {
            Some(scheme) => Some(self.hash(&path, scheme)?),
            // The name says nothing about the content.
            None => None,
        };
        let base_content = base.as_ref().map(|base| &base.content);
        let mut state = match &disk {
            Some(disk) => PinState::new(&pin.content, base_content, Some(disk)),
            None => PinState::Diverged,
        };
        // The base may have the hash of another scheme.
        if state == PinState::Diverged
            && let Some(base) = base_content
            && let Some(other) = base.verifiable_under(scheme)
            && pin.content.verifiable_under(scheme) != Some(other)
            && self.hash(&path, other)? == *base
        {
            state = PinState::Behind;
        }
        if state == PinState::Clean {
            // A checkout that cannot be written has no bases.
            bases.set(&pin.path, &Base { content: pin.content.clone(), command: pin.command.clone() }).ok();
        }
        Ok(PinnedOutput { pin, base, disk, state })
    }

    fn hash(&self, path: &Path, scheme: Scheme) -> Result<ContentHash> {
        let mut tree = self.context.hash_options().tree;
        tree.observer =
            Arc::new(CancellableTask { task: Arc::clone(self.task), cancel: self.cancel.clone() });
        Ok(content_hash(path, &HashOptions::new(scheme).with_tree(tree))?)
    }
}
