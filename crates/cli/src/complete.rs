//! Completes command lines. The scripts of `larder completions` ask the binary for candidates.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Arg, Command, CommandFactory as _, FromArgMatches as _};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter as _};
use clap_complete::env::{CompleteEnv, EnvCompleter, Shells};
use larder_pins::LarderLock;
use larder_storage::OutputPath;
use tokio::runtime::Builder;

use crate::args::{Cli, Global, take_overrides};
use crate::context::CommandContext;
use crate::exit::Exit;
use crate::output::console::{Console, Verbosity};
use crate::progress::ProgressDisplay;
use crate::when::When;

/// The variable that the shell's script sets to the name of the shell.
pub(crate) const VARIABLE: &str = "LARDER_COMPLETE";

/// The formats of `--compression`. A level follows after a `:`.
const FORMATS: [&str; 5] = ["zstd", "gzip", "xz", "bzip2", "none"];

/// The time limit for listing a remote. A user waits for the result, and a network file system may hang.
const LIST_TIMEOUT: Duration = Duration::from_millis(500);

/// The end of the function in the script for bash.
const BASH_END: &str = "}\nif [[ \"${BASH_VERSINFO[0]}\" -eq 4";

/// Lets bash quote names with blanks and other special characters. Other names stay as they are, because bash
/// would treat an option as a file if a file has its name.
const BASH_QUOTING: &str = r#"    local reply
    for reply in "${COMPREPLY[@]}"; do
        if [[ "$reply" == *[!A-Za-z0-9_./=:+,@%~-]* ]]; then
            compopt -o filenames 2> /dev/null
            break
        fi
    done
"#;

/// Answers a shell that asks for completions. Returns `None` in every other call.
pub(crate) fn answer() -> Option<Exit> {
    let asked = env::var_os(VARIABLE).is_some_and(|shell| !shell.is_empty());
    let words: Vec<OsString> = env::args_os().skip_while(|word| word != "--").skip(1).collect();
    if !asked {
        return None;
    }
    let global = Arc::new(typed(&words));
    if let Some(directory) = global.directory.as_ref().filter(|_| !is_directory_being_typed(&words)) {
        // If this fails, candidates come from the current directory.
        env::set_current_dir(directory).ok();
    }
    let completing = CompleteEnv::with_factory(|| command(&global)).var(VARIABLE);
    match completing.try_complete(env::args_os(), env::current_dir().ok().as_deref()) {
        Ok(true) => Some(Exit::Done),
        Ok(false) => None,
        Err(error) => {
            error.print().ok();
            Some(Exit::Failed)
        }
    }
}

/// Returns the script that lets a shell ask this binary.
pub(crate) fn script(shell: &str) -> std::io::Result<Vec<u8>> {
    let shells = Shells::builtins();
    let shell: &dyn EnvCompleter = shells.completer(shell).ok_or(std::io::ErrorKind::Unsupported)?;
    let mut script = Vec::new();
    shell.write_registration(VARIABLE, "larder", "larder", &program(), &mut script)?;
    if shell.name() == "bash" {
        let text = String::from_utf8_lossy(&script).replace(BASH_END, &format!("{BASH_QUOTING}{BASH_END}"));
        script = text.into_bytes();
    }
    Ok(script)
}

/// Returns how to call this binary from any directory. A bare name is kept, and a path becomes absolute.
fn program() -> String {
    let called = env::args_os().next().map(PathBuf::from).unwrap_or_default();
    let path = if called.components().count() > 1 { env::current_exe().unwrap_or(called) } else { called };
    path.to_string_lossy().into_owned()
}

/// Returns the global options among the words, as far as they can be parsed. The last words may be an option
/// without its value.
fn typed(words: &[OsString]) -> Global {
    let (words, _) = take_overrides(words.to_vec());
    let read = |words: &[OsString]| {
        let matches = Cli::command().ignore_errors(true).try_get_matches_from(words).ok()?;
        Global::from_arg_matches(&matches).ok()
    };
    (1..=words.len()).rev().find_map(|len| read(&words[..len])).unwrap_or_default()
}

fn is_directory_being_typed(words: &[OsString]) -> bool {
    words.iter().rev().nth(1).is_some_and(|word| word == "-C")
}

