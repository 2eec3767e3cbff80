//! The arguments of the command line, as clap reads them.
#![expect(
    clippy::doc_markdown,
    reason = "the comments are help texts, where a name is written as it is typed"
)]

mod hash;
mod project;
mod run;
mod transfer;
mod workspace;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueHint};
use larder_config::MAX_JOBS;
use larder_storage::{CommandHash, ContentHash, HashQuery, Scheme};

use crate::exit::RUN;
use crate::when::When;
pub(crate) use hash::{Hash, HashCommand, HashContent, HashEnv, HashSite};
pub(crate) use project::{
    ProjectAudit, ProjectPull, ProjectPush, ProjectStatus, ProjectSubcommand, ProjectTarget, take_overrides,
};

pub(crate) use run::{KeyArgs, RunArgs, RunMode};
pub(crate) use transfer::{PullArgs, PushArgs};
pub(crate) use workspace::{InitArgs, PinArgs, StatusArgs, UnpinArgs};

/// Share the outputs of your pipeline through storage that you already have.
///
/// larder stores models, corpora, metrics and build products in a remote: a directory, a bucket or an SSH host. Each object
/// is named by the command that made it and by its content. A pull is verified and moved into place in one step.
#[derive(Debug, Parser)]
#[command(
    name = "larder",
    version,
    max_term_width = 100,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "\
Examples:
  larder push models/en                     upload an output, under the default command hash
  larder pull models/en                     restore the newest version
  larder run -d train.py -o models/en -- python train.py
                                            run a command, or restore what it made before
  larder ls                                 list the outputs in the remote
  larder project pull                       restore the outputs of a project.yml

Paths are relative to the working directory. The project root is the nearest directory above it with
a larder.toml or project.yml, else with a .git, else the working directory itself.

Exit codes: 0 done; 1 failed; 2 wrong arguments or configuration; 3 nothing matched; 4 integrity
failure; 5 remote unreachable, denied or missing; 130 and 143 interrupted."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) global: Global,
    /// Arguments such as `--vars.seed 3`, whose names clap does not know.
    #[arg(skip)]
    pub(crate) overrides: Vec<String>,
}

/// The documentation of larder.toml.
pub(crate) const CONFIGURATION: &str = include_str!("../configuration.md");

