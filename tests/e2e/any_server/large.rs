//! A large output, in constant memory.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read as _, Write as _};

use larder_tests::noise;

use crate::store::Store;

const BLOCK: usize = 1 << 20;
const BLOCKS: u64 = 5 << 10;
const MAX_MIB: u64 = 192;

pub(crate) fn five_gib_in_constant_memory() {
    let store = Store::new();
    let path = store.path("weights.bin");
    let mut file = BufWriter::new(File::create(&path).unwrap());
    (0..BLOCKS).for_each(|number| file.write_all(&noise(number, BLOCK)).unwrap());
    drop(file);
    let push = store.larder(["push", "weights.bin", "--command-hash", "big", "--json"]);
    let (push, peak) = push.run_and_measure();
    assert_eq!(push.ok().outcome(), "uploaded");
    assert!(peak <= MAX_MIB, "push used {peak} MiB of memory");
    store.assert_nothing_open();
    fs::remove_file(&path).unwrap();

    let pull = store.larder(["pull", "weights.bin", "--command-hash", "big", "--json"]);
    let (pull, peak) = pull.run_and_measure();
    assert_eq!(pull.ok().outcome(), "restored");
    assert!(peak <= MAX_MIB, "pull used {peak} MiB of memory");
    store.empty_remote();
    let file = File::open(&path).unwrap();
    assert_eq!(file.metadata().unwrap().len(), BLOCKS * BLOCK as u64);
    let mut file = BufReader::new(file);
    let mut block = vec![0; BLOCK];
    for number in 0..BLOCKS {
        file.read_exact(&mut block).unwrap();
        assert!(block == noise(number, BLOCK), "block {number} differs");
    }
}

/// The memory limit holds for any number of outputs and threads.
pub(crate) fn many_outputs_and_threads_in_constant_memory() {
    let store = Store::new();
    store.assert_transfers_in_constant_memory();
}
