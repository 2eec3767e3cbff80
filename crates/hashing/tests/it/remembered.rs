//! Hashing with a stat cache: the hashes are those of a pass that reads everything, and unchanged files are not read.

use std::fs::{self, File, FileTimes};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use larder_hashing::{CommandInputs, ContentHash, HashOptions, Scheme, command_hash, content_hash};
use larder_tree::StatCache;
use proptest::prelude::*;

use crate::support::{Playground, Watcher};

/// A project with a state directory and an output `out`.
fn project() -> Playground {
    let at = Playground::new();
    at.directory(".larder").file("out/a", "aaaa").file("out/d/b", "bbbb").file("out/d/c", "cccc");
    at
}

/// Waits until the clock of the file system has moved on, so that everything written before is older than the next pass.
fn settle(at: &Playground) {
    // Of a project without a state directory, so that nothing is created.
    let clock = || StatCache::new(&at.path("none")).clock(at.root()).unwrap();
    let before = clock();
    while clock() == before {
        thread::yield_now();
    }
}

fn options(at: &Playground, scheme: Scheme) -> (HashOptions, Arc<Watcher>) {
    let watcher = Arc::new(Watcher::stopping_after(u64::MAX));
    let mut options = HashOptions::new(scheme);
    options.tree.stat_cache = Some(StatCache::new(at.root()));
    options.tree.observer = Arc::clone(&watcher) as _;
    (options, watcher)
}

/// Hashes a path with the cache. Returns the hash and how many bytes were read.
fn cached(at: &Playground, path: &str, scheme: Scheme) -> (ContentHash, u64) {
    let (options, watcher) = options(at, scheme);
    let hash = content_hash(&at.path(path), &options).unwrap();
    (hash, watcher.seen.load(Ordering::SeqCst))
}

fn uncached(at: &Playground, path: &str, scheme: Scheme) -> ContentHash {
    content_hash(&at.path(path), &HashOptions::new(scheme)).unwrap()
}

#[test]
fn unchanged_files_are_not_read() {
    for scheme in [Scheme::Blake3, Scheme::Sha256] {
        let at = project();
        at.file("out/large", vec![7; 3 << 20]);
        settle(&at);
        let whole = uncached(&at, "out", scheme);
        assert_eq!(cached(&at, "out", scheme), (whole.clone(), 12 + (3 << 20)));
        assert_eq!(cached(&at, "out", scheme), (whole.clone(), 0));
        at.file("out/d/b", "BBBB");
        settle(&at);
        assert_eq!(cached(&at, "out", scheme).1, 4);
        assert_eq!(cached(&at, "out", scheme), (uncached(&at, "out", scheme), 0));
        // A file alone.
        assert_eq!(cached(&at, "out/large", scheme).1, 3 << 20);
        assert_eq!(cached(&at, "out/large", scheme), (uncached(&at, "out/large", scheme), 0));
        // The cache moves with the project, and is lost without harm.
        fs::remove_dir_all(at.path(".larder/stat")).unwrap();
        assert_eq!(cached(&at, "out", scheme).1, 12 + (3 << 20));
    }
}

#[test]
fn weasel_hashes_are_not_cached() {
    let at = project();
    settle(&at);
    for _ in 0..2 {
        assert_eq!(cached(&at, "out", Scheme::Weasel), (uncached(&at, "out", Scheme::Weasel), 12));
    }
    assert!(!at.path(".larder/stat").exists());
}

#[test]
fn dependencies_are_remembered_and_the_state_of_larder_is_no_part_of_them() {
    let at = project();
    at.file("out/x.pyc", "1").file(".larderignore", "*.pyc\n");
    settle(&at);
    let hash = |dependency: &str| {
        let (options, watcher) = options(&at, Scheme::Blake3);
        let inputs = CommandInputs::new(["c"]).with_deps([dependency]);
        let hash = command_hash(at.root(), &inputs, &options).unwrap();
        (hash, watcher.seen.load(Ordering::SeqCst))
    };
    for dependency in ["out", "."] {
        let (first, read) = hash(dependency);
        assert!(read >= 12);
        assert_eq!(hash(dependency), (first, 0), "{dependency}");
    }
    // The output has more files than the dependency. Neither pass forgets the files of the other.
    cached(&at, "out", Scheme::Blake3);
    assert_eq!(hash("out").1, 0);
    assert_eq!(cached(&at, "out", Scheme::Blake3).1, 0);
}

