//! The memory of transfers.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};

use crate::{Sandbox, noise};

/// The maximum memory of a push or a pull, in MiB.
const MOST_MIB: u64 = 192;
const BLOCK: usize = 1 << 20;
/// The number of outputs, and the size of each in MiB. Together they exceed the memory limit several times.
const OUTPUTS: usize = 6;
const OUTPUT_MIB: u64 = 130;

impl Sandbox {
    /// Pushes and pulls several large outputs in one command, with more threads than the machine has cores.
    ///
    /// # Panics
    ///
    /// Panics if a transfer fails or uses too much memory.
    #[track_caller]
    pub fn assert_transfers_in_constant_memory(&self) {
        let names: Vec<String> = (0..OUTPUTS).map(|output| format!("weights-{output}.bin")).collect();
        for (output, name) in (0..).zip(&names) {
            let mut file = BufWriter::new(File::create(self.path(name)).unwrap());
            for block in 0..OUTPUT_MIB {
                file.write_all(&content(output, block)).unwrap();
            }
            file.flush().unwrap();
        }
        let transfer = |verb: &str| {
            let mut arguments = [""; 5 + OUTPUTS];
            arguments[..5].copy_from_slice(&[verb, "--command-hash", "many", "--jobs", "64"]);
            for (argument, name) in arguments[5..].iter_mut().zip(&names) {
                *argument = name;
            }
            let (run, peak) = self.larder(arguments).run_and_measure();
            run.ok();
            assert!(peak <= MOST_MIB, "{verb} used {peak} MiB of memory; the limit is {MOST_MIB} MiB");
        };
        transfer("push");
        for name in &names {
            fs::remove_file(self.path(name)).unwrap();
        }
        transfer("pull");
        for (output, name) in (0..).zip(&names) {
            let restored = fs::read(self.path(name)).unwrap();
            let mut blocks = (0_u64..).zip(restored.chunks(BLOCK));
            assert!(blocks.all(|(block, bytes)| bytes == content(output, block)), "{name} differs");
            assert_eq!(restored.len() as u64, OUTPUT_MIB << 20);
        }
    }
}

/// Returns incompressible bytes for even outputs, and compressible bytes for odd ones.
fn content(output: u64, block: u64) -> Vec<u8> {
    let seed = output << 32 | block;
    if output.is_multiple_of(2) { noise(seed, BLOCK) } else { noise(seed, BLOCK >> 4).repeat(16) }
}
