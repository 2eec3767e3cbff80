//! The arguments of `larder hash`.
#![expect(
    clippy::doc_markdown,
    reason = "the comments are help texts, where a name is written as it is typed"
)]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::run::{KeyArgs, RunKeyArgs};

/// Computes hashes.
#[derive(Debug, Subcommand)]
#[command(arg_required_else_help = true)]
pub(crate) enum Hash {
    /// Prints the hash of the content of files or directories.
    ///
    /// For one PATH it prints the bare hash, for several `hash  path`.
    Content(HashContent),
    /// Prints the hash of a command and its inputs.
    ///
    /// The hash covers the command's arguments, the content of its dependencies, and the named variables and keys. It also
    /// covers the working directory, unless that is the project root. Without arguments, it is the hash that a plain push
    /// uses.
    Command(HashCommand),
    /// Prints the hash of environment variables.
    ///
    /// A value `$NAME` or `${NAME}` stands for that variable of the environment. NAME alone is short for `NAME=$NAME`.
    /// Values are never printed.
    Env(HashEnv),
    /// Prints the hash of the packages that are installed in a Python environment.
    ///
    /// The environment is that of --python, else $VIRTUAL_ENV, else $CONDA_PREFIX, else of python3.
    Site(HashSite),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder hash content models/en
  larder hash content models/en --explain       the manifest too: compare it with that of another machine")]
pub(crate) struct HashContent {
    /// What to hash
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,

    /// Hash the targets of symbolic links, instead of the links
    #[arg(long)]
    pub(crate) dereference: bool,

    /// Print the hashed manifest before the hash
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder hash command -d corpus -d train.py -- python train.py --seed 1
  larder hash command -d main.c -e CFLAGS --key os=linux -- make
  larder hash command --site -d train.py --explain -- python train.py")]
pub(crate) struct HashCommand {
    #[command(flatten)]
    pub(crate) key: KeyArgs,

    /// Print the key that `larder run` has with the same options
    #[arg(long)]
    pub(crate) run: bool,

    #[command(flatten)]
    pub(crate) run_options: RunKeyArgs,

    /// Print the hashed manifest before the hash
    #[arg(long)]
    pub(crate) explain: bool,

    /// The command and its arguments; it is not run
    #[arg(value_name = "CMD", last = true, value_hint = ValueHint::CommandWithArguments)]
    pub(crate) command: Vec<OsString>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  larder hash env CUDA_VERSION LANG=C.UTF-8")]
pub(crate) struct HashEnv {
    /// The variables; with none, the hash of no variables
    #[arg(value_name = "NAME[=VALUE]")]
    pub(crate) variables: Vec<String>,

    /// Print the hashed manifest before the hash
    #[arg(long)]
    pub(crate) explain: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  larder hash site --python .venv/bin/python --explain")]
pub(crate) struct HashSite {
    /// Print the hashed manifest before the hash
    #[arg(long)]
    pub(crate) explain: bool,
}