#[test]
fn a_tree_that_contains_the_cache_is_read() {
    let at = project();
    settle(&at);
    for tree in ["", ".larder", "out/d/../.."] {
        let (first, read) = cached(&at, tree, Scheme::Blake3);
        assert_eq!(cached(&at, tree, Scheme::Blake3), (first, read), "{tree}");
    }
    assert!(!at.path(".larder/stat").exists());
}

#[test]
fn no_edit_is_missed() {
    let times = |path: &Path| {
        let found = fs::metadata(path).unwrap();
        FileTimes::new().set_modified(found.modified().unwrap()).set_accessed(found.accessed().unwrap())
    };
    let restore = |path: &Path, times: FileTimes| {
        File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    };
    let run = |at: &Playground, script: &str| {
        assert!(
            Command::new("sh").args(["-ec", script]).current_dir(at.root()).status().unwrap().success(),
            "{script}"
        );
    };
    let edits: Vec<(&str, Box<dyn Fn(&Playground)>)> = vec![
        (
            "rewritten in place, times restored",
            Box::new(|at| {
                let path = at.path("out/d/b");
                let times = times(&path);
                fs::write(&path, "BBBB").unwrap();
                restore(&path, times);
            }),
        ),
        (
            "replaced by a rename, times restored",
            Box::new(|at| {
                let times = times(&at.path("out/d/b"));
                at.file("new", "BBBB");
                restore(&at.path("new"), times);
                fs::rename(at.path("new"), at.path("out/d/b")).unwrap();
            }),
        ),
        (
            "removed and made again, times restored",
            Box::new(|at| {
                let times = times(&at.path("out/d/b"));
                fs::remove_file(at.path("out/d/b")).unwrap();
                at.file("out/d/b", "BBBB");
                restore(&at.path("out/d/b"), times);
            }),
        ),
        (
            "written through a hard link",
            Box::new(|at| {
                fs::hard_link(at.path("out/d/b"), at.path("beside")).unwrap();
                let times = times(&at.path("beside"));
                fs::write(at.path("beside"), "BBBB").unwrap();
                restore(&at.path("beside"), times);
            }),
        ),
        ("two files exchanged", Box::new(|at| run(at, "mv out/d/b t; mv out/d/c out/d/b; mv t out/d/c"))),
        (
            "a directory exchanged",
            Box::new(|at| {
                run(at, "cp -a out/d e; printf BBBB > e/b; touch -r out/d/b e/b; mv out/d f; mv e out/d");
            }),
        ),
        (
            "copied over with its times",
            Box::new(|at| run(at, "printf BBBB > n; touch -r out/d/b n; cp --preserve=all n out/d/b")),
        ),
        (
            "restored by tar",
            Box::new(|at| {
                run(
                    at,
                    "cp -a out o; printf BBBB > out/d/b; touch -r o/d/b out/d/b; tar cf t out; rm -r out; cp -a o out; tar xpf t",
                );
            }),
        ),
        (
            "the old version restored by tar, then the new one",
            Box::new(|at| {
                run(
                    at,
                    "tar cf t out; printf BBBB > out/d/b; tar xpf t; printf BBBB > out/d/b; touch -r out/a out/d/b",
                );
            }),
        ),
        ("made executable", Box::new(|at| run(at, "chmod +x out/d/b"))),
        (
            "a file becomes a link to a file like it",
            Box::new(|at| run(at, "mv out/d/b .; ln -s ../../b out/d/b")),
        ),
        (
            "a time of modification in the future",
            Box::new(|at| run(at, "printf BBBB > out/d/b; touch -d 2099-01-01 out/d/b")),
        ),
        (
            "the same, and rewritten",
            Box::new(|at| {
                run(at, "touch -d 2099-01-01 out/d/b");
                cached(at, "out", Scheme::Blake3);
                run(at, "printf BBBB > out/d/b; touch -d 2099-01-01 out/d/b");
            }),
        ),
        ("renamed in its directory", Box::new(|at| run(at, "mv out/d/b out/d/bb"))),
        (
            "written by rsync",
            Box::new(|at| {
                run(
                    at,
                    "command -v rsync >/dev/null || exit 0; cp -a out o; printf BBBB > o/d/b; touch -r out/d/b o/d/b; rsync -aI --inplace o/ out/",
                );
            }),
        ),
    ];
    for (edit, apply) in &edits {
        for is_settled in [true, false] {
            let at = project();
            if is_settled {
                settle(&at);
            }
            let before = cached(&at, "out", Scheme::Blake3).0;
            apply(&at);
            if is_settled {
                settle(&at);
            }
            for _ in 0..2 {
                assert_eq!(
                    cached(&at, "out", Scheme::Blake3).0,
                    uncached(&at, "out", Scheme::Blake3),
                    "{edit}"
                );
            }
            let is_changed =
                *edit != "written by rsync" || Command::new("rsync").arg("--version").output().is_ok();
            assert_eq!(uncached(&at, "out", Scheme::Blake3) != before, is_changed, "{edit}");
        }
    }
}

