//! Outputs that change while they are packed, and archives that are dropped.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt};
use larder_archive::{PackError, PackOptions, pack, prepare};
use larder_hashing::Scheme;
use larder_tree::Workers;

use crate::support::{ParseOutput, Project, Watcher, block_on, drain, plain};

const LARGE: usize = 72 << 20;

fn grow(path: &Path) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap();
}

fn shrink(path: &Path) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(30 << 20).unwrap();
}

#[test]
fn a_file_that_changes_while_it_is_packed_is_an_error() {
    for change in [grow, shrink] {
        for scheme in Scheme::ALL {
            let project = Project::new();
            let path = project.file("d/large", vec![7; LARGE]).path("d/large");
            let changed = path.clone();
            let watcher = Arc::new(Watcher::acting_after(1, move || change(&changed)));
            let options =
                PackOptions::new(scheme).with_compression("none".parse().unwrap()).with_observer(watcher);
            let error = project.pack("d", &options).unwrap_err();
            assert!(matches!(&error, PackError::Changed { path: named } if *named == path), "{error}");
        }
    }
}

#[test]
fn an_output_that_changes_between_hashing_and_packing_is_an_error() {
    let changes: [(&str, fn(&Project)); 4] = [
        ("a file grew", |project| grow(&project.path("d/large"))),
        ("a file was renamed", |project| {
            fs::rename(project.path("d/small"), project.path("d/other")).unwrap();
        }),
        ("a file was made executable", |project| drop(project.executable("d/small").path(""))),
        ("bytes changed, and the time was put back", |project| {
            let path = project.path("d/small");
            let time = fs::metadata(&path).unwrap().modified().unwrap();
            fs::write(&path, "2").unwrap();
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }),
    ];
    for (what, change) in changes {
        let project = Project::new();
        project.file("d/large", vec![7; LARGE]).file("d/small", "1");
        let prepared = block_on(prepare(project.root(), &"d".parse_output(), &plain())).unwrap();
        change(&project);
        let error = drain(prepared.pack()).unwrap_err();
        assert!(
            matches!(&error, PackError::Changed { path } if *path == project.path("d")),
            "{what}: {error}"
        );
    }
}

#[test]
fn weasels_hash_is_also_computed_again() {
    let project = Project::new();
    project.file("d/large", vec![7; LARGE]).file("d/target", "1").link("d/link", "target");
    let options = PackOptions::new(Scheme::Weasel).with_compression("none".parse().unwrap());
    let prepared = block_on(prepare(project.root(), &"d".parse_output(), &options)).unwrap();
    assert!(drain(prepared.pack()).is_ok());
    project.file("d/target", "2");
    assert!(matches!(drain(prepared.pack()), Err(PackError::Changed { .. })));
}

#[test]
fn an_output_in_memory_whose_files_change_before_it_is_packed_is_an_error() {
    let changes: [(&str, fn(&Path)); 5] = [
        ("it grew", grow),
        ("it was written again", |path| fs::write(path, "2").unwrap()),
        ("it is gone", |path| fs::remove_file(path).unwrap()),
        ("its directory is gone", |path| fs::remove_dir_all(path.parent().unwrap()).unwrap()),
        ("it is a directory", |path| {
            fs::remove_file(path).unwrap();
            fs::create_dir(path).unwrap();
        }),
    ];
    for scheme in Scheme::ALL {
        for (what, change) in changes {
            let project = Project::new();
            // More files than are checked in one task.
            (0..200).for_each(|i| drop(project.file(format!("d/{i:03}"), "1").path("")));
            let options = PackOptions::new(scheme).with_compression("none".parse().unwrap());
            let prepared = block_on(prepare(project.root(), &"d".parse_output(), &options)).unwrap();
            assert_eq!(drain(prepared.pack()).unwrap().0, project.tar("d"), "nothing changed");
            let path = project.path("d/150");
            change(&path);
            let error = drain(prepared.pack()).unwrap_err();
            // Any of several changed files may be named.
            let named =
                matches!(&error, PackError::Changed { path: named } if path.parent() == named.parent());
            assert!(named, "{what}: {error}");
        }
    }
}

#[test]
fn only_the_files_of_an_output_in_memory_are_checked_again() {
    let project = Project::new();
    project.file("d/small", "1").file("other", "1").link("d/link", "small").link("root", "d");
    for output in ["d", "root"] {
        let prepared = block_on(prepare(project.root(), &output.parse_output(), &plain())).unwrap();
        assert!(drain(prepared.pack()).is_ok(), "{output}");
        grow(&project.path("other"));
        assert!(drain(prepared.pack()).is_ok(), "{output}");
        grow(&project.path("d/small"));
        assert!(matches!(drain(prepared.pack()), Err(PackError::Changed { .. })), "{output}");
    }
}

