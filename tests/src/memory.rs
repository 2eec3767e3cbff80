//! The memory of transfers.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};

use crate::{Sandbox, noise, text};

/// The maximum memory of a push or a pull, in MiB.
const MOST_MIB: u64 = 192;
const BLOCK: usize = 1 << 20;
/// The number of outputs, and the size of each in MiB. Together they exceed the memory limit several times.
const OUTPUTS: usize = 6;
const OUTPUT_MIB: u64 = 130;
/// The outputs for compressions that take a second for 4 MiB. The first is large.
const STRONG_OUTPUTS: usize = 5;
const LARGE_STRONG_MIB: usize = 32;
const SMALL_STRONG_MIB: usize = 8;
/// The number of files of about a mebibyte, and the maximum memory for hashing them, in MiB.
const FILES: u64 = 200;
const MOST_HASHING_MIB: u64 = 48;

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
        let transfer = |verb| self.assert_little_memory(MOST_MIB, &[verb, "--command-hash", "many"], &names);
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

impl Sandbox {
    /// Pushes and pulls one output of several pieces, and some small ones at once, with strong compression.
    ///
    /// # Panics
    ///
    /// Panics if a transfer fails or uses too much memory.
    #[track_caller]
    pub fn assert_strong_compressions_in_constant_memory(&self) {
        let names: Vec<String> = (0..STRONG_OUTPUTS).map(|output| format!("table-{output}")).collect();
        for (output, name) in (0..).zip(&names) {
            let mib = if output == 0 { LARGE_STRONG_MIB } else { SMALL_STRONG_MIB };
            fs::write(self.path(name), text(output, mib << 20)).unwrap();
        }
        for compression in ["zstd:19", "xz:3", "xz:6", "bzip2:9"] {
            let command_hash = &*compression.replace(':', "-");
            let push = ["push", "--compression", compression, "--command-hash", command_hash];
            for outputs in [&names[..1], &names[1..]] {
                self.assert_little_memory(MOST_MIB, &push, outputs);
                for name in outputs {
                    fs::remove_file(self.path(name)).unwrap();
                }
                self.assert_little_memory(MOST_MIB, &["pull", "--command-hash", command_hash], outputs);
            }
        }
    }

    /// Hashes, pushes and pulls many files of a size for which each thread needs a buffer, under two hash schemes.
    ///
    /// # Panics
    ///
    /// Panics if a command fails or uses too much memory.
    #[track_caller]
    pub fn assert_files_in_constant_memory(&self) {
        let output = ["corpus".to_owned()];
        fs::create_dir(self.path("corpus")).unwrap();
        for file in 0..FILES {
            // Files up to a mebibyte and larger ones are read by different threads.
            let len = BLOCK + usize::from(file.is_multiple_of(2));
            fs::write(self.path(format!("corpus/{file}")), noise(file, len)).unwrap();
        }
        for scheme in ["blake3", "sha256"] {
            self.assert_little_memory(MOST_HASHING_MIB, &["hash", "content", "--hash", scheme], &output);
            self.assert_little_memory(MOST_MIB, &["push", "--hash", scheme], &output);
            self.assert_little_memory(MOST_MIB, &["pull", "--hash", scheme, "--to", scheme], &output);
        }
    }

    /// Runs a command with more threads than the machine has cores.
    #[track_caller]
    fn assert_little_memory(&self, most_mib: u64, command: &[&str], outputs: &[String]) {
        let (run, peak) =
            self.larder([]).args(command).args(["--jobs", "64"]).args(outputs).run_and_measure();
        run.ok();
        assert!(peak <= most_mib, "{command:?} used {peak} MiB of memory; the limit is {most_mib} MiB");
    }
}

/// Returns incompressible bytes for even outputs, and compressible bytes for odd ones.
fn content(output: u64, block: u64) -> Vec<u8> {
    let seed = output << 32 | block;
    if output.is_multiple_of(2) { noise(seed, BLOCK) } else { noise(seed, BLOCK >> 4).repeat(16) }
}
