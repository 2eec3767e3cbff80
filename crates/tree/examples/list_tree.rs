//! Lists a tree in the order in which larder reads it, with the sizes of its files.
//!
//! ```text
//! cargo run -p larder-tree --example list_tree -- [PATH]
//! ```
//!
//! Without a path it lists a small directory that it creates.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example that is run by hand")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use larder_tree::{EntryKind, TreeOptions, TreeReader};

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let path =
        env::args_os().nth(1).map_or_else(|| create_model(scratch.path()), |path| Ok(PathBuf::from(path)))?;
    for entry in TreeReader::open(path, &TreeOptions::default()) {
        let entry = entry?;
        let path = String::from_utf8_lossy(&entry.path);
        match entry.kind {
            EntryKind::File { executable: false } => println!("f {:>12} {path}", entry.size),
            EntryKind::File { executable: true } => println!("x {:>12} {path}", entry.size),
            EntryKind::Directory { .. } => println!("d {:>12} {path}/", ""),
            EntryKind::Symlink { target } => {
                println!("l {:>12} {path} -> {}", entry.size, String::from_utf8_lossy(&target));
            }
        }
    }
    Ok(())
}

fn create_model(scratch: &Path) -> io::Result<PathBuf> {
    let model = scratch.join("model");
    fs::create_dir_all(model.join("vocab"))?;
    fs::create_dir(model.join("empty"))?;
    fs::write(model.join("weights.bin"), [0; 1024])?;
    fs::write(model.join("vocab/strings.json"), "[]\n")?;
    Ok(model)
}
