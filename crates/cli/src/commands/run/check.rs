//! Checks of the arguments of a run, before anything is done.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use larder_hashing::OutputPath;
use larder_storage::Scheme;

use crate::args::{RunArgs, RunMode};
use crate::commands::key::Key;
use crate::context::CommandContext;
use crate::failure::{Failure, Result};
use crate::output::CommandOutput;

/// The parts of names of variables that hold secrets.
const SECRET_NAMES: [&str; 3] = ["TOKEN", "SECRET", "PASSWORD"];

/// The end of names of variables that hold secrets.
const SECRET_END: &str = "_KEY";

/// The length from which a value counts as a secret, in bytes. Shorter values appear in texts by chance.
const SECRET_LEN: usize = 8;

/// Refuses arguments that do not fit together.
pub(super) fn usage(args: &RunArgs, mode: RunMode, output: &CommandOutput) -> Result<()> {
    let problem = if output.is_json() {
        "standard output belongs to the command: use `--report FILE` instead of --json"
    } else if args.pin && mode != RunMode::ReadWrite {
        "`--pin` publishes the outputs: leave it out, or use the mode `read-write`"
    } else if args.pin && args.run.check {
        "`--check` has no outputs that `--pin` could pin"
    } else if args.run.outputs.is_empty() && !args.run.check && mode != RunMode::Off {
        "a run without outputs makes nothing: name them with `-o PATH`, or add `--check`"
    } else if args.key.deps.is_empty() && !args.run.no_deps && mode != RunMode::Off {
        "a key without dependencies stays the same for ever: name what the command reads with `-d PATH`, or add `--no-deps`"
    } else if !args.key.deps.is_empty() && args.run.no_deps {
        "`--no-deps` says that the command reads no files: leave it out, or leave out `-d`"
    } else {
        return Ok(());
    };
    Err(Failure::Usage(problem.to_owned()))
}

/// Refuses to write the report over a dependency or an output.
pub(super) fn report(args: &RunArgs, context: &CommandContext) -> Result<()> {
    let Some(report) = &args.report else { return Ok(()) };
    // Writing follows a symlink, and restoring replaces it.
    let places = |path: &Path| [real(path), normal(path)];
    let written = places(&context.working_dir.join(report));
    for path in args.key.deps.iter().chain(&args.run.outputs) {
        let declared = places(&context.working_dir.join(path));
        if written.iter().any(|written| declared.iter().any(|declared| written.starts_with(declared))) {
            return Err(Failure::Usage(format!(
                "the report {} would overwrite a part of `{}`: name another file",
                report.display(),
                path.display()
            )));
        }
    }
    Ok(())
}

/// Refuses the weasel scheme, and an output that is in a dependency or contains one.
pub(super) fn apart(outputs: &[OutputPath], key: &Key, context: &CommandContext) -> Result<()> {
    if context.scheme == Scheme::Weasel {
        return Err(Failure::Usage(
            "`larder run` needs run records, which weasel does not know: use another hash scheme".to_owned(),
        ));
    }
    for dep in &key.inputs.deps {
        let dependency = real(&context.root.join(dep));
        for output in outputs {
            let made = real(&output.below(&context.root));
            let relation = if made == dependency {
                "is also a dependency"
            } else if made.starts_with(&dependency) {
                "lies inside the dependency"
            } else if dependency.starts_with(&made) {
                "contains the dependency"
            } else {
                continue;
            };
            let named = if made == dependency { String::new() } else { format!(" `{}`", dep.display()) };
            return Err(Failure::Usage(format!(
                "the output `{output}` {relation}{named}: a command would change its own key"
            )));
        }
    }
    Ok(())
}

/// Resolves the symlinks above a path.
fn real(path: &Path) -> PathBuf {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return normal(path) };
    parent.canonicalize().map_or_else(|_| normal(path), |parent| parent.join(name))
}

/// Resolves the path as far as it exists.
fn normal(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let mut normal = PathBuf::new();
        for component in path.components() {
            match component {
                std::path::Component::CurDir => {}
                std::path::Component::ParentDir => drop(normal.pop()),
                component => normal.push(component),
            }
        }
        normal
    })
}

/// Refuses arguments, keys and paths that hold the value of a secret variable. Run records would publish it for good.
pub(super) fn secrets(args: &RunArgs, environment: impl Iterator<Item = (OsString, OsString)>) -> Result<()> {
    for (name, value) in environment {
        if !is_secret(&name.to_string_lossy()) || value.len() < SECRET_LEN {
            continue;
        }
        let holds = |text: &[u8]| text.windows(value.len()).any(|window| window == value.as_bytes());
        let place = if args.command.iter().any(|word| holds(word.as_bytes())) {
            "an argument of the command"
        } else if args.key.keys.iter().any(|key| holds(key.as_bytes())) {
            "a key"
        } else if args.key.deps.iter().chain(&args.run.outputs).any(|path| holds(path.as_os_str().as_bytes()))
        {
            "a path"
        } else {
            continue;
        };
        return Err(Failure::Usage(format!(
            "{place} holds the value of ${}, and run records are public: let the command read the variable",
            name.display()
        )));
    }
    Ok(())
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_NAMES.iter().any(|part| name.contains(part)) || name.ends_with(SECRET_END)
}

/// Warns of files that the key does not cover, and of texts that differ from machine to machine.
pub(super) fn warn(
    args: &RunArgs,
    outputs: &[OutputPath],
    key: &Key,
    context: &CommandContext,
    output: &CommandOutput,
) {
    let declared: Vec<PathBuf> = key
        .inputs
        .deps
        .iter()
        .map(|dep| real(&context.root.join(dep)))
        .chain(outputs.iter().map(|output| real(&output.below(&context.root))))
        .collect();
    let root = real(&context.root);
    for word in &args.command {
        if let Some(file) = undeclared(word, context, &root, &declared) {
            output.console().warn(&format_args!(
                "`{file}` is an argument and no dependency: if it changes, the command does not run again; add `-d {file}`"
            ));
        }
    }
    let texts =
        args.command.iter().map(|word| word.to_string_lossy()).chain(args.key.keys.iter().map(Into::into));
    let root = context.root.to_string_lossy();
    for text in texts {
        if root.len() > 1 && text.contains(&*root) {
            output.console().warn(&format_args!(
                "`{text}` holds the path of this project, so the key differs in other places: use a relative path"
            ));
        }
    }
}

/// Returns the argument, or its part after a `=`, if it names a file of the project that is not declared.
fn undeclared(
    word: &OsString,
    context: &CommandContext,
    root: &Path,
    declared: &[PathBuf],
) -> Option<String> {
    let text = word.to_str()?;
    let parts = [Some(text), text.split_once('=').map(|(_, value)| value)];
    let found = parts.into_iter().flatten().find(|part| {
        let path = context.working_dir.join(part);
        let path = real(&path);
        path.is_file()
            && path.starts_with(root)
            && !declared.iter().any(|declared| path.starts_with(declared))
    });
    found.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secret_variables_are_known_by_their_names() {
        for name in ["GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD_FILE", "API_KEY", "api_key"] {
            assert!(is_secret(name), "{name}");
        }
        for name in ["HOME", "KEYBOARD", "KEY", "MONKEY"] {
            assert!(!is_secret(name), "{name}");
        }
    }
}
