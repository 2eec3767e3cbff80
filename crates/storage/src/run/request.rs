//! The request of a run.

use larder_hashing::{CommandHash, OutputPath};
use larder_records::RunDetails;

/// The command of a run, and its outputs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RunRequest {
    /// The key of the run.
    pub command_hash: CommandHash,
    /// The outputs. A check has none.
    pub outputs: Vec<OutputPath>,
    /// The outputs that stay in place while the command runs, because it continues from them.
    pub kept: Vec<OutputPath>,
    /// The command and its inputs, as the record will have them.
    pub details: RunDetails,
    /// Say what would be done, and do nothing. Nothing is locked then.
    pub dry_run: bool,
}

impl RunRequest {
    /// Creates a request without kept outputs.
    pub fn new(command_hash: CommandHash, outputs: Vec<OutputPath>, details: RunDetails) -> Self {
        Self { command_hash, outputs, kept: Vec::new(), details, dry_run: false }
    }
}
