use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn command(name: &str, script: &[&str]) -> ProjectCommand {
    ProjectCommand::new(name).with_script(script.iter().copied())
}

fn hash(digit: char) -> ContentHash {
    ContentHash::parse(digit.to_string().repeat(32)).unwrap()
}

fn info(path: &str, digit: char) -> FileInfo {
    FileInfo { path: path.to_owned(), hash: Some(hash(digit)) }
}

fn absent(path: &str) -> FileInfo {
    FileInfo { path: path.to_owned(), hash: None }
}

fn lock(text: &str) -> (tempfile::TempDir, LockFile) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(LockFile::FILE), text).unwrap();
    let lock = LockFile::read(dir.path()).unwrap();
    (dir, lock)
}

#[test]
fn other_entries_and_their_order_stay() {
    let text = "z:\n  cmd: x\n  more:\n    - 1\n    - - 0x10\n      - {}\na:\n  cmd: python -m weasel run a\nkey: 2.50\n";
    let (dir, mut lock) = lock(text);
    assert!(lock.record(&command("a", &["one", "two: "]), &[info("d", 'a')], &[absent("o")]));
    assert!(!lock.record(&command("a", &["one", "two: "]), &[info("d", 'a')], &[absent("o")]));
    lock.write().unwrap();
    let written = fs::read_to_string(dir.path().join(LockFile::FILE)).unwrap();
    let md5 = "a".repeat(32);
    assert_eq!(
        written,
        format!(
            "z:\n  cmd: x\n  more:\n    - 1\n    -   - 16\n        - {{}}\na:\n  cmd: python -m weasel run a\n  script:\n    \
             - one\n    - 'two: '\n  deps:\n    - path: d\n      md5: {md5}\n  outs:\n    - path: o\n      md5: null\n\
             key: 2.5\n"
        )
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn an_empty_lock_has_no_entries_and_anything_else_than_a_mapping_is_refused() {
    for text in ["", "# nothing\n", "{}\n", "null\n"] {
        assert!(lock(text).1.entries.is_empty());
    }
    let dir = tempfile::tempdir().unwrap();
    assert!(LockFile::read(dir.path()).unwrap().entries.is_empty());
    fs::write(dir.path().join(LockFile::FILE), "- x\n").unwrap();
    assert!(LockFile::read(dir.path()).unwrap_err().to_string().contains("project.lock:1: "));
}

#[test]
fn a_lock_keeps_its_mode_and_is_never_a_link() {
    let (dir, mut lock) = lock("");
    lock.write().unwrap();
    let path = dir.path().join(LockFile::FILE);
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    lock.record(&command("a", &[]), &[], &[]);
    lock.write().unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(fs::read_to_string(&path).unwrap().starts_with("a:\n"));

    fs::rename(&path, dir.path().join("real")).unwrap();
    std::os::unix::fs::symlink("real", &path).unwrap();
    lock.record(&command("b", &[]), &[], &[]);
    assert!(matches!(lock.write(), Err(Error::Write { .. })));
    assert!(matches!(LockFile::read(dir.path()), Err(Error::Read { .. })));
    assert!(path.is_symlink() && !fs::read_to_string(dir.path().join("real")).unwrap().contains("b:"));
}

#[test]
fn what_differs_is_named() {
    let (_dir, mut lock) = lock("");
    let ran = command("a", &["x"]);
    lock.record(&ran, &[info("d", 'a'), info("e", 'b')], &[info("o", 'c')]);
    let entry = lock.entry("a").unwrap();
    let same = [info("e", 'b'), info("d", 'a')];
    assert_eq!(entry.difference(&ran, &same), None, "the order does not matter");
    let said = |command: &ProjectCommand, deps: &[FileInfo]| entry.difference(command, deps).unwrap();
    assert_eq!(said(&command("a", &["y"]), &same), "its script has changed since it ran");
    assert_eq!(said(&ran, &[info("e", 'b'), info("d", 'c')]), "its dependency `d` has changed since it ran");
    assert_eq!(said(&ran, &[info("e", 'b')]), "it depended on `d` when it ran");
    assert!(said(&ran, &[info("f", 'b'), info("d", 'a'), info("e", 'b')]).contains("did not depend on `f`"));
    assert!(entry.has_output("o", &hash('c')) && !entry.has_output("o", &hash('d')));
}

#[test]
fn the_layout_is_that_of_the_vectors() {
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/vectors/project.json")).unwrap();
    for row in vectors.as_array().unwrap() {
        let text = row["weasel_lock_after_pull"].as_str().unwrap();
        let (_dir, lock) = lock(text);
        assert_eq!(emit::emit(&lock.entries), text, "{}", row["name"]);
    }
}

#[test]
fn of_several_writers_none_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let root = dir.path();
            scope.spawn(move || {
                for round in 0..8 {
                    let ran = command(&format!("c{number}-{round}"), &["x"]);
                    LockFile::update(root, |lock| lock.record(&ran, &[], &[])).unwrap();
                }
            });
        }
    });
    assert_eq!(LockFile::read(dir.path()).unwrap().entries.len(), 64);
}
