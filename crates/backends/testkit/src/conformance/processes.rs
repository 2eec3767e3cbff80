//! Tests with several processes, some of which are killed.

use larder_backend::PutOptions;
use libtest_mimic::{Completion, Failed};

use crate::conformance::child::{COMMIT, CREATED, ChildTask, EXISTS, Process, READY};
use crate::conformance::context::{TestContext, key};
use crate::conformance::{DONE, TestOutcome};
use crate::journal::FileJournal;
use crate::payload::payload;

const ONE_PROCESS: &str = "this remote is in one process";

pub(super) async fn concurrent_processes_create_one_object(cx: TestContext) -> TestOutcome {
    const CREATORS: u64 = 4;
    if !cx.features.processes {
        return Ok(Completion::ignored_with(ONE_PROCESS));
    }
    if !cx.backend.capabilities().atomic_create {
        return Ok(Completion::ignored_with("this remote has no atomic create"));
    }
    let journals = tempfile::tempdir()?;
    let key = key("a/c/h")?;
    let size = 1000;
    let mut creators = Vec::new();
    for seed in 0..CREATORS {
        let journal = journals.path().join(seed.to_string());
        let task = ChildTask::Upload { key: &key, seed, size, journal: &journal };
        creators.push(Process::start(cx.address(), &task)?);
    }
    for creator in &mut creators {
        creator.expect(READY).await?;
    }
    for creator in &mut creators {
        creator.tell(COMMIT)?;
    }
    let mut winners = Vec::new();
    for (seed, creator) in (0..).zip(&mut creators) {
        match creator.line().await?.as_str() {
            CREATED => winners.push(seed),
            EXISTS => {}
            other => return Err(other.into()),
        }
    }
    let [winner] = winners[..] else {
        return Err(format!("{} of {CREATORS} processes created the object", winners.len()).into());
    };
    assert_eq!(cx.read(&key).await?, payload(winner, size), "the object is not the winner's");
    cx.assert_no_leftovers().await?;
    DONE
}

pub(super) async fn a_killed_process_leaves_no_object_and_a_sweep_the_rest(cx: TestContext) -> TestOutcome {
    if !cx.features.processes {
        return Ok(Completion::ignored_with(ONE_PROCESS));
    }
    let journals = tempfile::tempdir()?;
    let journal = journals.path().join("journal");
    let key = key("a/c/h")?;
    // Write nothing, a few bytes, and more than the backend's buffers hold.
    for size in [0, 10, cx.features.begun] {
        let task = ChildTask::Upload { key: &key, seed: 1, size, journal: &journal };
        let mut process = Process::start(cx.address(), &task)?;
        process.expect(READY).await?;
        cx.assert_invisible(&key).await?;
        process.kill()?;
        cx.assert_invisible(&key).await?;
    }
    let orphans = FileJournal::read_open(&journal)?;
    cx.backend.sweep(&orphans).await?;
    cx.assert_no_leftovers().await?;
    cx.assert_invisible(&key).await?;
    // Sweeping uploads that are already gone succeeds too.
    cx.backend.sweep(&orphans).await?;
    cx.put(&key, "the next run succeeds").await?;
    DONE
}

pub(super) async fn a_sweep_spares_the_living(cx: TestContext) -> TestOutcome {
    let [ours, theirs] = [key("a/c/ours")?, key("a/c/theirs")?];
    let size = cx.features.begun;
    let mut upload = cx.backend.begin_put(&ours, PutOptions::default()).await?;
    upload.write(payload(1, size)).await?;
    let journals = tempfile::tempdir()?;
    let journal = journals.path().join("journal");
    let mut other = if cx.features.processes {
        let task = ChildTask::Upload { key: &theirs, seed: 2, size, journal: &journal };
        let mut process = Process::start(cx.address(), &task)?;
        process.expect(READY).await?;
        Some(process)
    } else {
        None
    };
    // Sweep as another command does: with its own backend, and without the journals of running processes.
    let sweeper = cx.subject.open(cx.address()).await?;
    sweeper.sweep(&[]).await?;
    cx.backend.sweep(&[]).await?;
    upload.write("the end".into()).await?;
    upload.commit().await?;
    assert_eq!(cx.backend.stat(&ours).await?.size, size as u64 + 7);
    if let Some(process) = &mut other {
        process.tell(COMMIT)?;
        process.expect(CREATED).await?;
        assert!(cx.read(&theirs).await? == payload(2, size), "the object is incomplete");
    }
    DONE
}

pub(super) async fn sweeping_nothing_succeeds(cx: TestContext) -> TestOutcome {
    cx.backend.sweep(&[]).await?;
    let kept = key("a/c/h")?;
    cx.put(&kept, "kept").await?;
    cx.backend.sweep(&[]).await?;
    assert_eq!(cx.read(&kept).await?, "kept");
    DONE
}

pub(super) async fn memory_is_bounded(cx: TestContext) -> TestOutcome {
    let Some(limit) = cx.features.memory.filter(|_| cx.features.processes) else {
        return Ok(Completion::ignored_with(ONE_PROCESS));
    };
    if !std::path::Path::new("/proc/self/status").exists() {
        return Ok(Completion::ignored_with("this system does not report the peak memory of a process"));
    }
    let key = key("a/c/h")?;
    let task = ChildTask::Measure { key: &key, size: cx.features.large };
    let line = Process::start(cx.address(), &task)?.line().await?;
    let grown =
        line.split(' ').map(str::parse).collect::<Result<Vec<u64>, _>>().map_err(|_| Failed::from(&line))?;
    assert!(
        grown.iter().all(|grown| *grown <= limit),
        "an upload and a download of {} bytes took {grown:?} bytes more memory, and the limit is {limit}",
        cx.features.large
    );
    DONE
}