/// The options that every command takes, before or after its name.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Global options")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Global {
    /// Run as if started in this directory
    #[arg(short = 'C', value_name = "DIR", global = true, value_hint = ValueHint::DirPath)]
    pub(crate) directory: Option<PathBuf>,

    /// Use this remote: a name from larder.toml, a path (with a `/`) or a URL [env: LARDER_REMOTE]
    #[arg(short, long, value_name = "REMOTE", global = true)]
    pub(crate) remote: Option<String>,

    /// Hash scheme; weasel is for exchange with weasel only [env: LARDER_HASH]
    #[arg(long, value_name = "SCHEME", global = true, value_parser = PossibleValuesParser::new(Scheme::ALL.map(Scheme::name)))]
    pub(crate) hash: Option<String>,

    /// Ask this Python for its packages in site hashes, instead of $VIRTUAL_ENV, $CONDA_PREFIX or python3
    #[arg(long, value_name = "EXE", global = true, value_hint = ValueHint::ExecutablePath)]
    pub(crate) python: Option<PathBuf>,

    /// Number of threads [default: one per core]
    #[arg(short, long, value_name = "N", global = true, value_parser = jobs)]
    pub(crate) jobs: Option<NonZeroUsize>,

    /// Give up on a remote after this many seconds without progress
    #[arg(long, value_name = "SECS", global = true, value_parser = stall_timeout, allow_negative_numbers = true)]
    pub(crate) stall_timeout: Option<Duration>,

    /// Read every file, also those that did not change since they were hashed
    #[arg(long, global = true)]
    pub(crate) no_stat_cache: bool,

    /// Print only errors and requested output
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Show whole URLs, and the project, remote and configuration files in use
    #[arg(short, long, global = true)]
    pub(crate) verbose: bool,

    /// Print one JSON document, for programs
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// When to use colors
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value_t, hide_default_value = true)]
    pub(crate) color: When,

    /// When to show progress bars
    #[arg(long, value_name = "WHEN", global = true, value_enum, default_value_t, hide_default_value = true)]
    pub(crate) progress: When,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Makes the working directory a project.
    ///
    /// Writes a larder.toml, whose remote is REMOTE with the name of the project, so that two projects do not share names.
    /// Writes a .larderignore, and lets git ignore .larder. Nothing is written if the remote cannot be used. An existing
    /// project is not changed.
    Init(InitArgs),
    /// Pins the version on disk in larder.lock, and publishes it.
    ///
    /// Whoever checks out a commit of larder.lock gets that version with `larder pull`. The outputs are added to .gitignore.
    Pin(PinArgs),
    /// Removes pins from larder.lock, and their lines from .gitignore.
    ///
    /// The outputs and their objects stay.
    Unpin(UnpinArgs),
    /// Shows how the pinned outputs differ from larder.lock.
    ///
    /// Shows those that differ, and all of them with `-v`. Makes no request without `--online`.
    Status(StatusArgs),
    /// Uploads outputs to the remote.
    ///
    /// Without PATH, it uploads the pinned outputs that were modified, and updates their pins in larder.lock. Each PATH, a file
    /// or a directory, becomes one object, which becomes visible when it is complete. An object with the same path, command
    /// hash and content hash is not uploaded again. One failure does not stop the other paths.
    Push(PushArgs),
    /// Restores outputs from the remote.
    ///
    /// Without PATH, it restores what larder.lock pins, each output for itself. A PATH that is pinned comes as pinned. An
    /// existing output is kept, and compared with the remote's. Several paths without a pin are one unit: they come from one
    /// command hash, and all of them are restored or none.
    Pull(PullArgs),
    /// Runs a command only if its outputs are not known yet.
    ///
    /// If somebody has run this command with these inputs before, its outputs are restored, and it does not run. Otherwise it
    /// runs, and its outputs are published for everybody else. Its output streams and its exit code are passed on.
    Run(RunArgs),
    /// Prints the URL of the newest object of an output.
    ///
    /// The newest object is the one that was pushed last. Without a hash, every object matches.
    Find(FindArgs),
    /// Prints the URL that an object has or would have, without a request.
    Url(UrlArgs),
    /// Lists the outputs in the remote, or the objects of one output.
    ///
    /// Without PATH it lists the names at the top of the remote, and looks below each for an object: in a bucket, with one
    /// request per name. Names without an object of larder's are counted in a warning.
    Ls(LsArgs),
    /// Shows the runs that made outputs, the newest first.
    ///
    /// Every push records what it published together, and from which commit. A push with `--hash weasel` records nothing.
    Log(LogArgs),
    /// Shows which inputs of the last run here differ from those of the nearest other run.
    ///
    /// The nearest run is in the remote. It has another command hash, and shares the most inputs among the 8 newest. Without
    /// a run in this project, the newest run in the remote is explained.
    Why(WhyArgs),
    /// Computes hashes.
    #[command(subcommand)]
    Hash(Hash),
    /// Uploads and restores the outputs of a weasel or spaCy project.
    #[command(subcommand)]
    Project(ProjectSubcommand),
    /// Documents every key of larder.toml, with examples.
    #[command(override_help = CONFIGURATION, after_help = CONFIGURATION)]
    Config,
    /// Prints the script that completes command lines in a shell.
    Completions(Completions),
    /// Prints the manual pages, or writes one file per command.
    Man(ManPages),
}

impl Command {
    /// The name in machine-readable output.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Push(_) => "push",
            Self::Pull(_) => "pull",
            Self::Run(_) => RUN,
            Self::Find(_) => "find",
            Self::Url(_) => "url",
            Self::Ls(_) => "ls",
            Self::Log(_) => "log",
            Self::Why(_) => "why",
            Self::Init(_) => "init",
            Self::Unpin(_) => "unpin",
            Self::Pin(_) => "pin",
            Self::Status(_) => "status",
            Self::Hash(_) => "hash",
            Self::Project(command) => command.name(),
            Self::Config => "config",
            Self::Completions(_) => "completions",
            Self::Man(_) => "man",
        }
    }
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder find models/en
  larder find models/en --command-hash nightly --all")]