#[test]
fn a_failed_pass_keeps_what_it_read() {
    let at = project();
    at.file("out/z", "zzzz");
    settle(&at);
    at.fifo("out/y");
    let (options, watcher) = options(&at, Scheme::Blake3);
    content_hash(&at.path("out"), &options).unwrap_err();
    assert_eq!(watcher.seen.load(Ordering::SeqCst), 12);
    fs::remove_file(at.path("out/y")).unwrap();
    assert_eq!(cached(&at, "out", Scheme::Blake3), (uncached(&at, "out", Scheme::Blake3), 4));
    // It also keeps what the pass did not come to.
    at.file("out/a", "AAAA").fifo("out/d/x");
    settle(&at);
    content_hash(&at.path("out"), &options).unwrap_err();
    fs::remove_file(at.path("out/d/x")).unwrap();
    assert_eq!(cached(&at, "out", Scheme::Blake3), (uncached(&at, "out", Scheme::Blake3), 0));
}

#[test]
fn passes_at_the_same_time_agree() {
    let at = project();
    at.files((0..2_000).map(|index| (format!("out/many/{index}"), index.to_string())));
    settle(&at);
    let whole = uncached(&at, "out", Scheme::Blake3);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for round in 0..8 {
                    assert_eq!(cached(&at, "out", Scheme::Blake3).0, whole);
                    if round % 3 == 0 {
                        fs::remove_dir_all(at.path(".larder/stat")).ok();
                    }
                }
            });
        }
    });
    cached(&at, "out", Scheme::Blake3);
    assert_eq!(cached(&at, "out", Scheme::Blake3), (whole, 0));
    assert_eq!(fs::read_dir(at.path(".larder/stat")).unwrap().count(), 1, "no temporary file stays");
}

#[test]
fn a_symlink_in_the_place_of_the_cache_is_not_followed() {
    for path in [".larder", ".larder/stat"] {
        let at = Playground::new();
        at.file("out/a", "aaaa").directory("elsewhere");
        if path != ".larder" {
            at.directory(".larder");
        }
        at.link(path, at.path("elsewhere"));
        settle(&at);
        for _ in 0..2 {
            assert_eq!(cached(&at, "out", Scheme::Blake3), (uncached(&at, "out", Scheme::Blake3), 4));
        }
        assert_eq!(fs::read_dir(at.path("elsewhere")).unwrap().count(), 0);
    }
}

#[derive(Clone, Debug)]
enum Edit {
    Write(usize, u8),
    WriteRestored(usize, u8),
    Append(usize),
    Replace(usize, usize),
    Link(usize, usize),
    Remove(usize),
    Touch(usize),
    Exchange(usize, usize),
    Hash,
    Damage(u16),
    Settle,
}

