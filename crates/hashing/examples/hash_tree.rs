//! Prints the content hash of a file or directory, and its manifest.
//!
//! ```text
//! cargo run -p larder-hashing --example hash_tree -- [PATH] [SCHEME]
//! ```
//!
//! Without a path it hashes a small directory that it creates.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example that is run by hand")]

use std::error::Error;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use larder_hashing::{HashOptions, Scheme, content_manifest};

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    for cause in successors(error.source(), |&cause| cause.source()) {
        eprintln!("  caused by: {cause}");
    }
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let scratch = tempfile::tempdir()?;
    let path = arguments.next().map_or_else(|| make_model(scratch.path()), |path| Ok(PathBuf::from(path)))?;
    let scheme = match arguments.next() {
        Some(name) => name.to_string_lossy().parse()?,
        None => Scheme::default(),
    };
    let mut manifest = Vec::new();
    let hash = content_manifest(&path, &HashOptions::new(scheme), &mut manifest)?;
    println!("{hash}  {}", path.display());
    print!("{}", String::from_utf8_lossy(&manifest));
    Ok(())
}

fn make_model(scratch: &Path) -> io::Result<PathBuf> {
    let model = scratch.join("model");
    fs::create_dir_all(model.join("vocab"))?;
    fs::create_dir(model.join("empty"))?;
    fs::write(model.join("weights.bin"), [0; 1024])?;
    fs::write(model.join("vocab/strings.json"), "[]\n")?;
    Ok(model)
}
