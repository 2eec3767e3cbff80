//! `larder hash`

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use larder_hashing::{
    CommandInputs, OutputPath, SiteEnvironment, SiteHash, command_manifest, content_hash, content_manifest,
    env_hash, env_manifest, site_manifest,
};
use larder_storage::Scheme;
use larder_tree::LeftOutReport;

use crate::args::{Hash, HashCommand, HashContent, HashEnv, HashSite};
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;
use crate::output::console::Console;
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
    let mut inputs = CommandInputs::new(args.command.iter().cloned())
        .with_deps(args.deps.iter().map(|path| context.dependency(path)))
        .with_cwd(working_dir(args, context)?);
    if args.site {
        inputs = inputs.with_site(site_hash(context, output.console(), &mut std::io::sink())?);
    }
    if !args.env.is_empty() {
        let variables = variables(&args.env, output.console())?;
        inputs = inputs.with_env(env_hash(&variables, |name| env::var_os(name), context.scheme));
    }
    for key in &args.keys {
        let Some((name, value)) = key.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(Failure::Usage(format!("`{key}` is not a key: write NAME=VALUE")));
        };
        if inputs.keys.insert(name.to_owned(), value.to_owned()).is_some() {
            return Err(Failure::Usage(format!("the key `{name}` is given twice")));
        }
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
        Ok(command_manifest(&context.root, &inputs, &options, manifest)?)
    })?;
    drop(options);
    print_one(output, context.scheme, hash.as_str(), manifest);
    Ok(())
}

/// Returns the directory where the command runs, relative to the project root. Without a command, it is the
/// root.
fn working_dir<'a>(args: &HashCommand, context: &'a CommandContext) -> Result<&'a Path> {
    let below_root = if args.command.is_empty() { Path::new("") } else { context.below_root() };
    if context.scheme == Scheme::Weasel && !below_root.as_os_str().is_empty() {
        return Err(Failure::Usage(format!(
            "weasel runs commands in the project root, not in {}: hash it there, with `-C {}`, or under another scheme",
            below_root.display(),
            context.root.display(),
        )));
    }
    Ok(below_root)
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

fn site_hash(context: &CommandContext, console: &Console, manifest: &mut dyn Write) -> Result<SiteHash> {
    let python = SiteEnvironment::interpreter(context.python.as_deref(), |name| env::var_os(name));
    console.verbose(&format_args!("python: {}", python.display()));
    let site = site_manifest(&SiteEnvironment::query(&python)?, context.scheme, manifest)?;
    for name in &site.editable {
        console.warn(&format_args!(
            "{name} is installed as a link to its source: the hash does not cover its code"
        ));
    }
    Ok(site.hash)
}

/// Parses texts of the form `NAME=VALUE`. `NAME` alone means `NAME=$NAME`.
fn variables(texts: &[String], console: &Console) -> Result<BTreeMap<String, String>> {
    let mut variables = BTreeMap::new();
    for text in texts {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (text.as_str(), format!("${text}")),
        };
        if name.is_empty() {
            return Err(Failure::Usage("a variable has no name: write NAME=VALUE, or NAME".to_owned()));
        }
        if !is_name(name) {
            return Err(Failure::Usage(format!(
                "`{name}` is not the name of a variable: it has letters, digits and `_`, and begins with no digit"
            )));
        }
        if let Some(source) = referenced(&value).filter(|source| env::var_os(source).is_none()) {
            console.verbose(&format_args!("{name} is hashed as unset: ${source} has no value"));
        }
        if variables.insert(name.to_owned(), value).is_some() {
            return Err(Failure::Usage(format!("the variable `{name}` is given twice")));
        }
    }
    Ok(variables)
}

/// Returns whether a text can be the name of a shell variable. Other texts come from wrong quoting.
fn is_name(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && text.starts_with(|first: char| !first.is_ascii_digit())
}

/// Returns the variable that a value refers to, as `$NAME` or `${NAME}`.
fn referenced(value: &str) -> Option<&str> {
    let name = value.strip_prefix('$')?;
    let name = name.strip_prefix('{').and_then(|name| name.strip_suffix('}')).unwrap_or(name);
    is_name(name).then_some(name)
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
