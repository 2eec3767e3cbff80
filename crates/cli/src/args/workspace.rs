//! The arguments of the commands of a workspace.

use std::path::PathBuf;

use clap::{Args, ValueHint};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder status
  larder status models                      the pins of models, or below it
  larder status --check --online            in CI: everything is as pinned, and the remote has it")]
pub(crate) struct StatusArgs {
    /// Outputs, or directories with outputs [default: all pins]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,

    /// Ask the remote whether it has the pinned versions
    #[arg(long)]
    pub(crate) online: bool,

    /// Fail with 1 unless all outputs are clean
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder pin models/en corpus/train.spacy   then commit larder.lock and .gitignore
  larder pin --theirs                       after a merge with conflicts: take the pins of the other branch
  larder pin models/en                      after a merge with conflicts: pin what is on disk")]
pub(crate) struct PinArgs {
    /// What to pin
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath, required_unless_present_any = ["ours", "theirs"])]
    pub(crate) paths: Vec<PathBuf>,

    /// Leave .gitignore as it is
    #[arg(long)]
    pub(crate) no_gitignore: bool,

    /// Settle a conflict in larder.lock: take the pins of the branch that was checked out. Without PATH, all conflicts
    #[arg(long, conflicts_with = "theirs")]
    pub(crate) ours: bool,

    /// Settle a conflict in larder.lock: take the pins of the branch that is merged. Without PATH, all conflicts
    #[arg(long)]
    pub(crate) theirs: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder init s3://bucket/larder            the remote becomes s3://bucket/larder/PROJECT
  larder init /mnt/team/larder
  larder init team                          the remote `team` of your configuration
  larder init                               your default remote, else a store on this machine")]
pub(crate) struct InitArgs {
    /// Where the outputs of all projects are: a URL, a path (with a `/`), or a name from your configuration
    ///
    /// [default: your default remote]
    #[arg(value_name = "REMOTE", value_hint = ValueHint::DirPath)]
    pub(crate) init_remote: Option<String>,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder unpin models/en
  larder unpin models/en metrics.json")]
pub(crate) struct UnpinArgs {
    /// What to unpin
    #[arg(value_name = "PATH", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,
}
