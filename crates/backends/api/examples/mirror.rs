//! Copies every object that one remote has and another lacks. It uses only the traits, so it works for any two backends.
//!
//! ```text
//! cargo run -p larder-backend --example mirror -- FROM TO
//! ```
//!
//! Here both are directories. Without arguments it mirrors a directory that it creates.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it shows what it does")]

use std::env;
use std::error::Error;
use std::iter::successors;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use futures::TryStreamExt;
use larder_backend::{
    Backend, BackendExt, ByteStream, ErrorKind, GetOptions, Key, ListOptions, Listed, Prefix, PutOptions,
    Result, Upload,
};
use larder_backend_local::{CreateRoot, LocalBackend, LocalConfig};

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
    let scratch = tempfile::tempdir()?;
    let mut arguments = env::args_os().skip(1).map(PathBuf::from);
    let (from, to) = if let (Some(from), Some(to)) = (arguments.next(), arguments.next()) {
        (open(&from, CreateRoot::Never)?, open(&to, CreateRoot::All)?)
    } else {
        let from = open(&scratch.path().join("from"), CreateRoot::All)?;
        put(&from, "models%2Fen/nightly/one", "weights").await?;
        put(&from, "metrics.json/nightly/two", "{}").await?;
        (from, open(&scratch.path().join("to"), CreateRoot::All)?)
    };
    // The second run has nothing to do.
    for _ in 0..2 {
        let Mirrored { copied, present, bytes } = mirror(&from, &to).await?;
        println!("{from} → {to}: {copied} objects copied ({bytes} bytes), {present} there already");
    }
    from.close().await?;
    to.close().await?;
    Ok(())
}

fn open(root: &Path, create: CreateRoot) -> Result<LocalBackend> {
    LocalBackend::open(LocalConfig::new(root).with_create(create))
}

async fn put(to: &dyn Backend, key: &str, bytes: &'static str) -> Result<(), Box<dyn Error>> {
    let mut upload = to.begin_put(&Key::parse(key)?, PutOptions::default()).await?;
    upload.write(bytes.into()).await?;
    upload.commit().await?;
    Ok(())
}

/// The result of a mirror.
#[derive(Default)]
struct Mirrored {
    copied: u64,
    present: u64,
    bytes: u64,
}

/// Copies the objects that `to` lacks. Memory does not grow with the size of an object.
async fn mirror(from: &dyn Backend, to: &dyn Backend) -> Result<Mirrored> {
    let mut mirrored = Mirrored::default();
    let mut listing = from.list(&Prefix::root(), ListOptions::default());
    while let Some(item) = listing.try_next().await? {
        let Listed::Object(object) = item else { continue };
        if has(to, &object.key).await? {
            mirrored.present += 1;
            continue;
        }
        let stream = from.get(&object.key, GetOptions::default()).await?.stream;
        let mut upload = to.begin_put(&object.key, PutOptions::default()).await?;
        if let Err(error) = copy(stream, &mut *upload).await {
            // The bytes read so far are never published.
            upload.abort().await?;
            return Err(error);
        }
        match upload.commit().await {
            Ok(meta) => {
                mirrored.copied += 1;
                mirrored.bytes += meta.size;
            }
            // Another process was faster.
            Err(error) if error.is_already_exists() => mirrored.present += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(mirrored)
}

async fn has(remote: &dyn Backend, key: &Key) -> Result<bool> {
    match remote.stat_if_exists(key).await {
        // The first upload creates it.
        Err(error) if error.kind() == ErrorKind::RootMissing => Ok(false),
        found => Ok(found?.is_some()),
    }
}

async fn copy(mut stream: ByteStream, upload: &mut dyn Upload) -> Result<()> {
    while let Some(chunk) = stream.try_next().await? {
        upload.write(chunk).await?;
    }
    Ok(())
}
