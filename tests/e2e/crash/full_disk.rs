//! A disk that becomes full in the middle of a line of the journal.

use std::fs;
use std::path::Path;

use larder_tests::{Sandbox, Tree, noise};
use serde_json::{Value, json};

use crate::sweep::remove;

/// The page size of tmpfs. It allocates whole pages, so a write tears at the end of a page.
const PAGE: u64 = 4096;

/// One process pulls the outputs of two commands. The disk is full when the first is moved into place, so its line in the
/// journal is torn. Its failure frees space, and the process is killed while it moves the second into place.
pub(crate) fn torn_line() {
    let remote = Sandbox::new();
    let mut sandbox = Sandbox::without_exchange();
    let mount = sandbox.mount_tmpfs("project", 1);
    // A line has whole paths. With this path the second line does not fit into the first page.
    let project = (0..6).fold(mount, |path, _| path.join("d".repeat(230)));
    fs::create_dir_all(&project).unwrap();
    let yml = json!({
        "remotes": { "default": remote.remote() },
        "commands": [
            { "name": "a", "script": ["make a"], "deps": ["in"], "outputs": ["first"] },
            { "name": "b", "script": ["make b"], "deps": ["in"], "outputs": ["second"] },
        ],
    });
    fs::write(project.join("project.yml"), yml.to_string()).unwrap();
    fs::write(project.join("in"), "in").unwrap();
    let (old, new) = (Tree::new().with("file", "old"), Tree::new().with("file", "new"));
    let [first, second, lock] = ["first", "second", "project.lock"].map(|name| project.join(name));
    let larder = |args: &[&str]| sandbox.larder([]).in_dir(&project).args(args);
    let start_over = |tree: &Tree| {
        for path in [&first, &second, &lock] {
            remove(path.clone());
        }
        tree.write(&second);
    };

    start_over(&new);
    larder(&["project", "push"]).run().ok();
    start_over(&old);
    larder(&["project", "pull", "--force"]).run().ok();
    start_over(&old);
    // Fill the disk, except for the first page of the journal.
    let size = (free_pages(&project) - 1) * PAGE;
    fs::write(&first, noise(1, usize::try_from(size).unwrap())).unwrap();
    larder(&["project", "push", "--only", "a"]).run().ok();

    let mut interrupted = 0;
    for nth in 1.. {
        start_over(&old);
        let kill = format!("renameat2:signal=SIGKILL:when={nth}");
        let killed = larder(&["project", "pull", "--force"]).inject(&kill).run();
        if killed.signal.is_none() {
            let _ = killed.fails(1, &["failed to write", ".larder/journal", "No space left on device"]);
            Tree::read(&second).assert_same(&new);
            break;
        }
        assert_torn_before_the_end(&project.join(".larder/journal"));
        interrupted += usize::from(!second.exists());
        let next = larder(&["ls"]).run().ok();
        let found = Tree::read_if_exists(&second);
        assert!(found == Some(old.clone()) || found == Some(new.clone()), "{nth}: {found:?}, {next}");
        larder(&["project", "pull", "--force", "--only", "b"]).run().ok();
        Tree::read(&second).assert_same(&new);
        for place in ["journal", "tmp"] {
            let left = fs::read_dir(project.join(".larder").join(place)).unwrap().count();
            assert_eq!(left, 0, "{nth}: left in {place}, {next}");
        }
    }
    assert!(interrupted > 0, "no kill happened after the old tree was moved away");
}

fn free_pages(path: &Path) -> u64 {
    let stat = rustix::fs::statvfs(path).unwrap();
    stat.f_bfree * stat.f_frsize / PAGE
}

/// Asserts that the only journal has one torn line, followed by others.
fn assert_torn_before_the_end(journals: &Path) {
    let journal = fs::read_dir(journals).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(journal).unwrap();
    let is_whole = |line: &str| {
        let json = line.split_once(' ').map_or(line, |(_, json)| json);
        serde_json::from_str::<Value>(json).is_ok()
    };
    let torn: Vec<usize> =
        text.lines().enumerate().filter(|(_, line)| !is_whole(line)).map(|(index, _)| index).collect();
    assert!(torn.len() == 1 && torn[0] + 1 < text.lines().count(), "torn: {torn:?} of\n{text}");
}
