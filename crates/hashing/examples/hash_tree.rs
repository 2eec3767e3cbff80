//! Prints the content hash of a file or directory, and the manifest that it is the digest of.
//!
//! ```text
//! cargo run -p larder-hashing --example hash_tree -- [PATH] [SCHEME]
//! ```
//!
//! Without a path it makes a small directory of its own, so that there is something to see.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use larder_hashing::{HashOptions, Scheme, content_manifest};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let made;
    let path = match arguments.next() {
        Some(path) => PathBuf::from(path),
        None => {
            made = tempfile::tempdir()?;
            fs::create_dir_all(made.path().join("model/vocab"))?;
            fs::write(made.path().join("model/weights.bin"), [0; 1024])?;
            fs::write(made.path().join("model/vocab/strings.json"), "[]\n")?;
            fs::create_dir(made.path().join("model/empty"))?;
            made.path().join("model")
        }
    };
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
