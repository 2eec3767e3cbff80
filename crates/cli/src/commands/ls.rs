//! `larder ls`

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use larder_storage::{Error, FindOptions, OutputPath, RemoteObject, RemoteStorage};

use super::find::under_either_name;
use crate::args::Ls;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::output::console::Console;
use crate::output::document::{Failed, Object, OutputSummary};
use crate::output::text::{printable, size, time};

/// Outputs that are listed at the same time: a listing mostly waits for the remote.
const LISTINGS_AT_ONCE: usize = 8;

pub(super) fn run(args: &Ls, context: &Context, output: &mut Output) -> Result<()> {
    match &args.path {
        Some(path) => objects(path, context, output),
        None => outputs(context, output),
    }
}

fn outputs(context: &Context, output: &mut Output) -> Result<()> {
    let console = output.console().clone();
    let session = context.open(&console)?;
    let summaries: Vec<OutputSummary> = session.run(output, summaries(&session.storage, &console))??;
    let mut table = Table::new();
    table.set_header(["OUTPUT", "OBJECTS", "SIZE", "NEWEST"]);
    for summary in &summaries {
        table.add_row([
            printable(&summary.newest.path),
            summary.objects.to_string(),
            size(summary.total_bytes),
            summary.newest.last_modified.clone().unwrap_or_default(),
        ]);
    }
    print(table, &[1, 2], output);
    for summary in summaries {
        output.entry(summary);
    }
    Ok(())
}

async fn summaries(storage: &RemoteStorage, console: &Console) -> larder_storage::Result<Vec<OutputSummary>> {
    let names = storage.list_outputs().await?;
    let listings = names.into_iter().map(|name| summary(storage, name, console));
    let summaries: Vec<_> = stream::iter(listings).buffered(LISTINGS_AT_ONCE).try_collect().await?;
    Ok(summaries.into_iter().flatten().collect())
}

/// `None` where there is nothing but what is foreign.
async fn summary(
    storage: &RemoteStorage,
    name: String,
    console: &Console,
) -> larder_storage::Result<Option<OutputSummary>> {
    let path = match OutputPath::with_literal_key(&name) {
        Ok(path) => path,
        Err(error) => {
            console.warn(&format_args!("ignoring what the remote has of it: {error}"));
            return Ok(None);
        }
    };
    match storage.find_all(&path, &FindOptions::default()).await {
        Ok(objects) => Ok(objects.first().map(|newest| OutputSummary {
            newest: Object::new(&name, newest),
            objects: objects.len() as u64,
            total_bytes: objects.iter().map(|object| object.bytes).sum(),
        })),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

fn objects(path: &std::path::Path, context: &Context, output: &mut Output) -> Result<()> {
    let named = context.named(path)?;
    let session = context.open(output.console())?;
    let everything = FindOptions::default();
    let found = session.run(
        output,
        under_either_name(&named, async |path| session.storage.find_all(path, &everything).await),
    )?;
    let (path, objects): (&OutputPath, Vec<RemoteObject>) = match found {
        Ok(found) => found,
        Err(error) => {
            if matches!(error, Error::NotFound { .. }) {
                output.entry(Failed::not_found(named.output.key_text()));
            }
            return Err(Failure::from(error));
        }
    };
    let mut table = Table::new();
    table.set_header(["COMMAND HASH", "CONTENT HASH", "SIZE", "TIME"]);
    for object in &objects {
        table.add_row([
            object.command_hash.to_string(),
            object.content_hash.to_string(),
            size(object.bytes),
            time(object.last_modified).unwrap_or_default(),
        ]);
        output.entry(Object::new(path.key_text(), object));
    }
    print(table, &[2], output);
    Ok(())
}

/// Prints the table without lines around it, as wide as it is: what is cut cannot be copied.
fn print(mut table: Table, right_aligned: &[usize], output: &mut Output) {
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