#[test]
fn it_stops_when_asked_to() {
    let project = Project::new();
    project.file("d/large", vec![7; LARGE]);
    let watcher = Arc::new(Watcher::stopping_after(4 << 20));
    let options = plain().with_observer(Arc::clone(&watcher) as _);
    assert!(project.pack("d", &options).unwrap_err().is_cancelled());
    assert!(watcher.seen.load(Ordering::SeqCst) < LARGE as u64);
    let error = block_on(prepare(project.root(), &"d".parse_output(), &options)).unwrap_err();
    assert!(error.is_cancelled());
}

/// A stream that is dropped midway releases its files and threads. The observer is dropped with them.
#[test]
fn a_dropped_stream_stops_the_thread() {
    let project = Project::new();
    project.file("d/large", vec![7; LARGE]);
    let watcher = Arc::new(Watcher::stopping_after(u64::MAX));
    let mut packing =
        pack(project.root(), &"d".parse_output(), &plain().with_observer(Arc::clone(&watcher) as _));
    assert!(block_on(packing.next()).unwrap().is_ok());
    drop(packing);
    wait_until_alone(&watcher);
    assert!(watcher.seen.load(Ordering::SeqCst) < LARGE as u64);
}

#[test]
fn dropped_while_it_prepares_it_stops_too() {
    let project = Project::new();
    project.file("d/large", vec![7; LARGE]);
    // The first read waits until the result was dropped.
    let (release, released) = mpsc::channel();
    let released = Mutex::new(released);
    let watcher = Arc::new(Watcher::acting_after(1, move || released.lock().unwrap().recv().unwrap()));
    let options = plain().with_observer(Arc::clone(&watcher) as _);
    assert!(prepare(project.root(), &"d".parse_output(), &options).now_or_never().is_none());
    release.send(()).unwrap();
    drop(options);
    wait_until_alone(&watcher);
    assert!(watcher.seen.load(Ordering::SeqCst) < LARGE as u64);
}

fn wait_until_alone(watcher: &Arc<Watcher>) {
    let gone = Instant::now() + Duration::from_secs(30);
    while Arc::strong_count(watcher) > 1 {
        assert!(Instant::now() < gone, "the thread still works");
        thread::yield_now();
    }
}

#[test]
fn a_stream_that_is_not_at_its_end_has_no_summary() {
    let project = Project::new();
    project.file("d/large", vec![7; LARGE]).file("e/f", "").fifo("e/pipe");
    let mut packing = pack(project.root(), &"d".parse_output(), &plain());
    assert!(block_on(packing.next()).unwrap().is_ok());
    assert!(matches!(block_on(packing.finish()), Err(PackError::Unfinished)));
    let mut failing = pack(project.root(), &"e".parse_output(), &plain());
    let items: Vec<bool> = block_on(async { failing.by_ref().map(|item| item.is_ok()).collect().await });
    assert_eq!(items.last(), Some(&false), "an error, and then the end");
    assert!(matches!(block_on(failing.finish()), Err(PackError::Unfinished)));
}

#[test]
fn all_bytes_are_reported() {
    let project = Project::new();
    project.file("d/large", vec![7; LARGE]).file("small/a", "12345").file("small/b", vec![1; 6 << 20]);
    for (output, bytes) in [("d", LARGE as u64), ("small", (6 << 20) + 5)] {
        let prepared = block_on(prepare(project.root(), &output.parse_output(), &plain())).unwrap();
        let watcher = Arc::new(Watcher::stopping_after(u64::MAX));
        drain(prepared.pack_observed(Arc::clone(&watcher) as _)).unwrap();
        assert_eq!(watcher.seen.load(Ordering::SeqCst), bytes, "{output}");
    }
}

#[test]
fn many_at_once_share_the_threads() {
    let project = Project::new();
    (0..400).for_each(|i| {
        project.file(format!("d/{i}"), vec![1; 20_000]);
    });
    let options = PackOptions::default().with_workers(Workers::new(std::num::NonZeroUsize::MIN));
    let expected = project.pack("d", &options).unwrap();
    let packings: Vec<_> = (0..4).map(|_| pack(project.root(), &"d".parse_output(), &options)).collect();
    for packing in packings {
        assert!(drain(packing).unwrap() == expected);
    }
}
