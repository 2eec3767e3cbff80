//! `larder ls`

use std::path::Path;
use std::slice;
use std::time::SystemTime;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use larder_storage::{Error, OutputPath, RemoteObject};

use super::find::under_either_name;
use super::near::with_near_names;
use crate::args::LsArgs;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document::{FailedEntry, ObjectEntry, OutputName};
use crate::output::text::{age, printable, short_hash, size, time};

pub(super) fn run(args: &LsArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    match &args.path {
        Some(path) => objects(path, args, context, output),
        None => outputs(context, output),
    }
}

/// Lists names only. Sizes and times would need a listing of the whole remote.
fn outputs(context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    let session = context.open(output.console())?;
    let paths = session.run(output, session.storage.list_outputs())??;
    if paths.is_empty() {
        output.console().note(&format_args!("{} holds no outputs", session.label));
    }
    for path in paths {
        output.line(&printable(&path));
        output.entry(OutputName { path });
    }
    Ok(())
}

fn objects(path: &Path, args: &LsArgs, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    let long = args.long;
    let named = context.named(path)?;
    output.set_typed(path);
    let session = context.open(output.console())?;
    let search = under_either_name(&named, async |path| {
        let hashes = [args.command_hash.as_ref(), args.content_hash.as_ref()];
        let options = session.storage.resolve(slice::from_ref(path), hashes[0], hashes[1]).await?;
        session.storage.find_all(path, &options).await
    });
    let (found, near) =
        session.run(output, async { with_near_names(&session.storage, search.await).await })?;
    output.set_near(near);
    let (path, objects): (&OutputPath, Vec<RemoteObject>) = match found {
        Ok(found) => found,
        Err(error) => {
            if matches!(error, Error::NotFound { .. }) {
                output.entry(FailedEntry::not_found(named.output.key_text()));
            }
            return Err(Failure::from(error));
        }
    };
    let mut table = Table::new();
    table.set_header(["COMMAND HASH", "CONTENT HASH", "STORED", if long { "TIME" } else { "AGE" }]);
    let now = SystemTime::now();
    for object in &objects {
        table.add_row(if long { long_row(object) } else { short_row(object, now) });
        output.entry(ObjectEntry::new(path.key_text(), object));
    }
    print(table, &[2], output);
    Ok(())
}

/// Returns a row with whole hashes, for copying.
fn long_row(object: &RemoteObject) -> [String; 4] {
    [
        object.command_hash.to_string(),
        object.content_hash.to_string(),
        size(object.bytes),
        time(object.time()).unwrap_or_default(),
    ]
}

/// Returns a row that fits a terminal with 80 columns.
fn short_row(object: &RemoteObject, now: SystemTime) -> [String; 4] {
    [
        short_hash(object.command_hash.as_str()),
        short_hash(object.content_hash.as_str()),
        size(object.bytes),
        age(object.time(), now),
    ]
}

/// Prints the table without borders.
pub(super) fn print(mut table: Table, right_aligned: &[usize], output: &mut CommandOutput) {
    if table.is_empty() {
        return;
    }
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        if right_aligned.contains(&column.index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for line in table.trim_fmt().lines() {
        output.line(line);
    }
}
