//! Prints the pins of a project, and the conflicts of a merge.
//!
//! ```text
//! cargo run -p larder-pins --example list_pins -- [PROJECT]
//! ```
//!
//! Without a project it looks at the working directory.

#![expect(clippy::print_stdout, reason = "an example that is run by hand")]

use std::env;
use std::error::Error;
use std::path::PathBuf;

use larder_pins::{Git, LockContents, Pin};

fn main() -> Result<(), Box<dyn Error>> {
    let root = env::args_os().nth(1).map_or_else(|| PathBuf::from("."), PathBuf::from);
    match LockContents::read(&root)? {
        LockContents::Absent => println!("{} has no larder.lock", root.display()),
        LockContents::Pins(pins) => pins.iter().for_each(print),
        LockContents::Conflicted(merge) => {
            merge.settled().for_each(print);
            for conflict in merge.conflicts() {
                println!("{}  both sides of a merge changed it", conflict.path);
            }
        }
    }
    if let Some(top) = Git::at(&root).top() {
        println!("in the git work tree {}", top.display());
    }
    Ok(())
}

fn print(pin: &Pin) {
    println!("{}  {}  {} bytes", pin.path, pin.content, pin.bytes);
}
