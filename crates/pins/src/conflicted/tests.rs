use proptest::prelude::*;

use super::*;
use crate::emit::append_pin;
use crate::merge::Side;
use crate::samples::pin;

fn side(pins: &[(&str, &str)]) -> SidePins {
    pins.iter().map(|(path, content)| ((*path).to_owned(), pin(path, content))).collect()
}

fn parse(text: &str) -> Result<ConflictedLock> {
    ConflictedLock::parse(text, Path::new("larder.lock"))
}

fn block(path: &str, content: &str) -> String {
    let mut text = String::new();
    append_pin(&mut text, &pin(path, content));
    text
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
        assert_eq!(found.ours, side(&[("a", "1"), ("b", "2")]));
        assert_eq!(found.theirs, side(&[("a", "1"), ("b", "3")]));
        let has_base = text.contains("|||||||");
        assert_eq!(found.base, has_base.then(|| side(&[("a", "1"), ("b", "1")])));
    }
    // Git shows a part of a pin as a conflict.
    let line = format!("{HEAD}{}", block("b", "1"))
        .replace("content = \"1\"\n", "<<<<<<< HEAD\ncontent = \"2\"\n=======\ncontent = \"3\"\n>>>>>>> x\n");
    let found = parse(&line).unwrap();
    assert_eq!((found.ours, found.theirs), (side(&[("b", "2")]), side(&[("b", "3")])));
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
fn a_pin_that_a_side_has_twice_is_named_with_its_line() {
    let text = format!("{HEAD}{}<<<<<<< HEAD\n{}=======\n>>>>>>> x\n", block("b", "1"), block("b", "2"));
    let line = 2 + text.lines().position(|line| line == "<<<<<<< HEAD").unwrap() + 1;
    let said = parse(&text).unwrap_err().to_string();
    assert!(said.starts_with(&format!("larder.lock:{line}: `b` is pinned twice")), "{said}");
}

#[test]
fn pins_that_clash_are_only_refused_once_they_are_settled() {
    let text = format!("{HEAD}{}<<<<<<< HEAD\n{}=======\n>>>>>>> x\n", block("a", "1"), block("a/b", "2"));
    let merge = parse(&text).unwrap().merge(None);
    assert!(merge.conflicts().is_empty());
    assert!(matches!(merge.finish(), Err(Error::MergedClash { .. })));
}

proptest! {
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
