use larder_hashing::{CommandHash, ContentHash};
use proptest::prelude::*;

use super::*;

fn path(text: &str) -> OutputPath {
    OutputPath::new(text).unwrap()
}

fn pin(path: &str, content: &str) -> Pin {
    Pin {
        path: OutputPath::new(path).unwrap(),
        content: ContentHash::parse(content).unwrap(),
        command: CommandHash::parse("k").unwrap(),
        bytes: 1,
        files: 1,
        remote: None,
    }
}

fn lock(pins: &[(&str, &str)]) -> LarderLock {
    let mut lock = LarderLock::default();
    for (path, content) in pins {
        lock.insert(pin(path, content)).unwrap();
    }
    lock
}

fn conflicted(ours: LarderLock, theirs: LarderLock) -> ConflictedLock {
    ConflictedLock { ours, theirs, base: None, path: "larder.lock".into() }
}

fn paths(merge: &LockMerge) -> Vec<&str> {
    merge.conflicts().iter().map(|conflict| conflict.path.as_str()).collect()
}

fn parse(text: &str) -> Result<ConflictedLock> {
    ConflictedLock::parse(text, Path::new("larder.lock"))
}

fn block(path: &str, content: &str) -> String {
    let text = lock(&[(path, content)]).to_text();
    text[text.find("[[pin]]").unwrap()..].to_owned()
}

const HEAD: &str = "# Written by larder. Commit this file.\nversion = 1\n\n";

#[test]
fn both_sides_of_a_conflict_are_parsed() {
    let common = block("a", "1");
    let [ours, theirs, base] = ["2", "3", "1"].map(|content| block("b", content));
    let merge = format!("{HEAD}{common}\n<<<<<<< HEAD\n{ours}=======\n{theirs}>>>>>>> feature\n");
    let diff3 =
        format!("{HEAD}{common}\n<<<<<<< HEAD\n{ours}||||||| 12ab\n{base}=======\n{theirs}>>>>>>> feature\n");
    for text in [&merge, &diff3, &merge.replace('\n', "\r\n"), &diff3.replace('\n', "\r\n")] {
        assert!(ConflictedLock::has_markers(text));
        let found = parse(text).unwrap();
        assert_eq!(found.ours, lock(&[("a", "1"), ("b", "2")]));
        assert_eq!(found.theirs, lock(&[("a", "1"), ("b", "3")]));
        let has_base = text.contains("|||||||");
        assert_eq!(found.base, has_base.then(|| lock(&[("a", "1"), ("b", "1")])));
    }
    // Git shows a part of a pin as a conflict.
    let line = format!("{HEAD}{}", block("b", "1"))
        .replace("content = \"1\"\n", "<<<<<<< HEAD\ncontent = \"2\"\n=======\ncontent = \"3\"\n>>>>>>> x\n");
    let found = parse(&line).unwrap();
    assert_eq!((found.ours, found.theirs), (lock(&[("b", "2")]), lock(&[("b", "3")])));
}

#[test]
fn the_line_of_an_error_is_that_of_the_conflicted_file() {
    let text = format!("{HEAD}<<<<<<< HEAD\n{}=======\nx = 1\n>>>>>>> x\n", block("b", "2"));
    let line = 1 + text.lines().position(|line| line == "x = 1").unwrap();
    let said = parse(&text).unwrap_err().to_string();
    assert!(said.starts_with(&format!("larder.lock:{line}: unknown key `x`")), "{said}");
}

#[test]
fn a_base_in_the_markers_that_is_none_is_left_out() {
    let text = format!(
        "{HEAD}<<<<<<< HEAD\n{}||||||| merged common ancestors\n<<<<<<<<< Temporary\n=======\n{}>>>>>>> x\n",
        block("b", "2"),
        block("b", "3")
    );
    assert_eq!(parse(&text).unwrap().base, None);
}

#[test]
fn a_change_on_one_side_is_taken() {
    let base = lock(&[("removed", "1"), ("changed", "1"), ("same", "1"), ("both", "1")]);
    let ours = lock(&[("changed", "1"), ("same", "1"), ("both", "2"), ("added", "1")]);
    let theirs = lock(&[("removed", "1"), ("changed", "2"), ("same", "1"), ("both", "2"), ("other", "1")]);
    let expected = lock(&[("changed", "2"), ("same", "1"), ("both", "2"), ("added", "1"), ("other", "1")]);
    for (ours, theirs) in [(&ours, &theirs), (&theirs, &ours)] {
        let merged = conflicted(ours.clone(), theirs.clone()).merge(Some(&base)).finish().unwrap();
        assert_eq!(merged, expected);
    }
}

#[test]
fn without_a_base_only_different_pins_of_one_output_conflict() {
    let ours = lock(&[("a", "1"), ("b", "1"), ("c", "1")]);
    let theirs = lock(&[("a", "1"), ("b", "2"), ("d", "1")]);
    let merge = conflicted(ours, theirs).merge(None);
    assert_eq!(paths(&merge), ["b"]);
    let settled: Vec<&str> = merge.settled().map(|pin| pin.path.as_str()).collect();
    assert_eq!(settled, ["a", "c", "d"]);
}

