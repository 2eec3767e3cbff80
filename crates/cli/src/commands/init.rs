//! `larder init`

mod proposal;

use std::env;
use std::path::Path;

use larder_config::{ProjectRoot, RootMarker};
use larder_pins::{Git, LarderLock, ProjectWriteLock, ignore_state};

use crate::args::{Global, InitArgs};
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::ProjectEntry;
use crate::output::text::printable;
use proposal::ProposedProject;

/// The name of the file with the names that dependencies leave out.
const IGNORE_FILE: &str = ".larderignore";

/// The names that Jupyter, Python and macOS add to directories.
const IGNORED: &str = "\
# The hashes of dependencies leave out these names. The syntax is that of .gitignore.
__pycache__/
.ipynb_checkpoints/
.DS_Store
";

pub(super) fn run(args: &InitArgs, global: &Global, output: &mut CommandOutput) -> Result<()> {
    let root = env::current_dir().map_err(Failure::WorkingDirectory)?;
    let found = ProjectRoot::discover(&root);
    if matches!(found.marker, RootMarker::LarderToml | RootMarker::ProjectYml) {
        say_existing(&found, output);
        return Ok(());
    }
    let context = CommandContext::new(global, true, output.console())?;
    let chosen = context.with_chosen(args.init_remote.as_deref());
    let proposed = ProposedProject::new(&root, &chosen)?;
    if let Some(remote) = &proposed.remote {
        try_remote(&chosen.in_new_project(&root, &proposed.config_file)?, remote, output)?;
    }
    write(&root, &proposed, output)
}

fn say_existing(found: &ProjectRoot, output: &mut CommandOutput) {
    let (root, marker) = (found.path.display(), found.marker);
    let hint = match marker {
        RootMarker::ProjectYml => "`larder project` exchanges its outputs",
        _ => "to change it, edit its larder.toml",
    };
    output.console().note(&format_args!("{root} is a project already, with a {marker}: {hint}"));
    output.entry(ProjectEntry { outcome: "exists", ..ProjectEntry::new(&found.path) });
}

/// Lists the remote. Nothing is written if that fails, so that the command can be repeated.
fn try_remote(context: &CommandContext, remote: &str, output: &mut CommandOutput) -> Result<()> {
    let session = context.open(output.console())?;
    let names = session.run(output, session.storage.list_names())?.inspect_err(|_| {
        output.console().note(&"nothing was written, because the remote cannot be used");
    })?;
    if let Some(name) = names.first() {
        output.console().warn(&format_args!(
            "{remote} holds outputs already, such as `{name}`: if they belong to another project, choose another remote in larder.toml"
        ));
    }
    Ok(())
}

fn write(root: &Path, proposed: &ProposedProject, output: &mut CommandOutput) -> Result<()> {
    let is_in_git = Git::at(root).top().is_some();
    let lock = ProjectWriteLock::acquire(root)?;
    let mut entry = ProjectEntry { remote: proposed.remote.clone(), ..ProjectEntry::new(root) };
    if is_in_git && ignore_state(&lock)? {
        entry.files.push(".gitignore");
        output.summary("added `/.larder/` to .gitignore");
    }
    if lock.create(IGNORE_FILE, IGNORED.as_bytes())? {
        entry.files.push(IGNORE_FILE);
        output.summary(&format!("created {IGNORE_FILE}: dependencies leave out __pycache__/ and the like"));
    }
    // This file makes the directory a project, so it is the last one. Until then, the command can be repeated.
    if !lock.create(ProjectRoot::CONFIG_FILE, proposed.config_file.as_bytes())? {
        say_existing(&ProjectRoot::discover(root), output);
        return Ok(());
    }
    entry.files.push(ProjectRoot::CONFIG_FILE);
    let file = ProjectRoot::CONFIG_FILE;
    if let Some(remote) = &proposed.remote {
        output.summary(&printable(&format!("created {file}: the remote is {remote}")));
    } else {
        output.summary(&format!("created {file}"));
        output.console().note(
            &"no remote: outputs are kept on this machine only, in .larder/store; name a remote in larder.toml to share them",
        );
    }
    if let Some(dropped) = proposed.dropped {
        output.console().note(&format_args!(
            "the option `{dropped}` of your remote is left out, because it names something of your own"
        ));
    }
    if is_in_git {
        let files = entry.files.join(", ");
        output.console().note(&format_args!("commit {files}, and later {}", LarderLock::NAME));
    }
    output.entry(entry);
    Ok(())
}
