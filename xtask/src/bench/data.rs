//! The data sets, with the same bytes in every run.

use std::f64::consts::TAU;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use fastrand::Rng;

use crate::Result;

const MIB: usize = 1 << 20;

/// The number of files in the directory of small files.
pub(crate) const SMALL_FILES: u32 = 10_000;

/// Writes 256 MiB of incompressible bytes and 256 MiB of text.
pub(crate) fn large(dir: &Path) -> Result<()> {
    fs::create_dir(dir)?;
    incompressible(&dir.join("random.bin"), 256)?;
    let mut file = BufWriter::new(File::create(dir.join("text.txt"))?);
    CorpusWriter::new(2).text(&mut file, 256 * MIB)?;
    Ok(file.flush()?)
}

/// Writes incompressible bytes.
pub(crate) fn incompressible(path: &Path, mib: u32) -> Result<()> {
    let mut rng = Rng::with_seed(1);
    let mut file = BufWriter::new(File::create(path)?);
    let mut block = vec![0; MIB];
    for _ in 0..mib {
        rng.fill(&mut block);
        file.write_all(&block)?;
    }
    Ok(file.flush()?)
}

/// Writes 2 GiB into one file: 64 MiB of incompressible bytes and 64 MiB of text in turns. Its frames compress to very
/// different sizes.
pub(crate) fn mixed(path: &Path) -> Result<()> {
    const TURN: usize = 64 * MIB;
    let mut rng = Rng::with_seed(5);
    let mut file = BufWriter::with_capacity(MIB, File::create(path)?);
    let mut text = Vec::new();
    CorpusWriter::new(6).text(&mut text, TURN)?;
    let mut noise = vec![0; TURN];
    for _ in 0..16 {
        rng.fill(&mut noise);
        file.write_all(&noise)?;
        file.write_all(&text)?;
    }
    Ok(file.flush()?)
}

/// Writes 10,000 text files of 200 bytes to 8 KiB in 100 directories.
pub(crate) fn small(dir: &Path) -> Result<()> {
    let mut writer = CorpusWriter::new(3);
    for number in 0..SMALL_FILES {
        let parent = dir.join(format!("{:02}", number % 100));
        fs::create_dir_all(&parent)?;
        let mut text = Vec::new();
        let len = writer.rng.usize(200..8 << 10);
        writer.text(&mut text, len)?;
        fs::write(parent.join(format!("{number:05}.txt")), text)?;
    }
    Ok(())
}

/// Writes 1,000,000 files of a few bytes in 1,000 directories.
pub(crate) fn million(dir: &Path) -> Result<()> {
    for parent in 0..1_000 {
        let parent = dir.join(format!("{parent:03}"));
        fs::create_dir_all(&parent)?;
        for number in 0..1_000 {
            fs::write(parent.join(format!("{number:03}.txt")), number.to_string())?;
        }
    }
    Ok(())
}

/// Writes 512 MiB of normally distributed fp32 numbers, like the weights of a model.
pub(crate) fn weights(path: &Path) -> Result<()> {
    const DEVIATION: f64 = 0.02;
    let mut rng = Rng::with_seed(4);
    let mut file = BufWriter::with_capacity(MIB, File::create(path)?);
    for _ in 0..512 * MIB / 8 {
        // Box-Muller transform: two independent normal numbers from two uniform ones.
        let radius = DEVIATION * (-2.0 * (1.0 - rng.f64()).ln()).sqrt();
        let (sine, cosine) = (TAU * rng.f64()).sin_cos();
        for number in [radius * cosine, radius * sine] {
            #[expect(clippy::cast_possible_truncation, reason = "weights are fp32")]
            file.write_all(&(number as f32).to_le_bytes())?;
        }
    }
    Ok(file.flush()?)
}

/// Writes text of an artificial language. Its word frequencies are like those of a real language, so that it compresses
/// like text.
struct CorpusWriter {
    rng: Rng,
    words: Vec<String>,
}

impl CorpusWriter {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut word = || -> String { (0..rng.usize(2..10)).map(|_| rng.lowercase()).chain([' ']).collect() };
        let words = (0..20_000).map(|_| word()).collect();
        Self { rng, words }
    }

    fn text(&mut self, to: &mut impl Write, len: usize) -> Result<()> {
        let mut left = len;
        while left > 0 {
            // The cube of a uniform number prefers small numbers, so that few words make up much of the text.
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "an index into a list of twenty thousand"
            )]
            let place = (self.rng.f64().powi(3) * self.words.len() as f64) as usize;
            let word = self.words[place].as_bytes();
            let word = &word[..word.len().min(left)];
            to.write_all(word)?;
            left -= word.len();
        }
        Ok(())
    }
}
