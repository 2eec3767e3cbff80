//! `larder why`

use std::slice;

use larder_storage::{Change, CommandHash, Difference, Scheme, WhyReport};

use crate::args::WhyArgs;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::WhyEntry;
use crate::output::text::{bare_hash, printable};

/// The maximum number of files named for one dependency. The other files are only counted. `--json` lists all
/// of them.
const MAX_FILES: usize = 10;

pub(super) fn run(args: &WhyArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    let path = args.path.as_ref().map(|path| context.named(path)).transpose()?.map(|named| named.output);
    let session = context.open(output.console())?;
    let last = match &args.command_hash {
        Some(_) => None,
        None => session.storage.last_run_here(path.as_ref())?,
    };
    let report = session.run(output, async {
        match (last, &path) {
            (Some(last), _) => Ok(session.storage.why_here(&last).await?),
            (None, Some(path)) => {
                let query = args.command_hash.as_ref();
                let hashes = session.storage.resolve(slice::from_ref(path), query, None).await?;
                Ok(session.storage.why(path, hashes.command_hash.as_ref()).await?)
            }
            (None, None) => Err(Failure::Usage(
                "no command has run in this project: name an output, and its newest run in the remote is explained"
                    .to_owned(),
            )),
        }
    })??;
    say(&report, output);
    output.entry(WhyEntry::new(path.as_ref(), &report));
    Ok(())
}

fn say(report: &WhyReport, output: &mut CommandOutput) {
    let hash = &report.run.record.command_hash;
    if Scheme::ALL.map(CommandHash::of_no_command).contains(hash) {
        output.line(
            "the newest version was pushed without a command hash, so no command is known to have made it",
        );
        return;
    }
    let command = bare_hash(hash.as_str());
    match &report.nearest {
        None => output.line(&format!("{command} is the only command that is recorded for this output")),
        Some(nearest) => {
            let other = bare_hash(nearest.run.record.command_hash.as_str());
            match &nearest.differences {
                None => output.line(&format!(
                    "{command} and {other} cannot be compared: a push was recorded without the inputs of its command"
                )),
                Some(differences) => {
                    output.line(&format!("{command} differs from {other}:"));
                    for line in differences.iter().flat_map(lines) {
                        output.line(&printable(&line));
                    }
                }
            }
        }
    }
    if report.contents > 1 {
        output.line(&format!(
            "{command} made {} different contents: the command is not deterministic",
            report.contents
        ));
    }
}

/// Says in one line how a run differs.
pub(super) fn sentence(difference: &Difference) -> String {
    match difference {
        Difference::Site => "the packages of the Python environment changed".to_owned(),
        Difference::Environment => "the value of a variable changed".to_owned(),
        Difference::Directory { before, after } => {
            format!("its directory changed from `{}` to `{}`", or_root(before), or_root(after))
        }
        Difference::Key { name, before, after } => match (before, after) {
            (Some(before), Some(after)) => format!("key {name} changed from `{before}` to `{after}`"),
            (None, _) => format!("key {name} was added"),
            (_, None) => format!("key {name} was removed"),
        },
        Difference::Dependency { path, change, files } => match files.split_first() {
            Some(((file, change), [])) => format!("{path}/{file} {}", happened(*change)),
            Some(((file, change), rest)) => {
                format!("{path}/{file} {} and {} more files in {path} differ", happened(*change), rest.len())
            }
            None => format!("{path} {}", happened(*change)),
        },
        Difference::Arguments { .. } => "its arguments changed".to_owned(),
        _ => "an input differs that this version of larder does not know".to_owned(),
    }
}

const fn happened(change: Change) -> &'static str {
    match change {
        Change::Added => "was added",
        Change::Removed => "was removed",
        Change::Changed => "changed",
    }
}

fn or_root(directory: &str) -> &str {
    if directory.is_empty() { "." } else { directory }
}

/// Describes a difference, for people.
pub(super) fn lines(difference: &Difference) -> Vec<String> {
    match difference {
        Difference::Site => vec!["  the packages of the Python environment".to_owned()],
        Difference::Environment => vec!["  the value of a variable".to_owned()],
        Difference::Directory { before, after } => {
            vec![format!("  the directory of the command: `{before}` before, `{after}` now")]
        }
        Difference::Key { name, before, after } => vec![match (before, after) {
            (Some(before), Some(after)) => format!("  key {name}: `{before}` before, `{after}` now"),
            (None, Some(after)) => format!("  key {name}: added, `{after}`"),
            (_, None) => format!("  key {name}: removed"),
        }],
        Difference::Dependency { path, change, files } => dependency_lines(path, *change, files),
        Difference::Arguments { before, after } => {
            vec![format!("  arguments: `{}` before, `{}` now", before.join(" "), after.join(" "))]
        }
        _ => vec!["  an input that this version of larder does not know".to_owned()],
    }
}

fn dependency_lines(path: &str, change: Change, files: &[(String, Change)]) -> Vec<String> {
    let named = files.iter().take(MAX_FILES).map(|(file, change)| format!("    {change} {path}/{file}"));
    let more = files.len().saturating_sub(MAX_FILES);
    [format!("  {change} {path}")]
        .into_iter()
        .chain(named)
        .chain((more > 0).then(|| format!("    and {more} more files")))
        .collect()
}
