//! The arguments of `larder push` and `larder pull`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use larder_storage::{CommandHash, Compression, ContentHash, HashQuery};

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder push                                                the pinned outputs that were modified
  larder push models/en
  larder push models/en metrics.json --command-hash \"$(larder hash command -- python train.py)\"
  larder push corpus --compression zstd:19 -r team
  larder push models/en --command-hash nightly --force       repair or replace the object")]
#[expect(clippy::struct_excessive_bools, reason = "they are flags of the command line")]
pub(crate) struct PushArgs {
    /// What to push [default: the pinned outputs that were modified]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,

    /// What made the outputs [default: the hash of no command]
    #[arg(long, value_name = "HASH", requires = "paths")]
    pub(crate) command_hash: Option<CommandHash>,

    /// What the output contains [default: computed]; a hash in a known format is verified
    #[arg(long, value_name = "HASH", requires = "paths")]
    pub(crate) content_hash: Option<ContentHash>,

    /// How to compress: zstd (levels 1 to 19), gzip (1 to 9), xz (0 to 6), bzip2 (1 to 9), each with `:LEVEL`, or none
    /// [default: zstd:3; gzip:6 under weasel]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) compression: Option<Compression>,

    /// Upload even if the object exists, and replace it. Also push and pin an output that diverged from its pin
    #[arg(long, requires = "paths")]
    pub(crate) force: bool,

    /// Fail with 3 if a pinned output is missing
    #[arg(long)]
    pub(crate) strict: bool,

    /// Store the targets of symbolic links, instead of the links
    #[arg(long)]
    pub(crate) dereference: bool,

    /// Show what would be uploaded, without uploading
    ///
    /// Makes every check that needs no write. The remote must exist and accept the credentials. A directory and Google Cloud
    /// Storage must also accept a new object. On S3 and SSH, a dry run does not test write access.
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  larder pull                                                all that larder.lock pins
  larder pull models/en                                      as pinned, else the newest
  larder pull models/en --latest                             the newest, and pin it
  larder pull models/en metrics.json --command-hash nightly
  larder pull models/en --force                              replace an output that differs
  larder pull models/en --to /tmp/compare                    restore to /tmp/compare/models/en")]
#[expect(clippy::struct_excessive_bools, reason = "they are flags of the command line")]
pub(crate) struct PullArgs {
    /// What to pull [default: all that larder.lock pins]
    #[arg(value_name = "PATH", value_hint = ValueHint::AnyPath)]
    pub(crate) paths: Vec<PathBuf>,

    /// What made the outputs, in whole or its first 8 digits or more [default: as pinned, else the newest]
    #[arg(long, value_name = "HASH", requires = "paths")]
    pub(crate) command_hash: Option<HashQuery>,

    /// What the output contains, in whole or its first 8 digits or more [default: as pinned, else the newest]
    #[arg(long, value_name = "HASH", requires = "paths")]
    pub(crate) content_hash: Option<HashQuery>,

    /// Take the newest version of pinned outputs, and pin it
    #[arg(long, conflicts_with_all = ["command_hash", "content_hash", "to"])]
    pub(crate) latest: bool,

    /// Replace an existing output that differs. Without PATH, it needs `--all` too
    #[arg(long)]
    pub(crate) force: bool,

    /// Replace all pinned outputs that differ, together with `--force`
    #[arg(long, requires = "force", conflicts_with = "paths")]
    pub(crate) all: bool,

    /// Fail with 1 if an output that differs is kept
    #[arg(long)]
    pub(crate) strict: bool,

    /// Restore to DIR/PATH instead, to compare versions
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) to: Option<PathBuf>,

    /// Do not check the content against its hash
    #[arg(long)]
    pub(crate) no_verify: bool,

    /// Show what would be restored, without restoring
    #[arg(long)]
    pub(crate) dry_run: bool,
}
