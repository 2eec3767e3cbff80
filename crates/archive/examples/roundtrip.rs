//! Packs a file or directory in every compression, unpacks each archive again, and compares the content hashes.
//!
//! ```text
//! cargo run --release -p larder-archive --example roundtrip -- [PATH]
//! ```
//!
//! Without an argument it creates a small directory.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example that is run by hand")]

use std::convert::Infallible;
use std::error::Error;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use std::{env, fs, io};

use futures::executor::block_on;
use futures::{TryStreamExt as _, stream};
use larder_archive::{Compression, Format, PackOptions, UnpackOptions, pack, unpack};
use larder_hashing::OutputPath;
use larder_tree::Workers;

fn main() -> ExitCode {
    let Err(error) = run() else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    for cause in successors(error.source(), |&cause| cause.source()) {
        eprintln!("  caused by: {cause}");
    }
    ExitCode::FAILURE
}

fn run() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let path: PathBuf = match env::args_os().nth(1) {
        Some(path) => {
            let found = Path::new(&path).canonicalize();
            found.map_err(|error| format!("failed to find {}: {error}", path.display()))?
        }
        None => make_model(scratch.path())?,
    };
    let (Some(root), Some(name)) = (path.parent(), path.file_name()) else {
        return Err("name a file or directory below another directory".into());
    };
    let output = OutputPath::new(name)?;
    // Use one set of threads for everything.
    let workers = Workers::default();
    for format in Format::ALL {
        let compression = Compression::new(format);
        // No runtime is needed, because any executor can poll it.
        block_on(round_trip(root, &output, compression, &workers, scratch.path()))?;
    }
    Ok(())
}

async fn round_trip(
    root: &Path,
    output: &OutputPath,
    compression: Compression,
    workers: &Workers,
    scratch: &Path,
) -> Result<(), Box<dyn Error>> {
    let started = Instant::now();
    let options = PackOptions::default().with_compression(compression).with_workers(workers.clone());
    let mut packing = pack(root, output, &options);
    let mut archive = Vec::new();
    while let Some(bytes) = packing.try_next().await? {
        archive.push(Ok::<_, Infallible>(bytes));
    }
    let packed = packing.finish().await?;
    let packing_took = started.elapsed();

    let started = Instant::now();
    let staging = tempfile::tempdir_in(scratch)?;
    let options = UnpackOptions::default().with_scheme(Some(options.scheme)).with_workers(workers.clone());
    let unpacked = unpack(stream::iter(archive), staging.path(), output, &options).await?;
    if unpacked.content_hash.as_ref() != Some(&packed.content_hash) {
        return Err("what came back is not what was packed".into());
    }
    println!(
        "{:<8} {:>12} -> {:>12} bytes, packed in {packing_took:.1?}, restored and verified in {:.1?}",
        compression.to_string(),
        packed.content_bytes,
        packed.archive_bytes,
        started.elapsed(),
    );
    Ok(())
}

fn make_model(scratch: &Path) -> io::Result<PathBuf> {
    let model = scratch.join("model");
    fs::create_dir_all(model.join("vocab"))?;
    fs::write(model.join("weights.bin"), [0; 1024])?;
    fs::write(model.join("vocab/strings.json"), "[]\n".repeat(10_000))?;
    Ok(model)
}