#[test]
fn a_removal_and_a_change_are_a_conflict() {
    let base = lock(&[("a", "1"), ("b", "1")]);
    let (ours, theirs) = (lock(&[("a", "2")]), lock(&[("b", "2")]));
    let both = conflicted(ours, theirs);
    let mut merge = both.merge(Some(&base));
    assert_eq!(paths(&merge), ["a", "b"]);
    assert_eq!(
        merge.conflicts()[1],
        PinConflict { path: path("b"), ours: None, theirs: Some(pin("b", "2")) }
    );
    let said = merge.finish().unwrap_err().to_string();
    assert!(said.contains("conflicts of a merge in `a` and `b`: `larder pin PATH`"), "{said}");

    assert!(merge.settle(&path("a"), Side::Theirs) && !merge.settle(&path("a"), Side::Theirs));
    assert_eq!(paths(&merge), ["b"]);
    assert_eq!(merge.settle_all(Side::Theirs), 1);
    assert_eq!(merge.finish().unwrap(), lock(&[("b", "2")]));

    let mut merge = both.merge(Some(&base));
    merge.settle_with(pin("a", "3"));
    assert!(merge.settle_without(&path("b")) && !merge.settle_without(&path("c")));
    assert_eq!(merge.finish().unwrap(), lock(&[("a", "3")]));
}

#[test]
fn pins_of_both_sides_that_are_nested_are_named() {
    let merge = conflicted(lock(&[("a", "1")]), lock(&[("a/b", "1")])).merge(None);
    let said = merge.finish().unwrap_err().to_string();
    let expected = "the merge of larder.lock has pins that clash: `a/b` is inside `a`, and only one of them";
    assert!(said.starts_with(expected), "{said}");
}

#[test]
fn lines_that_git_merged_alone_are_those_of_their_side() {
    let theirs = Pin { bytes: 2, ..pin("b", "3") };
    let text = format!("{HEAD}{}", block("b", "1"))
        .replace("content = \"1\"\n", "<<<<<<< HEAD\ncontent = \"2\"\n=======\ncontent = \"3\"\n>>>>>>> x\n")
        .replace("bytes = 1", "bytes = 2");
    let mut found = parse(&text).unwrap();
    assert_eq!(found.ours.get(&path("b")).unwrap().bytes, 2, "no version has this pin");
    let mut theirs_before = LarderLock::default();
    theirs_before.insert(theirs.clone()).unwrap();
    found.restore_sides(Some(&lock(&[("b", "2")])), Some(&theirs_before));
    let merge = found.merge(Some(&lock(&[("b", "1")])));
    let expected = PinConflict { path: path("b"), ours: Some(pin("b", "2")), theirs: Some(theirs) };
    assert_eq!(merge.conflicts(), [expected]);
}

/// Returns the pin of one output on both sides and before: absent, or one of three contents.
fn any_triples() -> impl Strategy<Value = Vec<[Option<u8>; 3]>> {
    let content = || prop::option::of(0_u8..3);
    prop::collection::vec([content(), content(), content()], 0..8)
}

fn lock_of(triples: &[[Option<u8>; 3]], of: usize) -> LarderLock {
    let mut lock = LarderLock::default();
    for (index, triple) in triples.iter().enumerate() {
        if let Some(content) = triple[of] {
            lock.insert(pin(&format!("out{index}"), &content.to_string())).unwrap();
        }
    }
    lock
}

proptest! {
    #[test]
    fn every_pin_is_merged_by_itself(triples in any_triples(), has_base: bool) {
        let [ours, theirs, base] = [0, 1, 2].map(|of| lock_of(&triples, of));
        let mut merge = conflicted(ours, theirs).merge(has_base.then_some(&base));
        let mut expected_conflicts = Vec::new();
        let mut expected = Vec::new();
        for (index, [ours, theirs, base]) in triples.iter().enumerate() {
            // The model: a change from `base`, or from nothing, wins over no change.
            let base = if has_base { *base } else { None };
            let name = format!("out{index}");
            let winner = match (*ours == base, *theirs == base) {
                (_, true) => Some(ours),
                (true, _) => Some(theirs),
                _ if ours == theirs => Some(ours),
                _ => None,
            };
            match winner {
                Some(content) => expected.push((name, *content)),
                None => expected_conflicts.push((name, *ours)),
            }
        }
        let conflicts: Vec<String> = expected_conflicts.iter().map(|(name, _)| name.clone()).collect();
        prop_assert_eq!(paths(&merge), conflicts);
        prop_assert_eq!(merge.finish().is_ok(), expected_conflicts.is_empty());
        merge.settle_all(Side::Ours);
        let merged = merge.finish().unwrap();
        for (name, content) in expected.into_iter().chain(expected_conflicts) {
            let expected = content.map(|content| pin(&name, &content.to_string()));
            prop_assert_eq!(merged.get(&path(&name)), expected.as_ref());
        }
    }

    #[test]
    fn a_side_of_any_conflicted_text_is_parsed_or_refused(
        lines in prop::collection::vec(prop_oneof![
            Just("<<<<<<< HEAD"), Just("||||||| base"), Just("======="), Just(">>>>>>> x"), Just("<<<<<<<\r"),
            Just("version = 1"), Just("[[pin]]"), Just("path = 'a'"), Just("path = 'a/b'"), Just("content = '1'"),
            Just("content = '2'"), Just("command = 'k'"), Just("bytes = 1"), Just("files = 1"), Just("\u{e4}'\"\\"),
        ], 0..24),
        crlf: bool,
        end: bool,
    ) {
        let mut text = lines.join(if crlf { "\r\n" } else { "\n" });
        if end {
            text.push('\n');
        }
        match parse(&text) {
            Ok(found) => {
                let mut merge = found.merge(None);
                merge.settle_all(Side::Theirs);
                merge.finish().ok();
            }
            Err(error) => prop_assert!(error.to_string().starts_with("larder.lock:"), "{error}"),
        }
    }

    #[test]
    fn any_text_with_markers_is_parsed_or_refused(text in "(<<<<<<<|=======|>>>>>>>|\\|{7}| |\n|\r\n|a=1|'|\u{e4}){0,40}") {
        parse(&text).ok();
        ConflictedLock::has_markers(&text);
    }
}
