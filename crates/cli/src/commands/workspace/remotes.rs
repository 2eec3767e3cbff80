//! The remotes of pins, and the kinds of projects that have pins.

use std::collections::BTreeMap;

use larder_pins::Pin;
use larder_project::Project;
use larder_storage::Scheme;

use crate::context::CommandContext;
use crate::failure::{Failure, Result};

/// Groups pins by the remote that they name. `None` is the default one.
pub(super) fn by_remote(pins: Vec<Pin>) -> BTreeMap<Option<String>, Vec<Pin>> {
    let mut groups: BTreeMap<Option<String>, Vec<Pin>> = BTreeMap::new();
    for pin in pins {
        groups.entry(pin.remote.clone()).or_default().push(pin);
    }
    groups
}

/// Refuses the kinds of projects that have a lock file of their own.
pub(super) fn check_kind_of_project(context: &CommandContext) -> Result<()> {
    if context.root.join(Project::FILE).exists() {
        return Err(Failure::Usage(format!(
            "{} is a weasel project, whose project.lock pins its outputs: use `larder project`",
            context.root.display()
        )));
    }
    if context.scheme == Scheme::Weasel {
        return Err(Failure::Usage(
            "a pin needs the hash of the content, which weasel's is not: use another hash scheme".to_owned(),
        ));
    }
    Ok(())
}
