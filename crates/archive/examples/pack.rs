//! Packs a file or directory into an archive, as `larder push` does.
//!
//! ```text
//! cargo run -p larder-archive --example pack -- [PATH] [ARCHIVE] [COMPRESSION] [SCHEME]
//! ```
//!
//! Without arguments it packs a small directory that it creates.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "an example that is run by hand")]

use std::error::Error;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, io};

use futures::TryStreamExt;
use larder_archive::{PackOptions, prepare};
use larder_hashing::{OutputPath, Scheme};
use tokio::io::AsyncWriteExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    for cause in successors(error.source(), |&cause| cause.source()) {
        eprintln!("  caused by: {cause}");
    }
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let scratch = tempfile::tempdir()?;
    let path = match arguments.next() {
        Some(path) => {
            Path::new(&path).canonicalize().map_err(|error| format!("failed to find {path}: {error}"))?
        }
        None => make_model(scratch.path())?,
    };
    let archive = arguments.next().map_or_else(|| scratch.path().join("model.tar.zst"), PathBuf::from);
    let compression = arguments.next().as_deref().unwrap_or("zstd").parse()?;
    let scheme: Scheme = arguments.next().as_deref().unwrap_or("blake3").parse()?;

    let (Some(root), Some(name)) = (path.parent(), path.file_name()) else {
        return Err("name a file or directory below another directory".into());
    };
    let options = PackOptions::new(scheme).with_compression(compression);
    let prepared = prepare(root, &OutputPath::new(name)?, &options).await?;
    println!("{}", prepared.content_hash());

    let mut packing = prepared.pack();
    let mut file = tokio::fs::File::create(&archive).await?;
    while let Some(bytes) = packing.try_next().await? {
        file.write_all(&bytes).await?;
    }
    file.flush().await?;
    // Only this call confirms that the archive is complete.
    let packed = packing.finish().await?;
    println!(
        "{} entries, {} bytes in files, {} bytes in {}",
        packed.entries,
        packed.content_bytes,
        packed.archive_bytes,
        archive.display()
    );
    Ok(())
}

fn make_model(scratch: &Path) -> io::Result<PathBuf> {
    let model = scratch.join("model");
    fs::create_dir_all(model.join("vocab"))?;
    fs::write(model.join("weights.bin"), [0; 1024])?;
    fs::write(model.join("vocab/strings.json"), "[]\n")?;
    Ok(model)
}
