//! Full and failing disks, system calls that are missing, and kills.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::thread;

use larder_backend::Backend;
use larder_backend_local::{LocalBackend, LocalConfig};
use larder_testkit::ignore;
use libtest_mimic::Failed;

use super::child::{
    NO_STRACE, SIZE, TMPFS, child, is_root, leftovers, run, said, strace_works, under_strace,
};
use super::outcome::{DONE, Outcome};

const NO_EXCLUSIVE_RENAME: &str = "inject=renameat2:error=EINVAL";
const NO_LINKS: &str = "inject=link,linkat:error=EPERM";

pub(crate) fn a_full_disk_is_reported_and_leaves_nothing() -> Outcome {
    if !is_root() {
        return ignore("only root can mount a small disk");
    }
    let directory = tempfile::tempdir()?;
    // The first size fits into the buffers and reaches the disk with the commit. The second reaches it before.
    for size in [900_000, 10_000_000] {
        let mut command = child("create", directory.path(), "a/c/h")?;
        command.env(TMPFS, "size=512k").env(SIZE, size.to_string());
        let output = command.output()?;
        let said = said(&output);
        if said.starts_with("broken: EPERM") {
            return ignore("this root may not mount anything");
        }
        assert!(said.starts_with("NoSpace: failed to "), "{said}");
        assert!(said.contains("/a/c/h: no space left (free some space"), "{said}");
        assert!(said.ends_with(", nothing left, invisible"), "{said}");
    }
    DONE
}

pub(crate) fn without_the_exclusive_rename_links_do_it() -> Outcome {
    if !strace_works()? {
        return ignore(NO_STRACE);
    }
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let creators: Vec<_> = (0..4)
        .map(|creator| {
            let mut command = child("create", root, "a/c/h")?;
            command.env(SIZE, (creator * 1000).to_string());
            let command = under_strace(&[NO_EXCLUSIVE_RENAME], command);
            Ok(thread::spawn(move || run(command)))
        })
        .collect::<Result<_, Failed>>()?;
    let mut created = Vec::new();
    for creator in creators {
        let said = creator.join().map_err(|_| "a thread panicked")??;
        match said.strip_prefix("created ") {
            Some(size) => created.push(size.to_owned()),
            None => assert!(said.starts_with("AlreadyExists: "), "{said}"),
        }
    }
    let [size] = &created[..] else {
        return Err(format!("{} created the object", created.len()).into());
    };
    assert_eq!(run(child("stat", root, "a/c/h")?)?, format!("seen {size}"));
    assert_eq!(fs::metadata(root.join("a/c/h"))?.nlink(), 1);
    assert_eq!(leftovers(root)?, 0);
    let command = under_strace(&[NO_EXCLUSIVE_RENAME], child("overwrite", root, "a/c/h")?);
    assert_eq!(run(command)?, "created 10");
    DONE
}

pub(crate) fn a_remote_without_links_is_reported() -> Outcome {
    if !strace_works()? {
        return ignore(NO_STRACE);
    }
    let directory = tempfile::tempdir()?;
    let root = directory.path();
    let create = || run(under_strace(&[NO_EXCLUSIVE_RENAME, NO_LINKS], child("create", root, "a/c/h")?));
    assert_eq!(create()?, "created 10, not atomic");
    let again = create()?;
    assert!(again.starts_with("AlreadyExists: ") && again.ends_with(", not atomic"), "{again}");
    assert_eq!(run(child("read", root, "a/c/h")?)?, "read 10");
    assert_eq!(leftovers(root)?, 0);
    DONE
}

pub(crate) fn a_failing_disk_publishes_nothing() -> Outcome {
    if !strace_works()? {
        return ignore(NO_STRACE);
    }
    for (injection, kind) in [
        // The first fsync is that of the new directories. The file's comes later.
        ("inject=fsync:error=EDQUOT:when=1", "NoSpace"),
        ("inject=fsync:error=EDQUOT:when=4", "NoSpace"),
        ("inject=fsync:error=EIO:when=4", "Other"),
        ("inject=write,writev:error=ENOSPC:when=1", "NoSpace"),
        ("inject=renameat2:error=EROFS", "PermissionDenied"),
        ("inject=utimensat:error=EPERM", "PermissionDenied"),
    ] {
        let directory = tempfile::tempdir()?;
        let root = directory.path();
        let said = run(under_strace(&[injection], child("create", root, "a/c/h")?))?;
        assert!(said.starts_with(&format!("{kind}: failed to ")), "{injection}: {said}");
        assert!(said.contains("/a/c/h"), "{injection}: {said}");
        assert!(!root.join("a").exists(), "{injection} left a name");
        assert_eq!(leftovers(root)?, 0, "{injection}");
    }
    DONE
}

pub(crate) fn a_kill_at_any_step_leaves_all_or_nothing() -> Outcome {
    if !strace_works()? {
        return ignore(NO_STRACE);
    }
    for call in ["mkdirat", "flock", "writev", "fsync", "utimensat", "renameat2", "linkat", "unlinkat"] {
        for when in 1..=8 {
            let directory = tempfile::tempdir()?;
            let root = directory.path();
            let kill = format!("inject={call}:signal=KILL:when={when}");
            let with_links = [NO_EXCLUSIVE_RENAME, kill.as_str()];
            let injections = if call.contains("link") { &with_links[..] } else { &with_links[1..] };
            let killed = under_strace(injections, child("create", root, "a/c/h")?).output()?;
            let ended = !said(&killed).is_empty();
            match run(child("stat", root, "a/c/h")?)? {
                said if said == "seen 10" => {}
                said => {
                    assert!(!ended && said.starts_with("NotFound: "), "{kill}: {said}");
                    assert_eq!(run(child("create", root, "a/c/h")?)?, "created 10", "{kill}");
                }
            }
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            let backend = LocalBackend::open(LocalConfig::new(root))?;
            runtime.block_on(backend.sweep(&[]))?;
            assert_eq!(leftovers(root)?, 0, "{kill}");
            assert_eq!(run(child("read", root, "a/c/h")?)?, "read 10", "{kill}");
            // There are no later calls of this kind.
            if ended {
                break;
            }
        }
    }
    DONE
}
