//! `larder hash`

use std::env;
use std::io::Write;
use std::sync::Arc;

use larder_hashing::{OutputPath, command_manifest, content_hash, content_manifest, env_manifest};
use larder_storage::Scheme;
use larder_tree::LeftOutReport;

use super::key::{Key, site_hash, variables};
use crate::args::{Hash, HashCommand, HashContent, HashEnv, HashSite};
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::document;
use crate::output::text::printable;
use crate::signals;

pub(super) fn run(args: &Hash, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    signals::clear_bars_at_the_end(output.console().progress());
    match args {
        Hash::Content(args) => {
            content(args, context, output);
            Ok(())
        }
        Hash::Command(args) => command(args, context, output),
        Hash::Env(args) => env(args, context, output),
        Hash::Site(args) => site(args, context, output),
    }
}

/// Hashes each path independently. One failure does not stop the others.
fn content(args: &HashContent, context: &CommandContext, output: &mut CommandOutput) {
    for path in &args.paths {
        let shown = path.display().to_string();
        if let Err(error) = OutputPath::check_symlinks(&context.working_dir, path) {
            let failure = Failure::from(error);
            output.entry(document::FailedEntry::new(&shown, &failure));
            output.fail(failure);
            continue;
        }
        let bar = output.console().progress().begin(&format!("hashing {shown}"), None);
        let mut options = context.hash_options();
        options.tree.dereference = args.dereference;
        options.tree.observer = Arc::new(bar);
        let hashed = if args.explain {
            explained(output, |manifest| Ok(content_manifest(path, &options, manifest)?))
        } else {
            content_hash(path, &options).map(|hash| (hash, None)).map_err(Failure::from)
        };
        // This removes the progress bar before the result is printed.
        drop(options);
        match hashed {
            Ok((hash, manifest)) => {
                match args.paths.as_slice() {
                    [_] => output.line(hash.as_str()),
                    _ => output.line(&format!("{hash}  {}", printable(&shown))),
                }
                output.entry(entry(Some(shown), context.scheme, hash.as_str(), manifest));
            }
            Err(failure) => {
                output.entry(document::FailedEntry::new(&shown, &failure));
                output.fail(failure);
            }
        }
    }
}

fn command(args: &HashCommand, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    let key = Key::new(&args.key, &args.command, context, output.console())?;
    let key = if args.run { key.of_run(args.run_options.portable)? } else { key };
    if !args.run && args.run_options.is_any() {
        return Err(Failure::Usage(
            "`--out`, `--keep`, `--check`, `--no-deps` and `--portable` are options of `larder run`: add `--run`"
                .to_owned(),
        ));
    }
    let bar = output.console().progress().begin("hashing dependencies", None);
    let mut options = context.hash_options();
    options.tree.observer = Arc::new(bar);
    options.left_out = args.explain.then(|| {
        let console = output.console().clone();
        LeftOutReport::new(move |left_out| {
            let (path, pattern, file) = (left_out.path.display(), &left_out.pattern, left_out.file.display());
            console.verbose(&format_args!("# left out: {path} (`{pattern}` in {file})"));
        })
    });
    let (hash, manifest) = explained_if(args.explain, output, |manifest| {
        Ok(command_manifest(&context.root, &key.inputs, &options, manifest)?)
    })?;
    drop(options);
    print_one(output, context.scheme, hash.as_str(), manifest);
    Ok(())
}

fn env(args: &HashEnv, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    let variables = variables(&args.variables, output.console())?;
    let (hash, manifest) = explained_if(args.explain, output, |manifest| {
        Ok(env_manifest(&variables, |name| env::var_os(name), context.scheme, manifest)?)
    })?;
    print_one(output, context.scheme, hash.as_str(), manifest);
    Ok(())
}

fn site(args: &HashSite, context: &CommandContext, output: &mut CommandOutput) -> Result<()> {
    let console = output.console().clone();
    let (hash, manifest) =
        explained_if(args.explain, output, |manifest| site_hash(context, &console, manifest))?;
    print_one(output, context.scheme, hash.as_str(), manifest);
    Ok(())
}

/// Computes a hash. With `explain`, also outputs its manifest.
fn explained_if<H>(
    explain: bool,
    output: &mut CommandOutput,
    compute: impl FnOnce(&mut dyn Write) -> Result<H>,
) -> Result<(H, Option<String>)> {
    if explain { explained(output, compute) } else { Ok((compute(&mut std::io::sink())?, None)) }
}

/// Computes a hash, and writes its manifest to the output or into the document. Weasel hashes and hashes of
/// single files have no manifest.
fn explained<H>(
    output: &mut CommandOutput,
    compute: impl FnOnce(&mut dyn Write) -> Result<H>,
) -> Result<(H, Option<String>)> {
    if !output.is_json() {
        return Ok((compute(&mut output.raw())?, None));
    }
    let mut manifest = Vec::new();
    let hash = compute(&mut manifest)?;
    let manifest = String::from_utf8_lossy(&manifest).into_owned();
    Ok((hash, Some(manifest).filter(|manifest| !manifest.is_empty())))
}

fn print_one(output: &mut CommandOutput, scheme: Scheme, hash: &str, manifest: Option<String>) {
    output.line(hash);
    output.entry(entry(None, scheme, hash, manifest));
}

fn entry(path: Option<String>, scheme: Scheme, hash: &str, manifest: Option<String>) -> document::Hashed {
    document::Hashed { path, scheme: scheme.name(), hash: hash.to_owned(), manifest }
}
