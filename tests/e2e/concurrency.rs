//! Parallel commands: they make one object and one restored tree, mix nothing, and keep each other's temporary files.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use larder_tests::{Case, Need, Run, Running, Sandbox, Signal, Tree, noise, run};

fn main() -> ExitCode {
    run(
        "concurrency",
        &[
            Case::new("of_ten_pushers_one_uploads_and_all_succeed", ten_pushers),
            Case::new("of_four_pullers_one_restores_and_all_succeed", four_pullers),
            Case::new("a_file_that_changes_while_it_is_pushed_is_not_published", changing_file),
            Case::new("a_reader_sees_the_old_tree_or_the_new_one", reader_sees_no_mixture)
                .needs(&[Need::Tmpfs]),
            Case::new("the_uploads_of_a_live_process_are_not_swept", live_push_is_spared),
            Case::new("the_staging_of_a_live_process_is_not_swept", live_pull_is_spared),
        ],
    )
}

fn outcomes(runs: Vec<Running>) -> Vec<String> {
    // Wait for all processes before the first assertion, so that a failure leaves none behind.
    let runs: Vec<Run> = runs.into_iter().map(Running::wait).collect();
    runs.into_iter().map(|run| run.ok().outcome()).collect()
}

fn ten_pushers() {
    for round in 0..5 {
        let sandbox = Sandbox::new();
        let tree = Tree::small(round).with("large", noise(round, 2 << 20));
        tree.write(&sandbox.path("model"));
        let push = sandbox.larder(["push", "model", "--json", "--command-hash", "x"]);
        let outcomes = outcomes((0..10).map(|_| push.spawn()).collect());
        let uploaded = outcomes.iter().filter(|outcome| *outcome == "uploaded").count();
        let present = outcomes.iter().filter(|outcome| *outcome == "already_present").count();
        assert_eq!((uploaded, present), (1, 9), "{outcomes:?}");
        sandbox.assert_clean();
        fs::remove_dir_all(sandbox.path("model")).unwrap();
        sandbox.object();
        sandbox.run(["pull", "model", "--command-hash", "x"]).ok();
        Tree::read(&sandbox.path("model")).assert_same(&tree);
    }
}

fn four_pullers() {
    let sandbox = Sandbox::new();
    let tree = Tree::small(1).with("large", noise(1, 2 << 20));
    tree.write(&sandbox.path("model"));
    sandbox.run(["push", "model"]).ok();
    for _ in 0..5 {
        fs::remove_dir_all(sandbox.path("model")).unwrap();
        let pull = sandbox.larder(["pull", "model", "--json"]);
        let outcomes = outcomes((0..4).map(|_| pull.spawn()).collect());
        let restored = outcomes.iter().filter(|outcome| *outcome == "restored").count();
        let up_to_date = outcomes.iter().filter(|outcome| *outcome == "up_to_date").count();
        assert_eq!((restored, up_to_date), (1, 3), "{outcomes:?}");
        Tree::read(&sandbox.path("model")).assert_same(&tree);
        sandbox.assert_clean();
    }
}

fn changing_file() {
    type Change = fn(&mut fs::File, u64);
    let changes: [(&str, Change); 3] = [
        ("grows", |file, round| {
            file.seek(SeekFrom::End(0)).unwrap();
            file.write_all(&round.to_le_bytes()).unwrap();
        }),
        ("shrinks", |file, round| file.set_len((64 << 20) - 1 - round).unwrap()),
        ("is rewritten", |file, round| {
            file.seek(SeekFrom::Start(60 << 20)).unwrap();
            file.write_all(&round.to_le_bytes()).unwrap();
        }),
    ];
    for (name, change) in changes {
        let sandbox = Sandbox::new();
        // The output is too large for memory, so that it is hashed first and then packed from disk.
        Tree::new().with("growing.bin", noise(1, 64 << 20)).write(&sandbox.path("model"));
        let push = sandbox.larder(["push", "model"]).spawn();
        let ended = AtomicBool::new(false);
        let push = thread::scope(|scope| {
            scope.spawn(|| {
                let mut file =
                    OpenOptions::new().write(true).open(sandbox.path("model/growing.bin")).unwrap();
                let mut round = 0;
                while !ended.load(Ordering::Relaxed) {
                    round += 1;
                    change(&mut file, round);
                }
            });
            let run = push.wait();
            ended.store(true, Ordering::Relaxed);
            run
        });
        let _ = push.fails(1, &["growing.bin", "changed"]);
        assert_eq!(sandbox.keys(), Vec::<String>::new(), "{name}: nothing is published");
        sandbox.assert_clean();
    }
}

