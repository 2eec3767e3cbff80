//! The arguments of the commands for pins.

use std::path::PathBuf;

use clap::{Args, ValueHint};

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