fn edits() -> impl Strategy<Value = Edit> {
    let file = || 0..6_usize;
    let content = || 0..3_u8;
    prop_oneof![
        2 => (file(), content()).prop_map(|(file, content)| Edit::Write(file, content)),
        2 => (file(), content()).prop_map(|(file, content)| Edit::WriteRestored(file, content)),
        1 => file().prop_map(Edit::Append),
        2 => (file(), file()).prop_map(|(from, to)| Edit::Replace(from, to)),
        1 => (file(), file()).prop_map(|(from, to)| Edit::Link(from, to)),
        1 => file().prop_map(Edit::Remove),
        1 => file().prop_map(Edit::Touch),
        1 => (file(), file()).prop_map(|(from, to)| Edit::Exchange(from, to)),
        3 => Just(Edit::Hash),
        1 => any::<u16>().prop_map(Edit::Damage),
        1 => Just(Edit::Settle),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hashes_with_and_without_the_cache_agree_after_random_edits(edits in proptest::collection::vec(edits(), 1..60)) {
        let at = Playground::new();
        at.directory(".larder").directory("out/d");
        let path = |index: usize| at.path(["out/0", "out/1", "out/d/2", "out/d/3", "out/d/4", "out/5"][index]);
        let content = |by: u8| vec![b'a' + by; 8];
        for edit in edits {
            // Many edits name files that do not exist.
            match edit {
                Edit::Write(file, by) => fs::write(path(file), content(by)).unwrap(),
                Edit::WriteRestored(file, by) => {
                    let before = fs::metadata(path(file)).ok();
                    fs::write(path(file), content(by)).unwrap();
                    if let Some(before) = before {
                        File::options().write(true).open(path(file)).unwrap().set_modified(before.modified().unwrap()).unwrap();
                    }
                }
                Edit::Append(file) => if let Ok(bytes) = fs::read(path(file)) {
                    fs::write(path(file), [bytes, vec![b'+']].concat()).unwrap();
                }
                Edit::Replace(from, to) => drop(fs::rename(path(from), path(to))),
                Edit::Link(from, to) => drop(fs::hard_link(path(from), path(to))),
                Edit::Remove(file) => drop(fs::remove_file(path(file))),
                Edit::Touch(file) => if let Ok(file) = File::options().append(true).open(path(file)) {
                    file.set_modified(std::time::SystemTime::now()).unwrap();
                }
                Edit::Exchange(from, to) => {
                    fs::rename(path(from), at.path("t")).ok();
                    fs::rename(path(to), path(from)).ok();
                    fs::rename(at.path("t"), path(to)).ok();
                }
                Edit::Hash => {
                    let whole = uncached(&at, "out", Scheme::Blake3);
                    prop_assert_eq!(cached(&at, "out", Scheme::Blake3).0, whole);
                }
                Edit::Damage(place) => for file in fs::read_dir(at.path(".larder/stat")).into_iter().flatten() {
                    let file = file.unwrap().path();
                    let mut bytes = fs::read(&file).unwrap();
                    let place = usize::from(place) % bytes.len();
                    bytes[place] ^= 0x10;
                    fs::write(file, bytes).unwrap();
                }
                Edit::Settle => settle(&at),
            }
        }
        let whole = uncached(&at, "out", Scheme::Blake3);
        prop_assert_eq!(cached(&at, "out", Scheme::Blake3).0, whole);
    }
}

#[test]
fn a_file_on_another_file_system_is_hashed_by_the_clock_of_that_one() {
    // Both are there on Linux, and are never the same.
    let shm = Path::new("/dev/shm");
    let at = project();
    if !shm.is_dir() || fs::metadata(shm).unwrap().dev() == fs::metadata(at.root()).unwrap().dev() {
        return;
    }
    let elsewhere = tempfile::tempdir_in(shm).unwrap();
    fs::write(elsewhere.path().join("x"), "xxxx").unwrap();
    let cache = StatCache::new(at.root());
    let before = cache.clock(elsewhere.path()).unwrap();
    while cache.clock(elsewhere.path()).unwrap() == before {
        thread::yield_now();
    }
    at.link("data", elsewhere.path());
    assert_eq!(cached(&at, "data", Scheme::Blake3).1, 4);
    assert_eq!(cached(&at, "data", Scheme::Blake3), (uncached(&at, "data", Scheme::Blake3), 0));
    assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 1, "nothing stays behind");
}
