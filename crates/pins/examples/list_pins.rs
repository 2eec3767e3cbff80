//! Prints the pins of a `larder.lock`: `list_pins [FILE]`.
#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::path::PathBuf;

use larder_pins::LarderLock;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map_or_else(|| PathBuf::from(LarderLock::NAME), PathBuf::from);
    let text = std::fs::read_to_string(&path)?;
    for pin in LarderLock::parse(&text, &path)?.iter() {
        println!("{}  {}  {} bytes", pin.path, pin.content, pin.bytes);
    }
    Ok(())
}
