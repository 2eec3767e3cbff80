//! Trees that hashing refuses.

use std::error::Error as _;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use larder_hashing::{
    CommandError, CommandInputs, HashError, HashOptions, Scheme, command_hash, content_hash,
};
use larder_tree::{TreeError, TreeLimits, TreeOptions};

use crate::support::{Playground, Watcher, bytes, following, under, watched_by};

fn refused(path: &Path, options: &HashOptions) -> TreeError {
    match content_hash(path, options).expect_err("it should be refused") {
        HashError::Tree(error) => error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_fifo_is_refused_and_not_opened() {
    // Opening a FIFO for reading would wait for a writer forever.
    let playground = Playground::new();
    playground.file("d/a", "1").fifo("d/pipe");
    for scheme in [Scheme::Blake3, Scheme::Sha256] {
        for path in ["d", "d/pipe"] {
            let error = refused(&playground.path(path), &under(scheme));
            assert!(matches!(&error, TreeError::Special { path, .. } if path.ends_with("d/pipe")), "{error}");
        }
    }
    let followed = Playground::new();
    followed.directory("d").fifo("pipe").link("d/l", "../pipe");
    let error = refused(&followed.path("d"), &following(Scheme::Blake3));
    assert!(matches!(error, TreeError::Special { what: "a named pipe", .. }), "{error}");
}

#[test]
fn sockets_and_devices_are_refused() {
    let playground = Playground::new();
    playground.directory("d");
    let _socket = UnixListener::bind(playground.path("d/s")).unwrap();
    let error = refused(&playground.path("d"), &HashOptions::default());
    assert!(matches!(&error, TreeError::Special { what: "a socket", .. }), "{error}");
    let error = refused(Path::new("/dev/null"), &HashOptions::default());
    assert!(matches!(&error, TreeError::Special { what: "a device", .. }), "{error}");
}

#[test]
fn staging_is_refused_wherever_it_is() {
    let playground = Playground::new();
    playground.file("d/sub/.larder-tmp-1/f", "half");
    for scheme in Scheme::ALL {
        let error = refused(&playground.path("d"), &under(scheme));
        assert!(
            matches!(&error, TreeError::Staging { path } if path.ends_with("sub/.larder-tmp-1")),
            "{error}"
        );
    }
}

#[test]
fn missing_files_are_named() {
    let playground = Playground::new();
    playground.file("file", "").link("dangling", "nothing").link("self", "self");
    for path in ["nothing", "dangling", "file/x"] {
        let path = playground.path(path);
        assert!(
            matches!(refused(&path, &HashOptions::default()), TreeError::Missing { path: named } if named == path)
        );
    }
    assert!(matches!(refused(&playground.path("self"), &HashOptions::default()), TreeError::Loop { .. }));
}

#[test]
fn loops_are_refused_where_links_are_followed() {
    let follow = following(Scheme::default());
    let links: [(&str, &str, Option<(&str, &str)>); 4] = [
        ("d/l", ".", None),
        ("d/sub/l", "../../d", None),
        ("d/l", "..", None),
        ("d/l", "../e", Some(("e/l", "../d"))),
    ];
    for (path, target, other) in links {
        let playground = Playground::new();
        playground.directory("d/sub").directory("e").link(path, target);
        if let Some((path, target)) = other {
            playground.link(path, target);
        }
        let error = refused(&playground.path("d"), &follow);
        assert!(matches!(error, TreeError::Loop { .. }), "{path} -> {target}: {error}");
        assert!(content_hash(&playground.path("d"), &HashOptions::default()).is_ok(), "not followed");
    }
    let playground = Playground::new();
    playground.directory("d").link("d/l", "l");
    assert!(matches!(refused(&playground.path("d"), &follow), TreeError::Loop { .. }));
    let playground = Playground::new();
    playground.directory("d").link("d/l", "nothing");
    assert!(matches!(refused(&playground.path("d"), &follow), TreeError::Dangling { .. }));
}

#[test]
fn two_links_to_one_directory_are_not_a_loop() {
    let playground = Playground::new();
    playground.file("d/real/f", "1").link("d/one", "real").link("d/two", "real");
    assert!(content_hash(&playground.path("d"), &following(Scheme::default())).is_ok());
}

#[test]
fn limits_hold() {
    let playground = Playground::new();
    playground.file("d/a/b/c", "").file("d/a/b/long-name", "");
    let limited = |limits: TreeLimits| match content_hash(
        &playground.path("d"),
        &HashOptions::default().with_tree(TreeOptions::default().with_limits(limits)),
    ) {
        Err(HashError::Tree(error)) => Err(error),
        other => Ok(other),
    };
    let limits = TreeLimits::default();
    assert!(limited(limits.with_depth(3).with_entries(5).with_path_bytes(13)).is_ok());
    assert!(
        matches!(limited(limits.with_depth(2)), Err(TreeError::TooDeep { path, .. }) if path.ends_with("d/a/b/c"))
    );
    assert!(matches!(limited(limits.with_entries(4)), Err(TreeError::TooManyEntries { .. })));
    let too_long = limited(limits.with_path_bytes(12));
    assert!(matches!(too_long, Err(TreeError::PathTooLong { path, .. }) if path.ends_with("long-name")));
}

#[test]
fn a_tree_at_the_limit_of_depth_and_length_is_hashed_although_no_system_call_takes_its_paths() {
    let playground = Playground::new();
    let component = "c".repeat(15);
    let mut at = playground.path("d");
    fs::create_dir(&at).unwrap();
    // The path is built from the inside out, because 255 components of 16 bytes exceed the system's limit.
    let inner = playground.path("inner");
    for _ in 0..255 {
        let outer = playground.path("outer");
        fs::create_dir(&outer).unwrap();
        if inner.exists() {
            fs::rename(&inner, outer.join(&component)).unwrap();
        } else {
            fs::write(outer.join("file"), "deep").unwrap();
        }
        fs::rename(&outer, &inner).unwrap();
    }
    fs::rename(&inner, at.join(&component)).unwrap();
    let (_, text) = crate::support::manifest(&at, &HashOptions::default());
    let line = text.lines().nth(1).unwrap();
    assert!(line.starts_with("f 4 ") && line.ends_with("/file"), "{line}");
    at = playground.path("deeper");
    fs::create_dir(&at).unwrap();
    fs::rename(playground.path("d"), at.join("x")).unwrap();
    assert!(matches!(refused(&at, &HashOptions::default()), TreeError::TooDeep { limit: 256, .. }));
    // The standard library removes it by descriptors.
    fs::remove_dir_all(&at).unwrap();
}

fn large(playground: &Playground, path: &str) -> PathBuf {
    playground.file(path, vec![7; 20 << 20]);
    playground.path(path)
}

#[test]
fn a_file_that_changes_while_it_is_read_is_an_error() {
    let changes: [(&str, fn(&Path)); 4] = [
        ("grows", |path| OpenOptions::new().append(true).open(path).unwrap().write_all(b"more").unwrap()),
        ("shrinks", |path| OpenOptions::new().write(true).open(path).unwrap().set_len(15 << 20).unwrap()),
        ("is touched", |path| {
            let time = std::time::SystemTime::UNIX_EPOCH;
            OpenOptions::new().write(true).open(path).unwrap().set_modified(time).unwrap();
        }),
        ("is changed and its time of modification set back", |path| {
            use std::os::unix::fs::FileExt as _;
            let file = OpenOptions::new().write(true).open(path).unwrap();
            let before = file.metadata().unwrap();
            file.write_all_at(b"other bytes", 19 << 20).unwrap();
            file.set_modified(before.modified().unwrap()).unwrap();
            let after = file.metadata().unwrap();
            assert_eq!((before.len(), before.modified().unwrap()), (after.len(), after.modified().unwrap()));
        }),
    ];
    for (what, change) in changes {
        for scheme in Scheme::ALL {
            for output in ["d", "d/file"] {
                let playground = Playground::new();
                let path = large(&playground, "d/file");
                let watched = path.clone();
                let options = watched_by(scheme, Arc::new(Watcher::at_first(move || change(&watched))));
                let error = refused(&playground.path(output), &options);
                assert!(
                    matches!(&error, TreeError::Changed { path: named } if *named == path),
                    "{what} under {scheme}: {error}"
                );
            }
        }
    }
}

#[test]
fn it_stops_when_asked_to() {
    let playground = Playground::new();
    large(&playground, "d/large");
    for scheme in Scheme::ALL {
        let watcher = Arc::new(Watcher::stopping_after(4 << 20));
        let options = watched_by(scheme, Arc::clone(&watcher) as _);
        assert!(matches!(refused(&playground.path("d"), &options), TreeError::Cancelled), "{scheme}");
        let seen = watcher.seen.load(std::sync::atomic::Ordering::SeqCst);
        assert!(seen < 20 << 20, "{scheme}: {seen} bytes");
    }
    let small = Playground::new();
    small.files((0..500).map(|i| (format!("d/{i}"), "1")));
    let options = watched_by(Scheme::default(), Arc::new(Watcher::stopping_after(10)));
    assert!(content_hash(&small.path("d"), &options).unwrap_err().is_cancelled());
}

#[test]
fn all_bytes_are_reported_once() {
    let playground = Playground::new();
    large(&playground, "d/large");
    playground.file("d/small", "12345").file("d/empty", "");
    for scheme in Scheme::ALL {
        let watcher = Arc::new(Watcher::stopping_after(u64::MAX));
        content_hash(&playground.path("d"), &watched_by(scheme, Arc::clone(&watcher) as _)).unwrap();
        assert_eq!(watcher.seen.load(std::sync::atomic::Ordering::SeqCst), (20 << 20) + 5, "{scheme}");
    }
}

#[test]
fn an_error_of_the_system_says_where_and_why() {
    let playground = Playground::new();
    let name = [b'n'; 200];
    let mut path = playground.path(bytes(&name));
    (0..30).for_each(|_| path.push(bytes(&name)));
    let error = refused(&path, &HashOptions::default());
    assert!(error.to_string().starts_with("failed to look at `"), "{error}");
    assert!(!error.to_string().contains("too long"), "the reason is the source's to tell: {error}");
    assert!(error.source().is_some());
}

#[test]
fn dependencies_must_be_there_and_stay_inside_themselves() {
    let playground = Playground::new();
    playground
        .file("dep/f", "1")
        .link("dep/in", "f")
        .link("dep/sub/up", "../f")
        .link("dep/nowhere", "sub/none");
    let hash = |dep: &str| {
        command_hash(playground.root(), &CommandInputs::default().with_deps([dep]), &HashOptions::default())
    };
    assert!(hash("dep").is_ok());
    assert!(hash("dep/in").is_ok(), "a dependency that is a link is followed");
    let missing = hash("none").unwrap_err();
    assert!(
        matches!(&missing, CommandError::MissingDependency { path } if path == Path::new("none")),
        "{missing}"
    );
    playground.file("outside", "2").link("chain/a", "b").link("chain/b", "../outside").link("abs/l", "/none");
    playground
        .link("up/x/y/s", "../..")
        .link("up/x/y/l", "s/../outside")
        .directory("hollow")
        .link("hollow/l", "../none");
    for dep in ["chain", "abs", "up", "hollow"] {
        let error = hash(dep).unwrap_err();
        let CommandError::Dependency { source: HashError::LeavesDependency { .. }, .. } = error else {
            panic!("{dep}: {error:?}");
        };
    }
    let weasel = HashOptions::new(Scheme::Weasel);
    let inputs = CommandInputs::default().with_deps(["chain"]);
    assert!(command_hash(playground.root(), &inputs, &weasel).is_ok(), "weasel follows them");
}
