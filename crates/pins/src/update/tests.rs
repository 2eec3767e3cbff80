use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::{Command, Stdio};
use std::thread;

use larder_hashing::OutputPath;

use super::*;
use crate::merge::Side;
use crate::pin::Pin;
use crate::samples::{pin, pins};

fn write(root: &Path, lock: &LarderLock) -> bool {
    LockUpdate::begin(root).unwrap().write(lock).unwrap()
}

fn conflicts(root: &Path) -> Vec<String> {
    match LockContents::read(root).unwrap() {
        LockContents::Conflicted(merge) => {
            merge.conflicts().iter().map(|conflict| conflict.path.to_string()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_change_is_written_once_and_keeps_the_permissions() {
    let dir = tempfile::tempdir().unwrap();
    let file = path_of(dir.path());
    assert_eq!(LockContents::read(dir.path()).unwrap(), LockContents::Absent);
    assert!(!write(dir.path(), &LarderLock::default()) && !file.exists());
    assert!(write(dir.path(), &pins(&[("a", "1")])));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let metadata = || fs::metadata(&file).unwrap();
    let before = metadata().ino();
    assert!(!write(dir.path(), &pins(&[("a", "1")])));
    assert_eq!(metadata().ino(), before, "it is not written again");
    assert!(write(dir.path(), &pins(&[("a", "2")])));
    assert_eq!(metadata().permissions().mode() & 0o777, 0o640);
    assert_eq!(LarderLock::read(dir.path()).unwrap(), pins(&[("a", "2")]));
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, [".larder", "larder.lock"]);
}

#[test]
fn changes_of_several_processes_are_all_kept() {
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|scope| {
        for index in 0..8 {
            let root = dir.path();
            scope.spawn(move || {
                let mut update = LockUpdate::begin(root).unwrap();
                let mut pins = update.pins().unwrap();
                pins.insert(pin(&format!("out{index}"), "1")).unwrap();
                assert!(update.write(&pins).unwrap());
            });
        }
    });
    assert_eq!(LarderLock::read(dir.path()).unwrap().len(), 8);
}

#[test]
fn other_things_than_a_file_are_refused() {
    let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let target = outside.path().join("target");
    fs::write(&target, pins(&[("a", "1")]).to_text()).unwrap();
    symlink(&target, path_of(dir.path())).unwrap();
    let error = LockUpdate::begin(dir.path()).unwrap_err();
    assert!(matches!(&error, Error::Read { source, .. } if source.to_string().contains("it is a symlink")));
    fs::remove_file(path_of(dir.path())).unwrap();
    fs::create_dir(path_of(dir.path())).unwrap();
    assert!(matches!(LockContents::read(dir.path()), Err(Error::Read { .. })));
    fs::remove_dir(path_of(dir.path())).unwrap();
    fs::write(path_of(dir.path()), b"version = 1\n# caf\xe9\n").unwrap();
    let said = LockContents::read(dir.path()).unwrap_err().to_string();
    assert!(said.contains("larder.lock:2: not valid TOML: it must be UTF-8 text"), "{said}");
}

#[test]
fn a_symlink_that_appears_after_reading_is_not_written_through() {
    let dir = tempfile::tempdir().unwrap();
    let mut update = LockUpdate::begin(dir.path()).unwrap();
    symlink("target", path_of(dir.path())).unwrap();
    assert!(matches!(update.write(&pins(&[("a", "1")])), Err(Error::Write { .. })));
    assert!(!dir.path().join("target").exists());
}

/// A repository with the project `project`, in which `main` and `other` changed the pins of `base`.
struct Merge {
    dir: tempfile::TempDir,
    root: PathBuf,
    style: &'static str,
}

impl Merge {
    /// Returns `None` on a machine without git.
    fn new(style: &'static str, [base, ours, theirs]: [&LarderLock; 3]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("project");
        fs::create_dir(&root).unwrap();
        let merge = Self { dir, root, style };
        if !merge.git(&["init", "-q", "-b", "main", "."]) {
            return None;
        }
        merge.commit(base);
        assert!(merge.git(&["checkout", "-q", "-b", "other"]));
        merge.commit(theirs);
        assert!(merge.git(&["checkout", "-q", "main"]));
        merge.commit(ours);
        assert!(!merge.git(&["merge", "-q", "other"]), "there is a conflict");
        Some(merge)
    }

    fn commit(&self, pins: &LarderLock) {
        fs::write(path_of(&self.root), pins.to_text()).unwrap();
        assert!(self.git(&["add", "-A"]) && self.git(&["commit", "-q", "--allow-empty", "-m", "x"]));
    }

    fn git(&self, args: &[&str]) -> bool {
        let style = format!("merge.conflictstyle={}", self.style);
        let settings = ["user.name=x", "user.email=a@b", "commit.gpgsign=false", &style];
        let mut git = Command::new("git");
        git.args(settings.iter().flat_map(|setting| ["-c", *setting])).args(args);
        git.current_dir(self.dir.path()).env("HOME", self.dir.path());
        git.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

#[test]
fn a_merge_of_git_leaves_only_real_conflicts() {
    let base = pins(&[("changed", "1"), ("fought", "1"), ("gone", "1"), ("same", "1")]);
    let ours = pins(&[("added", "1"), ("changed", "1"), ("fought", "2"), ("gone", "1"), ("same", "1")]);
    let theirs = pins(&[("also", "1"), ("changed", "2"), ("fought", "3"), ("same", "1")]);
    for style in ["merge", "diff3", "zdiff3"] {
        let Some(merge) = Merge::new(style, [&base, &ours, &theirs]) else { return };
        let text = fs::read_to_string(path_of(&merge.root)).unwrap();
        assert_eq!(text.contains("|||||||"), style != "merge");
        assert_eq!(conflicts(&merge.root), ["fought"], "{style}\n{text}");
        let mut update = LockUpdate::begin(&merge.root).unwrap();
        let said = update.pins().unwrap_err().to_string();
        assert!(said.contains("conflicts of a merge in `fought`: "), "{said}");
        let LockContents::Conflicted(mut settled) = update.found().clone() else { panic!("{style}") };
        settled.settle_all(Side::Theirs);
        assert!(update.write(&settled.finish().unwrap()).unwrap());
        let expected = [("added", "1"), ("also", "1"), ("changed", "2"), ("fought", "3"), ("same", "1")];
        assert_eq!(LarderLock::read(&merge.root).unwrap(), pins(&expected), "{style}");
    }
}

#[test]
fn conflicts_are_settled_one_by_one() {
    let base = pins(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]);
    let ours = pins(&[("a", "2"), ("b", "2"), ("c", "2"), ("d", "1")]);
    let theirs = pins(&[("a", "3"), ("b", "3"), ("d", "3")]);
    let Some(merge) = Merge::new("merge", [&base, &ours, &theirs]) else { return };
    assert_eq!(conflicts(&merge.root), ["a", "b", "c"]);
    let settle = |settle: &dyn Fn(&mut LockMerge)| {
        let mut update = LockUpdate::begin(&merge.root).unwrap();
        let LockContents::Conflicted(mut found) = update.found().clone() else { panic!() };
        settle(&mut found);
        update.write_merge(&found).unwrap();
        update.found().clone()
    };
    let left = settle(&|found| found.settle_with(pin("b", "4")));
    assert_eq!(LockContents::read(&merge.root).unwrap(), left);
    assert_eq!(conflicts(&merge.root), ["a", "c"], "the versions before the merge do not count anymore");
    settle(&|found| assert!(found.settle(&OutputPath::new("c").unwrap(), Side::Ours)));
    assert_eq!(conflicts(&merge.root), ["a"]);
    settle(&|found| assert_eq!(found.settle_all(Side::Theirs), 1));
    let expected = pins(&[("a", "3"), ("b", "4"), ("c", "2"), ("d", "3")]);
    assert_eq!(LockContents::read(&merge.root).unwrap(), LockContents::Pins(expected));
}

#[test]
fn a_merge_that_only_git_finds_hard_counts_as_pins() {
    let base = LarderLock::default();
    let (ours, theirs) = (pins(&[("a", "1")]), pins(&[("b", "1")]));
    let Some(merge) = Merge::new("merge", [&base, &ours, &theirs]) else { return };
    assert!(conflicts(&merge.root).is_empty());
    let both = pins(&[("a", "1"), ("b", "1")]);
    assert_eq!(LarderLock::read(&merge.root).unwrap(), both);
    assert!(write(&merge.root, &both), "the markers go");
    let text = fs::read_to_string(path_of(&merge.root)).unwrap();
    assert_eq!(text, both.to_text());
}

#[test]
fn a_pin_of_which_git_merged_one_line_is_whole_again() {
    let of = |content: &str, bytes, files| {
        let mut lock = LarderLock::default();
        lock.insert(Pin { bytes, files, ..pin("a", content) }).unwrap();
        lock
    };
    let [base, ours, theirs] = [of("1", 1, 1), of("2", 1, 1), of("3", 1, 2)];
    let Some(merge) = Merge::new("merge", [&base, &ours, &theirs]) else { return };
    let text = fs::read_to_string(path_of(&merge.root)).unwrap();
    assert_eq!(text.matches("files = ").count(), 1, "git merges this line alone:\n{text}");
    for (side, expected) in [(Side::Ours, &ours), (Side::Theirs, &theirs)] {
        let LockContents::Conflicted(mut settled) = LockContents::read(&merge.root).unwrap() else {
            panic!()
        };
        assert_eq!(settled.settle_all(side), 1);
        assert_eq!(&settled.finish().unwrap(), expected);
    }
}

#[test]
fn without_git_the_markers_of_diff3_have_the_base() {
    let dir = tempfile::tempdir().unwrap();
    let text = |lock: &LarderLock| lock.to_text();
    let [base, ours, theirs] =
        [pins(&[("a", "1"), ("b", "1")]), pins(&[("a", "2"), ("b", "1")]), pins(&[("a", "1")])];
    let merge = |base: Option<&LarderLock>| {
        let base = base.map(|base| format!("||||||| x\n{}", text(base))).unwrap_or_default();
        let whole = format!("<<<<<<< x\n{}{base}=======\n{}>>>>>>> x\n", text(&ours), text(&theirs));
        fs::write(path_of(dir.path()), whole).unwrap();
    };
    merge(Some(&base));
    assert_eq!(LarderLock::read(dir.path()).unwrap(), pins(&[("a", "2")]));
    merge(None);
    assert_eq!(conflicts(dir.path()), ["a"]);
}
