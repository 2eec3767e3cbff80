use std::fs;
use std::process::{Command, Stdio};
use std::time::Instant;

use larder_hashing::{CommandHash, ContentHash};

use super::*;

/// A repository, and a project in it. Without git on this machine, a test has none and does nothing.
struct Repository {
    dir: tempfile::TempDir,
    project: PathBuf,
}

impl Repository {
    fn new(project: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let project = dir.path().join(project);
        fs::create_dir_all(&project).unwrap();
        let repository = Self { dir, project };
        repository.try_git(&["init", "-q", "-b", "main", "."]).then_some(repository)
    }

    fn try_git(&self, args: &[&str]) -> bool {
        let settings =
            ["user.name=Ann\u{7}", "user.email=a@b", "commit.gpgsign=false", "merge.conflictstyle=merge"];
        let mut git = Command::new("git");
        git.args(settings.iter().flat_map(|setting| ["-c", *setting]));
        let git = git.args(args).current_dir(self.dir.path()).env("HOME", self.dir.path());
        git.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    #[track_caller]
    fn git(&self, args: &[&str]) {
        assert!(self.try_git(args), "{args:?}");
    }

    fn commit(&self, subject: &str) {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", subject]);
    }

    fn pin(&self, pins: &[Pin]) {
        let mut lock = LarderLock::default();
        for pin in pins {
            lock.insert(pin.clone()).unwrap();
        }
        fs::write(self.project.join(LarderLock::NAME), lock.to_text()).unwrap();
    }

    fn asked(&self) -> Git {
        Git::at(&self.project)
    }
}

fn path(text: &str) -> OutputPath {
    OutputPath::new(text).unwrap()
}

fn pin(path: &str, content: &str, command: &str) -> Pin {
    Pin {
        path: OutputPath::new(path).unwrap(),
        content: ContentHash::parse(content).unwrap(),
        command: CommandHash::parse(command).unwrap(),
        bytes: 1,
        files: 1,
        remote: None,
    }
}

#[test]
fn outside_of_a_repository_there_is_no_answer() {
    let dir = tempfile::tempdir().unwrap();
    for root in [dir.path(), &dir.path().join("missing")] {
        let git = Git::at(root);
        assert_eq!(git.top(), None);
        assert_eq!(git.head(), None);
        assert_eq!(git.is_dirty(), None);
        assert_eq!(git.tracks(&path("a")), None);
        assert_eq!(git.ignores(&["a"]), None);
        assert_eq!(git.unmerged_lock(1), None);
        assert_eq!(git.last_change_of(&pin("a", "1", "k")), None);
    }
}

#[test]
fn the_work_tree_of_a_project_in_a_subdirectory_is_known() {
    let Some(repository) = Repository::new("sub/project") else { return };
    let git = repository.asked();
    assert_eq!(git.top(), Some(repository.dir.path().canonicalize().unwrap()));
    assert_eq!(git.head(), None, "there is no commit");
    fs::create_dir(repository.project.join("models")).unwrap();
    for name in ["models/en", "*", "file"] {
        fs::write(repository.project.join(name), "x").unwrap();
    }
    repository.git(&["add", "sub/project/models", "sub/project/file"]);
    repository.git(&["commit", "-q", "-m", "one"]);
    assert_eq!(git.head().map(|head| head.len()), Some(40));
    assert_eq!(git.is_dirty(), Some(false));
    for (output, expected) in
        [("models", true), ("models/en", true), ("file", true), ("model", false), ("*", false)]
    {
        assert_eq!(git.tracks(&path(output)), Some(expected), "{output}");
    }
    fs::write(repository.project.join("file"), "y").unwrap();
    assert_eq!(git.is_dirty(), Some(true));
}

#[test]
fn a_second_work_tree_is_asked_for_itself() {
    let Some(repository) = Repository::new("") else { return };
    fs::write(repository.project.join("file"), "x").unwrap();
    repository.commit("one");
    repository.git(&["worktree", "add", "-q", "second"]);
    let git = Git::at(&repository.dir.path().join("second"));
    assert_eq!(git.top(), Some(repository.dir.path().canonicalize().unwrap().join("second")));
    assert_eq!(git.is_dirty(), Some(false));
}

#[test]
fn only_ignore_files_of_the_repository_count() {
    let Some(repository) = Repository::new("project") else { return };
    fs::write(repository.dir.path().join(".gitignore"), "*.bin\n").unwrap();
    fs::write(repository.project.join(".gitignore"), "/models/\n!keep.bin\n").unwrap();
    fs::write(repository.dir.path().join(".git/info/exclude"), "mine\n").unwrap();
    fs::write(repository.project.join("keep.bin"), "x").unwrap();
    fs::write(repository.project.join("tracked.bin"), "x").unwrap();
    repository.git(&["add", "-f", "project/tracked.bin"]);
    let git = repository.asked();
    for (output, expected) in [
        ("a.bin", true),
        ("tracked.bin", true),
        ("keep.bin", false),
        ("models/", true),
        ("models/en", true),
        ("mine", false),
        ("other", false),
    ] {
        assert_eq!(git.ignores(&[output]), Some(vec![expected]), "{output}");
    }
    assert_eq!(git.ignores(&["other", "a.bin", "mine"]), Some(vec![false, true, false]));
    assert_eq!(git.ignores(&[]), Some(Vec::new()));
}

#[test]
fn the_versions_before_a_merge_are_read() {
    let Some(repository) = Repository::new("project") else { return };
    let git = repository.asked();
    repository.pin(&[pin("a", "1", "k")]);
    repository.commit("base");
    assert_eq!(git.unmerged_lock(1), None, "there is no merge");
    repository.git(&["checkout", "-q", "-b", "other"]);
    repository.pin(&[pin("a", "3", "k")]);
    repository.commit("theirs");
    repository.git(&["checkout", "-q", "main"]);
    repository.pin(&[pin("a", "2", "k")]);
    repository.commit("ours");
    assert!(!repository.try_git(&["merge", "-q", "other"]));
    for stage in 1..=3 {
        let found = git.unmerged_lock(stage).unwrap();
        assert_eq!(found.get(&path("a")), Some(&pin("a", &stage.to_string(), "k")));
    }
}

#[test]
fn the_commit_that_set_a_pin_is_found() {
    let Some(repository) = Repository::new("project") else { return };
    let git = repository.asked();
    let other = pin("other", "1", "k");
    repository.pin(&[pin("a", "v1", "k1"), other.clone()]);
    repository.commit("first");
    repository.pin(&[pin("a", "v2", "k1"), other.clone()]);
    repository.commit("Retrain\u{1b}[31m it");
    fs::write(repository.project.join("unrelated"), "x").unwrap();
    repository.commit("unrelated");
    let subject = |pin: &Pin| git.last_change_of(pin).map(|commit| commit.subject);
    assert_eq!(subject(&pin("a", "v2", "k1")).as_deref(), Some("Retrain[31m it"));
    assert_eq!(subject(&other).as_deref(), Some("first"));
    assert_eq!(subject(&pin("a", "v3", "k1")), None, "it is not committed");
    // Only the command changes, and another output has the same content.
    repository.pin(&[pin("a", "v2", "k2"), pin("b", "v2", "k1"), other.clone()]);
    repository.commit("third");
    assert_eq!(subject(&pin("a", "v2", "k2")).as_deref(), Some("third"));
    assert_eq!(subject(&pin("b", "v2", "k1")).as_deref(), Some("third"));
    // Back to an old version.
    repository.pin(&[pin("a", "v1", "k1"), other]);
    repository.commit("back");
    let commit = git.last_change_of(&pin("a", "v1", "k1")).unwrap();
    assert_eq!((commit.subject.as_str(), commit.author.as_str()), ("back", "Ann"));
    assert_eq!(commit.to_string(), format!("{} (\"back\", by Ann)", commit.short_hash));
}

#[test]
fn a_shallow_clone_does_not_know_the_commit() {
    let Some(repository) = Repository::new("project") else { return };
    repository.pin(&[pin("a", "v1", "k1")]);
    repository.commit("first");
    fs::write(repository.project.join("unrelated"), "x").unwrap();
    repository.commit("unrelated");
    let url = format!("file://{}", repository.dir.path().display());
    repository.git(&["clone", "-q", "--depth=1", &url, "clone"]);
    let git = Git::at(&repository.dir.path().join("clone/project"));
    assert_eq!(git.last_change_of(&pin("a", "v1", "k1")), None);
}

#[test]
fn an_answer_is_bounded_in_time_and_size() {
    let Some(repository) = Repository::new("") else { return };
    let dir = repository.dir.path();
    let question = |args| Question::new(dir, args);
    // Git waits for a writer.
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    let (timeout, begun) = (Duration::from_millis(50), Instant::now());
    assert!(Question { timeout, ..question(&["hash-object", "fifo"]) }.ask().is_none());
    assert!(begun.elapsed() < Duration::from_secs(5));
    let answer = Question { max_bytes: 3, ..question(&["--version"]) }.ask().unwrap();
    assert_eq!((answer.stdout.as_slice(), answer.is_cut, answer.code), (&b"git"[..], true, None));
    // This reads its standard input, which is empty.
    assert_eq!(question(&["cat-file", "--batch"]).ask().unwrap().success(), Some(Vec::new()));
    // This ends before it has read its standard input.
    let input = vec![b'x'; 1 << 20];
    assert_eq!(
        Question { input, ..question(&["rev-parse", "--no-such"]) }.ask().unwrap().has_output(),
        Some(true)
    );
}
