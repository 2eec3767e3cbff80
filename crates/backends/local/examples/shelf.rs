//! Stores a file as an object in a directory, lists the objects, and reads the file back.
//!
//! ```text
//! cargo run -p larder-backend-local --example shelf -- Cargo.toml /tmp/shelf
//! ```

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it does")]

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::iter::successors;
use std::path::PathBuf;
use std::process::ExitCode;

use bytes::BytesMut;
use futures::TryStreamExt;
use larder_backend::{Backend, GetOptions, Key, ListOptions, Listed, Prefix, PutOptions};
use larder_backend_local::{CreateRoot, LocalBackend, LocalConfig};

#[tokio::main]
async fn main() -> ExitCode {
    let Err(error) = run().await else { return ExitCode::SUCCESS };
    eprintln!("error: {error}");
    for cause in successors(error.source(), |&cause| cause.source()) {
        eprintln!("  caused by: {cause}");
    }
    ExitCode::FAILURE
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    // Without arguments it stores its own source in a subdirectory of the working directory.
    let source = arguments.next().map_or_else(env::current_exe, Ok)?;
    let root = arguments.next().unwrap_or_else(|| "shelf".into());
    let name = source.file_name().and_then(|name| name.to_str()).ok_or("the file has no name in UTF-8")?;
    let backend = LocalBackend::open(LocalConfig::new(root).with_create(CreateRoot::All))?;

    // A sweep removes the files of dead processes. It is cheap if there are none.
    backend.sweep(&[]).await?;

    let key = Key::parse(format!("files/{name}"))?;
    let mut file =
        File::open(&source).map_err(|error| format!("failed to open {}: {error}", source.display()))?;
    let mut upload = backend.begin_put(&key, PutOptions::default()).await?;
    loop {
        let mut chunk = BytesMut::zeroed(1024 * 1024);
        let count = file.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        chunk.truncate(count);
        if let Err(error) = upload.write(chunk.freeze()).await {
            upload.abort().await?;
            return Err(error.into());
        }
    }
    // Nothing is visible before the commit.
    match upload.commit().await {
        Ok(meta) => println!("published {backend}/{} ({} bytes)", meta.key, meta.size),
        Err(error) if error.is_already_exists() => println!("{backend}/{key} is there already"),
        Err(error) => return Err(error.into()),
    }

    let mut listing = backend.list(&Prefix::parse("files")?, ListOptions::default());
    while let Some(item) = listing.try_next().await? {
        if let Listed::Object(meta) = item {
            println!("{:>12}  {}", meta.size, meta.key);
        }
    }

    let mut stream = backend.get(&key, GetOptions::default()).await?.stream;
    let mut read = 0;
    while let Some(chunk) = stream.try_next().await? {
        read += chunk.len();
    }
    println!("read {read} bytes back");
    Ok(backend.close().await?)
}
