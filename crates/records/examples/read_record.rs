//! Prints which outputs a run record names, and from which commit they were pushed.
//!
//! ```text
//! cargo run -p larder-records --example read_record -- [FILE]
//! ```
//!
//! Without a file it writes a record first, and prints its JSON too.

#![expect(clippy::print_stdout, reason = "an example that is run by hand")]

use std::error::Error;
use std::time::SystemTime;
use std::{env, fs};

use larder_hashing::{CommandHash, ContentHash, OutputPath, Scheme};
use larder_records::{GitState, RecordedOutput, RunId, RunRecord};

fn main() -> Result<(), Box<dyn Error>> {
    let bytes = if let Some(path) = env::args_os().nth(1) {
        fs::read(path)?
    } else {
        let bytes = sample()?.to_bytes()?;
        println!("{}\n", String::from_utf8(bytes.clone())?);
        bytes
    };
    let record = RunRecord::from_bytes(&bytes)?;
    println!("run {} under the command hash {}", record.id, record.command_hash);
    for output in &record.outputs {
        println!("  {}  {} bytes in {} files", output.path, output.content_bytes, output.files);
    }
    if let Some(git) = &record.details.git {
        println!("  from commit {}", git.commit);
    }
    Ok(())
}

fn sample() -> Result<RunRecord, Box<dyn Error>> {
    let now = SystemTime::now().into();
    let command = CommandHash::of_no_command(Scheme::Blake3);
    let mut record = RunRecord::new(RunId::random(), command, now, now);
    record.outputs = vec![RecordedOutput {
        path: OutputPath::new("metrics.json")?,
        content_hash: ContentHash::of_file(Scheme::Blake3, &Scheme::Blake3.digest(b"{}")),
        object_bytes: 108,
        content_bytes: 2,
        files: 1,
        executable: Some(false),
    }];
    record.details.git =
        Some(GitState { commit: "3f786850e387550fdab836ed7e6dc881de23001b".to_owned(), dirty: Some(false) });
    Ok(record)
}
