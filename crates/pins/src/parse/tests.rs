use proptest::prelude::*;

use super::*;

fn error(text: &str) -> String {
    let error = LarderLock::parse(text, Path::new("larder.lock")).unwrap_err();
    assert!(error.is_content());
    error.to_string()
}

fn pin(path: &str) -> Pin {
    Pin {
        path: OutputPath::new(path).unwrap(),
        content: ContentHash::parse("v2").unwrap(),
        command: CommandHash::parse("nightly").unwrap(),
        bytes: 304_619_520,
        files: 12,
        remote: None,
    }
}

fn block(path: &str) -> String {
    format!("[[pin]]\npath = {path}\ncontent = \"c\"\ncommand = \"k\"\nbytes = 1\nfiles = 1\n")
}

#[test]
fn the_text_is_that_of_the_format() {
    let mut lock = LarderLock::default();
    assert_eq!(lock.to_text(), "# Written by larder. Commit this file.\nversion = 1\n");
    lock.insert(Pin { remote: Some("archive".to_owned()), ..pin("models/en") }).unwrap();
    lock.insert(pin("corpus")).unwrap();
    let text = r#"# Written by larder. Commit this file.
version = 1

[[pin]]
path = "corpus"
content = "v2"
command = "nightly"
bytes = 304619520
files = 12

[[pin]]
path = "models/en"
content = "v2"
command = "nightly"
bytes = 304619520
files = 12
remote = "archive"
"#;
    assert_eq!(lock.to_text(), text);
    for text in [text.to_owned(), text.replace('\n', "\r\n"), format!("\u{feff}{text}")] {
        assert_eq!(LarderLock::parse(&text, Path::new("larder.lock")).unwrap(), lock);
    }
}