fn reader_sees_no_mixture() {
    let mut sandbox = Sandbox::new();
    // Use a tmpfs, because it supports the exchange.
    let project = sandbox.mount_tmpfs("project", 64);
    sandbox.configure_remote();
    let tree =
        |letter: &str| (0..100).fold(Tree::new(), |tree, i| tree.with(format!("{letter}-{i}"), letter));
    for letter in ["a", "b"] {
        tree(letter).write(&project.join("model"));
        sandbox.run(["push", "model", "--command-hash", letter]).ok();
        fs::remove_dir_all(project.join("model")).unwrap();
    }
    tree("a").write(&project.join("model"));
    let names_of = |letter: &str| -> BTreeSet<String> { (0..100).map(|i| format!("{letter}-{i}")).collect() };
    let whole = [names_of("a"), names_of("b")];
    let ended = AtomicBool::new(false);
    let model = project.join("model");
    let inode = || fs::metadata(&model).expect("the output is never absent").ino();
    let switches = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut seen = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                let before = inode();
                let entries = fs::read_dir(&model).expect("the output is never absent");
                let names: BTreeSet<String> =
                    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
                // The old tree is removed after the exchange. A reader that opened it before sees a part of it, but never a
                // mixture.
                let stayed = before == inode();
                let fits =
                    |whole: &BTreeSet<String>| if stayed { names == *whole } else { names.is_subset(whole) };
                let which = whole.iter().position(fits).unwrap_or_else(|| panic!("a mixture: {names:?}"));
                if stayed && seen.last() != Some(&which) {
                    seen.push(which);
                }
            }
            seen.len()
        });
        for letter in ["b", "a"].repeat(15) {
            sandbox.run(["pull", "model", "--force", "--command-hash", letter]).ok();
        }
        ended.store(true, Ordering::Relaxed);
        reader.join().unwrap()
    });
    assert!(switches > 10, "the reader saw only {switches} trees, too few for a test");
    sandbox.assert_clean();
}

fn live_push_is_spared() {
    let sandbox = Sandbox::new();
    Tree::new().with("large", noise(1, 48 << 20)).write(&sandbox.path("slow"));
    Tree::small(1).write(&sandbox.path("quick"));
    let mut slow = sandbox.larder(["push", "slow", "--json"]).spawn();
    slow.wait_until(|slow| slow.bytes_written() > 4 << 20);
    slow.signal(Signal::STOP);
    sandbox.run(["push", "quick"]).ok();
    fs::remove_dir_all(sandbox.path("quick")).unwrap();
    sandbox.run(["pull", "quick"]).ok();
    slow.signal(Signal::CONT);
    assert_eq!(slow.wait().ok().outcome(), "uploaded");
    let pushed = Tree::read(&sandbox.path("slow"));
    sandbox.run(["pull", "slow", "--to", "copy"]).ok();
    Tree::read(&sandbox.path("copy/slow")).assert_same(&pushed);
    sandbox.assert_clean();
}

fn live_pull_is_spared() {
    let sandbox = Sandbox::new();
    let tree = Tree::new().with("large", noise(1, 48 << 20));
    tree.write(&sandbox.path("slow"));
    Tree::small(1).write(&sandbox.path("quick"));
    sandbox.run(["push", "slow", "quick"]).ok();
    for path in ["slow", "quick"] {
        fs::remove_dir_all(sandbox.path(path)).unwrap();
    }
    let mut slow = sandbox.larder(["pull", "slow", "--json"]).spawn();
    slow.wait_until(|slow| slow.bytes_written() > 4 << 20);
    slow.signal(Signal::STOP);
    sandbox.run(["pull", "quick"]).ok();
    sandbox.run(["push", "quick"]).ok();
    slow.signal(Signal::CONT);
    assert_eq!(slow.wait().ok().outcome(), "restored");
    Tree::read(&sandbox.path("slow")).assert_same(&tree);
    sandbox.assert_clean();
}