/// Returns the definition of the command line, with candidates from the configuration and the remotes.
fn command(global: &Arc<Global>) -> Command {
    let with_remotes = |arg: Arg| {
        let global = Arc::clone(global);
        arg.add(ArgValueCompleter::new(move |typed: &OsStr| remotes(&global, typed)))
    };
    let with_outputs = |arg: Arg| {
        let global = Arc::clone(global);
        arg.add(ArgValueCompleter::new(move |typed: &OsStr| outputs(&global, typed)))
    };
    let with_formats = |arg: Arg| {
        arg.add(ArgValueCompleter::new(|typed: &OsStr| matching(FORMATS.map(str::to_owned).into(), typed)))
    };
    let with_pins = |arg: Arg| {
        let global = Arc::clone(global);
        arg.add(ArgValueCompleter::new(move |typed: &OsStr| {
            matching(pinned_outputs(&global).unwrap_or_default(), typed)
        }))
    };
    let mut command = Cli::command()
        .mut_arg("remote", with_remotes)
        .mut_subcommand("init", |init| init.mut_arg("init_remote", with_remotes))
        .mut_subcommand("unpin", |unpin| unpin.mut_arg("paths", with_pins))
        .mut_subcommand("push", |push| push.mut_arg("compression", with_formats));
    for (name, argument) in
        [("pull", "paths"), ("find", "path"), ("ls", "path"), ("log", "path"), ("why", "path")]
    {
        command = command.mut_subcommand(name, |command| command.mut_arg(argument, with_outputs));
    }
    command.mut_subcommand("project", |mut project| {
        for name in ["push", "pull", "status", "audit"] {
            project = project.mut_subcommand(name, |command| command.mut_arg("project_remote", with_remotes));
        }
        project
    })
}

/// Returns names of configured remotes, or directories if the typed text begins a path.
fn remotes(global: &Global, typed: &OsStr) -> Vec<CompletionCandidate> {
    if typed.to_string_lossy().starts_with(['.', '/', '~']) {
        return PathCompleter::dir().complete(typed);
    }
    matching(context(global).map(|context| context.remote_names(&silent())).unwrap_or_default(), typed)
}

/// Returns files, and outputs in the remote if the remote is a directory. Makes no network request.
fn outputs(global: &Global, typed: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = matching(outputs_of_local_remote(global).unwrap_or_default(), typed);
    let is_output = |path: &OsStr| {
        let path = path.to_string_lossy();
        let path = path.trim_end_matches('/');
        found.iter().any(|output| output.get_value() == path)
    };
    let files: Vec<CompletionCandidate> = PathCompleter::any().complete(typed);
    let files: Vec<CompletionCandidate> =
        files.into_iter().filter(|file| !is_output(file.get_value())).collect();
    found.extend(files);
    found
}

fn outputs_of_local_remote(global: &Global) -> Option<Vec<String>> {
    let context = context(global)?;
    let session = context.open(&silent()).ok().filter(|session| session.is_local)?;
    let runtime = Builder::new_current_thread().enable_time().build().ok()?;
    let listing = async { tokio::time::timeout(LIST_TIMEOUT, session.storage.list_names()).await };
    let names = runtime.block_on(listing);
    // A listing that hangs must not keep the shell waiting.
    runtime.shutdown_background();
    let name = |name: String| from_here(&context, &OutputPath::with_literal_key(&name).ok()?);
    Some(names.ok()?.ok()?.into_iter().filter_map(name).collect())
}

/// Returns the outputs that have a pin.
fn pinned_outputs(global: &Global) -> Option<Vec<String>> {
    let context = context(global)?;
    let pins = LarderLock::read(&context.root).ok()?;
    Some(pins.iter().filter_map(|pin| from_here(&context, &pin.path)).collect())
}

/// Returns the path of an output relative to the working directory, if it is below it.
fn from_here(context: &CommandContext, output: &OutputPath) -> Option<String> {
    Some(Path::new(output.as_str()).strip_prefix(context.below_root()).ok()?.to_str()?.to_owned())
}

fn matching(names: Vec<String>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    names.into_iter().filter(|name| name.starts_with(&*typed)).map(CompletionCandidate::new).collect()
}

fn context(global: &Global) -> Option<CommandContext> {
    CommandContext::new(global, true, &silent()).ok()
}

/// Returns a console that prints nothing, because its text would appear in the command line.
fn silent() -> Console {
    Console::new(When::Never.into(), Verbosity::Quiet, ProgressDisplay::Off)
}
