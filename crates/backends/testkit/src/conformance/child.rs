//! Child processes that use the same remote: the test binary, started again with a task in its environment.

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use larder_backend::{GetOptions, Key, PutOptions};
use libtest_mimic::Failed;

use crate::conformance::TestedBackend;
use crate::journal::FileJournal;
use crate::payload::payload;

const TASK: &str = "LARDER_TESTKIT_TASK";
const ADDRESS: &str = "LARDER_TESTKIT_ADDRESS";
const KEY: &str = "LARDER_TESTKIT_KEY";
const SIZE: &str = "LARDER_TESTKIT_SIZE";
const SEED: &str = "LARDER_TESTKIT_SEED";
const JOURNAL: &str = "LARDER_TESTKIT_JOURNAL";

/// The child prints this line when it has written, and then waits for a line on its standard input.
pub(super) const READY: &str = "ready";
/// The line that tells a child to publish its object. The lines below are its answers.
pub(super) const COMMIT: &str = "commit";
pub(super) const CREATED: &str = "created";
pub(super) const EXISTS: &str = "exists";

/// The task of a child.
pub(super) enum ChildTask<'a> {
    /// Begins an upload of `payload(seed, size)`, prints [`READY`], and commits on request.
    Upload { key: &'a Key, seed: u64, size: usize, journal: &'a Path },
    /// Writes and reads an object of `size` bytes, and prints by how many bytes its peak memory grew.
    Measure { key: &'a Key, size: usize },
}

/// A running child, which is killed on drop.
pub(super) struct Process {
    child: Child,
    input: ChildStdin,
    output: Option<BufReader<ChildStdout>>,
}

impl Process {
    pub(super) fn start(address: &str, task: &ChildTask<'_>) -> Result<Self, Failed> {
        let mut command = Command::new(env::current_exe()?);
        command.env(ADDRESS, address).stdin(Stdio::piped()).stdout(Stdio::piped());
        match task {
            ChildTask::Upload { key, seed, size, journal } => command
                .env(TASK, "upload")
                .env(KEY, key.as_str())
                .env(SEED, seed.to_string())
                .env(SIZE, size.to_string())
                .env(JOURNAL, journal),
            ChildTask::Measure { key, size } => {
                command.env(TASK, "measure").env(KEY, key.as_str()).env(SIZE, size.to_string())
            }
        };
        let mut child = command.spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the child has no pipes".into());
        };
        Ok(Self { child, input, output: Some(BufReader::new(output)) })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next line of the child's output.
    pub(super) async fn line(&mut self) -> Result<String, Failed> {
        let Some(mut output) = self.output.take() else { return Err("an earlier wait was dropped".into()) };
        let (output, line) = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            let read = output.read_line(&mut line);
            (output, read.map(|_| line))
        })
        .await?;
        self.output = Some(output);
        let line = line?;
        if line.is_empty() {
            return Err(format!("the child {} ended: {}", self.id(), self.child.wait()?).into());
        }
        Ok(line.trim_end().to_owned())
    }

    pub(super) async fn expect(&mut self, expected: &str) -> Result<(), Failed> {
        match self.line().await? {
            line if line == expected => Ok(()),
            line => Err(format!("the child printed `{line}` instead of `{expected}`").into()),
        }
    }

    pub(super) fn tell(&mut self, line: &str) -> Result<(), Failed> {
        Ok(writeln!(self.input, "{line}")?)
    }

    /// Kills the child as `kill -9` does, and waits for its end.
    pub(super) fn kill(mut self) -> Result<(), Failed> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the task, if this process is a child.
pub(super) fn run(subject: &Arc<dyn TestedBackend>) -> Option<ExitCode> {
    let task = env::var(TASK).ok()?;
    match perform(subject, &task) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            let _ = writeln!(io::stdout(), "failed: {}", error.message().unwrap_or_default());
            Some(ExitCode::FAILURE)
        }
    }
}

fn perform(subject: &Arc<dyn TestedBackend>, task: &str) -> Result<(), Failed> {
    let key = Key::parse(env::var(KEY)?)?;
    let address = env::var(ADDRESS)?;
    let size = env::var(SIZE)?.parse()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        match task {
            "upload" => upload(subject, &address, &key, size).await,
            "measure" => measure(subject, &address, &key, size).await,
            other => Err(format!("unknown task `{other}`").into()),
        }
    })
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout();
    writeln!(output, "{line}")?;
    output.flush()
}

async fn upload(
    subject: &Arc<dyn TestedBackend>,
    address: &str,
    key: &Key,
    size: usize,
) -> Result<(), Failed> {
    let backend = subject.open(address).await?;
    let journal = FileJournal::append(Path::new(&env::var(JOURNAL)?))?;
    let mut upload = backend.begin_put(key, PutOptions::default().with_journal(Arc::new(journal))).await?;
    upload.write(payload(env::var(SEED)?.parse()?, size)).await?;
    say(READY)?;
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    if line.trim_end() != COMMIT {
        return Err(format!("unknown command `{line}`").into());
    }
    match upload.commit().await {
        Ok(_) => say(CREATED)?,
        Err(error) if error.is_already_exists() => say(EXISTS)?,
        Err(error) => return Err(error.into()),
    }
    Ok(backend.close().await?)
}

/// Returns the peak memory of this process, in bytes.
fn peak() -> Result<u64, Failed> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .ok_or("/proc/self/status has no VmHWM")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

async fn measure(
    subject: &Arc<dyn TestedBackend>,
    address: &str,
    key: &Key,
    size: usize,
) -> Result<(), Failed> {
    const CHUNK: usize = 1024 * 1024;
    let backend = subject.open(address).await?;
    // Create threads, buffers and connections before the first measurement.
    let small = Key::parse(format!("{key}-small"))?;
    let mut upload = backend.begin_put(&small, PutOptions::default()).await?;
    upload.write("small".into()).await?;
    upload.commit().await?;
    let chunk = payload(1, CHUNK);
    let before = peak()?;

    let mut upload = backend.begin_put(key, PutOptions::default().with_size_hint(size as u64)).await?;
    for _ in 0..size.div_ceil(CHUNK) {
        // Copy each chunk. Otherwise a backend that keeps all chunks would share one buffer.
        upload.write(Bytes::copy_from_slice(&chunk)).await?;
    }
    upload.commit().await?;
    let after_upload = peak()?;

    let mut stream = backend.get(key, GetOptions::default()).await?.stream;
    let mut read = 0;
    while let Some(bytes) = stream.try_next().await? {
        read += bytes.len();
    }
    if read != size.div_ceil(CHUNK) * CHUNK {
        return Err(format!("{read} bytes came back").into());
    }
    let after_download = peak()?;
    backend.close().await?;
    Ok(say(&format!("{} {}", after_upload - before, after_download - after_upload))?)
}
