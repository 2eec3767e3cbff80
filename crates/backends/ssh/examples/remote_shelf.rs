//! Stores a file as an object on another machine, lists the objects, and reads the file back.
//!
//! `cargo run -p larder-backend-ssh --example remote_shelf -- FILE HOST DIRECTORY [PORT [USER [HOME]]]`

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Instant;

use futures::TryStreamExt;
use larder_backend::{Backend, GetOptions, Key, ListOptions, Listed, Prefix, PutMode, PutOptions};
use larder_backend_ssh::{RemotePath, SshBackend, SshConfig};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [file, host, directory, rest @ ..] = arguments.as_slice() else {
        return Err("usage: remote_shelf FILE HOST DIRECTORY [PORT [USER [HOME]]]".into());
    };
    let home = rest.get(2).cloned().or_else(|| env::var("HOME").ok()).ok_or("there is no HOME")?;
    let path = match directory.strip_prefix("~/") {
        Some(path) => RemotePath::Home(path.to_owned()),
        None => RemotePath::Absolute(directory.clone()),
    };
    let config = SshConfig::new(host, path)
        .with_openssh_defaults(Path::new(&home))
        .with_port(rest.first().map(|port| port.parse()).transpose()?)
        .with_user(rest.get(1).cloned())
        .with_local_user(env::var("USER").ok())
        .with_agent(env::var_os("SSH_AUTH_SOCK").map(Into::into));
    let backend = SshBackend::new(config);

    let name = Path::new(file).file_name().and_then(|name| name.to_str()).ok_or("the file has no name")?;
    let key = Key::parse(format!("shelf/{name}"))?;
    let mut source = File::open(file)?;
    let size = source.metadata()?.len();
    let begun = Instant::now();
    let mut upload =
        backend.begin_put(&key, PutOptions::new(PutMode::Overwrite).with_size_hint(size)).await?;
    loop {
        let mut chunk = vec![0; 1024 * 1024];
        let count = source.read(&mut chunk)?;
        if count == 0 {
            break;
        }
        chunk.truncate(count);
        if let Err(error) = upload.write(chunk.into()).await {
            upload.abort().await?;
            return Err(error.into());
        }
    }
    let meta = upload.commit().await?;
    println!("{} bytes are at {backend}/{key} after {:?}", meta.size, begun.elapsed());

    let mut listing = backend.list(&Prefix::root(), ListOptions::default());
    while let Some(item) = listing.try_next().await? {
        if let Listed::Object(meta) = item {
            println!("{:>12}  {}", meta.size, meta.key);
        }
    }

    let begun = Instant::now();
    let mut stream = backend.get(&key, GetOptions::default()).await?.stream;
    let mut read = 0;
    while let Some(bytes) = stream.try_next().await? {
        read += bytes.len();
    }
    println!("{read} bytes came back after {:?}", begun.elapsed());
    backend.close().await?;
    Ok(())
}