pub(crate) struct FindArgs {
    /// What to find
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,

    /// What made the output: the hash, or its first 8 digits or more
    #[arg(long, value_name = "HASH")]
    pub(crate) command_hash: Option<HashQuery>,

    /// What the output contains: the hash, or its first 8 digits or more
    #[arg(long, value_name = "HASH")]
    pub(crate) content_hash: Option<HashQuery>,

    /// Print all that match, the newest first
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Example:
  larder url m.json --command-hash nightly --content-hash \"$(larder hash content m.json)\"")]
pub(crate) struct UrlArgs {
    /// The output
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: PathBuf,

    /// What made the output
    #[arg(long, value_name = "HASH")]
    pub(crate) command_hash: CommandHash,

    /// What the output contains
    #[arg(long, value_name = "HASH")]
    pub(crate) content_hash: ContentHash,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder ls
  larder ls models/en
  larder ls -l models/en                    whole hashes and times
  larder ls --json | jq -r '.results[].path'")]
pub(crate) struct LsArgs {
    /// Show whole hashes and times
    #[arg(short, long, requires = "path")]
    pub(crate) long: bool,

    /// List only objects that this command made: the hash, or its first 8 digits or more
    #[arg(long, value_name = "HASH", requires = "path")]
    pub(crate) command_hash: Option<HashQuery>,

    /// List only objects with this content: the hash, or its first 8 digits or more
    #[arg(long, value_name = "HASH", requires = "path")]
    pub(crate) content_hash: Option<HashQuery>,

    /// The output whose objects to list [default: list the outputs]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder log                                the newest runs in the remote
  larder log models/en -n 3
  larder log models/en --json | jq -r '.results[].git.commit'")]
pub(crate) struct LogArgs {
    /// The output whose runs to show [default: all outputs]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: Option<PathBuf>,

    /// Show only runs of this command: the hash, or its first 8 digits or more
    #[arg(long, value_name = "HASH")]
    pub(crate) command_hash: Option<HashQuery>,

    /// Show at most this many runs
    #[arg(short, long = "max-count", value_name = "N", default_value_t = 20)]
    pub(crate) number: usize,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder why                                compare the last run here with the nearest one of another command
  larder why models/en                      compare the last run here that made it
  larder why models/en --command-hash 3f2a77c1")]
pub(crate) struct WhyArgs {
    /// The output [default: any]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) path: Option<PathBuf>,

    /// Explain this run: its command hash, or the first 8 digits or more [default: the last run here]
    #[arg(long, value_name = "HASH", requires = "path")]
    pub(crate) command_hash: Option<HashQuery>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder man | man -l -
  larder man --dir ~/.local/share/man/man1     then `man larder-push` works")]
pub(crate) struct ManPages {
    /// Write larder.1, larder-push.1 and so on into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  source <(larder completions bash)         in ~/.bashrc; the same with zsh in ~/.zshrc
  larder completions fish | source          in ~/.config/fish/config.fish

Completions offer files, names of remotes and, for remotes that are directories, the outputs in them.")]
pub(crate) struct Completions {
    /// The shell
    pub(crate) shell: clap_complete::Shell,
}

fn jobs(text: &str) -> Result<NonZeroUsize, String> {
    let jobs = text.parse().ok().filter(|jobs: &NonZeroUsize| jobs.get() <= MAX_JOBS);
    jobs.ok_or_else(|| format!("it is a whole number from 1 to {MAX_JOBS}"))
}

fn stall_timeout(text: &str) -> Result<Duration, String> {
    let timeout = text.parse().ok().and_then(larder_config::stall_timeout);
    timeout.ok_or_else(|| "it is a number of seconds above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
