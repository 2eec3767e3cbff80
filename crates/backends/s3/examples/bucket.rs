//! Uploads a file to a bucket, lists the objects, and reads the file back.
//!
//! ```text
//! cargo run -p larder-backend-s3 --example bucket -- Cargo.toml my-bucket some/prefix
//! ```
//!
//! Credentials, region and endpoint come from the same sources as for AWS tools.

#![expect(clippy::print_stdout, reason = "it shows what it does")]

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use bytes::BytesMut;
use futures::TryStreamExt;
use larder_backend::{Backend, GetOptions, Key, ListOptions, Listed, Prefix, PutOptions};
use larder_backend_s3::{S3Backend, S3Config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [source, bucket, rest @ ..] = arguments.as_slice() else {
        return Err("usage: bucket FILE BUCKET [PREFIX]".into());
    };
    let backend = S3Backend::new(S3Config::new(bucket, rest.first().cloned().unwrap_or_default()));
    let name = Path::new(source).file_name().and_then(|name| name.to_str()).ok_or("the file has no name")?;
    let key = Key::parse(format!("files/{name}"))?;

    let mut file = File::open(source).map_err(|error| format!("failed to open {source}: {error}"))?;
    // With a size hint, the first parts of a large object have the right length too.
    let options = PutOptions::default().with_size_hint(file.metadata()?.len());
    let mut upload = backend.begin_put(&key, options).await?;
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
