//! The key of a command: everything that its hash covers.

use std::collections::BTreeMap;
use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;

use larder_hashing::{CommandInputs, SiteEnvironment, SiteHash, env_hash, site_manifest};
use larder_storage::Scheme;

use crate::args::KeyArgs;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::console::Console;

/// The key that tells runs on different platforms apart.
const PLATFORM: &str = "platform";

/// The inputs of a command as they were given on the command line.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) inputs: CommandInputs,
    /// The variables that the key covers. A value may refer to a variable of the environment.
    pub(super) variables: BTreeMap<String, String>,
}

impl Key {
    pub(super) fn new(
        args: &KeyArgs,
        command: &[OsString],
        context: &CommandContext,
        console: &Console,
    ) -> Result<Self> {
        let mut inputs = CommandInputs::new(command.iter().cloned())
            .with_deps(args.deps.iter().map(|path| context.dependency(path)))
            .with_cwd(working_dir(command, context)?);
        if args.site {
            inputs = inputs.with_site(site_hash(context, console, &mut std::io::sink())?);
        }
        let variables = variables(&args.env, console)?;
        if !variables.is_empty() {
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
        Ok(Self { inputs, variables })
    }

    /// Adds what the key of a run has besides: the platform, unless the outputs are portable.
    pub(super) fn of_run(mut self, portable: bool) -> Result<Self> {
        if !portable {
            let platform = format!("{}-{}", env::consts::OS, env::consts::ARCH);
            if self.inputs.keys.insert(PLATFORM.to_owned(), platform).is_some() {
                return Err(Failure::Usage(format!(
                    "larder adds the key `{PLATFORM}` itself: leave it out, or add `--portable`"
                )));
            }
        }
        Ok(self)
    }

    /// Returns the variables that have a value of their own.
    pub(super) fn given(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.environment().filter_map(|(name, value)| Some((name.into(), value?)))
    }

    /// Returns the variables with their values. A variable without a value refers to one that is not set.
    pub(super) fn environment(&self) -> impl Iterator<Item = (&str, Option<OsString>)> {
        self.variables.iter().map(|(name, value)| {
            let value = match referenced(value) {
                Some(source) => env::var_os(source),
                None => Some(OsStr::new(value).to_owned()),
            };
            (name.as_str(), value)
        })
    }
}

/// Returns the directory where the command runs, relative to the project root. Without a command, it is the
/// root.
fn working_dir<'a>(command: &[OsString], context: &'a CommandContext) -> Result<&'a Path> {
    let below_root = if command.is_empty() { Path::new("") } else { context.below_root() };
    if context.scheme == Scheme::Weasel && !below_root.as_os_str().is_empty() {
        return Err(Failure::Usage(format!(
            "weasel runs commands in the project root, not in {}: hash it there, with `-C {}`, or under another scheme",
            below_root.display(),
            context.root.display(),
        )));
    }
    Ok(below_root)
}

pub(super) fn site_hash(
    context: &CommandContext,
    console: &Console,
    manifest: &mut dyn Write,
) -> Result<SiteHash> {
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
pub(super) fn variables(texts: &[String], console: &Console) -> Result<BTreeMap<String, String>> {
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
