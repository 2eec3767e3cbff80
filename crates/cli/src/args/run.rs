//! The arguments of `larder run`, and those of the key of a command.
#![expect(
    clippy::doc_markdown,
    reason = "the comments are help texts, where a name is written as it is typed"
)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// The inputs of a command, besides its arguments.
#[derive(Args, Debug)]
pub(crate) struct KeyArgs {
    /// A file or directory that the command reads; may be repeated
    #[arg(short, long = "dep", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) deps: Vec<PathBuf>,

    /// An environment variable that matters, with its current value, or the given one; may be repeated
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    pub(crate) env: Vec<String>,

    /// Any other input of the output; may be repeated
    #[arg(long = "key", value_name = "NAME=VALUE")]
    pub(crate) keys: Vec<String>,

    /// Include the packages of the Python environment
    #[arg(long)]
    pub(crate) site: bool,
}

/// The options of `larder run` that `larder hash command --run` takes as well, so that one can be typed for the other.
#[derive(Args, Debug)]
pub(crate) struct RunKeyArgs {
    /// Share the outputs between operating systems and processors
    #[arg(long)]
    pub(crate) portable: bool,

    /// A file or directory that the command makes; may be repeated
    #[arg(short, long = "out", value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) outputs: Vec<PathBuf>,

    /// Leave this output in place, because the command continues from it; may be repeated
    #[arg(long, value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) keep: Vec<PathBuf>,

    /// Run a command that makes no output, such as a test, only if it has not passed yet
    #[arg(long, conflicts_with_all = ["outputs", "keep"])]
    pub(crate) check: bool,

    /// The command reads no file of the project
    #[arg(long)]
    pub(crate) no_deps: bool,
}

impl RunKeyArgs {
    /// Returns whether any of these options is given.
    pub(crate) fn is_any(&self) -> bool {
        self.portable || self.check || self.no_deps || !self.outputs.is_empty() || !self.keep.is_empty()
    }
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder run -d corpus -d train.py -o models/en -- python train.py
  larder run -d src -d tests --check -- pytest
  larder run -d main.c -e CFLAGS -o app --dry-run -- make app      say what would be done, and why

The key is the hash of the command, its dependencies, variables and keys, and the platform:
`larder hash command --run` prints it. Notes go to standard error. Standard output belongs to CMD.

Exit codes: that of CMD; 128 + N if signal N ended it; 126 and 127 if it cannot be run or found;
125 if larder itself failed.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) key: KeyArgs,

    #[command(flatten)]
    pub(crate) run: RunKeyArgs,

    /// How to use the remote [env: LARDER_RUN_MODE] [default: read-write]
    #[arg(long, value_name = "MODE", value_enum)]
    pub(crate) mode: Option<RunMode>,

    /// Run CMD even if its outputs are known
    #[arg(long)]
    pub(crate) refresh: bool,

    /// Pin the outputs in larder.lock, if the remote has them in the end
    #[arg(long)]
    pub(crate) pin: bool,

    /// Fail if the remote cannot be used
    #[arg(long)]
    pub(crate) require_remote: bool,

    /// Say what would be done, and why, without doing it
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Write what was done to FILE, as JSON
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,

    /// The command and its arguments
    #[arg(value_name = "CMD", last = true, required = true, value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

/// How a run uses the remote.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RunMode {
    /// Restore outputs, and publish new ones
    ReadWrite,
    /// Restore outputs, and write nothing to the remote
    ReadOnly,
    /// Only run CMD
    Off,
}