#[test]
fn pins_are_added_replaced_and_removed() {
    let mut lock = LarderLock::default();
    assert!(lock.is_empty());
    assert_eq!(lock.insert(pin("a/b")).unwrap(), None);
    let newer = Pin { bytes: 1, ..pin("a/b") };
    assert_eq!(lock.insert(newer.clone()).unwrap(), Some(pin("a/b")));
    assert!(matches!(lock.insert(pin("a")), Err(PinClash::Nested { .. })));
    assert!(matches!(lock.insert(pin("A/b")), Err(PinClash::SameName { .. })));
    assert_eq!(lock.len(), 1);
    assert_eq!(lock.get(&newer.path), Some(&newer));
    assert_eq!(lock.remove(&pin("a").path), None);
    assert_eq!(lock.remove(&newer.path), Some(newer));
    lock.insert(pin("a")).unwrap();
    assert_eq!(lock.iter().map(|pin| pin.path.as_str()).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn errors_are_one_sentence_with_file_line_and_remedy() {
    let one = format!("version = 1\n{}", block("'a/b'"));
    let without =
        |key: &str| one.split_inclusive('\n').filter(|line| !line.starts_with(key)).collect::<String>();
    let with = |from: &str, to: &str| one.replace(from, to);
    for (text, expected) in [
        (String::new(), "larder.lock:1: `version` is missing: write `version = 1`"),
        (
            "# a\nversion = 2\nx = 1\n".to_owned(),
            "larder.lock:2: the version of the format is 2, and this larder knows only version 1: install a newer larder",
        ),
        ("version = '1'\n".to_owned(), "larder.lock:1: `version` must be the number 1"),
        (
            "version = 1\npins = []\n".to_owned(),
            "larder.lock:2: unknown key `pins`: known are `version` and `[[pin]]`",
        ),
        ("version = 1\npin = 1\n".to_owned(), "larder.lock:2: `pin` must be a list of tables"),
        ("version = 1\npin = [1]\n".to_owned(), "larder.lock:2: `pin` must be a list of tables"),
        (with("files = 1", "files = 1\nsize = 2"), "larder.lock:8: unknown key `size`: known in a pin are"),
        (without("path"), "larder.lock:2: `path` is missing in this pin: restore the file from git"),
        (without("content"), "larder.lock:2: `content` is missing"),
        (without("command"), "larder.lock:2: `command` is missing"),
        (without("bytes"), "larder.lock:2: `bytes` is missing"),
        (without("files"), "larder.lock:2: `files` is missing"),
        (with("'a/b'", "5"), "larder.lock:3: `path` must be a text in quotes"),
        (with("'a/b'", "'../b'"), "larder.lock:3: `path` is refused: `../b` is outside the project root"),
        (with("'a/b'", "'larder.lock'"), "larder.lock:3: `path` is refused: `larder.lock` describes"),
        (with("'a/b'", "'./a/b/'"), "larder.lock:3: `path` must be normalized: write `a/b`"),
        (with("\"c\"", "\"blake3-tree-1\""), "larder.lock:4: `content` is refused: `blake3-tree-1` is not a"),
        (with("\"k\"", "\"a b\""), "larder.lock:5: `command` is refused: `a b` is not a hash"),
        (with("bytes = 1", "bytes = -1"), "larder.lock:6: `bytes` must be a whole number"),
        (with("files = 1", "files = 1.5"), "larder.lock:7: `files` must be a whole number"),
        (
            format!("{one}remote = ''\n"),
            "larder.lock:8: `remote` must be the name of a remote in larder.toml",
        ),
        (format!("{one}remote = 's3://b/p'\n"), "larder.lock:8: `remote` must be the name of a remote"),
        (
            format!("{one}{}", block("'a/b'")),
            "larder.lock:9: `a/b` is pinned twice, which a merge of git can leave: remove one",
        ),
        (format!("{one}{}", block("'a'")), "larder.lock:9: `a/b` is inside `a`, and only one"),
        (format!("{one}{}", block("'A/B'")), "larder.lock:9: `a/b` and `A/B` differ only in case"),
        ("version = 1\n[[pin]\n".to_owned(), "larder.lock:2: not valid TOML: "),
    ] {
        let said = error(&text);
        assert!(said.starts_with(expected), "{said}\nfor\n{text}");
        assert!(!said.contains('\n'), "{said}");
    }
}

/// Returns any path of an output, also with quotes, backslashes and control characters.
fn any_path() -> impl Strategy<Value = OutputPath> {
    let component = prop_oneof!["[a-c]{1,2}", "[ a\"'#\\\\\t\r\n\u{1}\u{7f}\u{85}\u{e4}\u{1f600}.=\\[]{1,6}"];
    prop::collection::vec(component, 1..4)
        .prop_filter_map("a path of an output", |parts| OutputPath::new(parts.join("/")).ok())
}

fn any_pin() -> impl Strategy<Value = Pin> {
    let remote = prop::option::of("[ a\"#\u{e4}]{1,4}");
    (any_path(), "[a-f]{1,8}", "[a-f]{1,8}", any::<u64>(), any::<u64>(), remote).prop_map(
        |(path, content, command, bytes, files, remote)| Pin {
            path,
            content: ContentHash::parse(content).unwrap(),
            command: CommandHash::parse(command).unwrap(),
            bytes,
            files,
            remote,
        },
    )
}

proptest! {
    #[test]
    fn a_file_is_read_as_it_was_written(pins in prop::collection::vec(any_pin(), 0..12)) {
        let mut lock = LarderLock::default();
        for pin in pins {
            // A clash leaves the file as it was.
            let before = lock.clone();
            if lock.insert(pin).is_err() {
                prop_assert_eq!(&lock, &before);
            }
        }
        let text = lock.to_text();
        prop_assert_eq!(LarderLock::parse(&text, Path::new("larder.lock")).unwrap(), lock.clone());
        // No path adds a line, which git could merge by itself or take for a conflict marker.
        let lines: usize = lock.iter().map(|pin| if pin.remote.is_some() { 8 } else { 7 }).sum();
        prop_assert_eq!(text.lines().count(), 2 + lines);
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "(version|pin|path|=|1|\\[|\\]|'|\"|\n|\r|\u{e4}| ){0,40}") {
        let parsed = LarderLock::parse(&text, Path::new("larder.lock"));
        if let Err(error) = parsed {
            prop_assert!(error.to_string().starts_with("larder.lock:"));
        }
    }
}
