//! `larder log`

use std::time::SystemTime;

use comfy_table::Table;
use larder_storage::{LoggedRun, OutputPath, RunRecord};

use super::ls::print;
use crate::args::LogArgs;
use crate::context::CommandContext;
use crate::failure::Result;
use crate::output::CommandOutput;
use crate::output::document::LogEntry;
use crate::output::text::{age, bare_hash, duration, printable, short_text, size};

/// The width of a command in the table. `--verbose` and `--json` show the whole command.
const COMMAND_WIDTH: usize = 24;

/// The number of digits shown of a commit.
const COMMIT_DIGITS: usize = 8;

pub(super) fn run(args: &LogArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    let path = args.path.as_ref().map(|path| context.named(path)).transpose()?.map(|named| named.output);
    let session = context.open(output.console())?;
    let read = async {
        let outputs = path.as_slice();
        let hashes = session.storage.resolve(outputs, args.command_hash.as_ref(), None).await?;
        session.storage.log(path.as_ref(), hashes.command_hash.as_ref(), args.number).await
    };
    let runs = session.run(output, read)??;
    let mut table = Table::new();
    let subject = if path.is_some() { "CONTENT HASH" } else { "OUTPUTS" };
    table.set_header(["AGE", "COMMAND HASH", subject, "SIZE", "TOOK", "COMMIT", "COMMAND"]);
    let now = SystemTime::now();
    for run in &runs {
        table.add_row(row(run, path.as_ref(), now, output.console().is_verbose()));
        output.entry(LogEntry::new(run));
    }
    print(table, &[3, 4], output);
    if runs.is_empty() {
        let of = path.as_ref().map_or_else(String::new, |path| format!(" for `{path}`"));
        output.console().note(&format_args!("no run is recorded{of}"));
    }
    Ok(())
}

fn row(run: &LoggedRun, path: Option<&OutputPath>, now: SystemTime, is_verbose: bool) -> [String; 7] {
    let record = &run.record;
    let subject = match path.and_then(|path| record.output(path)) {
        Some(output) => bare_hash(output.content_hash.as_str()),
        None => outputs(record),
    };
    let bytes = match path.and_then(|path| record.output(path)) {
        Some(output) => output.content_bytes,
        None => record.outputs.iter().map(|output| output.content_bytes).sum(),
    };
    let commit = record.details.git.as_ref().map_or_else(String::new, |git| {
        let commit: String = git.commit.chars().take(COMMIT_DIGITS).collect();
        if git.dirty == Some(true) { format!("{commit}+") } else { commit }
    });
    let command = match &record.details.command {
        Some(words) => printable(&words.join(" ")),
        None => "(push)".to_owned(),
    };
    [
        age(run.time.as_system_time(), now),
        bare_hash(record.command_hash.as_str()),
        printable(&subject),
        size(bytes),
        duration(record.duration()),
        printable(&commit),
        if is_verbose { command } else { short_text(&command, COMMAND_WIDTH) },
    ]
}

/// Returns the first output and the number of others.
fn outputs(record: &RunRecord) -> String {
    match record.outputs.as_slice() {
        [] => "(check)".to_owned(),
        [only] => only.path.to_string(),
        [first, rest @ ..] => format!("{} + {}", first.path, rest.len()),
    }
}
